"""Sentences about an exported network that its page and its source file share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skipsearch.artefacts.card import Card
from skipsearch.errors import counted


def facts(card: Card) -> dict[str, str]:
    """Name in a line each where a network comes from and how good it is, as far as known."""
    known = {
        "run": f"{card.run}, space {card.space}" if card.space else card.run,
        "data": card.data.partition(";")[0],  # its remarks are on the card
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
    """Say in a sentence how pixels become what the network takes; nothing where nobody knows."""
    if not mean:
        return ""
    return (
        "Pixels enter as (value / 255 - mean) / std in each channel, with mean"
        f" {shown(list(mean))} and std {shown(list(std))}."
    )


def shown(value: Any) -> str:
    """Show a plain value, a list with commas."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
