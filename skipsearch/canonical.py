"""The canonical form: one set of fields for all designs that build the same network.

The effect of a field on a network is read from its plan, so that equal plans give equal fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any, NamedTuple, TypeVar

from skipsearch.fields import FIELDS, PER_STAGE, collapse
from skipsearch.layout import Layout, is_convolution, parse_run
from skipsearch.merges import MERGES
from skipsearch.plan import Network, Stage, Steps
from skipsearch.planning import (
    SETTINGS,
    StageFields,
    complete_head,
    complete_stem,
    head_tokens,
    kept_channels,
)

# Raise this whenever ``canonical_fields`` or ``Design.id`` give any design another id: the ids in
# studies are then computed again.
# 2: a shortcut of factor 0 without parameters is none; 3: 64 bits.
ID_RULES = 3

T = TypeVar("T")


def canonical_fields(
    values: Mapping[str, Any], stages: Sequence[StageFields], plan: Network
) -> dict[str, Any]:
    """Return the fields of the design that represents all that build the same network.

    Args:
        values: Fields of a design.
        stages: The same fields for each stage.
        plan: Plan of the design; the fields do not depend on the number of image channels.
    """
    dropout = values["dropout"]
    settled = [_canonical_stage(*pair, dropout) for pair in zip(stages, plan.stages, strict=True)]
    layouts = [stage.layout for stage in settled]
    head = _shortest_head(parse_run(values["head"]), layouts[-1], dropout)
    tokens = [token for layout in layouts for token in (*layout.branch, *layout.after)]
    tokens += parse_run(head)
    merges = {block.merge for stage in plan.stages for block in stage.blocks if block.merge}
    known = frozenset().union(*(MERGES[merge].fields for merge in merges))
    widens = any(
        s.op == "conv" and s.inputs != s.outputs for s in (*plan.head.steps, *plan.head.pooled)
    )
    carried = [link.steps for stage in plan.stages if stage.join for link in stage.join.links]
    matters = {name: name in known for name in SETTINGS}
    matters["shortcut_dropout"] &= values["shortcut_scale"] != 0  # else nothing is dropped
    matters |= {
        "head_width": widens,
        "link_merge": bool(values["links"]),
        "drop_path": bool(merges),
        "dropout": "dropout" in tokens,
    }
    idle = {name: FIELDS[name].default for name, has_effect in matters.items() if not has_effect}
    per_stage = {
        name: _settled([getattr(stage, name) for stage in settled], FIELDS[name].default)
        for name in PER_STAGE
        if name != "layout"
    }
    spelling = {
        "layout": collapse([str(layout) for layout in layouts]),
        "stem": _shortest_stem(parse_run(values["stem"]), layouts[0]),
        "head": head,
        "link_shortcut": _settled_link(values["link_shortcut"], carried),
        "compression": _shortest_compression(plan, values["compression"]),
    }
    return {**values, **idle, **per_stage, **spelling}


class _Canonical(NamedTuple):
    """The fields of one stage; None where a field has no effect there."""

    layout: Layout
    shortcut: str | None
    merge: str | None
    bottleneck_ratio: float | None
    groups: int | None
    growth: int | None


def _canonical_stage(fields: StageFields, stage: Stage, dropout: float) -> _Canonical:
    blocks = stage.blocks
    layout = _with_depthwise(fields.layout if dropout else fields.layout.without("dropout"), stage)
    # Only the first block of a stage can change the shape; if it takes no shortcut and is the
    # only block, the stage is plain.
    joined = [block for block in blocks if block.merge]
    if layout.skip and not joined and not any(map(is_convolution, layout.after)):
        layout = Layout((*layout.branch, *layout.after), skip=False)
    dense = [token for token in layout.branch if token.startswith("conv")]
    grouped = any(token != "conv1" for token in dense)
    known = MERGES[fields.merge].fields if layout.skip else frozenset()
    shortcut = fields.shortcut if "shortcut" in known else None
    begins = blocks[0].changes_shape or blocks[0].growth
    if shortcut == "proj-all" and blocks[0].shortcut and len(blocks) == 1 and begins:
        shortcut = "proj"
    if shortcut != "proj-all" and blocks[0].shortcut == ():
        shortcut = None
    if shortcut == "avg-proj" and blocks[0].stride == 1:
        shortcut = "proj"
    merge = fields.merge if layout.skip else None
    if merge and not joined and blocks[0].changes_shape:
        merge = "add"
    return _Canonical(
        layout,
        shortcut,
        merge,
        fields.inner / fields.width if len(dense) > 1 else None,
        fields.groups if grouped else None,
        fields.growth if "growth" in known and joined else None,
    )


def _with_depthwise(layout: Layout, stage: Stage) -> Layout:
    """Write a convolution as depthwise if its groups make it so in every block of the stage."""
    chains = [(*block.opening, *block.branch, *block.after) for block in stage.blocks]
    if stage.join:
        chains[-1] += stage.join.after
    tokens = tuple(
        f"dw{steps[0].kernel}"
        if all(s.op == "conv" and s.inputs == s.outputs == s.groups for s in steps)
        else token
        for token, *steps in zip((*layout.branch, *layout.after), *chains, strict=True)
    )
    cut = len(layout.branch)
    return Layout(tokens[:cut], tokens[cut:], layout.skip)


def _settled(values: Sequence[T | None], default: T) -> T | tuple[T, ...]:
    """Fill in the stages where a field has no effect, with its first value that has one.

    That is never ``proj-all``, which has an effect everywhere.
    """
    filler = next((value for value in values if value not in (None, "proj-all")), default)
    return collapse([filler if value is None else value for value in values])


def _settled_link(shortcut: str, carried: Sequence[Steps]) -> str:
    """Return what links carry where a shape changes; ``proj`` if none changes."""
    ops = {step.op for steps in carried for step in steps}
    if "pad" in ops:
        return "pad"
    return shortcut if {"conv", "avgpool"} <= ops else "proj"


def _shortest_compression(plan: Network, given: float) -> float:
    """Return 0.5, or else the share with the fewest digits, that keeps the same channels."""
    squeezes = [step for stage in plan.stages for step in stage.transition if step.op == "conv"]
    # The shares that round to these channels form an interval; short ones near its lower end are
    # tried.
    low = max((s.outputs / s.inputs for s in squeezes if s.outputs > 1), default=0.0)
    trials = [0.5]
    for digits in range(1, 17):
        trials += [(max(1, floor(low * 10**digits)) + i) / 10**digits for i in range(2)]
    fits = (
        share
        for share in trials
        if all(kept_channels(s.inputs, share) == s.outputs for s in squeezes) and share <= 1
    )
    return next(fits, given)


def _shortest_stem(stem: tuple[str, ...], layout: Layout) -> str:
    """Remove what rule 4 adds by itself."""
    complete = complete_stem(stem, layout)
    last = max(i for i, token in enumerate(complete) if is_convolution(token))
    short = complete[: last + 1] + (("pool",) if complete[-1] == "pool" else ())
    return "-".join(short if complete_stem(short, layout) == complete else complete)


def _shortest_head(head: tuple[str, ...], layout: Layout, dropout: float) -> str:
    """Remove what rule 4 adds by itself, and a dropout of rate 0."""
    head = tuple(token for token in head if dropout or token != "dropout")
    added, complete = head_tokens(layout), complete_head(head, layout)
    short = complete[len(added) :] if complete[: len(added)] == added else complete
    return "-".join(short if complete_head(short, layout) == complete else complete)
