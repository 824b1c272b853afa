"""Named designs from the literature, each with its paper and its published size and error."""

from __future__ import annotations

from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.classics.decoders import DECODERS
from skipsearch.classics.entry import (
    BN_AFTER_ADDITION,
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
    RESIDUAL_OF_RESIDUAL,
    Classic,
)
from skipsearch.errors import DesignError, not_one_of

__all__ = [
    "BN_AFTER_ADDITION",
    "BOTTLENECK",
    "BOTTLENECK_PREACTIVATION",
    "CLASSICS",
    "DENSE",
    "FULL_PREACTIVATION",
    "ORIGINAL",
    "PLAIN",
    "RELU_BEFORE_ADDITION",
    "RELU_ONLY_PREACTIVATION",
    "RESIDUAL_OF_RESIDUAL",
    "Classic",
    "classic",
]

CLASSICS: dict[str, Classic] = {**CLASSIFIERS, **DECODERS}


def classic(name: str) -> Classic:
    """Look up a classic by its name, ignoring case.

    Raises:
        DesignError: If no classic has that name.
    """
    try:
        return CLASSICS[name.lower()]
    except KeyError:
        raise DesignError(f"classic {not_one_of(name.lower(), CLASSICS)}") from None
