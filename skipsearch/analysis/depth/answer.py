"""Effect of depth on the training and validation error, all else being equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from skipsearch.analysis.depth.groups import described, groups_of
from skipsearch.analysis.depth.mending import mendings, told
from skipsearch.analysis.depth.table import DEPTH_COLUMNS, common_losses, depth_row
from skipsearch.analysis.depth.verdict import VERDICT_COLUMNS, verdict_row
from skipsearch.analysis.depth.words import sentences, short_claims
from skipsearch.metric import Scale
from skipsearch.record import Trial


@dataclass(frozen=True, slots=True)
class Degradation:
    """Effect of depth on groups of designs.

    Attributes:
        table: One row for each group and depth.
        verdicts: One row for each group.
        words: Conclusions in sentences, the plain groups first; at the end, whether long skips
            change the effect of depth on the same designs.
        claims: The same without numbers, for the groups on which depth has an effect.
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
    """Compare training and validation error within groups that differ only in depth.

    A group is a design except for its ``depths``, with one recipe. All trainings are compared after
    the same number of epochs. Those that ended before are counted but not compared: if early
    stopping ended them, only its survivors remain, and their depth looks better than it is. For a
    reliable answer, train with the scheduler ``none``, or compare at the first rung. The training
    error is that of the epoch's steps, in training mode and with augmentation: dropout and
    stochastic depth increase it.

    The verdict on a group compares its deepest networks with the shallower ones, at depths with two
    or more seeds. A difference counts if it is significant by Welch's test of the errors' logits
    (1947, doi:10.2307/2332510), with Holm's correction (1979) to 5 % over all tests of a group. The
    columns ``train_rise`` and ``validation_rise`` give the size of a difference. Seeds that agree
    to the last image are assumed to differ by their rounding. Folds share training images, so that
    means over them are less certain than means over seeds, see ``Scale.mean_variance``.

    ``degrades``
        The training error of the deepest is above that of a shallower one (He et al. 2015,
        arXiv:1512.03385, Fig. 1 and 6), and it has not gained.
    ``overfits``
        Its validation error is above that of a shallower one, but its training error is not.
    ``gains``
        Its validation error is below that of the shallowest, and not above any.
    ``tied``
        No difference counts: the seeds do not distinguish the depths.
    ``not enough data``
        Fewer than two depths have two seeds, or the validation error rises and it is not known
        whether the training error does.

    Args:
        trials: Records of a run.
        train_images: Number of training images.
        scale: Metric, number of validation images, and number of folds.
        epochs: Epoch of the comparison; the full budget if None.
        loss: Training loss that ``epochs_to_loss`` refers to; if None, the loss that the slowest
            training at a depth has reached.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        ``table``, one row for each group and depth, with columns

        group             number of the group, plain ones first, and those without long skips
                          before those with them
        recipe            id of the recipe
        ...               the axes; "-" for one without effect on the design
        depths            blocks in each stage
        layers            number as counted in the literature, see ``cost.layers``
        design            id of the design
        epochs            epoch of the comparison
        n                 number of compared seeds
        stopped, failed   number of trainings that were stopped, or failed, before this epoch
        train_error, train_loss, validation_error
                          mean over seeds, each followed by ``_sd`` (deviation), ``_low`` and
                          ``_high`` (95 % interval of the mean, Student); NaN if n is too small
        loss              training loss of ``epochs_to_loss``
        epochs_to_loss    epochs until the median seed reaches this loss; infinity for never

        ``verdicts``, one row for each group, with columns group, recipe, the axes, and

        verdict           one of the above
        n                 smallest number of seeds at a compared depth
        shallowest, deepest
                          layers of the compared networks
        train_best        layers with the lowest training error among the shallower ones
        train_least       that error
        train_rise        training error of the deepest minus ``train_least``, with ``_low``,
                          ``_high`` (95 % interval, Welch, of these two alone)
        validation_best, validation_rise, ...
                          the same for the validation error
        best              layers with the lowest validation error
        enough            fewest layers whose validation error is not above that of the best,
                          by Welch's test with Holm's correction over all pairs: between
                          ``enough`` and ``best``, more depth stops helping
    """
    trials = list(trials)
    images = {"train_error": train_images, "validation_error": scale.images}
    groups = groups_of(trials, epochs, scale, images)
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
    # Axes that distinguish the groups, which are named by them.
    shown = [axis for axis in axes if len({*judged[axis]} - {"-"}) > 1]
    words, claims = sentences(table, judged, shown, scale), short_claims(judged, shown)
    mended = [told(each, scale) for each in mendings(groups, list(judged.verdict))]
    return Degradation(table, judged, (*words, *mended), tuple(claims))
