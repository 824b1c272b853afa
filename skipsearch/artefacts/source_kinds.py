"""The blocks of a plan, sorted into kinds: one kind for all that differ in numbers alone."""

from __future__ import annotations

from typing import NamedTuple

from skipsearch.design import Design
from skipsearch.layout import Layout
from skipsearch.merges import MERGES
from skipsearch.plan import Block, Network, Stage
from skipsearch.planning import StageFields

PLAIN = "plain"  # in the place of a merge, where the layout has no shortcut
ALL, FIRST, REST, LAST = PLACES = ("a", "the first", "a later", "the last")


class Run(NamedTuple):
    """Blocks in a row that one class serves: a whole stage, or what is not apart in it.

    Attributes:
        stage: The number of their stage, from 1.
        place: Which blocks of it they are.
        begins: Whether the first of them is the first of the stage.
        fields: The fields of the stage; its layout is theirs.
        blocks: From the plan.
        drop_paths: Their rates.
    """

    stage: int
    place: str
    begins: bool
    fields: StageFields
    blocks: tuple[Block, ...]
    drop_paths: tuple[float, ...]

    def cut(self, at: int, first: str, second: str) -> list[Run]:
        """Cut in two before the block at an index; a part without blocks is left out."""
        early = self._replace(place=first, blocks=self.blocks[:at], drop_paths=self.drop_paths[:at])
        late = self._replace(
            place=second,
            begins=self.begins and not early.blocks,
            blocks=self.blocks[at:],
            drop_paths=self.drop_paths[at:],
        )
        return [part for part in (early, late) if part.blocks]


class Kind(NamedTuple):
    """Runs whose blocks differ in numbers alone, so that one class serves them all."""

    name: str
    layout: Layout
    merge: str
    runs: list[Run]


def block_kinds(design: Design, plan: Network) -> list[Kind]:
    """Sort the blocks by layout, merge, and what their shortcuts carry where shapes change."""
    found: dict[tuple[object, ...], list[tuple[set[str], list[Run]]]] = {}
    for run in _runs(design, plan):
        layout, shortcut_word = run.fields.layout, run.fields.shortcut
        merge = run.fields.merge if layout.skip else PLAIN
        carries = merge != PLAIN and MERGES[merge].carries
        everywhere = carries and shortcut_word == "proj-all"
        # A stage that keeps its shapes fits any other way of changing them.
        changes = carries and any(block.shortcut != () for block in run.blocks)
        shortcut = {shortcut_word} if changes else set()
        apart: tuple[object, ...] = (run.place == LAST,)
        if is_dual(merge):  # The first block is apart, and all of a kind carry the same.
            carried = run.blocks[0].shortcut
            apart += (run.begins, None if carried is None else tuple(step.op for step in carried))
        alike = found.setdefault((layout, merge, everywhere, apart), [])
        fitting = [group for group in alike if len(group[0] | shortcut) < 2]
        if not fitting:
            fitting = [(set(), [])]
            alike += fitting
        fitting[0][0].update(shortcut)
        fitting[0][1].append(run)
    kinds = [runs for alike in found.values() for _, runs in alike]
    kinds.sort(key=lambda runs: (runs[0].stage, PLACES.index(runs[0].place)))
    names = [f"Block{i}" for i in range(1, len(kinds) + 1)] if len(kinds) > 1 else ["Block"]
    return [
        Kind(
            name,
            runs[0].fields.layout,
            runs[0].fields.merge if runs[0].fields.layout.skip else PLAIN,
            runs,
        )
        for name, runs in zip(names, kinds, strict=True)
    ]


def is_dense(merge: str) -> bool:
    """Whether all that leaves the branch is concatenated."""
    return merge != PLAIN and not MERGES[merge].carries


def is_dual(merge: str) -> bool:
    """Whether a part of what leaves the branch is concatenated."""
    return merge != PLAIN and MERGES[merge].carries and MERGES[merge].appends


def _runs(design: Design, plan: Network) -> list[Run]:
    """Cut the stages where a class cannot serve all of their blocks."""
    runs = []
    for number, (fields, stage) in enumerate(zip(design.stages, plan.stages, strict=True), 1):
        # A dropout of rate 0 is not in the plan.
        layout = fields.layout if design.dropout else fields.layout.without("dropout")
        fields = fields._replace(layout=_as_planned(layout, fields.shortcut, stage))
        parts = [Run(number, ALL, True, fields, stage.blocks, stage.drop_paths)]
        if layout.skip and is_dual(fields.merge):  # Its first block begins the dense path.
            parts = parts[0].cut(1, FIRST, REST)
        if stage.join and stage.join.after:  # Its last block leaves "after" to the join.
            whole = parts.pop()
            parts += whole.cut(-1, whole.place, LAST)
            bare = fields._replace(layout=Layout(layout.branch, (), layout.skip))
            parts.append(parts.pop()._replace(fields=bare))
        runs += parts
    return runs


def _as_planned(layout: Layout, shortcut: str, stage: Stage) -> Layout:
    """Return the plain layout of a stage where the factor 0 leaves no shortcut.

    One without a join because ``omit`` leaves it out keeps its own: other stages may share it.
    """
    first = stage.blocks[0]
    omitted = shortcut == "omit" and len(stage.blocks) == 1 and first.changes_shape
    joins = any(block.merge for block in stage.blocks)
    if not layout.skip or omitted or joins or first.after:
        return layout
    return Layout((*layout.branch, *layout.after), skip=False)
