"""Seeds: valid values, and new ones."""

from __future__ import annotations

from skipsearch.config import SearchConfig
from skipsearch.errors import RunError

NEW_SEEDS = 1_000_000  # offset of the seeds of ``confirm`` from those of the search


def first_new_seed(config: SearchConfig) -> int:
    """Return the first seed of ``confirm``."""
    return (config.seed + NEW_SEEDS) % 2**32


def check_seed(seed: int) -> None:
    """Check that a number is a valid seed."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"seed: {seed!r} is not a whole number from 0 to 2**32 - 1")
