"""Number of points of a space, counted stage by stage without listing them.

Besides a stage's own parameters, only the fields with an effect somewhere in the network matter. So
the assignments of the stages so far are kept as counts, keyed by the set of those fields.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import cast

from skipsearch.axes import RECIPE, Axis, Free, Value, split_name
from skipsearch.errors import SpaceError
from skipsearch.fields import DECIDING, PER_STAGE, Deciding, spread, with_effect
from skipsearch.layout import Layout
from skipsearch.merges import MERGES

MOST_PAIRS = 10_000  # pairs of a layout and a merge for all stages, equivalent ones once

Effects = frozenset[str]


class _Endless(Exception):
    """Raised if a continuous parameter matters."""


def count_points(
    axes: Mapping[str, Axis], fixed: Mapping[str, Value], stage_counts: Iterable[int]
) -> int | None:
    """Return the number of points, with conditional axes only where they matter; None if infinite.

    Args:
        axes: Axes of the space.
        fixed: Value of every deciding field that no axis sets.
        stage_counts: Possible numbers of stages of its designs.

    Raises:
        SpaceError: If a layout and a merge for all stages have too many combinations.
    """
    try:
        return _Counting(axes, fixed, max(stage_counts)).total()
    except _Endless:
        return None


class _Counting:
    """The axes of a space, grouped by what they set."""

    def __init__(self, axes: Mapping[str, Axis], fixed: Mapping[str, Value], stages: int) -> None:
        self.axes = axes
        self.fixed = fixed
        self.stages = stages  # used if neither layout nor merge has one value per stage
        self.kinds: dict[str, Mapping[Value, int]] = {}  # kinds of the values of each deciding axis
        self.in_stage: dict[int, list[str]] = {}  # the other axes of one stage
        self.of_all: list[str] = []  # the other axes of the whole network
        self.of_recipe = 1
        for name, axis in axes.items():
            field, stage, _ = split_name(name)
            if name.startswith(RECIPE):
                self.of_recipe *= _size(axis)
            elif field in DECIDING:
                self.kinds[name] = _kinds(field, axis)
            elif stage is None:
                self.of_all.append(name)
            else:
                self.in_stage.setdefault(stage, []).append(name)
        self.known = frozenset((*self.of_all, "merge"))

    def total(self) -> int:
        """Count all points."""
        layouts, merges = self._options("layout"), self._options("merge")
        if len(layouts) * len(merges) > MOST_PAIRS:
            raise SpaceError(
                f"axes: {len(layouts):,} values of layout times {len(merges):,} of merge are too"
                " many to be counted"
            )
        total = 0
        for layout, alike in layouts.items():
            # The merge of all stages is chosen only if any of them has a join.
            plain, _ = self._split(layout, self.fixed["merge"])
            joined = (same * self._split(layout, merge)[1] for merge, same in merges.items())
            total += alike * (plain + sum(joined))
        return total

    def _split(self, layout: Value, merge: Value) -> tuple[int, int]:
        """Count the points of a layout and a merge that have no join, and those that have one."""
        lengths = {len(value) for value in (layout, merge) if isinstance(value, tuple)}
        if len(lengths) > 1:
            return self._split_refused(layout)
        stages = max(lengths, default=self.stages)
        layouts, merges = spread(layout, stages), spread(merge, stages)
        states: Mapping[Effects, int] = {frozenset(): 1}
        for stage in range(stages):
            states = _combined(states, self._stage(stage, layouts[stage], merges[stage]))
        beyond = [name for name in self.axes if (split_name(name).stage or 0) >= stages]
        counts = [0, 0]
        for effects, count in states.items():
            counts["merge" in effects] += count * self._network(effects) * self._product(beyond)
        return counts[0], counts[1]

    def _split_refused(self, layout: tuple[str, ...]) -> tuple[int, int]:
        """Count like ``_split``, for a layout and a merge of different lengths.

        No design has them, but all other parameters are chosen before the design rejects them.
        """
        plain = every = 1
        for stage, own in enumerate(layout):
            options = self._options(f"layout[{stage}]", own)
            plain *= sum(n for text, n in options.items() if not Layout.parse(text).skip)
            every *= sum(options.values())
        chosen = ("layout", "merge", *(f"layout[{stage}]" for stage in range(len(layout))))
        others = self._product([name for name in self.axes if name not in chosen])
        if "merge" not in self.axes:
            return 0, every * others
        return 0, (every - plain) * others

    def _stage(self, stage: int, layout: Value, merge: Value) -> Mapping[Effects, int]:
        """Count the choices for one stage, by the fields that then have an effect."""
        found: Counter[Effects] = Counter()
        for own, alike in self._options(f"layout[{stage}]", layout).items():
            joins = Layout.parse(own).skip
            merges = self._options(f"merge[{stage}]", merge) if joins else {merge: 1}
            for merged, same in merges.items():
                effects = _effects(own, merged)
                names = [n for n in self.in_stage.get(stage, ()) if split_name(n).field in effects]
                found[effects & self.known] += alike * same * self._product(names)
        return found

    def _network(self, effects: Effects) -> int:
        """Count the choices for the whole network besides layout and merge."""
        total = 0
        options = product(*(self._options(name).items() for name in ("ups", "links", "head")))
        for (ups, few), (links, count), (head, alike) in options:
            given = Deciding([Layout.parse("conv1")], ["add"], links, "add", head, ups)
            chosen = self._options("link_merge")
            if not given.joined_links:
                chosen = {self.fixed["link_merge"]: 1}
            for link_merge, same in chosen.items():
                more = effects | _of_network(links, link_merge, head, ups)
                names = [name for name in self.of_all if name in more]
                total += few * count * same * alike * self._product(names)
        return self.of_recipe * total

    def _product(self, names: Iterable[str]) -> int:
        return math.prod(_size(self.axes[name]) for name in names)

    def _options(self, name: str, otherwise: Value = None) -> Mapping[Value, int]:
        """Return the kinds of a deciding axis, or the single value if there is no such axis."""
        return self.kinds.get(name) or {otherwise or self.fixed[name]: 1}


def _size(axis: Axis) -> int:
    if isinstance(axis, Free):
        return cast("int", axis.words.size ** len(axis.slots))
    if axis.size is None:
        raise _Endless
    return axis.size


def _combined(one: Mapping[Effects, int], other: Mapping[Effects, int]) -> Mapping[Effects, int]:
    """Count the pairs of two choices by the fields that have an effect in either."""
    found: Counter[Effects] = Counter()
    for effects, count in one.items():
        for more, times in other.items():
            found[effects | more] += count * times
    return found


@lru_cache(maxsize=1024)
def _effects(layout: str, merge: str) -> Effects:
    return with_effect(Deciding([Layout.parse(layout)], [merge]))


@lru_cache(maxsize=1024)
def _of_network(
    links: tuple[str, ...], link_merge: str | tuple[str, ...], head: str, ups: int
) -> Effects:
    return with_effect(Deciding([Layout.parse("conv1")], ["add"], links, link_merge, head, ups))


def _kinds(field: str, axis: Axis) -> Mapping[Value, int]:
    """Count the equivalent values of a deciding axis, keyed by one value of each kind."""
    if not isinstance(axis, Free):
        return _merged((value, 1, _kind(field, value)) for value in axis.values)
    counts: Mapping[tuple[str, ...], int] = {(): 1}
    layouts: dict[tuple[str, ...], str] = {}
    # Slot by slot, since there may be millions of layouts.
    for _ in axis.slots:
        longer = {(*w, word): n for w, n in counts.items() for word in axis.words.values}
        layouts = {w: axis.layout(dict(zip(axis.slots, w, strict=False))) for w in longer}
        counts = _merged((w, n, _kind(field, layouts[w])) for w, n in longer.items())
    return {layouts[words]: count for words, count in counts.items()}


def _merged(counted: Iterable[tuple[Value, int, Value]]) -> Mapping[Value, int]:
    """Add up the counts of values of one kind, keyed by the first of them."""
    firsts: dict[Value, Value] = {}
    counts: Counter[Value] = Counter()
    for value, count, kind in counted:
        counts[firsts.setdefault(kind, value)] += count
    return counts


@lru_cache(maxsize=1024)
def _kind(field: str, value: Value) -> Value:
    """Return a key that is equal for values of a field with which the same other fields matter."""
    if isinstance(value, tuple) and field in PER_STAGE:
        return tuple(_kind(field, item) for item in value)
    match field:
        case "layout":  # A field has an effect on a design if it has one in any stage.
            return tuple(_effects(value, merge) for merge in MERGES)
        case "merge":
            return _effects("conv3 +", value)
        case "links":
            return tuple(_of_network(value, "add", "mean", ups) for ups in (0, 1))
        case "head":
            return _of_network((), "add", value, 0)
        case "ups":
            return bool(value)
        case _:
            return value
