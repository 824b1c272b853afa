"""The fields of a design: one entry per field.

An entry defines the possible values, whether there is one for all stages or one per stage, the
default, and when the field has an effect. ``Design`` checks its values with this table; search
spaces, their axes and their YAML use it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar, cast

from skipsearch.errors import DesignError, shown_value
from skipsearch.kinds import (
    LINK_WORDS,
    Head,
    Kind,
    LayoutText,
    Links,
    Real,
    Stem,
    Up,
    Whole,
    Word,
)
from skipsearch.layout import Layout, is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES, Merge
from skipsearch.plan import OUTPUT
from skipsearch.planning import DOWNS, LINK_SHORTCUTS, SHORTCUTS
from skipsearch.table import Table

T = TypeVar("T")


class Stages(Enum):
    """The number of values of a field: one for the whole network, or one per part of it."""

    ONE = "one value"
    EITHER = "one value, or one a stage"
    EACH = "one value a stage"
    UP = "one value, or one a stage that enlarges"
    LINK = "one value, or one a link"


# --- when a field has an effect -------------------------------------------------------------------


@dataclass(frozen=True)
class Deciding:
    """The values that determine which fields have an effect.

    Attributes:
        layouts: One layout per stage, or one for all.
        merges: One merge for each of ``layouts``.
        links: Field ``links``.
        link_merge: Field ``link_merge``.
        head: Field ``head``.
        ups: Field ``ups``.
    """

    layouts: Sequence[Layout]
    merges: Sequence[str]
    links: Sequence[str] = ()
    link_merge: str | Sequence[str] = "add"
    head: str = "mean"
    ups: int = 0

    @property
    def joined_links(self) -> bool:
        """Whether a link may end at a stage or node; words stand for links if stages enlarge."""
        return any(
            bool(self.ups) if link in LINK_WORDS else "." in link or not link.endswith(OUTPUT)
            for link in self.links
        )

    @property
    def link_merges(self) -> tuple[str, ...]:
        """The words of field ``link_merge``."""
        return (self.link_merge,) if isinstance(self.link_merge, str) else tuple(self.link_merge)

    @cached_property
    def joins(self) -> list[Merge]:
        """The merges of the stages whose blocks have a shortcut."""
        pairs = zip(self.layouts, self.merges, strict=True)
        return [MERGES[merge] for layout, merge in pairs if layout.skip]


Rule = Callable[[Deciding], bool]


def _by_merge(field: str) -> Rule:
    return lambda given: any(field in merge.fields for merge in given.joins)


def _has_bottleneck(given: Deciding) -> bool:
    dense = ([t for t in layout.branch if t.startswith("conv")] for layout in given.layouts)
    return bool(given.ups) or any(len(tokens) > 1 for tokens in dense)


def _has_grouped_convolution(given: Deciding) -> bool:
    tokens = (token for layout in given.layouts for token in layout.branch)
    return any(token.startswith("conv") and token != "conv1" for token in tokens)


def _has_dropout(given: Deciding) -> bool:
    runs = [(*layout.branch, *layout.after) for layout in given.layouts]
    return any("dropout" in run for run in (parse_run(given.head), *runs))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a design.

    Attributes:
        kind: Kind of its values; for a field with one value per stage, kind of each of them.
        stages: Number of its values: one, or one per stage, enlarging stage or link.
        default: Default value; None if a value is required.
        has_effect: Function that returns whether another value could give another network.
    """

    kind: Kind
    stages: Stages = Stages.ONE
    default: Any
    has_effect: Rule = lambda given: True

    def check(self, name: str, value: object) -> object:
        """Return a value, or one per stage, in canonical spelling; see ``check_field``."""
        several = isinstance(value, list | tuple) and self.stages is not Stages.ONE
        if self.stages is Stages.EACH and not (several and value):
            raise DesignError(
                f"{name}: {shown_value(value)} is not a list of whole numbers, one a stage"
            )
        if not several:
            return self.kind.check(name, value)
        items = enumerate(cast("Sequence[object]", value))
        return tuple(self.kind.check(f"{name}[{i}]", item) for i, item in items)


RATE = Real(0.0, 1.0, open_high=True)

FIELDS = Table(
    "field",
    {
        "layout": Field(kind=LayoutText(), stages=Stages.EITHER, default=None),
        "merge": Field(
            kind=Word(MERGES),
            stages=Stages.EITHER,
            default="add",
            has_effect=lambda given: bool(given.joins),
        ),
        "depths": Field(kind=Whole(may_be_unset=True), stages=Stages.EACH, default=(3, 3, 3)),
        "widths": Field(kind=Whole(), stages=Stages.EACH, default=(16, 32, 64)),
        "stem": Field(kind=Stem(), default="conv3"),
        "stem_width": Field(kind=Whole(), default=0),  # unset: the first of ``widths``
        "head": Field(kind=Head(), default="mean"),
        "head_width": Field(
            kind=Whole(may_be_unset=True),
            default=0,
            has_effect=lambda given: any(map(is_convolution, parse_run(given.head))),
        ),
        "ups": Field(kind=Whole(may_be_unset=True), default=0),
        "up": Field(
            kind=Up(), stages=Stages.UP, default="up2", has_effect=lambda given: bool(given.ups)
        ),
        "down": Field(kind=Word(DOWNS), default="stride"),
        "links": Field(kind=Links(), default=()),
        "link_merge": Field(
            kind=Word(LINK_MERGES),
            stages=Stages.LINK,
            default="add",
            has_effect=lambda given: given.joined_links,
        ),
        "link_shortcut": Field(
            kind=Word(LINK_SHORTCUTS),
            default="proj",
            has_effect=lambda given: (
                given.joined_links and any(LINK_MERGES[w].carries for w in given.link_merges)
            ),
        ),
        "shortcut": Field(
            kind=Word(SHORTCUTS),
            stages=Stages.EITHER,
            default="proj",
            has_effect=_by_merge("shortcut"),
        ),
        "bottleneck_ratio": Field(
            kind=Real(0.0, 64.0, open_low=True),
            stages=Stages.EITHER,
            default=1.0,
            has_effect=_has_bottleneck,
        ),
        "groups": Field(
            kind=Whole(), stages=Stages.EITHER, default=1, has_effect=_has_grouped_convolution
        ),
        "growth": Field(
            kind=Whole(), stages=Stages.EITHER, default=4, has_effect=_by_merge("growth")
        ),
        "compression": Field(
            kind=Real(0.0, 1.0, open_low=True), default=0.5, has_effect=_by_merge("compression")
        ),
        "drop_path": Field(kind=RATE, default=0.0, has_effect=lambda given: bool(given.joins)),
        "dropout": Field(kind=RATE, default=0.0, has_effect=_has_dropout),
        "shortcut_scale": Field(
            kind=Real(0.0, 10.0), default=1.0, has_effect=_by_merge("shortcut_scale")
        ),
        "branch_scale": Field(
            kind=Real(0.0, 10.0), default=1.0, has_effect=_by_merge("branch_scale")
        ),
        "shortcut_dropout": Field(kind=RATE, default=0.0, has_effect=_by_merge("shortcut_dropout")),
        "gate_bias": Field(kind=Real(-20.0, 20.0), default=-6.0, has_effect=_by_merge("gate_bias")),
    },
)
PER_STAGE = tuple(name for name, field in FIELDS.items() if field.stages is Stages.EITHER)
ALWAYS_PER_STAGE = tuple(name for name, field in FIELDS.items() if field.stages is Stages.EACH)
# Fields that determine which others have an effect, in the order in which they are chosen.
DECIDING = ("layout", "merge", "ups", "links", "link_merge", "head")


def check_field(name: str, value: object) -> object:
    """Check one value of one field by itself, and return it in its canonical spelling.

    Raises:
        DesignError: If the value is invalid; the message names the field.
        LayoutError: If a layout is invalid.
    """
    return FIELDS[name].check(name, value)


def has_effect(
    field: str,
    layouts: Sequence[Layout],
    merges: Sequence[str],
    *,
    links: Sequence[str] = (),
    link_merge: str | Sequence[str] = "add",
    head: str = "mean",
    ups: int = 0,
) -> bool:
    """Return whether a field can change the network, given the fields that determine this.

    Args:
        field: Name of a field of ``Design``.
        layouts: One layout per stage, or one for all.
        merges: One merge for each of ``layouts``.
        links: Field ``links``.
        link_merge: Field ``link_merge``.
        head: Field ``head``.
        ups: Field ``ups``.
    """
    return FIELDS[field].has_effect(Deciding(layouts, merges, links, link_merge, head, ups))


def with_effect(given: Deciding) -> frozenset[str]:
    """Return the names of the fields that can change the network; see ``has_effect``."""
    return frozenset(name for name, field in FIELDS.items() if field.has_effect(given))


def spread(value: T | tuple[T, ...], stages: int) -> tuple[T, ...]:
    """Repeat one value for every stage; a tuple already has one per stage."""
    return cast("tuple[T, ...]", value) if isinstance(value, tuple) else (value,) * stages


def collapse(values: Sequence[T]) -> T | tuple[T, ...]:
    """Return one value if all agree, else one per stage."""
    return values[0] if len(set(values)) == 1 else tuple(values)
