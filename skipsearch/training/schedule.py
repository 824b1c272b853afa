"""Learning rate at any moment of a training, which depends only on the recipe."""

from __future__ import annotations

import math

from skipsearch.errors import unknown_word
from skipsearch.recipe import Recipe

STEP_MILESTONES = (0.5, 0.75)  # He et al. 2015, arXiv:1512.03385, 4.2: 32k and 48k of 64k
STEP_FACTOR = 0.1


def learning_rate(recipe: Recipe, epochs: float) -> float:
    """Return the learning rate after a number of epochs.

    Warm-up rises linearly to the peak. The schedule then spans the rest of the budget
    (``cosine``), or the whole budget (``step``, whose milestones are shares of it).

    Args:
        recipe: Recipe, whose ``epochs`` are the full budget.
        epochs: Completed epochs, also fractional, from 0 to ``recipe.epochs``.
    """
    # Warm-up never takes more than half of a short budget.
    warmup = min(recipe.warmup_epochs, recipe.epochs / 2)
    if epochs < warmup:
        return recipe.peak_lr * epochs / warmup
    match recipe.schedule:
        case "step":
            passed = sum(epochs >= share * recipe.epochs for share in STEP_MILESTONES)
            return recipe.peak_lr * STEP_FACTOR**passed
        case "cosine":
            progress = (epochs - warmup) / (recipe.epochs - warmup)
            return recipe.peak_lr * 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            raise unknown_word("schedule", recipe.schedule)
