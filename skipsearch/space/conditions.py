"""Parameters of a space, and the conditions under which they matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice, product
from typing import Any

from skipsearch.axes import RECIPE, Axis, Choice, Free, Parameter, Value, split_name
from skipsearch.fields import DECIDING, FIELDS, PER_STAGE, has_effect, spread
from skipsearch.layout import Layout
from skipsearch.space.counting import count_points

DEFAULTS = {name: field.default for name, field in FIELDS.items()}
DEFAULTS["layout"] = "conv3 +"  # never built: placeholder if axes set the layout of every stage
ENOUGH = 2_000  # combinations of the values that determine which others matter

Choose = Callable[[str, Parameter], Value]


class Conditions:
    """The parameters of a space, and the conditions under which each has an effect.

    Args:
        axes: Axes of the space.
        base: Fields of the design that no axis sets.
    """

    def __init__(self, axes: Mapping[str, Axis], base: Mapping[str, Any]) -> None:
        self.axes = axes
        self.base = base

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """See ``Space.parameters``."""
        parameters: dict[str, Parameter] = {}
        for name, axis in self._ordered_axes().items():
            if isinstance(axis, Free):
                parameters |= {f"{name}.{slot}": axis.words for slot in axis.slots}
            else:
                parameters[name] = axis
        return parameters

    def _ordered_axes(self) -> dict[str, Axis]:
        order = list(dict.fromkeys((*DECIDING, *FIELDS)))

        def place(name: str) -> tuple[int, int]:
            field, stage, _ = split_name(name)
            return order.index(field) if field in order else len(order), stage or 0

        return {name: self.axes[name] for name in sorted(self.axes, key=place)}

    @cached_property
    def stage_counts(self) -> set[int]:
        """Possible numbers of stages of a design of the space."""
        counts = []
        for name in ("depths", "widths"):
            axis = self.axes.get(name)
            values = axis.values if isinstance(axis, Choice) else [self._whole(name, {})]
            counts.append({len(value) for value in values})
        return counts[0] & counts[1] or counts[0]  # If none fits both, the design raises.

    def choose(self, choose: Choose) -> dict[str, Value]:
        """Choose a value for each parameter that matters with a callable, in a fixed order."""
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if self._matters(name, values):
                values[name] = choose(name, parameter)
        return values

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of values, without the parameters that do not matter in it."""
        for head in self._heads():
            names = self._others(head)
            for values in product(*(self.parameters[name].values for name in names)):
                yield head | dict(zip(names, values, strict=True))

    def count(self) -> int | None:
        """Return the number of points without listing them; None if infinite."""
        fixed = {name: self._whole(name, {}) for name in DECIDING}
        return count_points(self.axes, fixed, self.stage_counts)

    def conditional(self) -> frozenset[str]:
        """Return the parameters that do not matter at every point."""
        always = set(self.parameters)
        # If there are very many combinations, the first ones are enough.
        for head in islice(self._heads(), ENOUGH):
            always &= {*head, *self._others(head)}
        return frozenset(self.parameters) - always

    def assembled(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Replace the words in the slots of free axes with the axes' layouts."""
        assembled = dict(values)
        for name, axis in self.axes.items():
            if isinstance(axis, Free):
                words = {slot: assembled.pop(f"{name}.{slot}", "") for slot in axis.slots}
                assembled.setdefault(name, axis.layout(words))
        return assembled

    @cached_property
    def _deciding(self) -> tuple[str, ...]:
        return tuple(name for name in self.parameters if split_name(name).field in DECIDING)

    def _heads(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of the parameters that determine which others matter."""
        heads: Iterator[dict[str, Value]] = iter([{}])
        for name in self._deciding:
            heads = self._branched(heads, name, self.parameters[name].values)
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
        """Return the parameters that matter, except the deciding ones."""
        return [n for n in self.parameters if n not in self._deciding and self._matters(n, head)]

    def _matters(self, name: str, chosen: Mapping[str, Value]) -> bool:
        """Return whether a parameter has an effect, given all values that determine it.

        If the number of stages is not chosen yet, it is the largest of the space.
        """
        field, stage, _ = split_name(name)
        if field == "layout" or name.startswith(RECIPE):
            return True
        values = self.assembled(chosen)
        wholes = {field: self._whole(field, values) for field in DECIDING}
        counts = {len(wholes[f]) for f in DECIDING if f in PER_STAGE and _is_list(wholes[f])}
        stages = max(counts or self.stage_counts)
        if len(counts) > 1 or (stage is not None and stage >= stages):
            return True  # The design rejects them.
        here = slice(None) if stage is None else slice(stage, stage + 1)
        layouts, merges = (
            in_stages(name, spread(wholes[name], stages), values)[here]
            for name in ("layout", "merge")
        )
        return has_effect(
            field,
            [Layout.parse(text) for text in layouts],
            merges,
            links=wholes["links"],
            link_merge=wholes["link_merge"],
            head=wholes["head"],
            ups=wholes["ups"],
        )

    def _whole(self, field: str, values: Mapping[str, Value]) -> Value:
        return values.get(field, self.base.get(field, DEFAULTS[field]))


def _is_list(value: Value) -> bool:
    return isinstance(value, tuple)


def in_stages(
    field: str, values: tuple[Value, ...], settings: Mapping[str, Value]
) -> tuple[Value, ...]:
    """Return a field's values, with those of stages that are set separately replaced."""
    return tuple(settings.get(f"{field}[{i}]", value) for i, value in enumerate(values))
