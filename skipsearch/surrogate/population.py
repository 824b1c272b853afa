"""The designs that stand for a space, where something is said of all of them."""

from __future__ import annotations

import random

from skipsearch.space import TRIES, Candidate, Space

LISTED = 4_000  # points up to which all designs of a space are looked at
DRAWN = 2_000  # designs that stand for a larger space


def representatives(space: Space) -> list[Candidate]:
    """Return all designs of a small space, or designs drawn at random, always the same ones.

    Args:
        space: Of up to 4,000 points, or represented by 2,000 distinct designs.
    """
    if space.size is not None and space.size <= LISTED:
        return list(space.candidates())
    rng = random.Random(0)
    drawn: dict[str, Candidate] = {}
    for _ in range(DRAWN + TRIES):
        candidate = space.draw(rng)
        drawn.setdefault(candidate.key, candidate)
        if len(drawn) == DRAWN:
            break
    return list(drawn.values())
