"""The designs that represent a space in statements about all of them."""

from __future__ import annotations

import random

from skipsearch.space import TRIES, Candidate, Space

LISTED = 4_000  # points up to which all designs of a space are used
DRAWN = 2_000  # designs that represent a larger space


def representatives(space: Space) -> list[Candidate]:
    """Return all designs of a small space, or randomly drawn designs, always the same ones.

    Args:
        space: Space; one of more than 4,000 points is represented by 2,000 distinct designs.
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
