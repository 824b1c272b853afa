"""Design, the genotype: a few plain values that say how a network is connected."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from math import floor
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, cast

from skipsearch.errors import (
    DesignError,
    LayoutError,
    not_one_of,
    one_line,
    shown_value,
    unknown_word,
)
from skipsearch.identity import hashed
from skipsearch.layout import PLAIN_TOKENS, Layout, check_token, is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.plan import Network, Stage, StageFields, Steps
from skipsearch.planning import (
    LINK_SHORTCUTS,
    SHORTCUTS,
    complete_head,
    complete_stem,
    head_tokens,
    kept_channels,
    plan_network,
)
from skipsearch.text import dump_yaml, parse_yaml, read_text

NUMBERS = (
    "compression",
    "drop_path",
    "dropout",
    "shortcut_scale",
    "branch_scale",
    "shortcut_dropout",
    "gate_bias",
)
PER_STAGE = ("layout", "shortcut", "merge", "bottleneck_ratio", "groups", "growth")
WORDS = {
    "shortcut": SHORTCUTS,
    "merge": tuple(MERGES),
    "link_merge": tuple(LINK_MERGES),
    "link_shortcut": LINK_SHORTCUTS,
}
WHOLE_NETWORK = (
    "depths",
    "widths",
    "stem",
    "head",
    "head_width",
    "links",
    "link_merge",
    "link_shortcut",
)
# To be raised whenever ``canonical`` or ``id`` give any design another id: those that studies hold
# are then worked out anew.
# 2: a shortcut of factor 0 without parameters is none; 3: 64 bits.
ID_RULES = 3
# Far above any network, far below an accident.
LARGEST = 100_000  # channels, or blocks of a stage
MOST_BLOCKS = 2_000  # in all: 6,000 layers of three convolutions a block
MOST_STAGES = 30  # each of which halves height and width

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, repr=False)
class Design:
    """How a network is connected: frozen, validated, hashable.

    ``layout``, ``shortcut``, ``merge``, ``bottleneck_ratio``, ``groups`` and ``growth`` take one
    value, or one per stage; values that agree in all stages collapse to one.

    Attributes:
        layout: Where convolution, norm, activation and join stand, in the notation of ``Layout``.
            Stored as text in its canonical spelling.
        merge: How branch and shortcut are joined: ``add``; ``cat`` (concatenation, where
            ``widths`` are growth rates; Huang et al. 2017, arXiv:1608.06993); ``gate`` (exclusive
            gating, g F(x) + (1 - g) x; Srivastava et al. 2015, arXiv:1505.00387);
            ``shortcut-gate`` (F(x) + (1 - g) x; He et al. 2016, arXiv:1603.05027, Fig. 2c and
            2d); ``weighted`` (a F(x) + b x with two learned numbers that start at 1); ``dual``
            (``widths`` channels are added, ``growth`` concatenated; Chen et al. 2017,
            arXiv:1707.01629, Fig. 2d and equation 12); or ``max`` (elementwise maximum; Goodfellow
            et al. 2013, arXiv:1302.4389).
        shortcut: What the skip connection carries where shapes change: ``pad`` (zero channels),
            ``proj`` (1x1 convolution), ``proj-all`` (1x1 convolution on every shortcut; options
            A, B, C of He et al. 2015, arXiv:1512.03385, section 4.1), ``avg-proj`` (average
            pooling, then 1x1 convolution; He et al. 2019, arXiv:1812.01187, Fig. 2c) or ``omit``
            (no shortcut there; Sandler et al. 2018, arXiv:1801.04381).
        depths: Blocks in each stage; every stage but the first halves height and width.
        widths: Output channels of the branch in each stage.
        stem: The operations before the first stage, ``pool`` (3x3 max-pooling) among them;
            a stem that ends in ``pool`` has stride 2 in its first convolution.
        stem_width: Channels that leave the stem; the first of ``widths`` unless given.
        head: The operations before the classifier, dense convolutions among them; ``mean`` is the
            global average pooling (``conv1-bn-relu6-mean`` in Sandler et al. 2018, Table 2).
        head_width: Channels that leave each convolution of the head; unless given, those that
            enter it.
        links: Long skips from the output of one stage to that of a later one, such as ``1>3``; 0
            is the stem. ``0>1, 1>2, 2>3, 0>3`` is residual-of-residual (Zhang et al. 2016,
            arXiv:1608.02908, Fig. 1). What a layout does after the join it does behind the links.
        link_merge: How links join: ``add``, or ``cat`` behind the channels of the stage.
        link_shortcut: What an added link carries where shapes differ: ``pad``, ``proj`` or
            ``avg-proj``. A concatenated one is average-pooled and keeps its channels.
        bottleneck_ratio: Channels inside the branch / ``widths``.
        groups: Groups of the dense convolutions with a kernel larger than 1.
        growth: Channels that each block adds to the dense path of a ``dual`` stage.
        compression: Share of the channels kept by the transition before a ``cat`` stage.
        drop_path: Rate of stochastic depth at the last block, rising linearly (Huang et al. 2016,
            arXiv:1603.09382).
        dropout: Rate of every ``dropout`` in the layout.
        shortcut_scale: Constant factor of every shortcut that is added.
        branch_scale: Constant factor of every branch that is added.
        shortcut_dropout: Rate of dropout on every shortcut that is added (this and the two
            factors: He et al. 2016, arXiv:1603.05027, sections 3.1 to 3.3, Table 1).
        gate_bias: What the bias of every gate starts at; -6 opens the shortcut (Table 1 there).

    Raises:
        DesignError: If a value is out of range or the shapes do not fit.
        LayoutError: If a layout is misspelt.
    """

    layout: str | tuple[str, ...]
    merge: str | tuple[str, ...] = "add"
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    stem: str = "conv3"
    stem_width: int = 0
    head: str = "mean"
    head_width: int = 0
    links: tuple[str, ...] = ()
    link_merge: str = "add"
    link_shortcut: str = "proj"
    shortcut: str | tuple[str, ...] = "proj"
    bottleneck_ratio: float | tuple[float, ...] = 1.0
    groups: int | tuple[int, ...] = 1
    growth: int | tuple[int, ...] = 4
    compression: float = 0.5
    drop_path: float = 0.0
    dropout: float = 0.0
    shortcut_scale: float = 1.0
    branch_scale: float = 1.0
    shortcut_dropout: float = 0.0
    gate_bias: float = -6.0

    def __post_init__(self) -> None:
        for name in (*WHOLE_NETWORK, *NUMBERS):
            self._set(name, check_field(name, getattr(self, name)))
        if len(self.depths) != len(self.widths):
            raise DesignError(
                f"depths has {len(self.depths)} stages and widths {len(self.widths)};"
                " both need one number a stage"
            )
        if len(self.depths) > MOST_STAGES:
            raise DesignError(f"depths has {len(self.depths)} stages, more than {MOST_STAGES}")
        if sum(self.depths) > MOST_BLOCKS:
            raise DesignError(f"depths has {sum(self.depths):,} blocks, more than {MOST_BLOCKS:,}")
        self._set("stem_width", _whole("stem_width", self._stem_width()))
        for link in self.links:
            if split_link(link)[1] > len(self.depths):
                raise DesignError(
                    f"links: {shown_value(link)} leads to a stage that is not there; the stages are"
                    f" 1 to {len(self.depths)}, and 0 is the stem"
                )
        for name in PER_STAGE:
            self._set(name, self._one_or_per_stage(name, getattr(self, name)))
        self.plan()

    def _stem_width(self) -> int:
        unset = type(self.stem_width) is int and self.stem_width == 0
        return self.widths[0] if unset else self.stem_width

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show the layout, and the fields that are not as by default."""
        values = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        shown = (f"{name}={value!r}" for name, value, default in values if value != default)
        return f"Design({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Show the fields that matter for this design as a table, in a notebook."""
        rows = "".join(
            f"<tr><th>{name}</th><td><code>{escape(str(value))}</code></td></tr>"
            for name, value in self.to_dict().items()
            if self.has_effect(name)
        )
        return f"<table><caption>design {self.id}</caption>{rows}</table>"

    def has_effect(self, field: str) -> bool:
        """Whether another value of a field could give another network; see ``has_effect``."""
        n = len(self.depths)
        return field in _with_effect(
            spread(self.layout, n), spread(self.merge, n), self.links, self.link_merge, self.head
        )

    def _one_or_per_stage(self, name: str, value: object) -> object:
        """Check one value, or one per stage, and collapse values that all agree."""
        if isinstance(value, list | tuple) and len(value) != len(self.depths):
            raise DesignError(
                f"{name} has {len(value)} values for {len(self.depths)} stages;"
                " give one value, or one per stage"
            )
        checked = check_field(name, value)
        return collapse(checked) if isinstance(checked, tuple) else checked

    @property
    def stages(self) -> tuple[StageFields, ...]:
        """The fields as they stand for each stage."""
        n = len(self.depths)
        return tuple(
            map(
                StageFields,
                map(Layout.parse, spread(self.layout, n)),
                spread(self.shortcut, n),
                spread(self.merge, n),
                self.depths,
                self.widths,
                spread(self.bottleneck_ratio, n),
                spread(self.groups, n),
                (self.shortcut_scale,) * n,
                (self.branch_scale,) * n,
                (self.shortcut_dropout,) * n,
                (self.gate_bias,) * n,
                spread(self.growth, n),
            )
        )

    def plan(self, in_channels: int = 3) -> Network:
        """Resolve every shape of the network, in plain numbers.

        Args:
            in_channels: Channels of the images.

        Raises:
            DesignError: If the shapes do not fit.
        """
        return _plan(self, in_channels)

    def replace(self, **changes: Any) -> Self:
        """Return a design with some fields changed, checked anew."""
        unknown_key(changes, FIELDS, "design", DesignError)
        return dataclasses.replace(self, **changes)

    def canonical(self) -> Design:
        """Return the one design that stands for all that build the same network.

        Every field without effect has its default (the shortcut of a plain layout, the rate of a
        dropout that is not there), and every spelling is the shortest.

        "The same network" means the same plan: the same operations, parameters and random draws.
        Networks that compute the same function by another plan keep ids of their own:

        - ``branch_scale: 0``, and ``shortcut_scale: 0`` where the shortcut is a projection: the
          path without effect has parameters all the same.
        - ``shortcut_scale: 0`` beside a ``branch_scale`` that is not 1, a ``drop_path``, or a
          convolution after the join: no plain layout says it.
        - An added link over a stage of one plain block: it is that block's shortcut.
        - Several plain blocks, and one block whose layout repeats theirs: two of ``conv3`` and one
          of ``conv3-conv3``.
        - Factors that a norm behind the join undoes, such as 0.5 for both paths.
        """
        return _canonical(self)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits, equal for designs that build the same network."""
        canonical = self.canonical()
        # A field at its default is left out, so that a field added later does not change old ids.
        content = {
            field.name: getattr(canonical, field.name)
            for field in dataclasses.fields(self)
            if getattr(canonical, field.name) != field.default
        }
        return hashed(json.dumps(content, sort_keys=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values (texts, numbers, lists), every field in order."""
        return {name: _plain(getattr(self, name)) for name in FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a design from plain values.

        Raises:
            DesignError: If a key is unknown, ``layout`` is missing, or a value is refused.
        """
        unknown_key(values, FIELDS, "design", DesignError)
        if "layout" not in values:
            raise DesignError("a design needs a layout, such as 'conv3-bn-relu-conv3-bn + relu'")
        return cls(**values)

    def to_yaml(self) -> str:
        """Return about ten readable lines."""
        return dump_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str, where: str = "design") -> Self:
        """Build a design from YAML; ``where`` names the text in messages."""
        values = parse_yaml(text, where, DesignError)
        try:
            return cls.from_dict(values)
        except (DesignError, LayoutError) as error:
            raise type(error)(f"{where}: {error}") from None

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build a design from JSON.

        Raises:
            DesignError: If the text is not a JSON object, or a value is refused.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DesignError(f"not JSON: {one_line(str(error))}") from None
        if not isinstance(values, dict):
            raise DesignError(f"a JSON object is expected, not {shown_value(text)}")
        return cls.from_dict(values)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a design from a YAML file."""
        return cls.from_yaml(read_text(path, DesignError), str(path))


FIELDS = tuple(field.name for field in dataclasses.fields(Design))


def unknown_key(
    values: Mapping[str, Any], allowed: Sequence[str], what: str, error: type[ValueError]
) -> None:
    """Refuse a key that is not among the allowed ones, with the nearest of them."""
    for key in values:
        if key not in allowed:
            raise error(f"unknown key of a {what}: {not_one_of(key, allowed)}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def spread(value: T | tuple[T, ...], stages: int) -> tuple[T, ...]:
    """Repeat one value for every stage; a tuple already has one per stage."""
    return cast("tuple[T, ...]", value) if isinstance(value, tuple) else (value,) * stages


def collapse(values: Sequence[T]) -> T | tuple[T, ...]:
    """Return one value where all agree, else one per stage."""
    return values[0] if len(set(values)) == 1 else tuple(values)


@lru_cache(maxsize=1024)
def _with_effect(
    layouts: tuple[str, ...],
    merges: tuple[str, ...],
    links: tuple[str, ...],
    link_merge: str,
    head: str,
) -> frozenset[str]:
    """Name the fields that could change the networks with these layouts, merges and links."""
    parsed = tuple(map(Layout.parse, layouts))
    return frozenset(
        field
        for field in FIELDS
        if has_effect(field, parsed, merges, links=links, link_merge=link_merge, head=head)
    )


def has_effect(
    field: str,
    layouts: Sequence[Layout],
    merges: Sequence[str],
    *,
    links: Sequence[str] = (),
    link_merge: str = "add",
    head: str = "mean",
) -> bool:
    """Whether a field can change the network at all, given the fields that decide it.

    Args:
        field: Name of a field of ``Design``.
        layouts: One layout a stage, or one that stands for all.
        merges: One merge for each of ``layouts``.
        links: The field of that name.
        link_merge: The field of that name.
        head: The field of that name.
    """
    branches = [token for layout in layouts for token in layout.branch]
    joins = [MERGES[merge] for layout, merge in zip(layouts, merges, strict=True) if layout.skip]
    match field:
        case "merge" | "drop_path":
            return bool(joins)
        case (
            "shortcut"
            | "shortcut_scale"
            | "branch_scale"
            | "shortcut_dropout"
            | "compression"
            | "gate_bias"
            | "growth"
        ):
            return any(field in merge.fields for merge in joins)
        case "link_merge":
            return bool(links)
        case "link_shortcut":
            return bool(links) and LINK_MERGES[link_merge].carries
        case "head_width":
            return any(map(is_convolution, parse_run(head)))
        case "bottleneck_ratio":
            return any(sum(t.startswith("conv") for t in layout.branch) > 1 for layout in layouts)
        case "groups":
            return any(t.startswith("conv") and t != "conv1" for t in branches)
        case "dropout":
            return "dropout" in parse_run(head) or any(
                "dropout" in (*layout.branch, *layout.after) for layout in layouts
            )
        case "layout" | "depths" | "widths" | "stem" | "stem_width" | "head" | "links":
            return True
        case _:
            raise unknown_word("field", field)


def check_field(name: str, value: object) -> object:
    """Check one value of one field by itself, and return it in its canonical spelling.

    Raises:
        DesignError: If the value is refused; the message names the field.
        LayoutError: If a layout is misspelt.
    """
    match name:
        case "depths" | "widths":
            return _whole_numbers(name, value)
        case "stem":
            return "-".join(_stem_tokens(value))
        case "head":
            return "-".join(_head_tokens(value))
        case "head_width":
            unset = type(value) is int and value == 0
            return 0 if unset else _whole(name, value)
        case "links":
            return _links(value)
        case "compression":
            return _number(name, value, 0.0, 1.0, open_low=True)
        case "drop_path" | "dropout" | "shortcut_dropout":
            return _number(name, value, 0.0, 1.0, open_high=True)
        case "shortcut_scale" | "branch_scale":
            return _number(name, value, 0.0, 10.0)
        case "gate_bias":
            return _number(name, value, -20.0, 20.0)
        case _ if isinstance(value, list | tuple) and name in PER_STAGE:
            return tuple(_check_field(f"{name}[{i}]", item) for i, item in enumerate(value))
        case _:
            return _check_field(name, value)


def _check_field(name: str, value: object) -> object:
    match name.partition("[")[0]:
        case "layout":
            return str(value if isinstance(value, Layout) else Layout.parse(cast("str", value)))
        case word if word in WORDS:
            return _word(name, value, WORDS[word])
        case "bottleneck_ratio":
            return _number(name, value, 0.0, 64.0, open_low=True)
        case "groups" | "growth" | "stem_width":
            return _whole(name, value)
        case _:
            raise unknown_word("field", name)


def _word(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise DesignError(f"{name}: {not_one_of(value, allowed)}")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise DesignError(f"{name}: {shown_value(value)} is not a whole number from 1 to {LARGEST}")
    return value


def _whole_numbers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise DesignError(
            f"{name}: {shown_value(value)} is not a list of whole numbers, one a stage"
        )
    return tuple(_whole(f"{name}[{i}]", item) for i, item in enumerate(value))


def _number(
    name: str,
    value: object,
    low: float,
    high: float,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not number
        or not low <= cast("float", value) <= high
        or (open_low and value == low)
        or (open_high and value == high)
    ):
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        raise DesignError(
            f"{name}: {shown_value(value)} is not a number in {left}{low:g}, {high:g}{right}"
        )
    return float(cast("float", value))


def _stem_tokens(text: object) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise DesignError(
            f"stem: {shown_value(text)} is not a text such as 'conv3' or 'conv7-pool'"
        )
    tokens = parse_run(text)
    for token in tokens:
        try:
            check_token(token, (*PLAIN_TOKENS, "pool"), text)
        except LayoutError as error:
            raise DesignError(f"stem: {error}") from None
    if not tokens[0].startswith("conv") or "pool" in tokens[:-1]:
        raise DesignError(
            f"stem: {shown_value(text)} must open with a dense convolution; 'pool' stands last"
        )
    if any(token.startswith("dw") or token == "dropout" for token in tokens):
        raise DesignError(
            f"stem: {shown_value(text)} takes neither depthwise convolutions nor dropout"
        )
    return tokens


def _head_tokens(text: object) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise DesignError(
            f"head: {shown_value(text)} is not a text such as 'mean' or 'conv1-bn-relu-mean'"
        )
    tokens = parse_run(text)
    for token in tokens:
        try:
            check_token(token, (*PLAIN_TOKENS, "mean"), text)
        except LayoutError as error:
            raise DesignError(f"head: {error}") from None
    if tokens.count("mean") != 1:
        raise DesignError(
            f"head: 'mean', the global average pooling, stands once in {shown_value(text)}"
        )
    behind = tokens[tokens.index("mean") :]
    if any(
        t.startswith("dw") or (is_convolution(t) and t != "conv1" and t in behind) for t in tokens
    ):
        raise DesignError(
            f"head: {shown_value(text)} takes no depthwise convolution, and behind 'mean' conv1"
            " alone"
        )
    return tokens


def _links(value: object) -> tuple[str, ...]:
    """Check long skips, and sort them by where they end, then by where they begin."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise DesignError(f"links: {shown_value(value)} is not a list of texts such as ['1>3']")
    ends = set()
    for i, text in enumerate(texts):
        words = text if isinstance(text, str) else ""
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*>\s*([0-9]{1,6})\s*", words)
        if match is None:
            raise DesignError(
                f"links[{i}]: {shown_value(text)} is not of the form '1>3'; 0 is the stem"
            )
        source, target = int(match[1]), int(match[2])
        if source >= target:
            raise DesignError(
                f"links[{i}]: {shown_value(text)} leads from a stage to itself or back; a link"
                " leads onwards"
            )
        if (target, source) in ends:
            raise DesignError(f"links[{i}]: {shown_value(text)} stands twice")
        ends.add((target, source))
    return tuple(f"{source}>{target}" for target, source in sorted(ends))


def split_link(link: str) -> tuple[int, int]:
    """Return the stages that a link leads from and to; 0 is the stem."""
    source, _, target = link.partition(">")
    return int(source), int(target)


@lru_cache(maxsize=4096)
def _plan(design: Design, in_channels: int) -> Network:
    return plan_network(
        design.stages,
        stem=parse_run(design.stem),
        stem_width=design.stem_width,
        head=parse_run(design.head),
        head_width=design.head_width,
        links=tuple(map(split_link, design.links)),
        link_merge=design.link_merge,
        link_shortcut=design.link_shortcut,
        compression=design.compression,
        drop_path=design.drop_path,
        dropout=design.dropout,
        in_channels=in_channels,
    )


@lru_cache(maxsize=4096)
def _canonical(design: Design) -> Design:
    plan = design.plan()
    stages = [
        _canonical_stage(fields, stage, design.dropout)
        for fields, stage in zip(design.stages, plan.stages, strict=True)
    ]
    layouts = [stage.layout for stage in stages]
    head = _shortest_head(parse_run(design.head), layouts[-1], design.dropout)
    tokens = [token for layout in layouts for token in (*layout.branch, *layout.after)]
    tokens += parse_run(head)
    widens = any(s.op == "conv" and s.inputs != s.outputs for s in (*plan.head, *plan.pooled))
    carried = [link.steps for stage in plan.stages if stage.join for link in stage.join.links]
    merges = {block.merge for stage in plan.stages for block in stage.blocks if block.merge}
    known = frozenset().union(*(MERGES[merge].fields for merge in merges))
    drops = "shortcut_dropout" in known and design.shortcut_scale
    return Design(
        layout=collapse([str(layout) for layout in layouts]),
        merge=_settled([stage.merge for stage in stages], "add"),
        depths=design.depths,
        widths=design.widths,
        stem=_shortest_stem(parse_run(design.stem), layouts[0]),
        stem_width=design.stem_width,
        head=head,
        head_width=design.head_width if widens else 0,
        links=design.links,
        link_merge=design.link_merge if design.links else "add",
        link_shortcut=_settled_link(design.link_shortcut, carried),
        shortcut=_settled([stage.shortcut for stage in stages], "proj"),
        bottleneck_ratio=_settled([stage.bottleneck_ratio for stage in stages], 1.0),
        groups=_settled([stage.groups for stage in stages], 1),
        growth=_settled([stage.growth for stage in stages], 4),
        compression=_shortest_compression(plan, design.compression),
        drop_path=design.drop_path if merges else 0.0,
        dropout=design.dropout if "dropout" in tokens else 0.0,
        shortcut_scale=design.shortcut_scale if "shortcut_scale" in known else 1.0,
        branch_scale=design.branch_scale if "branch_scale" in known else 1.0,
        shortcut_dropout=design.shortcut_dropout if drops else 0.0,
        gate_bias=design.gate_bias if "gate_bias" in known else -6.0,
    )


class _Canonical(NamedTuple):
    """The fields of one stage; None where a field has no effect there."""

    layout: Layout
    shortcut: str | None
    merge: str | None
    bottleneck_ratio: float | None
    groups: int | None
    growth: int | None


def _canonical_stage(fields: StageFields, stage: Stage, dropout: float) -> _Canonical:
    blocks = stage.blocks
    layout = _with_depthwise(fields.layout if dropout else fields.layout.without("dropout"), stage)
    # Only the first block of a stage can change the shape; where it takes no shortcut and is
    # alone, the stage is plain.
    joined = [block for block in blocks if block.merge]
    if layout.skip and not joined and not any(map(is_convolution, layout.after)):
        layout = Layout((*layout.branch, *layout.after), skip=False)
    dense = [token for token in layout.branch if token.startswith("conv")]
    grouped = any(token != "conv1" for token in dense)
    known = MERGES[fields.merge].fields if layout.skip else frozenset()
    shortcut = fields.shortcut if "shortcut" in known else None
    begins = blocks[0].changes_shape or blocks[0].growth
    if shortcut == "proj-all" and blocks[0].shortcut and len(blocks) == 1 and begins:
        shortcut = "proj"
    if shortcut != "proj-all" and blocks[0].shortcut == ():
        shortcut = None
    if shortcut == "avg-proj" and blocks[0].stride == 1:
        shortcut = "proj"
    merge = fields.merge if layout.skip else None
    if merge and not joined and blocks[0].changes_shape:
        merge = "add"
    return _Canonical(
        layout,
        shortcut,
        merge,
        fields.inner / fields.width if len(dense) > 1 else None,
        fields.groups if grouped else None,
        fields.growth if "growth" in known and joined else None,
    )


def _with_depthwise(layout: Layout, stage: Stage) -> Layout:
    """Call a convolution depthwise where its groups make it so in every block of the stage."""
    chains = [(*block.opening, *block.branch, *block.after) for block in stage.blocks]
    if stage.join:
        chains[-1] += stage.join.after
    tokens = tuple(
        f"dw{steps[0].kernel}"
        if all(s.op == "conv" and s.inputs == s.outputs == s.groups for s in steps)
        else token
        for token, *steps in zip((*layout.branch, *layout.after), *chains, strict=True)
    )
    cut = len(layout.branch)
    return Layout(tokens[:cut], tokens[cut:], layout.skip)


def _settled(values: Sequence[T | None], default: T) -> T | tuple[T, ...]:
    """Give a stage where a field has no effect the first value that has one elsewhere.

    Never ``proj-all``, which has an effect everywhere.
    """
    filler = next((value for value in values if value not in (None, "proj-all")), default)
    return collapse([filler if value is None else value for value in values])


def _settled_link(shortcut: str, carried: Sequence[Steps]) -> str:
    """Return what links carry where a shape changes, ``proj`` where none does."""
    ops = {step.op for steps in carried for step in steps}
    if "pad" in ops:
        return "pad"
    return shortcut if {"conv", "avgpool"} <= ops else "proj"


def _shortest_compression(plan: Network, given: float) -> float:
    """Return 0.5, or else the share with fewest digits, that keeps the same channels."""
    squeezes = [step for stage in plan.stages for step in stage.transition if step.op == "conv"]
    # Digits are tried at the lower end of the interval of shares that round to these channels.
    low = max((s.outputs / s.inputs for s in squeezes if s.outputs > 1), default=0.0)
    trials = [0.5]
    for digits in range(1, 17):
        trials += [(max(1, floor(low * 10**digits)) + i) / 10**digits for i in range(2)]
    fits = (
        share
        for share in trials
        if all(kept_channels(s.inputs, share) == s.outputs for s in squeezes) and share <= 1
    )
    return next(fits, given)


def _shortest_stem(stem: tuple[str, ...], layout: Layout) -> str:
    """Leave out what rule 4 adds by itself."""
    complete = complete_stem(stem, layout)
    last = max(i for i, token in enumerate(complete) if is_convolution(token))
    short = complete[: last + 1] + (("pool",) if complete[-1] == "pool" else ())
    return "-".join(short if complete_stem(short, layout) == complete else complete)


def _shortest_head(head: tuple[str, ...], layout: Layout, dropout: float) -> str:
    """Leave out what rule 4 adds by itself, and a dropout of rate 0."""
    head = tuple(token for token in head if dropout or token != "dropout")
    added, complete = head_tokens(layout), complete_head(head, layout)
    short = complete[len(added) :] if complete[: len(added)] == added else complete
    return "-".join(short if complete_head(short, layout) == complete else complete)
