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

LARGEST = 100_000  # channels, or blocks of a stage: far above any network, far below a mistake


class Kind(Protocol):
    """The values that a field can have."""

    def check(self, place: str, value: object) -> object:
        """Return a value in its canonical spelling.

        Args:
            place: Location of the value; the message begins with it.
            value: Value to check.

        Raises:
            DesignError: If the value is invalid.
            LayoutError: If a layout is misspelt.
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
    """A whole number from 1, or 0 if the field may be unset."""

    may_be_unset: bool = False

    def check(self, place: str, value: object) -> int:
        """Return the number; see ``Kind``."""
        low = 0 if self.may_be_unset else 1
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= LARGEST:
            raise DesignError(
                f"{place}: {shown_value(value)} is not a whole number from 1 to {LARGEST}"
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
    """The operations before the first stage."""

    def check(self, place: str, value: object) -> str:
        """Return the operations as text; see ``Kind``."""
        tokens = _tokens(place, value, "pool", "'conv3' or 'conv7-pool'")
        if not tokens[0].startswith("conv") or "pool" in tokens[:-1]:
            raise DesignError(
                f"{place}: {shown_value(value)} must open with a dense convolution; 'pool' stands"
                " last"
            )
        if any(token.startswith("dw") or token == "dropout" for token in tokens):
            raise DesignError(
                f"{place}: {shown_value(value)} takes neither depthwise convolutions nor dropout"
            )
        return "-".join(tokens)


class Head:
    """The operations between the last stage and the classifier."""

    def check(self, place: str, value: object) -> str:
        """Return the operations as text; see ``Kind``."""
        tokens = _tokens(place, value, "mean", "'mean' or 'conv1-bn-relu-mean'")
        if tokens.count("mean") != 1:
            raise DesignError(
                f"{place}: 'mean', the global average pooling, stands once in {shown_value(value)}"
            )
        behind = tokens[tokens.index("mean") :]
        wide = any(is_convolution(token) and token != "conv1" for token in behind)
        if wide or any(token.startswith("dw") for token in tokens):
            raise DesignError(
                f"{place}: {shown_value(value)} takes no depthwise convolution, and behind 'mean'"
                " conv1 alone"
            )
        return "-".join(tokens)


def _tokens(place: str, value: object, pooling: str, examples: str) -> tuple[str, ...]:
    """Split a run of operations, in which ``pooling`` is allowed as well."""
    if not isinstance(value, str):
        raise DesignError(f"{place}: {shown_value(value)} is not a text such as {examples}")
    tokens = parse_run(value)
    for token in tokens:
        try:
            check_token(token, (*PLAIN_TOKENS, pooling), value)
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
        ends = set()
        for i, text in enumerate(texts):
            words = text if isinstance(text, str) else ""
            match = re.fullmatch(r"\s*([0-9]{1,6})\s*>\s*([0-9]{1,6})\s*", words)
            if match is None:
                raise DesignError(
                    f"{place}[{i}]: {shown_value(text)} is not of the form '1>3'; 0 is the stem"
                )
            source, target = int(match[1]), int(match[2])
            if source >= target:
                raise DesignError(
                    f"{place}[{i}]: {shown_value(text)} leads from a stage to itself or back; a"
                    " link leads onwards"
                )
            if (target, source) in ends:
                raise DesignError(f"{place}[{i}]: {shown_value(text)} stands twice")
            ends.add((target, source))
        return tuple(f"{source}>{target}" for target, source in sorted(ends))


def split_link(link: str) -> tuple[int, int]:
    """Return the source and target stages of a link; 0 is the stem."""
    source, _, target = link.partition(">")
    return int(source), int(target)
