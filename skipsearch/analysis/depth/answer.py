"""Does deeper degrade? Training and validation error against depth, all else being equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from skipsearch.analysis.depth.groups import described, groups_of
from skipsearch.analysis.depth.table import DEPTH_COLUMNS, common_losses, depth_row
from skipsearch.analysis.depth.verdict import VERDICT_COLUMNS, verdict_row
from skipsearch.analysis.depth.words import sentences, short_claims
from skipsearch.record import Trial
from skipsearch.task import Scale


@dataclass(frozen=True, slots=True)
class Degradation:
    """What becomes of designs as they get deeper.

    Attributes:
        table: One row a group and depth.
        verdicts: One row a group.
        words: The answer in sentences, the plain groups first.
        claims: The same without figures, of the groups whose depths differ.
    """

    table: pd.DataFrame
    verdicts: pd.DataFrame
    words: tuple[str, ...]
    claims: tuple[str, ...]


def degradation(
    trials: Iterable[Trial],
    train_images: int,
    scale: Scale,
    *,
    epochs: int | None = None,
    loss: float | None = None,
    axes: Sequence[str] = ("layout", "shortcut", "merge"),
) -> Degradation:
    """Follow training and validation error over depth, in groups that differ in depth alone.

    A group is a design but for its ``depths``, with one recipe. All trainings are compared after
    the same number of epochs. Those that did not get so far are counted and not looked at: where
    early stopping ended them, the ones that are left are its survivors, and a depth looks better
    than it is. A sound answer is trained with the scheduler ``none``, or is taken at the first
    rung. Training error is that of the epoch's steps, in training mode and with augmentation:
    dropout and stochastic depth raise it.

    The verdict of a group compares its deepest networks, of those with two seeds or more, with the
    shallower ones. A difference counts where Welch's test of the errors' logits says so (1947,
    doi:10.2307/2332510), all tests of a group corrected by Holm's method (1979) at 5 % in all. It
    says nothing of how large a difference is: read the rise beside it. Seeds that agree to the last
    image are taken to differ by their rounding.

    ``degrades``
        The training error of the deepest is above that of a shallower one (He et al. 2015,
        arXiv:1512.03385, Fig. 1 and 6), and it has not gained.
    ``overfits``
        Its validation error is above that of a shallower one, its training error is not.
    ``gains``
        Its validation error is below that of the shallowest, and not above any.
    ``tied``
        No difference counts: the seeds do not tell the depths apart.
    ``not enough data``
        There are not two depths with two seeds each, or validation error rises and it is open
        whether training error does.

    Args:
        trials: Records of a run.
        train_images: Size of the training split.
        scale: Metric and number of validation images.
        epochs: After which they are compared; the full budget if None.
        loss: The training loss to which epochs are counted; if None that which the slowest of the
            trainings at a depth has reached.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        ``table``, one row a group and depth, with columns

        group             number of the group, plain ones first
        recipe            id of the recipe
        ...               the axes; "-" where one has no effect on the design
        depths            blocks in each stage
        layers            as the literature counts them, see ``cost.layers``
        design            id of the design
        epochs            after which trainings are compared
        n                 seeds compared
        stopped, failed   trainings that ended before
        train_error, train_loss, validation_error
                          mean over seeds, and behind each its ``_sd`` (deviation), ``_low`` and
                          ``_high`` (95 % interval of the mean, Student); NaN where n is too small
        loss              the training loss that ...
        epochs_to_loss    ... the median seed has after so many epochs; infinity for never

        ``verdicts``, one row a group, with columns group, recipe, the axes, and

        verdict           one of the above
        n                 the least number of seeds at a depth that is compared
        shallowest, deepest
                          layers of what is compared
        train_best        layers with the lowest training error among the shallower ones
        train_least       that error
        train_rise        training error of the deepest less that, and ``_low``, ``_high``
                          (95 % interval, Welch, of these two alone)
        validation_best, validation_rise, ...
                          the same of the validation error
        best              layers with the lowest validation error
        enough            the fewest layers whose validation error is not above that of the best,
                          by Welch's test, Holm's correction over all pairs: from ``enough`` to
                          ``best`` lies the depth at which going deeper stops helping
    """
    trials = list(trials)
    images = {"train_error": train_images, "validation_error": scale.images}
    groups = groups_of(trials, epochs, scale.metric, images)
    losses = common_losses(groups, loss)
    heads = [{"group": number, **described(group, axes)} for number, group in enumerate(groups, 1)]
    rows = [
        head | depth_row(depth, losses[depth.design.depths])
        for head, group in zip(heads, groups, strict=True)
        for depth in group
    ]
    verdicts = [head | verdict_row(group) for head, group in zip(heads, groups, strict=True)]
    columns = ["group", "recipe", *axes]
    table = pd.DataFrame(rows, columns=[*columns, *DEPTH_COLUMNS])
    judged = pd.DataFrame(verdicts, columns=[*columns, *VERDICT_COLUMNS])
    # What tells a group from the others, by which it is named.
    shown = [axis for axis in axes if len({*judged[axis]} - {"-"}) > 1]
    words, claims = sentences(table, judged, shown, scale.metric), short_claims(judged, shown)
    return Degradation(table, judged, tuple(words), tuple(claims))
