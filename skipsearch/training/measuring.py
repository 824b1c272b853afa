"""Measurement of one network on a split: score, interval, baseline and further figures."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from skipsearch.data import Data, Split
from skipsearch.metric import Scale
from skipsearch.record import Measurement
from skipsearch.training.baseline import do_nothing
from skipsearch.training.bootstrap import interval_of
from skipsearch.training.criteria import Criterion


def measurement(data: Data, split: Split, criterion: Criterion, tallies: Tensor) -> Measurement:
    """Return the score on a split with its interval, its baseline, and further figures.

    Args:
        data: Data set of the training.
        split: Split that the network was evaluated on.
        criterion: Criterion of the task.
        tallies: Complete tally (images, ...) of each image.
    """
    images, metric = len(split), data.task.metric
    whole = tallies if criterion.collects else tallies.sum(0)
    (score,) = criterion.scores(whole.unsqueeze(1 if criterion.collects else 0), images)
    if metric.is_share_of_images:
        interval = Scale(metric, images).interval(score)
    else:
        centre = score if criterion.collects else None  # sums of counts have hardly any bias
        interval = interval_of(partial(criterion.resampled, tallies.cpu()), images, centre=centre)
    return Measurement(
        score, images, interval, do_nothing(data, split), *criterion.figures(whole, images)
    )
