"""Space: a base design and axes, read from YAML; its size, its designs, its constraints."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

from skipsearch.cost import cost
from skipsearch.design import FIELDS, Design, check_field, has_effect, spread
from skipsearch.errors import DesignError, SkipSearchError, SpaceError, not_one_of
from skipsearch.layout import Layout
from skipsearch.recipe import FIELDS as RECIPE_FIELDS
from skipsearch.recipe import Recipe
from skipsearch.text import dump_yaml, parse_yaml, read_text

KEYS = ("name", "source", "base", "recipe", "axes", "constraints")
RECIPE = "recipe."
# Fields whose ranges are whole numbers; the other ranges are of real numbers.
WHOLE = ("stem_width", "groups", "recipe.batch_size", "recipe.crop", "recipe.cutout")
REAL = (
    "bottleneck_ratio",
    "compression",
    "drop_path",
    "dropout",
    "shortcut_scale",
    "branch_scale",
    "shortcut_dropout",
    "gate_bias",
    "recipe.peak_lr",
    "recipe.momentum",
    "recipe.weight_decay",
    "recipe.warmup_epochs",
    "recipe.label_smoothing",
)
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
MEASURES = ("params", "macs", "activation_bytes")
ENUMERABLE = 10_000  # points up to which a finite space is listed
TRIES = 2_000  # random draws before a space counts as empty

Value = Any  # one value of one axis: a plain value, or a tuple of them
Choose = Callable[[str, "Choice | Range"], Value]


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

    def plain(self) -> Any:
        """Return what the YAML holds."""
        return [list(v) if isinstance(v, tuple) else v for v in self.values]

    def draw(self, rng: random.Random) -> Value:
        """Draw one value, all alike."""
        return rng.choice(self.values)


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
        """All values of a stepped range."""
        assert self.size is not None
        assert self.step is not None
        # Rounded, since 3 x 0.1 is not 0.3 in binary.
        return tuple(round(self.low + i * self.step, 12) for i in range(self.size))

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
            return round(value) if self.whole else value
        if self.step is not None:
            return rng.choice(self.values)
        return rng.uniform(self.low, self.high)


Axis = Choice | Range


class Constraint(NamedTuple):
    """A bound on what a design may cost, such as ``params <= 2e6``."""

    measure: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        bound = int(self.bound) if self.bound.is_integer() else self.bound
        return f"{self.measure} {self.comparison} {bound}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of a space.

    Attributes:
        values: The value of each axis that matters for this design.
        design: What they build.
        recipe: The recipe they train it with, where axes of the recipe are searched as well.
    """

    values: Mapping[str, Value]
    design: Design
    recipe: Recipe

    @property
    def key(self) -> str:
        """Equal for candidates that would be the same training: design and recipe."""
        return f"{self.design.id}-{self.recipe.id}"


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space: a base design, axes along which it varies, and constraints.

    Attributes:
        name: What to call it.
        axes: The axes, by the name of the field (or ``recipe.NAME``) that each one sets.
        base: Fields of the design that no axis sets.
        recipe: Fields of the recipe that differ from its defaults.
        constraints: Bounds that every design must meet before it is trained.
        source: Where the question comes from.
        in_channels: Channels of the images that constraints are computed for.
        image_size: Their height and width, in pixels.
        classes: Number of classes.

    Raises:
        SpaceError: If there is no axis, or a name or value is refused.
    """

    name: str
    axes: Mapping[str, Axis]
    base: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    source: str = ""
    in_channels: int = 3
    image_size: int = 32
    classes: int = 10

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a space from a YAML file.

        Raises:
            SpaceError: If the file is missing or anything in it is refused; the message names
                file and place.
        """
        return cls.from_yaml(read_text(path, SpaceError), str(path))

    @classmethod
    def from_yaml(cls, text: str, where: str = "space") -> Self:
        """Read a space from YAML; ``where`` names the text in messages."""
        return cls.from_dict(parse_yaml(text, where, SpaceError), where)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "space") -> Self:
        """Build a space from plain values.

        Args:
            values: What the YAML holds.
            where: What to call it in messages.

        Raises:
            SpaceError: If anything is refused; the message names the place.
        """
        try:
            for key in values:
                if key not in KEYS:
                    raise SpaceError(f"unknown key: {not_one_of(key, KEYS)}")
            base = _mapping(values, "base")
            recipe = _mapping(values, "recipe")
            axes = {name: _axis(name, axis) for name, axis in _mapping(values, "axes").items()}
            space = cls(
                name=_text(values, "name", Path(where).stem),
                source=_text(values, "source", ""),
                base=_checked_base(base, axes),
                recipe=_checked_recipe(recipe, axes),
                axes=axes,
                constraints=_constraints(values.get("constraints") or []),
            )
        except SkipSearchError as error:
            raise SpaceError(f"{where}: {error}") from None
        return space

    def __post_init__(self) -> None:
        if not self.axes:
            raise SpaceError(
                "axes: the space is empty; give at least one axis, such as shortcut: [pad, proj]"
            )
        if "layout" not in self.axes and "layout" not in self.base:
            raise SpaceError("base.layout is missing, and no axis sets it")
        rng = random.Random(0)
        refused = None
        for _ in range(TRIES):
            try:
                self.suggest(lambda _, axis: axis.draw(rng))
                return
            except DesignError as error:
                refused = error
        raise SpaceError(f"the space is empty: no combination can be built: {refused}")

    def to_dict(self) -> dict[str, Any]:
        """Return what its YAML holds."""
        values: dict[str, Any] = {"name": self.name}
        if self.source:
            values["source"] = self.source
        values["base"] = {k: list(v) if isinstance(v, tuple) else v for k, v in self.base.items()}
        if self.recipe:
            values["recipe"] = dict(self.recipe)
        values["axes"] = {name: axis.plain() for name, axis in self.axes.items()}
        if self.constraints:
            values["constraints"] = [str(constraint) for constraint in self.constraints]
        return values

    def to_yaml(self) -> str:
        """Return its YAML."""
        return dump_yaml(self.to_dict())

    def for_images(self, in_channels: int, image_size: int, classes: int) -> Self:
        """Return the space with its constraints computed for images of another shape."""
        return dataclasses.replace(
            self, in_channels=in_channels, image_size=image_size, classes=classes
        )

    @property
    def size(self) -> int | None:
        """How many points there are, conditional axes counted where they matter; None if endless.

        Points that build the same network are counted apart here, and only once by
        ``enumerate``; constraints are not looked at.
        """
        total = 0
        for chosen in self._heads():
            sizes = [
                axis.size
                for name, axis in self.axes.items()
                if name not in chosen and self._matters(name, chosen)
            ]
            if None in sizes:
                return None
            total += math.prod(size for size in sizes if size is not None)
        return total

    def enumerate(self) -> Iterator[Design]:
        """Yield every distinct network of a finite space that meets the constraints, once.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        seen = set()
        for candidate in self.candidates():
            if candidate.design.id not in seen:
                seen.add(candidate.design.id)
                yield candidate.design

    def candidates(self) -> Iterator[Candidate]:
        """Yield every distinct training (design and recipe) of a finite space, once.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        seen = set()
        for candidate in self._points():
            if candidate.key not in seen:
                seen.add(candidate.key)
                yield candidate

    def unused(self) -> list[str]:
        """Name the values of a finite space's axes that no allowed design has.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        used: dict[str, set[Value]] = {name: set() for name in self.axes}
        for candidate in self._points():
            for name, value in candidate.values.items():
                used[name].add(value)
        return [
            f"axes.{name}[{i}]: {value}"
            for name, axis in self.axes.items()
            for i, value in enumerate(axis.values)
            if value not in used[name]
        ]

    def _points(self) -> Iterator[Candidate]:
        """Yield every allowed point, those that build the same network too."""
        for name, axis in self.axes.items():
            if axis.size is None:
                raise SpaceError(f"axes.{name} is continuous: the space cannot be enumerated")
        for chosen in self._heads():
            names = [n for n in self.axes if n not in chosen and self._matters(n, chosen)]
            for values in product(*(self.axes[name].values for name in names)):
                try:
                    candidate = self.candidate(chosen | dict(zip(names, values, strict=True)))
                except DesignError:
                    continue  # This combination cannot be built.
                if not self.violated(candidate.design):
                    yield candidate

    def sample(self, seed: int | random.Random | None = None) -> Design:
        """Draw one design that meets the constraints.

        Args:
            seed: A seed, or a generator to draw from; None for a fresh one.

        Raises:
            SpaceError: If 2,000 draws found none.
        """
        return self.draw(seed if isinstance(seed, random.Random) else random.Random(seed)).design

    def draw(self, rng: random.Random) -> Candidate:
        """Draw one candidate that meets the constraints; raises as ``sample`` does."""
        reason = ""
        for _ in range(TRIES):
            try:
                candidate = self.suggest(lambda _, axis: axis.draw(rng))
            except DesignError as error:
                reason = str(error)
                continue
            reason = self.violated(candidate.design)
            if not reason:
                return candidate
        raise SpaceError(f"{self.name}: no design of {TRIES} drawn is allowed: {reason}")

    def suggest(self, choose: Choose) -> Candidate:
        """Let a callable choose a value for each axis that matters, in a fixed order.

        An axis is left out where no value of it could change the design at hand: the design
        knows which of its fields matter.

        Args:
            choose: From the axis' name and the axis to a value.

        Raises:
            DesignError: If the values chosen cannot be built together.
        """
        values: dict[str, Value] = {}
        # Fields of Design stand in the order in which one decides whether the next matters.
        ordered = [name for name in FIELDS if name in self.axes]
        ordered += [name for name in self.axes if name.startswith(RECIPE)]
        for name in ordered:
            if self._matters(name, values):
                values[name] = choose(name, self.axes[name])
        return self.candidate(values)

    def candidate(self, values: Mapping[str, Value]) -> Candidate:
        """Build the candidate at given values of the axes.

        Raises:
            DesignError: If they cannot be built together.
        """
        design = Design.from_dict(
            {**self.base, **{n: v for n, v in values.items() if not n.startswith(RECIPE)}}
        )
        recipe = Recipe.from_dict(
            {
                **self.recipe,
                **{n.removeprefix(RECIPE): v for n, v in values.items() if n.startswith(RECIPE)},
            }
        )
        return Candidate(dict(values), design, recipe)

    def violated(self, design: Design) -> str:
        """Return the first constraint that a design breaks, with its figure, or an empty text."""
        if not self.constraints:
            return ""
        figures = cost(design, self.in_channels, self.image_size, self.classes)
        for constraint in self.constraints:
            figure = getattr(figures, constraint.measure)
            if not COMPARISONS[constraint.comparison](figure, constraint.bound):
                return f"{constraint}: it has {figure:,}"
        return ""

    def _heads(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of layout and merge, which decide what else matters."""
        layouts: tuple[dict[str, Value], ...] = ({},)
        if "layout" in self.axes:
            layouts = tuple({"layout": value} for value in self.axes["layout"].values)
        for chosen in layouts:
            if "merge" in self.axes and self._matters("merge", chosen):
                for value in self.axes["merge"].values:
                    yield chosen | {"merge": value}
            else:
                yield dict(chosen)

    def _matters(self, name: str, chosen: Mapping[str, Value]) -> bool:
        if name == "layout" or name.startswith(RECIPE):
            return True
        layout = chosen.get("layout", self.base.get("layout"))
        merge = chosen.get("merge", self.base.get("merge", "add"))
        stages = next((len(value) for value in (layout, merge) if isinstance(value, tuple)), 1)
        layouts = [Layout.parse(text) for text in spread(layout, stages)]
        merges = spread(merge, stages)
        # Where the two are for different numbers of stages the design refuses them.
        return len(layouts) != len(merges) or has_effect(name, layouts, merges)


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SpaceError(f"{key}: a mapping of 'name: value' lines is expected, not {value!r}")
    return value


def _text(values: Mapping[str, Any], key: str, default: str) -> str:
    value = values.get(key, default)
    if not isinstance(value, str):
        raise SpaceError(f"{key}: {value!r} is not a text")
    return value


def _checked_base(base: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    checked = {}
    for name, value in base.items():
        if name not in FIELDS:
            raise SpaceError(f"base: {not_one_of(name, FIELDS)}")
        checked[name] = _field_value(f"base.{name}", name, value)
    return {name: value for name, value in checked.items() if name not in axes}


def _checked_recipe(recipe: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    if "epochs" in recipe:
        raise SpaceError("recipe.epochs: the budget is given to the search, not to the space")
    try:
        Recipe.from_dict(recipe)
    except SkipSearchError as error:
        raise SpaceError(f"recipe: {error}") from None
    return {name: value for name, value in recipe.items() if RECIPE + name not in axes}


def _field_value(place: str, name: str, value: Any) -> Value:
    """Check one value of one field of a design or a recipe; the message opens with the place."""
    try:
        if name.startswith(RECIPE):
            short = name.removeprefix(RECIPE)
            return getattr(Recipe().replace(**{short: value}), short)
        return check_field(name, value)
    except SkipSearchError as error:
        text = str(error)
        short = name.removeprefix(RECIPE)
        raise SpaceError(f"{place}: {text.removeprefix(f'{short}: ')}") from None


def _axis(name: str, value: Any) -> Axis:
    place = f"axes.{name}"
    allowed = [*FIELDS, *(RECIPE + n for n in RECIPE_FIELDS if n != "epochs")]
    if name not in allowed:
        raise SpaceError(f"axes: {not_one_of(name, allowed)}")
    if isinstance(value, list):
        if not value:
            raise SpaceError(f"{place}: the list is empty; give the values to choose from")
        values = [_field_value(f"{place}[{i}]", name, item) for i, item in enumerate(value)]
        for i, item in enumerate(values):
            if item in values[:i]:
                raise SpaceError(f"{place}[{i}]: {value[i]!r} stands twice")
        return Choice(tuple(values))
    if isinstance(value, dict):
        return _range(place, name, value)
    raise SpaceError(
        f"{place}: {value!r} is neither a list of values nor a range {{low: ..., high: ...}}"
    )


def _range(place: str, name: str, value: Mapping[str, Any]) -> Range:
    keys = ("low", "high", "step", "log")
    for key in value:
        if key not in keys:
            raise SpaceError(f"{place}: {not_one_of(key, keys)}")
    if name not in WHOLE and name not in REAL:
        raise SpaceError(f"{place}: {name} takes a list of values, not a range")
    whole = name in WHOLE
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"{place}.log: {log!r} is neither true nor false")
    for key in ("low", "high"):
        if key not in value:
            raise SpaceError(f"{place}.{key} is missing")
    wanted = "a whole number" if whole else "a number"
    for key in ("low", "high"):
        if value[key] is None or isinstance(value[key], list):
            raise SpaceError(f"{place}.{key}: {value[key]!r} is not {wanted}")
    low = _field_value(f"{place}.low", name, value["low"])
    high = _field_value(f"{place}.high", name, value["high"])
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
            raise SpaceError(f"{place}.step: {step!r} is not a number above 0 within the range")
    if whole and not log and step is None:
        step = 1
    if step is not None:  # The last value is the bound: Optuna wants a step that divides.
        last = low + math.floor((high - low) / step + 1e-9) * step
        high = min(high, last) if whole else min(high, round(last, 12))
    return Range(low, high, step, log, whole)


def _constraints(texts: Any) -> tuple[Constraint, ...]:
    if not isinstance(texts, list):
        raise SpaceError(f"constraints: {texts!r} is not a list such as [params <= 2e6]")
    constraints = []
    for i, text in enumerate(texts):
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE_]+)\s*", str(text))
        try:
            if match is None:
                raise ValueError
            bound = float(match[3])
            if not math.isfinite(bound):
                raise ValueError
        except ValueError:
            raise SpaceError(
                f"constraints[{i}]: {text!r} is not of the form 'params <= 2e6'"
            ) from None
        assert match is not None
        if match[1] not in MEASURES:
            raise SpaceError(f"constraints[{i}]: {not_one_of(match[1], MEASURES)}")
        constraints.append(Constraint(match[1], match[2], bound))
    return tuple(constraints)
