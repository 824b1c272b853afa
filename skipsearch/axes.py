"""Axes of a search space: a list, a range, or a layout placed freely; read from plain values."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import permutations
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from skipsearch.errors import LayoutError, SkipSearchError, SpaceError, not_one_of, shown_value
from skipsearch.fields import ALWAYS_PER_STAGE, FIELDS, PER_STAGE, check_field
from skipsearch.kinds import Real, Whole
from skipsearch.layout import PLAIN_TOKENS, Layout, check_token, is_convolution
from skipsearch.recipe import FIELDS as RECIPE_FIELDS
from skipsearch.recipe import Recipe

RECIPE = "recipe."
# Fields that have a value in each stage: FIELD[i] is an axis of one stage alone.
STAGED = (*PER_STAGE, *ALWAYS_PER_STAGE)
# Fields of the recipe that take a range.
RECIPE_KINDS = {
    "batch_size": Whole,
    "crop": Whole,
    "cutout": Whole,
    "peak_lr": Real,
    "momentum": Real,
    "weight_decay": Real,
    "warmup_epochs": Real,
    "label_smoothing": Real,
}
MOST_FREE = 3  # operations of a free layout: three have 16 arrangements a slot, four would have 65
MOST_CONVS = 16  # convolutions of a free layout
MOST_STEPS = 10_000_000  # values of a range: as many as the largest batch has images
SMALLEST_STEP = 1e-12  # values of a range have 12 decimals

Value = Any  # one value of one parameter: a plain value, or a tuple of them


def level_name(axis: str, level: object) -> str:
    """Return a level of an axis as a sentence shows it.

    A name with blanks stands in quotes, and a layout without ``+`` is said to be plain: otherwise
    one sign tells it from another.
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
        """How many values there are."""
        return len(self.values)

    @property
    def labels(self) -> list[str | int | float | bool | None]:
        """The values as plain scalars: a list becomes its JSON text."""
        return [json.dumps(v) if isinstance(v, tuple) else v for v in self.values]

    def value(self, label: Value) -> Value:
        """Return the value that a label stands for."""
        return self.values[self.labels.index(label)]

    def plain(self) -> Any:
        """Return what the YAML holds."""
        return [list(v) if isinstance(v, tuple) else v for v in self.values]

    def draw(self, rng: random.Random) -> Value:
        """Draw one value, all alike."""
        return rng.choice(self.values)

    def start(self, wanted: Value) -> Value:
        """Return the wanted value where it is one of the axis', else the first."""
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
        """How many values there are; None for a continuum."""
        return (
            None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1
        )

    @property
    def values(self) -> tuple[Value, ...]:
        """All values of a stepped range; there may be millions."""
        assert self.size is not None
        return tuple(map(self._at, range(self.size)))

    def value(self, number: Value) -> Value:
        """Return the value that is meant by a number: another's multiple of a step may be off."""
        if self.whole or self.step is None:
            return number  # a last bit that differs would make another key
        return self._at(round((number - self.low) / self.step))

    def plain(self) -> Any:
        """Return what the YAML holds."""
        plain: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            plain["log"] = True
        elif self.step is not None:
            plain["step"] = self.step
        return plain

    def draw(self, rng: random.Random) -> Value:
        """Draw one value, uniformly, or uniformly in the logarithm."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            value = min(max(value, self.low), self.high)  # exp and log are off by a last bit
            return round(value) if self.whole else value
        if self.size is not None:
            return self._at(rng.randrange(self.size))
        return rng.uniform(self.low, self.high)

    def start(self, wanted: Value) -> Value:
        """Return the wanted value where it lies in the range, else the middle of the range."""
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
        """Yield the values next to one, the lower first.

        In a continuum they lie a tenth of the range away, or at the bound where that is nearer;
        whole numbers in a logarithmic range do so too, but at least 1 away.
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
            # A value between two steps has both of them beside it.
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
        """How many steps a value stands above the lowest; None in a continuum."""
        if self.step is None and not self.whole:
            return None
        return (value - self.low) / (self.step or 1)


class Free(NamedTuple):
    """An axis of layouts: convolutions that stay, and operations placed freely around them.

    [before] conv3 [between1] conv3 [before_join] + [after_join]

    Each slot is a parameter of its own; it holds any of the operations in any order, or nothing.
    """

    convs: tuple[str, ...]
    free: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The places for operations, first to last."""
        between = (f"between{i}" for i in range(1, len(self.convs)))
        return ("before", *between, "before_join", "after_join")

    @property
    def words(self) -> Choice:
        """What a slot can hold: every arrangement of any of the operations."""
        counts = range(len(self.free) + 1)
        return Choice(tuple("-".join(word) for n in counts for word in permutations(self.free, n)))

    def layout(self, words: Mapping[str, str]) -> str:
        """Return the layout that has these words in its slots, nothing where none is given."""
        first, *between, after = (words.get(slot, "") for slot in self.slots)
        run = [first]
        for conv, word in zip(self.convs, between, strict=True):
            run += [conv, word]
        return f"{'-'.join(filter(None, run))} + {after}".rstrip()

    def plain(self) -> Any:
        """Return what the YAML holds."""
        return {"convs": list(self.convs), "free": list(self.free)}


@lru_cache(maxsize=1024)
def slots(layout: Layout) -> Mapping[str, str]:
    """Return what stands in each slot of a layout, by its name: the way back of ``Free.layout``."""
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
    """The parts of an axis' or a parameter's name, such as ``layout[2].before``."""

    field: str
    stage: int | None
    slot: str


_IN_A_STAGE = re.compile(rf"({'|'.join(STAGED)})\[(0|[1-9][0-9]{{0,5}})\]")


@lru_cache(maxsize=1024)
def split_name(name: str) -> Name:
    """Split a name into field, stage and slot; the field of ``recipe.NAME`` is all of it."""
    if name.startswith(RECIPE):
        return Name(name, None, "")
    axis, _, slot = name.partition(".")
    match = _IN_A_STAGE.fullmatch(axis)
    return Name(match[1], int(match[2]), slot) if match else Name(axis, None, slot)


def fields_of(names: Iterable[str]) -> list[str]:
    """Return the fields that axes or parameters set, each once, in their order."""
    return list(dict.fromkeys(split_name(name).field for name in names))


def read_axis(name: str, value: Any) -> Axis:
    """Read one axis from what the YAML holds.

    Raises:
        SpaceError: If the name or a value is refused; the message names the place.
    """
    _check_name(name)
    place = f"axes.{name}"
    layout = split_name(name).field == "layout"
    if isinstance(value, list):
        if not value:
            raise SpaceError(f"{place}: the list is empty; give the values to choose from")
        values = [checked_value(f"{place}[{i}]", name, item) for i, item in enumerate(value)]
        seen = set()
        for i, item in enumerate(values):
            if item in seen:
                raise SpaceError(f"{place}[{i}]: {shown_value(value[i])} stands twice")
            seen.add(item)
        return Choice(tuple(values))
    if isinstance(value, dict):
        return _free(place, value) if layout else _range(place, name, value)
    other = "a free layout {convs: ..., free: ...}" if layout else "a range {low: ..., high: ...}"
    raise SpaceError(f"{place}: {shown_value(value)} is neither a list of values nor {other}")


def checked_value(place: str, name: str, value: Any) -> Value:
    """Check one value of an axis and return it in its canonical spelling.

    Args:
        place: Where it stands; the message opens with it.
        name: Of a field, of ``FIELD[i]``, or of ``recipe.NAME``.
        value: What stands there.

    Raises:
        SpaceError: If the value is refused.
    """
    field, stage, _ = split_name(name)
    short = field.removeprefix(RECIPE)
    try:
        if name.startswith(RECIPE):
            return getattr(Recipe().replace(**{short: value}), short)
        if stage is None:
            return check_field(field, value)
        return cast("tuple[Value, ...]", check_field(field, [value]))[0]
    except SkipSearchError as error:
        text = str(error)
        for opening in (f"{short}: ", f"{short}[0]: "):
            text = text.removeprefix(opening)
        raise SpaceError(f"{place}: {text}") from None


def _check_name(name: str) -> None:
    field, bracket, _ = name.partition("[")
    if not bracket:
        allowed = [*FIELDS, *(RECIPE + n for n in RECIPE_FIELDS if n != "epochs")]
        if name not in allowed:
            raise SpaceError(f"axes: {not_one_of(name, allowed)}")
    elif field not in STAGED:
        raise SpaceError(f"axes.{name}: an axis of one stage: {not_one_of(field, STAGED)}")
    elif not _IN_A_STAGE.fullmatch(name):
        raise SpaceError(
            f"axes.{name}: the brackets of {field}[0] hold a whole number:"
            " stages are numbered from 0"
        )


def _kind(name: str) -> type | None:
    """Return the kind of the values of an axis; None where they are lists, one value a stage."""
    field, stage, _ = split_name(name)
    if field.startswith(RECIPE):
        return RECIPE_KINDS.get(field.removeprefix(RECIPE))
    return None if field in ALWAYS_PER_STAGE and stage is None else type(FIELDS[field].kind)


def _range(place: str, name: str, value: Mapping[str, Any]) -> Range:
    keys = ("low", "high", "step", "log")
    _check_keys(place, value, keys)
    field = split_name(name).field
    kind = _kind(name)
    whole = kind is Whole
    if kind not in (Whole, Real):
        raise SpaceError(f"{place}: {field} takes a list of values, not a range")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"{place}.log: {shown_value(log)} is neither true nor false")
    for key in ("low", "high"):
        if key not in value:
            raise SpaceError(f"{place}.{key} is missing")
    wanted = "a whole number" if whole else "a number"
    for key in ("low", "high"):
        if value[key] is None or isinstance(value[key], list):
            raise SpaceError(f"{place}.{key}: {shown_value(value[key])} is not {wanted}")
    low = checked_value(f"{place}.low", name, value["low"])
    high = checked_value(f"{place}.high", name, value["high"])
    if not low < high:
        raise SpaceError(f"{place}: low {low:g} is not below high {high:g}")
    step = value.get("step")
    if log and step is not None:
        raise SpaceError(f"{place}: log and step exclude one another")
    if log and low <= 0:
        raise SpaceError(f"{place}.low: {low:g} is not above 0, which log needs")
    if step is not None:
        fits = isinstance(step, int if whole else int | float) and not isinstance(step, bool)
        if not fits or not 0 < step <= (high - low) * (1 + 1e-9):
            raise SpaceError(
                f"{place}.step: {shown_value(step)} is not a number above 0 within the range"
            )
    if whole and not log and step is None:
        step = 1
    if step is not None and (step < SMALLEST_STEP or (high - low) / step > MOST_STEPS):
        raise SpaceError(
            f"{place}.step: {step:g} makes {(high - low) / step:.3g} values, more than"
            f" {MOST_STEPS:,}, or values less than {SMALLEST_STEP:g} apart; leave it out for every"
            " number in the range"
        )
    if step is not None:  # The last value is the bound: Optuna wants a step that divides.
        last = low + math.floor((high - low) / step + 1e-9) * step
        high = min(high, last) if whole else min(high, round(last, 12))
    return Range(low, high, step, log, whole)


def _free(place: str, value: Mapping[str, Any]) -> Free:
    _check_keys(place, value, Free._fields)
    for key, example in (("convs", "[conv3, conv3]"), ("free", "[bn, relu]")):
        if key not in value:
            raise SpaceError(f"{place}.{key} is missing")
        if not isinstance(value[key], list) or not value[key]:
            raise SpaceError(
                f"{place}.{key}: {shown_value(value[key])} is not a list such as {example}"
            )
    convs, free = value["convs"], value["free"]
    for i, conv in enumerate(convs):
        where = f"{place}.convs[{i}]"
        if not isinstance(conv, str) or not is_convolution(conv):
            allowed = ("conv1", "conv3", "conv5", "conv7", "dw3", "dw5", "dw7")
            raise SpaceError(f"{where}: a convolution: {not_one_of(conv, allowed)}")
        try:
            check_token(conv, (), conv)
        except LayoutError as error:
            raise SpaceError(f"{where}: {error}") from None
    for i, word in enumerate(free):
        if word not in PLAIN_TOKENS:
            raise SpaceError(f"{place}.free[{i}]: {not_one_of(word, PLAIN_TOKENS)}")
        if word in free[:i]:
            raise SpaceError(f"{place}.free[{i}]: {shown_value(word)} stands twice")
    for key, things, most in (
        ("convs", "convolutions", MOST_CONVS),
        ("free", "operations", MOST_FREE),
    ):
        if len(value[key]) > most:
            raise SpaceError(f"{place}.{key}: {len(value[key])} {things} are more than {most}")
    return Free(tuple(convs), tuple(free))


def _check_keys(place: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in value:
        if key not in keys:
            raise SpaceError(f"{place}: {not_one_of(key, keys)}")
