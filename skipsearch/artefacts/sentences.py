"""Sentences about an exported network that its page and its source file share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skipsearch.artefacts.card import Card
from skipsearch.errors import counted


def facts(card: Card) -> dict[str, str]:
    """Return the known facts on the origin and the scores of a network, one line each."""
    known = {
        "run": f"{card.run}, space {card.space}" if card.space else card.run,
        "data": card.data.partition(";")[0],  # the card has its remarks
    }
    if card.recipe is not None:
        known["training"] = (
            f"{counted(card.recipe.epochs, 'epoch')} on {card.trained_on}, seed {card.seed}"
        )
    metric = card.task.metric
    for split, (score, images, interval) in card.measured().items():
        low, high = (metric.text(end) for end in interval)
        known[f"{split} {metric.title}"] = (
            f"{metric.text(score)} of {counted(images, 'image')} (95 % interval {low} to {high})"
        )
    return {name: text for name, text in known.items() if text}


def normalisation(mean: Sequence[float], std: Sequence[float]) -> str:
    """Describe the normalisation of pixels in a sentence; empty if it is unknown."""
    if not mean:
        return ""
    return (
        "Pixels enter as (value / 255 - mean) / std in each channel, with mean"
        f" {shown(list(mean))} and std {shown(list(std))}."
    )


def shown(value: Any) -> str:
    """Return a plain value as text, a list with commas."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
