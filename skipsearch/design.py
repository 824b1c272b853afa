"""Design, the genotype: a few plain values that describe how a network is connected."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any, Self, cast

from skipsearch.canonical import canonical_fields
from skipsearch.errors import (
    DesignError,
    LayoutError,
    one_line,
    refuse_unknown_keys,
    shown_value,
)
from skipsearch.fields import (
    FIELDS,
    PER_STAGE,
    Deciding,
    Stages,
    check_field,
    collapse,
    spread,
    with_effect,
)
from skipsearch.ids import hashed
from skipsearch.kinds import LARGEST, LINK_WORDS, MAPS, NO_STEM, split_link
from skipsearch.layout import Layout, parse_run
from skipsearch.plan import IMAGE, OUTPUT, End, Network
from skipsearch.planning import (
    SETTINGS,
    StageFields,
    levels_of,
    linked,
    names_all_stages,
    needed_nodes,
    node_places,
    plan_network,
    worded,
)
from skipsearch.text import dump_yaml, parse_yaml, read_text

# Far above any real network, and far below a typical mistake.
MOST_BLOCKS = 2_000  # in total: 6,000 layers with three convolutions per block
MOST_STAGES = 30  # each halves height and width
MANY_CHANNELS = 1_000_003  # of an image; a prime


@dataclass(frozen=True, kw_only=True, repr=False)
class Design:
    """Description of how a network is connected; frozen, validated and hashable.

    ``layout``, ``shortcut``, ``merge``, ``bottleneck_ratio``, ``groups`` and ``growth`` take one
    value, or one per stage; values that agree in all stages collapse to one.

    Attributes:
        layout: Order of convolution, norm, activation and join, in the notation of ``Layout``.
            Stored as text in its canonical spelling.
        merge: Join of branch and shortcut: ``add``; ``cat`` (concatenation, where
            ``widths`` are growth rates; Huang et al. 2017, arXiv:1608.06993); ``gate`` (exclusive
            gating, g F(x) + (1 - g) x; Srivastava et al. 2015, arXiv:1505.00387);
            ``shortcut-gate`` (F(x) + (1 - g) x; He et al. 2016, arXiv:1603.05027, Fig. 2c and
            2d); ``weighted`` (a F(x) + b x with two learned numbers that start at 1); ``dual``
            (``widths`` channels are added, ``growth`` concatenated; Chen et al. 2017,
            arXiv:1707.01629, Fig. 2d and equation 12); or ``max`` (elementwise maximum; Goodfellow
            et al. 2013, arXiv:1302.4389).
        shortcut: Operation of the shortcut where shapes change: ``pad`` (zero channels),
            ``proj`` (1x1 convolution), ``proj-all`` (1x1 convolution on every shortcut; options
            A, B, C of He et al. 2015, arXiv:1512.03385, section 4.1), ``avg-proj`` (average
            pooling, then 1x1 convolution; He et al. 2019, arXiv:1812.01187, Fig. 2c) or ``omit``
            (no shortcut there; Sandler et al. 2018, arXiv:1801.04381).
        depths: Number of blocks in each stage. The first stage keeps height and width, the last
            ``ups`` stages double them, and all others halve them.
        widths: Output channels of the branch in each stage.
        stem: Operations before the first stage, which may include ``pool`` (3x3 max-pooling);
            a stem that ends in ``pool`` has stride 2 in its first convolution. ``none`` for no
            stem.
        stem_width: Output channels of the stem; by default the first of ``widths``.
        head: Operations before the classifier, which may include dense convolutions; ``mean`` is
            the global average pooling (``conv1-bn-relu6-mean`` in Sandler et al. 2018, Table 2).
            A head that ends in ``map`` (1x1 convolution) or ``map3`` (3x3) outputs values for each
            pixel.
        head_width: Output channels of each convolution of the head; by default its input channels.
        ups: Number of the last stages that double height and width.
        up: Operations by which these stages do so: one of ``up2``, ``up3`` and ``up4`` (transposed
            convolutions with this kernel), ``nearest``, ``bilinear`` and ``shuffle``, optionally
            with convolutions, norms and activations; one value, or one per such stage.
        down: Operation by which stages halve height and width: ``stride``, ``maxpool`` or
            ``avgpool``.
        links: Long skips from the output of one stage to that of a later one, such as ``1>3``; 0
            is the stem. ``0>1, 1>2, 2>3, 0>3`` is residual-of-residual (Zhang et al. 2016,
            arXiv:1608.02908, Fig. 1). Operations after a layout's join come after the links.
            ``mirror``, ``full`` and ``nested`` stand for those of U-Net, UNet 3+ and UNet++; a link
            from ``2.1`` starts at the first node at the level of stage 2, which is then built.
        link_merge: Join of links: ``add``; ``cat`` (concatenation after the channels of the stage);
            ``attention`` (``cat`` behind an attention gate; Oktay et al. 2018, arXiv:1804.03999);
            or ``weighted`` (a sum with learned numbers that start at 1). One value, or one per
            link.
        link_shortcut: Operation of an added link where shapes differ: ``pad``, ``proj`` or
            ``avg-proj``. A concatenated one is average-pooled and keeps its channels.
        bottleneck_ratio: Ratio of the channels inside the branch to ``widths``.
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
        gate_bias: Initial bias of every gate; -6 opens the shortcut (Table 1 there).

    Raises:
        DesignError: If a value is out of range or the shapes do not fit.
        LayoutError: If a layout is invalid.
    """

    layout: str | tuple[str, ...]
    merge: str | tuple[str, ...] = "add"
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    stem: str = "conv3"
    stem_width: int = 0
    head: str = "mean"
    head_width: int = 0
    ups: int = 0
    up: str | tuple[str, ...] = "up2"
    down: str = "stride"
    links: tuple[str, ...] = ()
    link_merge: str | tuple[str, ...] = "add"
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
        given = self.links
        for name in FIELDS:
            if FIELDS[name].stages not in (Stages.EITHER, Stages.UP) and name != "stem_width":
                self._set(name, check_field(name, getattr(self, name)))
        self._set("stem_width", check_field("stem_width", self._stem_width()))
        self._mirror()
        if len(self.depths) > MOST_STAGES:
            raise DesignError(f"depths has {len(self.depths)} stages, more than {MOST_STAGES}")
        if sum(self.depths) > MOST_BLOCKS:
            raise DesignError(f"depths has {sum(self.depths):,} blocks, more than {MOST_BLOCKS:,}")
        self._check_links(given)
        for name in PER_STAGE:
            self._set(name, self._one_or_per_stage(name, getattr(self, name)))
        self._set("up", self._one_per("up", self.up, self.ups, "stages that enlarge"))
        self.plan()

    def _mirror(self) -> None:
        """Extend lists that omit the stages that enlarge, with the other values in reverse order.

        A list may name all stages, or only those that do not enlarge; see ``names_all_stages``.
        """
        lengths = {"depths": len(self.depths), "widths": len(self.widths)}
        stages = max(lengths.values())
        if not names_all_stages(stages, self.ups, parse_run(self.stem)):
            stages += self.ups
        down = stages - self.ups
        for length in lengths.values():
            if length not in (stages, down) or down < 1:
                raise DesignError(
                    f"depths has {lengths['depths']} stages and widths {lengths['widths']};"
                    " both need one number a stage"
                )
        for name in (*lengths, *PER_STAGE):
            values = getattr(self, name)
            if isinstance(values, list | tuple) and self.ups and len(values) == down:
                mirrored = list(values[-2::-1])
                at_stem = self.stem_width if name == "widths" else values[0]
                mirrored += [at_stem] * (self.ups - len(mirrored))
                self._set(name, (*values, *mirrored[: self.ups]))
        for number, depth in enumerate(self.depths[:down]):
            if depth == 0:
                raise DesignError(
                    f"depths[{number}]: 0 is not a whole number from 1 to {LARGEST}; only a stage"
                    " that enlarges may have no blocks"
                )

    def _check_links(self, given: object) -> None:
        """Replace words by links, and check their ends and how they are joined."""
        levels = levels_of(parse_run(self.stem), len(self.depths), self.ups)
        links = linked(self.links, levels, self.ups)
        places = node_places(levels, self.ups)
        ends = ", ".join(map(str, (*levels, *places)))
        for link in links:
            source, target = split_link(link)
            for end in (source, target):
                if end not in levels and end not in places:
                    raise DesignError(
                        f"links: {shown_value(link)} has an end that is not there; the ends of"
                        f" links are {ends}"
                    )
            down = len(self.depths) - self.ups
            if source in places and isinstance(target, int) and target <= down:
                raise DesignError(
                    f"links: {shown_value(link)} leads back; nodes come after stage {down}, the"
                    " last that does not enlarge"
                )
            if target == OUTPUT and parse_run(self.head)[-1] not in MAPS:
                raise DesignError(
                    f"links: {shown_value(link)} leads to the output, which only a head with a map"
                    f" has ({', '.join(MAPS)})"
                )
        joined = [link for link in links if split_link(link)[1] != OUTPUT]
        if isinstance(self.link_merge, tuple):
            listed = [given] if isinstance(given, str) else list(cast("Sequence[str]", given))
            if not set(listed) & set(LINK_WORDS) and tuple(listed) != links:
                raise DesignError(
                    f"links: with one value of link_merge a link, list them by target, then by"
                    f" source: {', '.join(links)}"
                )
        self._set("links", links)
        merges = self._one_per("link_merge", self.link_merge, len(joined), "links")
        self._set("link_merge", merges)
        at_stage: dict[End, str] = {}
        for link, merge in zip(joined, spread(self.link_merge, len(joined)), strict=True):
            target = split_link(link)[1]
            if at_stage.setdefault(target, merge) != merge:
                raise DesignError(f"link_merge: the links that end at stage {target} differ in it")
        for node in needed_nodes((split_link(link)[0] for link in links), places):
            if isinstance(self.link_merge, tuple) and node.like not in at_stage:
                raise DesignError(
                    f"link_merge: node {node.end} joins like the links that end at stage"
                    f" {node.like}, and there are none; give one value for all links"
                )

    def _one_per(self, name: str, value: object, number: int, what: str) -> object:
        """Check one value, or one per part of the network, and collapse values that agree."""
        if isinstance(value, list | tuple) and len(value) != number:
            raise DesignError(
                f"{name} has {len(value)} values for {number} {what}; give one value, or one each"
            )
        checked = check_field(name, value)
        return collapse(checked) if isinstance(checked, tuple) and checked else checked

    def _stem_width(self) -> int:
        unset = type(self.stem_width) is int and self.stem_width == 0
        return self.widths[0] if unset else self.stem_width

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show the layout, and the fields that differ from their defaults."""
        shown = (f"{name}={value!r}" for name, value in self._beside_defaults().items())
        return f"Design({', '.join(shown)})"

    def _beside_defaults(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in values.items() if value != FIELDS[name].default}

    def _repr_html_(self) -> str:
        """Return a table of the fields with an effect on this design, for notebooks."""
        rows = "".join(
            f"<tr><th>{name}</th><td><code>{escape(str(value))}</code></td></tr>"
            for name, value in self.to_dict().items()
            if self.has_effect(name)
        )
        return f"<table><caption>design {self.id}</caption>{rows}</table>"

    def has_effect(self, field: str) -> bool:
        """Return whether another value of a field could give another network."""
        return field in self._with_effect

    @cached_property
    def _with_effect(self) -> frozenset[str]:
        n = len(self.depths)
        layouts = [Layout.parse(text) for text in spread(self.layout, n)]
        merges = spread(self.merge, n)
        given = Deciding(layouts, merges, self.links, self.link_merge, self.head, self.ups)
        return with_effect(given)

    def _one_or_per_stage(self, name: str, value: object) -> object:
        """Check one value, or one per stage, and collapse values that agree."""
        if isinstance(value, list | tuple) and len(value) != len(self.depths):
            raise DesignError(
                f"{name} has {len(value)} values for {len(self.depths)} stages;"
                " give one value, or one per stage"
            )
        checked = check_field(name, value)
        return collapse(checked) if isinstance(checked, tuple) else checked

    @property
    def stages(self) -> tuple[StageFields, ...]:
        """The fields of each stage."""
        n = len(self.depths)
        columns = {name: spread(getattr(self, name), n) for name in (*PER_STAGE, *SETTINGS)}
        columns["layout"] = tuple(map(Layout.parse, columns["layout"]))
        columns |= {"depth": self.depths, "width": self.widths}
        return tuple(
            StageFields(**{name: column[i] for name, column in columns.items()}) for i in range(n)
        )

    @property
    def halvings(self) -> int:
        """Number of halvings of height and width at the deepest level."""
        return max(levels_of(parse_run(self.stem), len(self.depths), self.ups).values())

    @property
    def worded_links(self) -> tuple[str, ...]:
        """The links, with the word for several of them (such as ``mirror``) where one fits."""
        levels = levels_of(parse_run(self.stem), len(self.depths), self.ups)
        return worded(self.links, levels, self.ups)

    def plan(self, in_channels: int = 3) -> Network:
        """Resolve every shape of the network, in plain numbers.

        Args:
            in_channels: Number of image channels.

        Raises:
            DesignError: If the shapes do not fit.
        """
        return _plan(self, in_channels)

    def replace(self, **changes: Any) -> Self:
        """Return a design with some fields changed, and validate it."""
        refuse_unknown_keys(changes, FIELDS, "design", DesignError)
        return dataclasses.replace(self, **changes)

    def canonical(self) -> Design:
        """Return the design that represents all designs that build the same network.

        Every field without effect has its default (such as the shortcut of a plain layout, or the
        rate of a missing dropout), and all other fields have their shortest spelling.

        "The same network" means the same plan: the same operations, parameters and random draws.
        Networks that compute the same function with different plans have different ids:

        - ``branch_scale: 0``, and ``shortcut_scale: 0`` where the shortcut is a projection: the
          path without effect still has parameters.
        - ``shortcut_scale: 0`` with a ``branch_scale`` that is not 1, a ``drop_path``, or a
          convolution after the join: no plain layout expresses it.
        - An added link over a stage of one plain block: it is that block's shortcut.
        - Several plain blocks, and one block whose layout repeats theirs: two of ``conv3`` and one
          of ``conv3-conv3``.
        - Factors that a norm after the join cancels, such as 0.5 for both paths.
        """
        return _canonical(self)

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits, equal for designs that build the same network."""
        # Fields at their defaults are omitted, so that a field added later does not change old ids.
        content = self.canonical()._beside_defaults()
        return hashed(json.dumps(content, sort_keys=True))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in order, as plain values (strings, numbers, lists)."""
        return {name: _plain(getattr(self, name)) for name in FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a design from plain values.

        Raises:
            DesignError: If a key is unknown, ``layout`` is missing, or a value is invalid.
        """
        refuse_unknown_keys(values, FIELDS, "design", DesignError)
        if "layout" not in values:
            raise DesignError("a design needs a layout, such as 'conv3-bn-relu-conv3-bn + relu'")
        return cls(**values)

    def to_yaml(self) -> str:
        """Return the design as YAML, about ten readable lines."""
        return dump_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str, where: str = "design") -> Self:
        """Build a design from YAML; ``where`` is the name of the text in messages."""
        values = parse_yaml(text, where, DesignError)
        if "axes" in values:
            raise DesignError(f"{where} is a search space; skipsearch search takes it")
        try:
            return cls.from_dict(values)
        except (DesignError, LayoutError) as error:
            raise type(error)(f"{where}: {error}") from None

    def to_json(self) -> str:
        """Return the design as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build a design from JSON.

        Raises:
            DesignError: If the text is not a JSON object or a value is invalid.
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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@lru_cache(maxsize=4096)
def _plan(design: Design, in_channels: int) -> Network:
    stages = len(design.depths)
    links = tuple(map(split_link, design.links))
    targets = [target for _, target in links if target != OUTPUT]
    if isinstance(design.link_merge, str):
        merges = dict.fromkeys(range(1, stages + 1), design.link_merge)
    else:
        pairs = zip(targets, design.link_merge, strict=True)
        merges = {target: merge for target, merge in pairs if isinstance(target, int)}
    ups = spread(design.up, design.ups)
    return plan_network(
        design.stages,
        stem=parse_run(design.stem),
        stem_width=design.stem_width,
        head=parse_run(design.head),
        head_width=design.head_width,
        ups=design.ups,
        up=dict(zip(range(stages - design.ups + 1, stages + 1), ups, strict=True)),
        down=design.down,
        links=links,
        link_merge=merges,
        link_shortcut=design.link_shortcut,
        compression=design.compression,
        drop_path=design.drop_path,
        dropout=design.dropout,
        in_channels=in_channels,
    )


@lru_cache(maxsize=4096)
def _canonical(design: Design) -> Design:
    values = {name: getattr(design, name) for name in FIELDS}
    found = [
        canonical_fields(values, design.stages, plan) for plan in _plans_for_any_images(design)
    ]
    # A field that has no effect for some number of image channels may have one for another.
    agreed = {
        name: value if all(each[name] == value for each in found) else values[name]
        for name, value in found[0].items()
    }
    return Design(**agreed)


def _plans_for_any_images(design: Design) -> list[Network]:
    """Return plans that represent those for any number of image channels.

    Without a stem, or with a long skip from the image, signals may have the channels of the image.
    The image then gets a number of channels that no other signal has. If zero padding cannot start
    from so many channels, the plans for RGB and grey images are returned instead.
    """
    from_image = any(split_link(link)[0] == IMAGE for link in design.links)
    if parse_run(design.stem) != (NO_STEM,) and not from_image:
        return [design.plan()]
    try:
        return [design.plan(MANY_CHANNELS)]
    except DesignError:
        plans = [design.plan()]
    with contextlib.suppress(DesignError):
        plans.append(design.plan(1))
    return plans
