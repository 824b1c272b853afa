"""Space: a base design and axes, read from YAML; its size, its designs, its constraints."""

from __future__ import annotations

import dataclasses
import math
import operator
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from skipsearch.axes import (
    RECIPE,
    Axis,
    Choice,
    Free,
    Parameter,
    Value,
    checked_value,
    read_axis,
    split_name,
)
from skipsearch.cost import cost
from skipsearch.counting import count_points
from skipsearch.design import Design
from skipsearch.errors import DesignError, SkipSearchError, SpaceError, not_one_of, shown_value
from skipsearch.fields import DECIDING, FIELDS, PER_STAGE, check_field, has_effect, spread
from skipsearch.layout import Layout
from skipsearch.ready import is_name, ready_path
from skipsearch.recipe import Recipe
from skipsearch.text import dump_yaml, parse_yaml, read_text

KEYS = ("name", "source", "base", "recipe", "axes", "constraints")
DEFAULTS = {name: field.default for name, field in FIELDS.items()}
DEFAULTS["layout"] = "conv3 +"  # never built: it stands where axes set the layout of every stage
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
MEASURES = ("params", "macs", "activation_bytes")
ENUMERABLE = 10_000  # points up to which a finite space is listed
LISTED = 2_000  # points up to which a space is described by its distinct networks
LISTED_BLOCKS = 200_000  # blocks of their designs, all together
MOST_POINTS = 1_000_000  # points up to which a finite space can be gone through at all
TRIES = 2_000  # random draws before a space counts as empty

Choose = Callable[[str, Parameter], Value]


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
        values: The value of each parameter that matters for this design.
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


class Listing(NamedTuple):
    """What going through all points of a space shows.

    Attributes:
        networks: Number of distinct networks that meet the constraints.
        trainings: Number of distinct trainings, a network and a recipe each.
        unused: Values of axes that no allowed design has, each with its place.
    """

    networks: int
    trainings: int
    unused: list[str]


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space: a base design, axes along which it varies, and constraints.

    Attributes:
        name: What to call it.
        axes: The axes as written, by what each one sets: a field; ``FIELD[i]``, a field with a
            value in each stage, in one stage alone and over the base's value (stages are numbered
            from 0, as ``design.layout[0]`` is); or ``recipe.NAME``. A ``Free`` layout is several
            parameters, see ``parameters``.
        base: Fields of the design that no axis sets.
        recipe: Fields of the recipe that differ from its defaults.
        constraints: Bounds that every design must meet before it is trained.
        source: Where the question comes from.
        in_channels: Channels of the images that constraints are computed for.
        image_size: Their height and width, in pixels.
        classes: Number of classes.

    Raises:
        SpaceError: If there is no axis, a name or value is refused, two axes set the same, or no
            design has the stage of an axis.
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

        Args:
            path: The file, or the name of a ready space as a text, such as ``quickstart``.

        Raises:
            SpaceError: If the file is missing or anything in it is refused; the message names
                file and place.
        """
        if is_name(path):
            path = ready_path(str(path))
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
            axes = {name: read_axis(name, axis) for name, axis in _mapping(values, "axes").items()}
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
        stages = {f"layout[{i}]" for i in range(max(self._stage_counts))}
        if not ("layout" in self.axes or "layout" in self.base or stages <= self.axes.keys()):
            raise SpaceError("base.layout is missing, and no axis sets it in all stages")
        self._check_stages()
        rng = random.Random(0)
        refused = None
        for _ in range(TRIES):
            try:
                self.suggest(lambda _, axis: axis.draw(rng))
                return
            except DesignError as error:
                refused = error
        raise SpaceError(f"the space is empty: no combination can be built: {refused}")

    def _check_stages(self) -> None:
        most = max(self._stage_counts)
        for name in self.axes:
            field, stage, _ = split_name(name)
            if stage is None:
                continue
            if field in self.axes:
                raise SpaceError(f"axes.{name}: axes.{field} sets this stage too; keep one of them")
            if stage >= most:
                raise SpaceError(
                    f"axes.{name}: no design has this stage: stages are numbered from 0"
                    f" to {most - 1}"
                )

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

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """What is chosen independently, by name, in the order of choosing.

        An axis is one parameter under its own name; a free layout is one a slot, such as
        ``layout.before_join``. Those that decide whether others matter come first.
        """
        parameters: dict[str, Parameter] = {}
        for name, axis in self._ordered_axes().items():
            if isinstance(axis, Free):
                parameters |= {f"{name}.{slot}": axis.words for slot in axis.slots}
            else:
                parameters[name] = axis
        return parameters

    @cached_property
    def size(self) -> int | None:
        """How many points there are, conditional axes counted where they matter; None if endless.

        Points that build the same network are counted apart here, and only once by
        ``enumerate``; constraints are not looked at.
        """
        fixed = {name: self._whole(name, {}) for name in DECIDING}
        return count_points(self.axes, fixed, self._stage_counts)

    @cached_property
    def conditional(self) -> frozenset[str]:
        """The parameters that have no effect on some designs, and are left out of their values."""
        options = {name: self.parameters[name].values for name in self._deciding}
        # Those that decide are lists; of very many combinations the first show it.
        heads = islice(self._heads(options), LISTED)
        always = set(self.parameters)
        for head in heads:
            always &= {*head, *self._others(head)}
        return frozenset(self.parameters) - always

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
        return self._unused(self._points())

    def listing(self) -> Listing | None:
        """Go through all points once; None if there are too many, or if the space is endless."""
        if self.size is None or self.size > LISTED:
            return None
        points, blocks = [], 0
        for candidate in self._points():
            points.append(candidate)
            blocks += sum(candidate.design.depths)
            if blocks > LISTED_BLOCKS:
                return None
        networks = {candidate.design.id for candidate in points}
        trainings = {candidate.key for candidate in points}
        return Listing(len(networks), len(trainings), self._unused(points))

    def _unused(self, points: Iterable[Candidate]) -> list[str]:
        used: dict[str, set[Value]] = {name: set() for name in self.parameters}
        for candidate in points:
            for name, value in candidate.values.items():
                used[name].add(value)
        return [
            f"axes.{name}[{i}]: {'nothing' if value == '' else value}"
            for name, parameter in self.parameters.items()
            for i, value in enumerate(parameter.values)
            if value not in used[name]
        ]

    def _points(self) -> Iterator[Candidate]:
        """Yield every allowed point, those that build the same network too."""
        for name, parameter in self.parameters.items():
            if parameter.size is None:
                raise SpaceError(f"axes.{name} is continuous: the space cannot be enumerated")
        if self.size is not None and self.size > MOST_POINTS:
            raise SpaceError(
                f"{self.name}: the space has {self.size:,} points, and more than {MOST_POINTS:,}"
                " cannot be enumerated"
            )
        options = {name: self.parameters[name].values for name in self._deciding}
        for head in self._heads(options):
            names = self._others(head)
            for values in product(*(self.parameters[name].values for name in names)):
                candidate = self._allowed(head | dict(zip(names, values, strict=True)))
                if candidate is not None:
                    yield candidate

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield every allowed candidate that differs from one in a single parameter, once.

        A ``Choice`` moves to every other value, a ``Range`` to the values next to it (see
        ``Range.moves``). A parameter that begins to matter by the move has the value of the
        candidate's design where its axis has that one, else the first of a ``Choice`` or the
        middle of a ``Range``; one that no longer matters is left out. Of neighbours that are the
        same training the first is yielded, and none that is the candidate's own.

        Args:
            candidate: A point of this space, from ``draw``, ``suggest`` or ``candidate``.
        """

        def completed(values: Mapping[str, Value]) -> dict[str, Value]:
            return self._choose(
                lambda name, parameter: (
                    values[name] if name in values else parameter.start(_value_in(candidate, name))
                )
            )

        values = completed(candidate.values)
        seen = {candidate.key}
        for name, value in values.items():
            for moved in self.parameters[name].moves(value):
                neighbour = self._allowed(completed(values | {name: moved}))
                if neighbour is not None and neighbour.key not in seen:
                    seen.add(neighbour.key)
                    yield neighbour

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
        """Let a callable choose a value for each parameter that matters, in a fixed order.

        A parameter is left out where no value of it could change the design at hand: the design
        knows which of its fields matter.

        Args:
            choose: From the parameter's name and the parameter to a value.

        Raises:
            DesignError: If the values chosen cannot be built together.
        """
        return self.candidate(self._choose(choose))

    def _choose(self, choose: Choose) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if self._matters(name, values):
                values[name] = choose(name, parameter)
        return values

    def candidate(self, values: Mapping[str, Value]) -> Candidate:
        """Build the candidate at given values of the parameters.

        Raises:
            DesignError: If they cannot be built together.
        """
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        fields, recipe = dict(self.base), dict(self.recipe)
        settings = self._assembled(values)
        staged: dict[str, int] = {}  # fields, and the last of their stages with a value of its own
        for name, value in settings.items():
            field, stage, slot = split_name(name)
            if name.startswith(RECIPE):
                recipe[name.removeprefix(RECIPE)] = value
            elif stage is None or slot:
                fields[name] = value
            else:
                staged[field] = max(stage, staged.get(field, 0))
        for field, last in staged.items():
            depths = check_field("depths", fields.get("depths", DEFAULTS["depths"]))
            stages = len(cast("tuple[int, ...]", depths))
            spread_out = spread(fields.get(field, DEFAULTS[field]), stages)
            if last >= len(spread_out):
                raise DesignError(
                    f"{field}[{last}]: there are {len(spread_out)} stages, numbered from 0"
                )
            fields[field] = _in_stages(field, spread_out, settings)
        return Candidate(values, Design.from_dict(fields), Recipe.from_dict(recipe))

    def _allowed(self, values: Mapping[str, Value]) -> Candidate | None:
        """Build a candidate; None where it cannot be built, or breaks a constraint."""
        try:
            candidate = self.candidate(values)
        except DesignError:
            return None
        return None if self.violated(candidate.design) else candidate

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

    def _ordered_axes(self) -> dict[str, Axis]:
        order = list(dict.fromkeys((*DECIDING, *FIELDS)))

        def place(name: str) -> tuple[int, int]:
            field, stage, _ = split_name(name)
            return order.index(field) if field in order else len(order), stage or 0

        return {name: self.axes[name] for name in sorted(self.axes, key=place)}

    @cached_property
    def _deciding(self) -> tuple[str, ...]:
        return tuple(name for name in self.parameters if split_name(name).field in DECIDING)

    @cached_property
    def _stage_counts(self) -> set[int]:
        """The numbers of stages that a design of the space can have."""
        counts = []
        for name in ("depths", "widths"):
            axis = self.axes.get(name)
            values = axis.values if isinstance(axis, Choice) else [self._whole(name, {})]
            counts.append({len(value) for value in values})
        return counts[0] & counts[1] or counts[0]  # Where none fits both, the design says so.

    def _heads(self, options: Mapping[str, Iterable[Value]]) -> Iterator[dict[str, Value]]:
        """Yield every combination of the parameters that decide what else matters."""
        heads: Iterator[dict[str, Value]] = iter([{}])
        for name, values in options.items():
            heads = self._branched(heads, name, values)
        return heads

    def _branched(
        self, heads: Iterator[dict[str, Value]], name: str, values: Iterable[Value]
    ) -> Iterator[dict[str, Value]]:
        for head in heads:
            if self._matters(name, head):
                yield from (head | {name: value} for value in values)
            else:
                yield head

    def _others(self, head: Mapping[str, Value]) -> list[str]:
        """Name the parameters that matter beside those that decide."""
        return [n for n in self.parameters if n not in self._deciding and self._matters(n, head)]

    def _matters(self, name: str, chosen: Mapping[str, Value]) -> bool:
        """Whether a parameter has an effect, given the values of all that decide about it.

        Where the number of stages is not yet chosen it is the largest of the space.
        """
        field, stage, _ = split_name(name)
        if field == "layout" or name.startswith(RECIPE):
            return True
        values = self._assembled(chosen)
        wholes = {field: self._whole(field, values) for field in DECIDING}
        counts = {len(wholes[f]) for f in DECIDING if f in PER_STAGE and _is_list(wholes[f])}
        stages = max(counts or self._stage_counts)
        if len(counts) > 1 or (stage is not None and stage >= stages):
            return True  # The design refuses them.
        here = slice(None) if stage is None else slice(stage, stage + 1)
        layouts, merges = (
            _in_stages(name, spread(wholes[name], stages), values)[here]
            for name in ("layout", "merge")
        )
        return has_effect(
            field,
            [Layout.parse(text) for text in layouts],
            merges,
            links=wholes["links"],
            link_merge=wholes["link_merge"],
            head=wholes["head"],
        )

    def _whole(self, field: str, values: Mapping[str, Value]) -> Value:
        return values.get(field, self.base.get(field, DEFAULTS[field]))

    def _assembled(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Put the layouts of the free axes in place of the words in their slots."""
        assembled = dict(values)
        for name, axis in self.axes.items():
            if isinstance(axis, Free):
                words = {slot: assembled.pop(f"{name}.{slot}", "") for slot in axis.slots}
                assembled.setdefault(name, axis.layout(words))
        return assembled


def _is_list(value: Value) -> bool:
    return isinstance(value, tuple)


def _in_stages(
    field: str, values: tuple[Value, ...], settings: Mapping[str, Value]
) -> tuple[Value, ...]:
    """Set the stages of a field that have a value of their own."""
    return tuple(settings.get(f"{field}[{i}]", value) for i, value in enumerate(values))


def _value_in(candidate: Candidate, name: str) -> Value:
    """Return the value that a parameter has in a candidate; None where it has none."""
    field, stage, slot = split_name(name)
    if name.startswith(RECIPE):
        return getattr(candidate.recipe, name.removeprefix(RECIPE))
    if slot:
        return ""
    value = getattr(candidate.design, field)
    if stage is None:
        return value
    values = spread(value, len(candidate.design.depths))
    return values[stage] if stage < len(values) else None


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SpaceError(
            f"{key}: a mapping of 'name: value' lines is expected, not {shown_value(value)}"
        )
    return value


def _text(values: Mapping[str, Any], key: str, default: str) -> str:
    value = values.get(key, default)
    if not isinstance(value, str):
        raise SpaceError(f"{key}: {shown_value(value)} is not a text")
    for sign in value:
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") and sign not in "\n\t":
            raise SpaceError(f"{key}: {shown_value(value)} holds {sign!r}, which no YAML keeps")
    return value


def _checked_base(base: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    checked = {}
    for name, value in base.items():
        if name not in FIELDS:
            raise SpaceError(f"base: {not_one_of(name, FIELDS)}")
        checked[name] = checked_value(f"base.{name}", name, value)
    return {name: value for name, value in checked.items() if name not in axes}


def _checked_recipe(recipe: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    if "epochs" in recipe:
        raise SpaceError("recipe.epochs: the budget is given to the search, not to the space")
    try:
        Recipe.from_dict(recipe)
    except SkipSearchError as error:
        raise SpaceError(f"recipe: {error}") from None
    return {name: value for name, value in recipe.items() if RECIPE + name not in axes}


def _constraints(texts: Any) -> tuple[Constraint, ...]:
    if not isinstance(texts, list):
        raise SpaceError(f"constraints: {shown_value(texts)} is not a list such as [params <= 2e6]")
    constraints = []
    for i, text in enumerate(texts):
        words = text if isinstance(text, str) else ""
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE_]+)\s*", words)
        try:
            if match is None:
                raise ValueError
            bound = float(match[3])
            if not math.isfinite(bound):
                raise ValueError
        except ValueError:
            raise SpaceError(
                f"constraints[{i}]: {shown_value(text)} is not of the form 'params <= 2e6'"
            ) from None
        assert match is not None
        if match[1] not in MEASURES:
            raise SpaceError(f"constraints[{i}]: {not_one_of(match[1], MEASURES)}")
        constraints.append(Constraint(match[1], match[2], bound))
    return tuple(constraints)
