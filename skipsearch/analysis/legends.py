"""Meaning of the columns of tables, for the page and for the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from skipsearch.analysis.effects import POSTERIOR
from skipsearch.metric import Scale

EFFECTS = {
    "mean": "over all designs of the space with the level",
    "low, high": "its 95 % interval",
    "difference": "to the leading level, the first row of the axis, with its 95 % interval"
    " (d_low, d_high)",
    "best": "of the best design with the level, with its 95 % interval (best_low, best_high)",
    "best_difference": "to the best design of the level whose best trained design leads, with its"
    " interval (bd_low, bd_high)",
    "chance": "the probability that the best design of the space has the level",
    "n": "trainings that were observed",
}
IMPORTANCE = (
    "share: the part of the variance over the space that an axis explains, or that a pair of axes"
    " explains beyond the two (Sobol indices), with its 95 % interval."
)


def method_words(effects: pd.DataFrame, repeat: str) -> str:
    """Describe how the means of a table of effects were computed.

    Args:
        effects: Table of ``effects``.
        repeat: ``Scale.repeat``.
    """
    how = f"every design was trained with several {repeat}s, and levels are compared in pairs"
    if (effects["method"] == POSTERIOR).any():
        how = "draws of a Gaussian process that was fitted to all trainings"
    return f"Means are over all designs of the space, trained or not: {how}."


def degradation_legend(repeat: str) -> str:
    """Return the meaning of the columns of a degradation.

    Args:
        repeat: ``Scale.repeat``.
    """
    return (
        f"Means over n {repeat}s, with their deviation, after the same number of epochs;"
        " epochs_to_loss: until a training loss that all of that depth reach."
    )


def confirmation_meanings(repeat: str) -> Mapping[str, str]:
    """Return the meaning of the columns of a confirmation.

    Args:
        repeat: ``Confirmation.repeat``.
    """
    return {
        "low, high": f"95 % interval of the mean over n {repeat}s",
        "chance": "probability of being the best of these",
        "shrinkage": "by how much the score of the search was too high",
    }


def ranking_legend(scale: Scale) -> str:
    """Describe the order of a ranking and the meaning of its columns.

    Args:
        scale: Metric and number of validation images.
    """
    one = "unknown for one seed"
    if scale.metric.is_share_of_images:
        one = f"or for one seed that of {scale.images:,} validation images"
    of_seeds = f"n seeds, {one}"
    if scale.folds > 1:
        of_seeds = "n folds, each with other validation images"
    return (
        f"Ranked by epochs reached, then by validation {scale.metric.title} there. low, high: 95 %"
        f" interval of the mean over {of_seeds}; tied: statistically indistinguishable from the"
        f" first.{ignored_groups(scale)}"
    )


def ignored_groups(scale: Scale) -> str:
    """Say, in a sentence after a blank, that intervals ignore groups; empty if none does.

    That of several seeds or folds is from their deviation, and counts no images.

    Args:
        scale: Metric and number of validation images.
    """
    if not (scale.grouped and scale.metric.is_share_of_images):
        return ""
    return (
        f" The interval of one {scale.repeat} treats the images of a group as independent, and is"
        " too narrow if they are alike."
    )


def legend(meanings: Mapping[str, str], shown: Collection[str]) -> str:
    """Describe the meaning of the columns that are shown.

    Args:
        meanings: Meaning by column, or by several columns with commas.
        shown: Columns that are shown.
    """
    said = [
        f"{columns}: {meaning}"
        for columns, meaning in meanings.items()
        if columns.partition(",")[0] in shown
    ]
    return f"{'; '.join(said)}."
