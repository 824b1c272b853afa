"""Seeds: what is one, and which ones are new."""

from __future__ import annotations

from skipsearch.errors import RunError

NEW_SEEDS = 1_000_000  # so far above the search's are those that leaders are trained again with


def check_seed(seed: int) -> None:
    """Refuse what is no seed."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"seed: {seed!r} is not a whole number from 0 to 2**32 - 1")
