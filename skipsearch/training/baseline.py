"""The baseline of a task: the score of doing nothing, which every network should beat."""

from __future__ import annotations

import torch

from skipsearch.data import Data, Split
from skipsearch.plan import Size
from skipsearch.recipe import Recipe
from skipsearch.training.criteria import CRITERIA
from skipsearch.training.evaluation import images_at_once
from skipsearch.training.examples import Examples
from skipsearch.training.tallies import Tallies


def do_nothing(data: Data, split: Split) -> float:
    """Return the score of ``data.task.baseline`` on a split.

    Args:
        data: Data set; the most frequent class is that of its training split.
        split: Split on the same device.
    """
    recipe, images = Recipe(), len(split)
    criterion = CRITERIA[data.task.name](data, recipe)
    examples = Examples(data, recipe, criterion)
    tallies = Tallies(criterion, networks=1, images=images)
    at_once = images_at_once(Size.of(data.image_size).pixels, split.images.device)
    for start in range(0, images, at_once):
        end = min(start + at_once, images)
        index = torch.arange(start, end, device=split.images.device)
        if data.task.restores:
            inputs, target = examples.of(split, index)
        else:  # the baseline needs no pixels, and reading a large data set takes a minute
            unread = torch.empty((end - start, *split.images.shape[1:]), device="meta")
            inputs, target = criterion.pose(unread, split.labels[index], index)
        outputs = criterion.nothing(inputs)
        tallies.add(criterion.tally(outputs[:, None], target[:, None]))
    (score,) = tallies.scores(images)
    return score
