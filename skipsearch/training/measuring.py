"""Measurement of one network on a split: score, interval, baseline and further figures."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from skipsearch.data import Data, Split
from skipsearch.data.source import Array
from skipsearch.metric import Scale
from skipsearch.record import Measurement
from skipsearch.training.baseline import do_nothing
from skipsearch.training.bootstrap import interval_of
from skipsearch.training.criteria import Criterion


def measurement(
    data: Data, split: Split, criterion: Criterion, tallies: Tensor, groups: Array | None = None
) -> Measurement:
    """Return the score on a split with its interval, its baseline, and further figures.

    Args:
        data: Data set of the training.
        split: Split that the network was evaluated on.
        criterion: Criterion of the task.
        tallies: Complete tally (images, ...) of each image.
        groups: Group (images,) of each image; None if every image is its own group.
    """
    images, metric = len(split), data.task.metric
    whole = tallies if criterion.collects else tallies.sum(0)
    (score,) = criterion.scores(whole.unsqueeze(1 if criterion.collects else 0), images)
    if metric.is_share_of_images and groups is None:
        interval = Scale(metric, images).interval(score)
    else:
        centre = score if criterion.collects else None  # sums of counts have hardly any bias
        scores = partial(criterion.resampled, tallies.cpu())
        interval = interval_of(scores, images, centre=centre, groups=groups)
    return Measurement(
        score,
        images,
        interval,
        do_nothing(data, split),
        *criterion.figures(whole, images),
        groups=None if groups is None else len(np.unique(groups)),
    )
