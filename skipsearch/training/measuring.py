"""Measurement of one network on a split: score, interval, baseline and further figures."""

from __future__ import annotations

from torch import Tensor

from skipsearch.data import Data, Split
from skipsearch.record import Measurement
from skipsearch.task import Scale
from skipsearch.training.baseline import do_nothing
from skipsearch.training.bootstrap import bootstrap
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
    whole = tallies.sum(0, keepdim=True)
    (score,) = criterion.scores(whole, images)
    if metric.is_share_of_images:
        interval = Scale(metric, images).interval(score)
    else:
        interval = bootstrap(tallies, lambda sums: criterion.scores(sums, images))
    return Measurement(
        score, images, interval, do_nothing(data, split), *criterion.figures(whole[0], images)
    )
