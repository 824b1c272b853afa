"""Kinds of values that a field of a design can have.

Each kind checks one value and returns it in its canonical spelling, or raises an error whose
message begins with the location of the value.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, cast

from skipsearch.errors import DesignError, LayoutError, not_one_of, shown_value
from skipsearch.layout import PLAIN_TOKENS, Layout, check_token, is_convolution, parse_run
from skipsearch.operations import ENLARGING
from skipsearch.plan import BEFORE_POOL, IMAGE, OUTPUT, End

NO_STEM = "none"
MAPS = ("map", "map3")  # heads with values for each pixel: a convolution with kernel 1 or 3
LINK_WORDS = ("mirror", "full", "nested")  # words for several links
LARGEST = 100_000  # channels, or blocks of a stage: far above any network, below typical mistakes


class Kind(Protocol):
    """The values that a field can have."""

    def check(self, place: str, value: object) -> object:
        """Return a value in its canonical spelling.

        Args:
            place: Location of the value; the message begins with it.
            value: Value to check.

        Raises:
            DesignError: If the value is invalid.
            LayoutError: If a layout is invalid.
        """
        ...


@dataclass(frozen=True)
class Word:
    """One of a list of words."""

    allowed: Collection[str]

    def check(self, place: str, value: object) -> str:
        """Return the word; see ``Kind``."""
        if not isinstance(value, str) or value not in self.allowed:
            raise DesignError(f"{place}: {not_one_of(value, self.allowed)}")
        return value


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low``, or 0 if the field may be unset."""

    may_be_unset: bool = False
    low: int = 1

    def check(self, place: str, value: object) -> int:
        """Return the number; see ``Kind``."""
        low = 0 if self.may_be_unset else self.low
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= LARGEST:
            raise DesignError(
                f"{place}: {shown_value(value)} is not a whole number from {self.low} to {LARGEST}"
            )
        return value


@dataclass(frozen=True)
class Real:
    """A number between two bounds, each included unless open."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def check(self, place: str, value: object) -> float:
        """Return the number as a float; see ``Kind``."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self._holds(cast("float", value)):
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            raise DesignError(
                f"{place}: {shown_value(value)} is not a number in"
                f" {left}{self.low:g}, {self.high:g}{right}"
            )
        return float(cast("float", value))

    def _holds(self, number: float) -> bool:
        above = self.low < number if self.open_low else self.low <= number
        below = number < self.high if self.open_high else number <= self.high
        return above and below


class LayoutText:
    """A layout, as a string or a ``Layout``."""

    def check(self, place: str, value: object) -> str:
        """Return the layout as text; see ``Kind``."""
        return str(value if isinstance(value, Layout) else Layout.parse(cast("str", value)))


class Stem:
    """The operations before the first stage, or ``none``: the first stage then reads the image."""

    def check(self, place: str, value: object) -> str:
        """Return the operations as text; see ``Kind``."""
        if value == NO_STEM:
            return NO_STEM
        tokens = _tokens(place, value, ("pool",), "'conv3' or 'conv7-pool'")
        if not tokens[0].startswith("conv") or "pool" in tokens[:-1]:
            raise DesignError(
                f"{place}: {shown_value(value)} must open with a dense convolution; 'pool' comes"
                " last"
            )
        if any(token.startswith("dw") or token == "dropout" for token in tokens):
            raise DesignError(
                f"{place}: {shown_value(value)} takes neither depthwise convolutions nor dropout"
            )
        return "-".join(tokens)


class Head:
    """The operations after the last stage, with a global average pooling or a map."""

    def check(self, place: str, value: object) -> str:
        """Return the operations as text; see ``Kind``."""
        tokens = _tokens(place, value, ("mean", *MAPS), "'mean', 'conv1-bn-relu-mean' or 'map'")
        if tokens[-1] in MAPS and not any(token in ("mean", *MAPS) for token in tokens[:-1]):
            return "-".join(tokens)
        if any(token in MAPS for token in tokens):
            raise DesignError(
                f"{place}: a map must occur once, last, and without 'mean' in {shown_value(value)}"
            )
        if tokens.count("mean") != 1:
            raise DesignError(
                f"{place}: 'mean', the global average pooling, or a map must occur once in"
                f" {shown_value(value)}"
            )
        behind = tokens[tokens.index("mean") :]
        wide = any(is_convolution(token) and token != "conv1" for token in behind)
        if wide or any(token.startswith("dw") for token in tokens):
            raise DesignError(
                f"{place}: {shown_value(value)} takes no depthwise convolution, and behind 'mean'"
                " conv1 alone"
            )
        return "-".join(tokens)


class Up:
    """The operations by which a stage enlarges."""

    def check(self, place: str, value: object) -> str:
        """Return the operations as text; see ``Kind``."""
        tokens = _tokens(place, value, ENLARGING, "'up2' or 'bilinear-conv3'")
        if sum(token in ENLARGING for token in tokens) != 1:
            raise DesignError(
                f"{place}: one of {', '.join(ENLARGING)} must occur once in {shown_value(value)}"
            )
        if "dropout" in tokens:
            raise DesignError(f"{place}: {shown_value(value)} takes no dropout")
        return "-".join(tokens)


def _tokens(place: str, value: object, others: tuple[str, ...], examples: str) -> tuple[str, ...]:
    """Split a run of operations, in which ``others`` are allowed as well."""
    if not isinstance(value, str):
        raise DesignError(f"{place}: {shown_value(value)} is not a text such as {examples}")
    tokens = parse_run(value)
    for token in tokens:
        try:
            check_token(token, (*PLAIN_TOKENS, *others), value)
        except LayoutError as error:
            raise DesignError(f"{place}: {error}") from None
    return tokens


class Links:
    """Long skips such as ``1>3``: a list of strings, or a single string."""

    def check(self, place: str, value: object) -> tuple[str, ...]:
        """Return the links sorted by target, then by source; see ``Kind``."""
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple):
            raise DesignError(
                f"{place}: {shown_value(value)} is not a list of texts such as ['1>3']"
            )
        links: set[str] = set()
        for i, text in enumerate(texts):
            link = _link(f"{place}[{i}]", text)
            if link in links:
                raise DesignError(f"{place}[{i}]: {shown_value(text)} is listed twice")
            links.add(link)
        return tuple(sorted(links, key=link_place))


def _link(place: str, text: object) -> str:
    """Return a link, or a word for several links, in its canonical spelling."""
    words = "".join(text.split()) if isinstance(text, str) else ""
    if words in LINK_WORDS:
        return words
    match = re.fullmatch(r"(([0-9]{1,6}|s)(?:\.([0-9]{1,6}))?|x)>([0-9]{1,6}|y)", words)
    if match is None:
        raise DesignError(
            f"{place}: {shown_value(text)} is not of the form '1>3', with 0 for the stem, s for the"
            f" stem before its pool, 2.1 for the first node at the level of stage 2, x for the"
            f" image and y for the output, nor one of"
            f" {', '.join(LINK_WORDS)}"
        )
    source, target = (
        ".".join(str(int(part)) if part.isdecimal() else part for part in end.split("."))
        for end in words.split(">")
    )
    if source.isdecimal() and target.isdecimal() and int(source) >= int(target):
        raise DesignError(
            f"{place}: {shown_value(text)} leads from a stage to itself or back; a link leads"
            " onwards"
        )
    return f"{source}>{target}"


def link_place(link: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sort key of a link; words come first."""
    if link in LINK_WORDS:
        return (-1, LINK_WORDS.index(link)), ()
    source, target = split_link(link)
    return end_place(target), end_place(source)


def end_place(end: End) -> tuple[int, int, int]:
    """Return the sort key of an end of a link, from the image to the output.

    A node comes after the part of the encoder at its level.
    """
    if isinstance(end, int):
        return 1, end, 0
    start, _, number = end.partition(".")
    if number:
        return *end_place(_end(start))[:2], int(number)
    return {IMAGE: (0, 0, 0), BEFORE_POOL: (0, 1, 0), OUTPUT: (2, 0, 0)}[end]


def split_link(link: str) -> tuple[End, End]:
    """Return the source and the target of a link."""
    source, _, target = link.partition(">")
    return _end(source), _end(target)


def _end(text: str) -> End:
    return int(text) if text.isdecimal() else text
