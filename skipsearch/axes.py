"""Axes of a search space: a list, a range, or a layout placed freely."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import permutations
from types import MappingProxyType
from typing import Any, NamedTuple

from skipsearch.fields import ALWAYS_PER_STAGE, PER_STAGE
from skipsearch.layout import Layout, is_convolution

RECIPE = "recipe."
# Fields with a value in each stage: FIELD[i] is an axis of a single stage.
STAGED = (*PER_STAGE, *ALWAYS_PER_STAGE)

Value = Any  # one value of one parameter: a plain value, or a tuple of them


def level_name(axis: str, level: object) -> str:
    """Return a level of an axis as shown in a sentence.

    A name with blanks is quoted. A layout without ``+`` is called plain: otherwise a single
    character would distinguish it from another.
    """
    name = str(list(level)) if isinstance(level, tuple) else str(level) or "nothing"
    field, _, slot = split_name(axis)
    plain = "plain " if field == "layout" and not slot and not {"+", "["} & set(name) else ""
    return plain + (f"'{name}'" if " " in name and name[0] != "[" else name)


class Choice(NamedTuple):
    """An axis that is a list of values."""

    values: tuple[Value, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def labels(self) -> list[str | int | float | bool | None]:
        """The values as plain scalars; a list becomes its JSON text."""
        return [json.dumps(v) if isinstance(v, tuple) else v for v in self.values]

    def value(self, label: Value) -> Value:
        """Return the value of a label."""
        return self.values[self.labels.index(label)]

    def plain(self) -> Any:
        """Return the value as written in YAML."""
        return [list(v) if isinstance(v, tuple) else v for v in self.values]

    def draw(self, rng: random.Random) -> Value:
        """Draw one value uniformly."""
        return rng.choice(self.values)

    def start(self, wanted: Value) -> Value:
        """Return the wanted value if the axis has it, else the first."""
        return wanted if wanted in self.values else self.values[0]

    def moves(self, value: Value) -> Iterator[Value]:
        """Yield every other value."""
        return (other for other in self.values if other != value)


class Range(NamedTuple):
    """An axis that is an interval of numbers, both ends included."""

    low: float
    high: float
    step: float | None
    log: bool
    whole: bool

    @property
    def size(self) -> int | None:
        """Number of values; None for a continuous range."""
        return (
            None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1
        )

    @property
    def values(self) -> tuple[Value, ...]:
        """All values of a stepped range, possibly millions."""
        assert self.size is not None
        return tuple(map(self._at, range(self.size)))

    def value(self, number: Value) -> Value:
        """Return the value that corresponds to a number, which may be rounded differently."""
        if self.whole or self.step is None:
            return number  # unchanged: another last bit would give another key
        return self._at(round((number - self.low) / self.step))

    def plain(self) -> Any:
        """Return the value as written in YAML."""
        plain: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            plain["log"] = True
        elif self.step is not None:
            plain["step"] = self.step
        return plain

    def draw(self, rng: random.Random) -> Value:
        """Draw one value, uniformly or log-uniformly."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            value = min(max(value, self.low), self.high)  # exp and log round the last bit
            return round(value) if self.whole else value
        if self.size is not None:
            return self._at(rng.randrange(self.size))
        return rng.uniform(self.low, self.high)

    def start(self, wanted: Value) -> Value:
        """Return the wanted value if the range has it, else the middle of the range."""
        number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
        if number and self.low <= wanted <= self.high:
            place = self._place(wanted)
            if place is None:
                return wanted
            if abs(place - round(place)) < 1e-9:
                return self._at(round(place))
        if self.log:
            middle = math.sqrt(self.low) * math.sqrt(self.high)
            return round(middle) if self.whole else middle
        return (self.low + self.high) / 2 if self.size is None else self._at((self.size - 1) // 2)

    def moves(self, value: Value) -> Iterator[Value]:
        """Yield the neighbours of a value, the lower one first.

        In a continuous range they lie a tenth of the range away, or at the bound if that is nearer.
        The same holds for whole numbers in a logarithmic range, but they lie at least 1 away.
        """
        if self.log and self.whole:
            factor = (self.high / self.low) ** 0.1
            for moved in (
                max(self.low, min(value - 1, round(value / factor))),
                min(self.high, max(value + 1, round(value * factor))),
            ):
                if moved != value:
                    yield moved
            return
        place = self._place(value)
        if place is not None:
            last = self._place(self.high)
            assert last is not None
            # The neighbours of a value between two steps are both of them.
            for i in (math.ceil(place - 1e-9) - 1, math.floor(place + 1e-9) + 1):
                if 0 <= i <= last + 1e-9:
                    yield self._at(i)
            return
        tenth = (self.high - self.low) / 10
        if self.log:
            tenth = (math.log(self.high) - math.log(self.low)) / 10
        for way in (-tenth, tenth):
            moved = value * math.exp(way) if self.log else value + way
            moved = min(max(moved, self.low), self.high)
            if moved != value:
                yield moved

    def _at(self, i: int) -> Value:
        # Rounded, since 3 x 0.1 is not 0.3 in binary.
        return round(self.low + i * (self.step or 1), 12) if i else self.low

    def _place(self, value: float) -> float | None:
        """Return the number of steps from the lowest value; None in a continuous range."""
        if self.step is None and not self.whole:
            return None
        return (value - self.low) / (self.step or 1)


class Free(NamedTuple):
    """An axis of layouts: fixed convolutions, and operations placed freely around them.

    [before] conv3 [between1] conv3 [before_join] + [after_join]

    Each slot is a separate parameter: any of the operations in any order, or no operation.
    """

    convs: tuple[str, ...]
    free: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots for operations, first to last."""
        between = (f"between{i}" for i in range(1, len(self.convs)))
        return ("before", *between, "before_join", "after_join")

    @property
    def words(self) -> Choice:
        """Possible contents of a slot: every arrangement of any of the operations."""
        counts = range(len(self.free) + 1)
        return Choice(tuple("-".join(word) for n in counts for word in permutations(self.free, n)))

    def layout(self, words: Mapping[str, str]) -> str:
        """Return the layout with these words in its slots; a slot without a word is empty."""
        first, *between, after = (words.get(slot, "") for slot in self.slots)
        run = [first]
        for conv, word in zip(self.convs, between, strict=True):
            run += [conv, word]
        return f"{'-'.join(filter(None, run))} + {after}".rstrip()

    def plain(self) -> Any:
        """Return the value as written in YAML."""
        return {"convs": list(self.convs), "free": list(self.free)}


@lru_cache(maxsize=1024)
def slots(layout: Layout) -> Mapping[str, str]:
    """Return the contents of a layout's slots by slot name: the inverse of ``Free.layout``."""
    runs: list[list[str]] = [[]]
    for token in layout.branch:
        if is_convolution(token):
            runs.append([])
        else:
            runs[-1].append(token)
    names = ("before", *(f"between{i}" for i in range(1, len(runs) - 1)), "before_join")
    words = dict(zip(names, map("-".join, runs), strict=True))
    return MappingProxyType(words | {"after_join": "-".join(layout.after)})


Parameter = Choice | Range
Axis = Parameter | Free


class Name(NamedTuple):
    """The parts of the name of an axis or parameter, such as ``layout[2].before``."""

    field: str
    stage: int | None
    slot: str


IN_A_STAGE = re.compile(rf"({'|'.join(STAGED)})\[(0|[1-9][0-9]{{0,5}})\]")


@lru_cache(maxsize=1024)
def split_name(name: str) -> Name:
    """Split a name into field, stage and slot; the field of ``recipe.NAME`` is the whole name."""
    if name.startswith(RECIPE):
        return Name(name, None, "")
    axis, _, slot = name.partition(".")
    match = IN_A_STAGE.fullmatch(axis)
    return Name(match[1], int(match[2]), slot) if match else Name(axis, None, slot)


def fields_of(names: Iterable[str]) -> list[str]:
    """Return the fields that axes or parameters set, without repeats, in order."""
    return list(dict.fromkeys(split_name(name).field for name in names))
