"""Rungs: the epochs at which trials are compared and some of them stopped."""

from __future__ import annotations

REDUCTION_FACTOR = 3  # of ASHA: a third of the trials passes each rung


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the rungs of successive halving for a full budget, the full budget last.

    The first lies at a ninth of the budget (Li et al. 2020, arXiv:1810.05934, with a reduction
    factor of 3 and two rungs below the full budget): what only shows later needs a longer budget.

    Args:
        epochs: The full budget.
    """
    grace = -(-epochs // REDUCTION_FACTOR**2)
    below = [r for r in (grace, grace * REDUCTION_FACTOR) if r < epochs]
    return (*below, epochs)
