"""The blocks of a plan by kind: blocks of one kind differ only in numbers."""

from __future__ import annotations

from typing import NamedTuple

from skipsearch.design import Design
from skipsearch.kinds import end_place
from skipsearch.layout import Layout
from skipsearch.merges import MERGES
from skipsearch.plan import Block, End, Network, Stage
from skipsearch.planning import StageFields, node_fields

PLAIN = "plain"  # in place of a merge, if the layout has no shortcut
ALL, FIRST, REST, LAST = PLACES = ("a", "the first", "a later", "the last")


class Run(NamedTuple):
    """Consecutive blocks of one class: a whole stage, or a part of it.

    Attributes:
        stage: Stage or node of the blocks.
        place: Place of the blocks in the stage, one of ``PLACES``.
        begins: Whether the first of them is the first of the stage.
        fields: Fields of the stage, with the layout of these blocks.
        blocks: Blocks of the plan.
        drop_paths: Rates of their stochastic depth.
    """

    stage: End
    place: str
    begins: bool
    fields: StageFields
    blocks: tuple[Block, ...]
    drop_paths: tuple[float, ...]

    def cut(self, at: int, first: str, second: str) -> list[Run]:
        """Split before the block at an index; parts without blocks are omitted."""
        early = self._replace(place=first, blocks=self.blocks[:at], drop_paths=self.drop_paths[:at])
        late = self._replace(
            place=second,
            begins=self.begins and not early.blocks,
            blocks=self.blocks[at:],
            drop_paths=self.drop_paths[at:],
        )
        return [part for part in (early, late) if part.blocks]


class Kind(NamedTuple):
    """Runs whose blocks differ only in numbers, so that they share one class."""

    name: str
    layout: Layout
    merge: str
    runs: list[Run]


def block_kinds(design: Design, plan: Network) -> list[Kind]:
    """Group the blocks by layout, merge, and the shortcuts where shapes change."""
    found: dict[tuple[object, ...], list[tuple[set[str], list[Run]]]] = {}
    for run in _runs(design, plan):
        layout, shortcut_word = run.fields.layout, run.fields.shortcut
        merge = run.fields.merge if layout.skip else PLAIN
        carries = merge != PLAIN and MERGES[merge].carries
        everywhere = carries and shortcut_word == "proj-all"
        # A stage that keeps its shapes is compatible with any way of changing them.
        changes = carries and any(block.shortcut != () for block in run.blocks)
        shortcut = {shortcut_word} if changes else set()
        apart: tuple[object, ...] = (run.place == LAST,)
        if run.place == FIRST and not is_dual(merge):  # It reads the image.
            apart += (FIRST,)
        if is_dual(merge):  # The first block is separate; a kind has one shortcut.
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
    kinds.sort(key=lambda runs: (end_place(runs[0].stage), PLACES.index(runs[0].place)))
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
    """Return whether the whole output of the branch is concatenated."""
    return merge != PLAIN and not MERGES[merge].carries


def is_dual(merge: str) -> bool:
    """Return whether a part of the output of the branch is concatenated."""
    return merge != PLAIN and MERGES[merge].carries and MERGES[merge].appends


def _runs(design: Design, plan: Network) -> list[Run]:
    """Split the stages whose blocks cannot share one class."""
    runs = []
    parts: list[tuple[End, StageFields, Stage]] = []
    for number, (fields, stage) in enumerate(zip(design.stages, plan.stages, strict=True), 1):
        parts.append((number, fields, stage))
    for node in plan.nodes:
        fields = node_fields(node.like, node.start, design.stages, design.stem_width)
        parts.append((node.end, fields, node.stage))
    for end, fields, stage in parts:
        # A dropout of rate 0 is not in the plan.
        layout = fields.layout if design.dropout else fields.layout.without("dropout")
        if not stage.blocks:
            continue
        fields = fields._replace(layout=_as_planned(layout, fields.shortcut, stage))
        divided = [Run(end, ALL, True, fields, stage.blocks, stage.drop_paths)]
        if layout.skip and is_dual(fields.merge):  # Its first block starts the dense path.
            divided = divided[0].cut(1, FIRST, REST)
        elif end == 1 and not plan.stem and not stage.blocks[0].changes_shape:
            # No shortcut carries the image unchanged, even where the number of channels agrees.
            divided = divided[0].cut(1, FIRST, REST)
            if divided[0].blocks[0].shortcut:
                first = fields._replace(shortcut="proj-all")
                divided[0] = divided[0]._replace(fields=first)
        if stage.join and stage.join.after:  # The join applies "after" of its last block.
            whole = divided.pop()
            divided += whole.cut(-1, whole.place, LAST)
            bare = fields._replace(layout=Layout(layout.branch, (), layout.skip))
            divided.append(divided.pop()._replace(fields=bare))
        runs += divided
    return runs


def _as_planned(layout: Layout, shortcut: str, stage: Stage) -> Layout:
    """Return the plain layout of a stage if the factor 0 removes its shortcut.

    A stage without a join due to ``omit`` keeps its layout, which other stages may share.
    """
    first = stage.blocks[0]
    omitted = shortcut == "omit" and len(stage.blocks) == 1 and first.changes_shape
    joins = any(block.merge for block in stage.blocks)
    if not layout.skip or omitted or joins or first.after:
        return layout
    return Layout((*layout.branch, *layout.after), skip=False)
