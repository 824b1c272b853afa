"""Space: a base design and axes, read from YAML; its size, its designs, its constraints."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from skipsearch.axes import Axis, Choice, Free, Parameter, Range, Value, split_name
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import DesignError, SkipSearchError, SpaceError
from skipsearch.fields import FIELDS
from skipsearch.kinds import LARGEST
from skipsearch.layout import parse_run
from skipsearch.plan import ImageSize
from skipsearch.planning import names_all_stages
from skipsearch.ready import is_name, ready_path
from skipsearch.space.candidate import Candidate, build_candidate
from skipsearch.space.conditions import Choose, Conditions
from skipsearch.space.constraint import Constraint
from skipsearch.space.listing import Listing
from skipsearch.space.reading import read_space
from skipsearch.text import dump_yaml, parse_yaml, read_text

ENUMERABLE = 10_000  # points up to which a finite space is listed
LISTED = 2_000  # points up to which a space is described by its distinct networks
LISTED_BLOCKS = 200_000  # total number of blocks in their designs
MOST_POINTS = 1_000_000  # points up to which a finite space can be enumerated at all
TRIES = 2_000  # random draws before a space counts as empty


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space: a base design, axes along which it varies, and constraints.

    Attributes:
        name: Name of the space.
        axes: Axes as written, keyed by what each one sets: a field; ``FIELD[i]``, one stage of a
            field with a value per stage, in place of the base's value (stages are numbered from 0,
            as in ``design.layout[0]``); or ``recipe.NAME``. A ``Free`` layout is several
            parameters, see ``parameters``.
        base: Fields of the design that no axis sets.
        recipe: Fields of the recipe that differ from its defaults.
        constraints: Bounds that every design must meet before it is trained.
        source: Origin of the research question.
        in_channels: Number of image channels for which constraints are computed.
        image_size: Side of square images in pixels, or height and width, for the same.
        classes: Number of classes for the same.

    Raises:
        SpaceError: If there is no axis, a name or value is invalid, two axes set the same field,
            or no design has the stage of an axis.
    """

    name: str
    axes: Mapping[str, Axis]
    base: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    source: str = ""
    in_channels: int = 3
    image_size: ImageSize = 32
    classes: int = 10

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a space from a YAML file.

        Args:
            path: Path of the file, or of the ``run.yaml`` of a search of the space; or the name of
                a ready space, such as ``quickstart``.

        Raises:
            SpaceError: If the file is missing or anything in it is invalid; the message names
                the file and the location.
        """
        if is_name(path):
            path = ready_path(str(path))
        where = str(path)
        values = parse_yaml(read_text(path, SpaceError), where, SpaceError)
        if _is_of_search(values):
            values, where = values["space"], f"{where}: space"
        return cls.from_dict(values, where)

    @classmethod
    def from_yaml(cls, text: str, where: str = "space") -> Self:
        """Read a space from YAML; ``where`` is the name of the text in messages."""
        return cls.from_dict(parse_yaml(text, where, SpaceError), where)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "space") -> Self:
        """Build a space from plain values.

        Args:
            values: Contents of the YAML.
            where: Name of the source in messages.

        Raises:
            SpaceError: If anything is invalid; the message names the location.
        """
        try:
            return cls(**read_space(values, where))
        except SkipSearchError as error:
            raise SpaceError(f"{where}: {error}") from None

    def __post_init__(self) -> None:
        if not self.axes:
            raise SpaceError(
                "axes: the space is empty; give at least one axis, such as shortcut: [pad, proj]"
            )
        stages = {f"layout[{i}]" for i in range(max(self._conditions.stage_counts))}
        if not ("layout" in self.axes or "layout" in self.base or stages <= self.axes.keys()):
            raise SpaceError("base.layout is missing, and no axis sets it in all stages")
        self._check_stages()
        self._check_depths()
        self._check_ups()
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
        most = max(self._conditions.stage_counts)
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

    def _check_depths(self) -> None:
        """Reject stages without blocks if no stage enlarges."""
        if "ups" in self.axes or self.base.get("ups"):
            return
        for name, axis in self.axes.items():
            if split_name(name).field != "depths" or isinstance(axis, Free):
                continue
            if isinstance(axis, Range):
                name, lowest = f"{name}.low", axis.low
            else:
                lowest = min(min(v) if isinstance(v, tuple) else v for v in axis.values)
            if lowest == 0:
                raise SpaceError(f"axes.{name}: 0 is not a whole number from 1 to {LARGEST}")

    def _check_ups(self) -> None:
        """Reject an axis ``ups`` with which the same lists cover all stages or only some."""
        axis = self.axes.get("ups")
        if not isinstance(axis, Choice | Range) or axis.size is None:
            return
        ups = [int(value) for value in axis.values if isinstance(value, int) and value]
        lists = [self.values(name) for name in ("depths", "widths")]
        for length in {len(value) for values in lists for value in values if value}:
            for stem in self.values("stem"):
                all_of = {n: names_all_stages(length, n, parse_run(stem)) for n in ups}
                if len(set(all_of.values())) > 1:
                    one = next(n for n in ups if all_of[n])
                    other = next(n for n in ups if not all_of[n])
                    raise SpaceError(
                        f"axes.ups: with ups {one} the {length} depths and widths name all stages,"
                        f" with ups {other} those before they enlarge: give a space for each"
                    )

    def values(self, field: str) -> list[Any]:
        """Return the values of a field: those on its axis, if it is a list, or that of the base."""
        axis = self.axes.get(field)
        if isinstance(axis, Choice):
            return list(axis.values)
        return [self.base.get(field, FIELDS[field].default)]

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of the space's YAML."""
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
        """Return the space as YAML."""
        return dump_yaml(self.to_dict())

    def for_images(self, in_channels: int, image_size: ImageSize, classes: int) -> Self:
        """Return the space with its constraints computed for images of another shape."""
        return dataclasses.replace(
            self, in_channels=in_channels, image_size=image_size, classes=classes
        )

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.axes, self.base)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Independent parameters by name, in the order in which they are chosen.

        An axis is one parameter under its own name; a free layout is one per slot, such as
        ``layout.before_join``. Those that determine whether others matter come first.
        """
        return self._conditions.parameters

    @cached_property
    def size(self) -> int | None:
        """Number of points, with conditional axes only where they matter; None if infinite.

        Points that build the same network are counted separately here, but ``enumerate`` yields
        only one of them. Constraints are ignored.
        """
        return self._conditions.count()

    @cached_property
    def conditional(self) -> frozenset[str]:
        """Parameters without an effect on some designs, whose values then lack them."""
        return self._conditions.conditional()

    def enumerate(self) -> Iterator[Design]:
        """Yield every distinct network of a finite space that meets the constraints.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        seen = set()
        for candidate in self.candidates():
            if candidate.design.id not in seen:
                seen.add(candidate.design.id)
                yield candidate.design

    def candidates(self) -> Iterator[Candidate]:
        """Yield every distinct training (design and recipe) of a finite space.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        seen = set()
        for candidate in self._points():
            if candidate.key not in seen:
                seen.add(candidate.key)
                yield candidate

    def unused(self) -> list[str]:
        """Describe the values of a finite space's axes that no allowed design has.

        Raises:
            SpaceError: If the space has a continuous axis.
        """
        return Listing.of(self._points(), self.parameters).unused

    def listing(self) -> Listing | None:
        """Go through all points once; None if there are too many or infinitely many."""
        if self.size is None or self.size > LISTED:
            return None
        points, blocks = [], 0
        for candidate in self._points():
            points.append(candidate)
            blocks += sum(candidate.design.depths)
            if blocks > LISTED_BLOCKS:
                return None
        return Listing.of(points, self.parameters)

    def _points(self) -> Iterator[Candidate]:
        """Yield every allowed point, including those that build the same network."""
        for name, parameter in self.parameters.items():
            if parameter.size is None:
                raise SpaceError(f"axes.{name} is continuous: the space cannot be enumerated")
        if self.size is not None and self.size > MOST_POINTS:
            raise SpaceError(
                f"{self.name}: the space has {self.size:,} points, and more than {MOST_POINTS:,}"
                " cannot be enumerated"
            )
        for values in self._conditions.points():
            candidate = self._allowed(values)
            if candidate is not None:
                yield candidate

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield every allowed candidate that differs from the given one in a single parameter.

        A ``Choice`` moves to every other value, a ``Range`` to the neighbouring values (see
        ``Range.moves``). A parameter that begins to matter after the move takes the value of the
        candidate's design if its axis has that value, else the first of a ``Choice`` or the
        middle of a ``Range``; one that no longer matters is left out. If several neighbours are
        the same training, only the first is yielded, and the candidate's own never is.

        Args:
            candidate: Point of this space, from ``draw``, ``suggest`` or ``candidate``.
        """

        def completed(values: Mapping[str, Value]) -> dict[str, Value]:
            return self._conditions.choose(
                lambda name, parameter: (
                    values[name] if name in values else parameter.start(candidate.value_of(name))
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
            seed: Seed, or generator to draw from; None for a fresh generator.

        Raises:
            SpaceError: If none of 2,000 draws is allowed.
        """
        return self.draw(seed if isinstance(seed, random.Random) else random.Random(seed)).design

    def draw(self, rng: random.Random) -> Candidate:
        """Draw one candidate that meets the constraints; raises like ``sample``."""
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
        """Choose a value for each parameter that matters with a callable, in a fixed order.

        A parameter is left out if none of its values could change the current design: the design
        determines which of its fields matter.

        Args:
            choose: Function from the parameter's name and the parameter to a value.

        Raises:
            DesignError: If the chosen values cannot be combined.
        """
        return self.candidate(self._conditions.choose(choose))

    def candidate(self, values: Mapping[str, Value]) -> Candidate:
        """Build the candidate with given values of the parameters.

        Raises:
            DesignError: If the values cannot be combined.
        """
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        settings = self._conditions.assembled(values)
        return build_candidate(values, settings, self.base, self.recipe)

    def _allowed(self, values: Mapping[str, Value]) -> Candidate | None:
        """Build a candidate; None if it cannot be built or violates a constraint."""
        try:
            candidate = self.candidate(values)
        except DesignError:
            return None
        return None if self.violated(candidate.design) else candidate

    def violated(self, design: Design) -> str:
        """Return the first violated constraint with the design's figure, or an empty string."""
        if not self.constraints:
            return ""
        found = cost(design, self.in_channels, self.image_size, self.classes)
        broken = (constraint.violated(found) for constraint in self.constraints)
        return next(filter(None, broken), "")


def is_space(values: Mapping[str, Any]) -> bool:
    """Return whether ``Space.load`` takes the contents of a YAML file, which are no design then."""
    return "axes" in values or _is_of_search(values)


def _is_of_search(values: Mapping[str, Any]) -> bool:
    return "format" in values and isinstance(values.get("space"), dict)
