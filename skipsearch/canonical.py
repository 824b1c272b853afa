"""The canonical form: one set of fields for all designs that build the same network.

The effect of a field on a network is read from its plan, so that equal plans give equal fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor
from typing import Any, NamedTuple, TypeVar

from skipsearch.fields import FIELDS, PER_STAGE, collapse
from skipsearch.kinds import NO_STEM
from skipsearch.layout import Layout, is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.operations import TRANSPOSED
from skipsearch.plan import Head, Join, Network, Stage, Steps
from skipsearch.planning import (
    SETTINGS,
    StageFields,
    complete_head,
    complete_stem,
    head_tokens,
    kept_channels,
    needs_transition,
    node_fields,
)

# Increase this whenever ``canonical_fields`` or ``Design.id`` gives any design another id: the ids
# in studies are then computed again.
# Version 2: a shortcut with factor 0 and without parameters counts as no shortcut.
# Version 3: ids have 64 bits.
ID_RULES = 3

T = TypeVar("T")


def canonical_fields(
    values: Mapping[str, Any], stages: Sequence[StageFields], plan: Network
) -> dict[str, Any]:
    """Return the fields of the design that represents all that build the same network.

    Args:
        values: Fields of a design.
        stages: The same fields for each stage.
        plan: Plan of the design, for a number of image channels that represents any number.
    """
    dropout = values["dropout"]
    down = len(stages) - values["ups"]
    settled = []
    for number, (fields, stage) in enumerate(zip(stages, plan.stages, strict=True), 1):
        alike = [(fields, stage)]
        for node in plan.nodes:
            if node.like == number:
                there = node_fields(number, node.start, stages, values["stem_width"])
                alike.append((there, node.stage))
        settled.append(_canonical_alike(alike, dropout, not plan.stem and number == 1))
    with_blocks = [stage.layout for stage in settled if stage.layout]
    head = _shortest_head(parse_run(values["head"]), with_blocks[-1], dropout)
    tokens = [token for layout in with_blocks for token in (*layout.branch, *layout.after)]
    tokens += parse_run(head)
    merges = {block.merge for stage in plan.named.values() for block in stage.blocks if block.merge}
    known = frozenset().union(*(MERGES[merge].fields for merge in merges))
    pooled = plan.head.pooled if isinstance(plan.head, Head) else ()
    widens = any(s.op == "conv" and s.inputs != s.outputs for s in (*plan.head.steps, *pooled))
    joins = [stage.join for stage in plan.named.values() if stage.join]
    matters = {name: name in known for name in SETTINGS}
    matters["shortcut_dropout"] &= values["shortcut_scale"] != 0  # else nothing is dropped
    matters |= {
        "head_width": widens,
        "link_merge": bool(joins),
        "up": bool(values["ups"]),
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
        "layout": collapse([str(stage.layout or with_blocks[0]) for stage in settled]),
        "widths": tuple(
            stage.width if planned.blocks else _settled_width(planned)
            for stage, planned in zip(stages, plan.stages, strict=True)
        ),
        "stem": _shortest_stem(parse_run(values["stem"]), with_blocks[0]),
        "stem_width": values["stem_width"] if plan.stem else values["widths"][0],
        "head": head,
        "link_shortcut": _settled_link(values["link_shortcut"], joins),
        "down": _settled_down(values["down"], stages[1:down]),
        "compression": _shortest_compression(plan, values["compression"]),
    }
    return {**values, **idle, **per_stage, **spelling}


class _Canonical(NamedTuple):
    """The fields of one stage; None where a field has no effect there."""

    layout: Layout | None
    shortcut: str | None
    merge: str | None
    bottleneck_ratio: float | None
    groups: int | None
    growth: int | None


def _canonical_stage(
    fields: StageFields, stage: Stage, dropout: float, reads_image: bool
) -> _Canonical:
    """Settle the fields of a stage; ``reads_image`` if its first block reads the image."""
    blocks = stage.blocks
    layout = fields.layout if dropout else fields.layout.without("dropout")
    if not reads_image:  # else the number of image channels would decide
        layout = _with_depthwise(layout, stage)
    # Only the first block of a stage can change the shape; if it takes no shortcut and is the
    # only block, the stage is plain.
    joined = [block for block in blocks if block.merge]
    if layout.skip and not joined and not any(map(is_convolution, layout.after)):
        layout = Layout((*layout.branch, *layout.after), skip=False)
    dense = [token for token in layout.branch if token.startswith("conv")]
    grouped = any(token != "conv1" for token in dense)
    known = MERGES[fields.merge].fields if layout.skip else frozenset()
    shortcut = fields.shortcut if "shortcut" in known else None
    changes = reads_image or blocks[0].changes_shape
    begins = changes or blocks[0].growth
    if shortcut == "proj-all" and blocks[0].shortcut and len(blocks) == 1 and begins:
        shortcut = "proj"
    if shortcut != "proj-all" and blocks[0].shortcut == ():
        shortcut = None
    if shortcut == "avg-proj" and blocks[0].stride == 1:
        shortcut = "proj"
    merge = fields.merge if layout.skip else None
    if merge and not joined and changes:
        merge = "add"
    return _Canonical(
        layout,
        shortcut,
        merge,
        fields.inner / fields.width if len(dense) > 1 or _narrows(stage) else None,
        fields.groups if grouped else None,
        fields.growth if "growth" in known and joined else None,
    )


def _canonical_alike(
    alike: Sequence[tuple[StageFields, Stage]], dropout: float, reads_image: bool
) -> _Canonical:
    """Settle the fields of a stage and of the nodes like it, which follow it in the list."""
    found = [
        _canonical_stage(fields, stage, dropout, reads_image)
        if stage.blocks
        else _canonical_empty(fields, stage)
        for fields, stage in alike
    ]
    if len(set(found)) == 1:
        return found[0]
    given = alike[0][0]
    given = given._replace(
        layout=given.layout if dropout else given.layout.without("dropout"),
        bottleneck_ratio=_shortest_ratio([fields for fields, _ in alike]),
    )
    values: dict[str, Any] = {}
    for name, *each in zip(_Canonical._fields, *found, strict=True):
        effective = [value for value in each if value is not None]
        # A value that only some of them could simplify stays unchanged.
        differs = any(value != effective[0] for value in effective)
        values[name] = getattr(given, name) if differs else next(iter(effective), None)
    if given.shortcut == "omit" and len({each.layout.skip for each in found if each.layout}) > 1:
        values["shortcut"] = "omit"  # which made some of them plain
    return _Canonical(**values)


def _canonical_empty(fields: StageFields, stage: Stage) -> _Canonical:
    """Settle the fields of a stage without blocks."""
    ratio = fields.inner / fields.width if _narrows(stage) else None
    return _Canonical(None, None, None, ratio, None, None)


def _narrows(stage: Stage) -> bool:
    """Return whether ``bottleneck_ratio`` has an effect on the operations that enlarge."""
    return stage.enlarges and len(_dense(stage)) > 1


def _settled_width(stage: Stage) -> int:
    """Return the width of a stage without blocks; 1 if it keeps the channels of its input."""
    return stage.transition[-1].outputs if _dense(stage) else 1


def _dense(stage: Stage) -> Steps:
    """Return the dense convolutions by which a stage enlarges."""
    dense = (s for s in stage.transition if s.op in ("conv", *TRANSPOSED) and s.groups == 1)
    return tuple(dense)


def _settled_down(down: str, stages: Sequence[StageFields]) -> str:
    """Return ``down``, or ``stride`` if that has the same effect.

    That is so if no stage halves, or for ``avgpool`` if all stages that halve have a transition,
    which average-pools by default.
    """
    averages = down == "avgpool" and all(map(needs_transition, stages))
    return "stride" if averages or not stages else down


def _with_depthwise(layout: Layout, stage: Stage) -> Layout:
    """Write a convolution as depthwise if its groups make it so in every block of the stage."""
    chains = [(*block.opening, *block.branch, *block.after) for block in stage.blocks]
    if stage.join and not stage.enlarges:
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
    """Fill in the stages where a field has no effect with its first value that has an effect.

    That is never ``proj-all``, which has an effect everywhere.
    """
    filler = next((value for value in values if value not in (None, "proj-all")), default)
    return collapse([filler if value is None else value for value in values])


def _settled_link(shortcut: str, joins: Sequence[Join]) -> str:
    """Return the operation of links where a shape changes; ``proj`` if none changes."""
    links = [link for join in joins if LINK_MERGES[join.merge].carries for link in join.links]
    ops = {step.op for link in links for step in link.steps}
    if "pad" in ops:
        return "pad"
    return shortcut if {"conv", "avgpool"} <= ops else "proj"


def _shortest_compression(plan: Network, given: float) -> float:
    """Return 0.5, or else the share with the fewest digits, that keeps the same channels."""

    def fits(share: float) -> bool:
        return share <= 1 and all(kept_channels(s.inputs, share) == s.outputs for s in squeezes)

    squeezes = [
        step
        for stage in plan.stages
        for step in stage.transition
        if step.op == "conv" and not stage.enlarges
    ]
    low = max((s.outputs / s.inputs for s in squeezes if s.outputs > 1), default=0.0)
    return 0.5 if fits(0.5) else next(filter(fits, _short_numbers(low)), given)


def _shortest_ratio(alike: Sequence[StageFields]) -> float:
    """Return 1, or else the ratio with the fewest digits, with the same inner channels in all."""

    def fits(ratio: float) -> bool:
        return all(each._replace(bottleneck_ratio=ratio).inner == each.inner for each in alike)

    low = max((each.inner - 0.5) / each.width if each.inner > 1 else 0.0 for each in alike)
    return 1.0 if fits(1.0) else next(filter(fits, _short_numbers(low)), alike[0].bottleneck_ratio)


def _short_numbers(low: float) -> Iterator[float]:
    """Yield numbers near the lower end of an interval, with an increasing number of digits.

    All numbers of the interval round to the same channels.
    """
    for digits in range(1, 17):
        for more in range(2):
            yield (max(1, floor(low * 10**digits)) + more) / 10**digits


def _shortest_stem(stem: tuple[str, ...], layout: Layout) -> str:
    """Remove the operations that ``complete_stem`` adds."""
    if stem == (NO_STEM,):
        return NO_STEM
    complete = complete_stem(stem, layout)
    last = max(i for i, token in enumerate(complete) if is_convolution(token))
    short = complete[: last + 1] + (("pool",) if complete[-1] == "pool" else ())
    return "-".join(short if complete_stem(short, layout) == complete else complete)


def _shortest_head(head: tuple[str, ...], layout: Layout, dropout: float) -> str:
    """Remove the operations that ``complete_head`` adds, and a dropout of rate 0."""
    head = tuple(token for token in head if dropout or token != "dropout")
    added, complete = head_tokens(layout), complete_head(head, layout)
    short = complete[len(added) :] if complete[: len(added)] == added else complete
    return "-".join(short if complete_head(short, layout) == complete else complete)
