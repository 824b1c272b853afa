"""Sentences about an exported network that its page and its source file share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skipsearch.artefacts.card import Card
from skipsearch.data.pixels import full_scale_of
from skipsearch.errors import counted
from skipsearch.task import MULTI_LABEL, REGRESSION, Task

FEW_GROUPS = 10  # below this, an interval holds the score in far fewer than 95 of 100 cases
# What a network with outputs for the whole image is, by tasks other than classification
KINDS = {
    MULTI_LABEL.name: "a multi-label image classifier",
    REGRESSION.name: "an image regression network",
}


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
    for split, measured in card.measured().items():
        joint = "of" if metric.is_share_of_images else "on"
        known[f"{split} {metric.title}"] = (
            f"{metric.text(metric.value(measured.score))} {joint}"
            f" {extent(measured.images, measured.groups)}"
            f" (95 % interval {metric.span(metric.values(measured.interval))}"
            f"{resampling(measured.groups)})"
        )
        if baseline := card.baseline(split):
            value = metric.text(metric.value(baseline.score))
            known[f"{split} baseline"] = f"{value}, {card.task.baseline}"
    return {name: text for name, text in known.items() if text}


def extent(images: int, groups: int | None) -> str:
    """Return the number of images in words, and that of their groups if they have any."""
    within = "" if groups is None else f" in {counted(groups, 'group')}"
    return f"{counted(images, 'image')}{within}"


def resampling(groups: int | None) -> str:
    """Say what an interval makes of groups, in a clause; empty if there are none."""
    if groups is None:
        return ""
    if groups == 1:
        return "; an interval needs several groups"
    few = ", and is too narrow for so few" if groups < FEW_GROUPS else ""
    return f"; the interval resamples whole groups{few}"


def allowed(tolerance: float, task: Task) -> str:
    """Return the largest allowed difference of outputs in words.

    Args:
        tolerance: Largest allowed difference, relative to the largest output.
        task: Task of the network.
    """
    unit = ", in standard deviations of the targets" if task.name == REGRESSION.name else ""
    return f"{tolerance:g} of the largest output{unit}"


def normalisation(mean: Sequence[float], std: Sequence[float], pixels: str) -> str:
    """Describe the normalisation of pixels in a sentence; empty if it is unknown."""
    if not mean:
        return ""
    scale = full_scale_of(pixels)
    value = "value" if scale == 1 else f"value / {scale:g}"
    return (
        f"Pixels enter as ({value} - mean) / std in each channel, with mean"
        f" {shown(list(mean))} and std {shown(list(std))}."
    )


def shown(value: Any) -> str:
    """Return a plain value as text; a list is joined by commas."""
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
