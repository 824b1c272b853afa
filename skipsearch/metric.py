"""Metrics: how networks are judged, and how their values are written and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from skipsearch.defaults import MARGIN
from skipsearch.intervals import rounding, wilson
from skipsearch.table import Table


class Scalable(Protocol):
    """A number, an array or a column of numbers."""

    def __rmul__(self, factor: float, /) -> Self:
        """Return the numbers, each times a factor."""


Numbers = TypeVar("Numbers", bound=Scalable)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a trained network, and the score by which networks are compared.

    A score is higher for a better network. It is the value of the metric or, if this is an error,
    minus the value, as in scikit-learn (``neg_root_mean_squared_error``). Records, samplers and
    models have scores, so that the study in Optuna is always maximised. Columns of tables, axes of
    figures and words have the value.

    Only the methods below write values for readers, so that sentences, tables and figures agree:
    accuracies and overlaps in percent, other shares such as R2, F1 and AUROC from 0 to 1 as in
    scikit-learn. Data frames, CSV files and ``card.json`` have plain values.

    Attributes:
        name: Word in tables and options, such as ``validation_accuracy``.
        title: Name in sentences.
        short: Abbreviation for the heads of narrow tables.
        error: Name of the error that belongs to a score, see ``lack``.
        unit: Unit in which values are shown; empty for a number without a unit.
        difference_unit: Unit in which differences between values are shown; empty for none.
        margin: Default difference that is too small to matter; for an error, as a share of that of
            the baseline, see ``Scale.margin``.
        worst: Lowest possible score; minus infinity if there is none, as for R2.
        best: Highest possible score.
        factor: Factor from a value to its unit, see ``in_unit``.
        decimals: Number of decimals of a value in its unit; errors have significant digits.
        difference_decimals: Number of decimals of a difference in sentences; likewise.
        is_share_of_images: Whether a score is the share of images that a network gets right, so
            that its uncertainty follows from the binomial distribution.
        is_logarithm: Whether a score is minus the logarithm of an error, as decibels are.
        is_error: Whether the value is an error in the unit of the data, so that lower is better.
    """

    name: str
    title: str
    short: str
    error: str
    unit: str
    difference_unit: str
    margin: float
    worst: float
    best: float
    factor: float = 1.0
    decimals: int = 2
    difference_decimals: int = 2
    is_share_of_images: bool = False
    is_logarithm: bool = False
    is_error: bool = False

    @property
    def validation(self) -> str:
        """Name of the value on the validation split, in tables and as an objective."""
        return f"validation_{self.name}"

    @property
    def train(self) -> str:
        """Name of the value on the training split."""
        return f"train_{self.name}"

    @property
    def search(self) -> str:
        """Name, in tables, of the value by which a search ranked a design."""
        return f"search_{self.name}"

    def value(self, score: float) -> float:
        """Return the value of the metric that belongs to a score, or the score of a value."""
        return 0.0 - score if self.is_error else score  # never -0.0

    def values(self, interval: tuple[float, float]) -> tuple[float, float]:
        """Return the interval of the values that belongs to one of scores, or vice versa."""
        low, high = map(self.value, interval)
        return (high, low) if self.is_error else (low, high)

    def lack(self, score: float) -> float:
        """Return the gap to the best score; for a logarithmic score, the logarithm of the error."""
        return -score if self.is_logarithm else self.best - score

    def in_unit(self, values: Numbers) -> Numbers:
        """Return values, errors or differences in the unit in which they are shown.

        Args:
            values: A number, an array or a column.
        """
        return self.factor * values

    def text(self, value: float | None) -> str:
        """Return a value as text with its unit; empty for None."""
        return "" if value is None else f"{self.number(value)} {self.unit}".rstrip()

    def span(self, interval: tuple[float, float]) -> str:
        """Return an interval of values as text; ``unknown`` if its ends are NaN."""
        low, high = interval
        return "unknown" if math.isnan(low) else f"{self.number(low)} to {self.text(high)}"

    def number(self, value: float, sign: str = "") -> str:
        """Return a value, or a difference between values, as text without its unit.

        Args:
            value: Value or difference.
            sign: ``+`` to show the sign of a positive one too.
        """
        if self.is_error:
            return significant(value, sign)
        return f"{self.in_unit(value):{sign}.{self.decimals}f}"

    def cell(self, value: float, sign: str = "") -> str:
        """Return a value, or a difference, as text for a table: with a percent sign, else no unit.

        Args:
            value: Value or difference.
            sign: ``+`` to show the sign of a positive one too.
        """
        return f"{self.number(value, sign)}{'%' if self.unit == '%' else ''}"

    def signed_cell(self, difference: float) -> str:
        """Return a difference as text for a table, with its sign."""
        return self.number(difference, "+")

    def difference(self, value: float, sign: str = "") -> str:
        """Return a difference as text for a sentence, without its unit."""
        if self.is_error:
            return significant(value, sign)
        return f"{self.in_unit(value):{sign}.{self.difference_decimals}f}"

    def with_unit(self, differences: str) -> str:
        """Return the text of one or several differences, followed by their unit."""
        return f"{differences} {self.difference_unit}".rstrip()

    def named(self, quantity: str) -> str:
        """Return the name of a value or an error with its unit, for an axis or a caption."""
        return f"{quantity} ({self.unit})" if self.unit else quantity

    def differences_in(self, quantity: str) -> str:
        """Return what differences of a quantity are in, such as ``points of mean IoU``."""
        return f"{self.difference_unit} of {quantity}" if self.difference_unit else quantity

    def clip(self, score: float) -> float:
        """Return the nearest possible score; NaN for NaN."""
        return min(max(score, self.worst), self.best)


def significant(value: float, sign: str = "") -> str:
    """Return a number in any unit: four significant digits, and all before the point below 1e9.

    Args:
        value: Number.
        sign: ``+`` to show the sign of a positive one too.
    """
    return f"{value:{sign}.0f}" if 9999.5 <= abs(value) < 1e9 else f"{value:{sign}.4g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale on which differences between scores are judged: the metric and its resolution.

    Attributes:
        metric: Metric of the scores.
        images: Number of images on which each score was measured.
        baseline: Score of the trivial baseline on these images; None if unknown.
        folds: Number of folds, of which each seed has another one for validation; 1 if all have the
            same validation split.
        grouped: Whether the images have groups, which the interval of one score ignores.
    """

    metric: Metric
    images: int
    baseline: float | None = None
    folds: int = 1
    grouped: bool = False

    @property
    def repeat(self) -> str:
        """Word for what differs between the trainings of a design: ``seed`` or ``fold``."""
        return "seed" if self.folds == 1 else "fold"

    def mean_variance(self, trainings: float) -> float:
        """Return the factor from the variance of a score to that of the mean over trainings.

        The training splits of different folds overlap, so that their scores are correlated, and
        the mean over k of them is less certain than 1/k: Nadeau & Bengio 2003
        (doi:10.1023/A:1024068626366), eq. 8.

        Args:
            trainings: Number of trainings of a design.
        """
        # The ratio of validation to training images: one fold to all others.
        overlap = 0.0 if self.folds == 1 else 1 / (self.folds - 1)
        return 1 / trainings + overlap

    @property
    def size(self) -> float:
        """Size of the errors: that of the baseline if they have a unit of the data, else 1."""
        if not self.metric.is_error:
            return 1.0
        assert self.baseline, "expected the error of the baseline"
        return self.metric.lack(self.baseline)

    @property
    def margin(self) -> float:
        """Default difference between scores that is too small to matter."""
        return self.metric.margin * self.size

    @property
    def floor(self) -> float:
        """Worst score or, if there is none, that of a prediction that learns nothing."""
        if self.metric.is_error:
            return self.metric.best - self.size
        return max(self.metric.worst, 0.0)

    @property
    def rounding(self) -> float:
        """Variance of a score due to rounding to whole images; see ``intervals.rounding``."""
        return rounding(self.images) if self.metric.is_share_of_images else 0.0

    def guess(self, classes: int) -> float:
        """Return the score of a network that has learnt nothing.

        Args:
            classes: Number of classes of the data.
        """
        if self.metric.is_share_of_images:
            return 1 / classes
        return self.metric.worst if self.baseline is None else self.baseline

    def interval(self, score: float) -> tuple[float, float]:
        """Return the 95 % interval of one network's score, given the number of images.

        It is Wilson's interval for a share of independent images, also if these have groups. For
        other metrics it is NaN: their interval needs the results of each image, see
        ``training.bootstrap``.
        """
        if not self.metric.is_share_of_images:
            return math.nan, math.nan
        return wilson(score, self.images)


ACCURACY = Metric(
    name="accuracy",
    title="accuracy",
    short="acc.",
    error="error",
    unit="%",
    difference_unit="points",
    margin=MARGIN,
    worst=0.0,
    best=1.0,
    factor=100.0,
    difference_decimals=1,
    is_share_of_images=True,
)
# The mean of the recall over the classes that the images have (Brodersen et al. 2010,
# doi:10.1109/ICPR.2010.764, for several classes).
BALANCED_ACCURACY = replace(
    ACCURACY,
    name="balanced_accuracy",
    title="balanced accuracy",
    short="bal.acc.",
    error="balanced error",
    is_share_of_images=False,
)
# The mean of the F1 score over the classes that are true or found.
MACRO_F1 = replace(
    BALANCED_ACCURACY,
    name="macro_f1",
    title="macro F1",
    short="F1",
    error="1 - macro F1",
    unit="",
    difference_unit="",
    factor=1.0,
    decimals=4,
    difference_decimals=3,
)
# The mean over the classes of the area under the ROC curve, each against the rest; for two classes
# that of the second one (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747).
AUROC = replace(
    MACRO_F1,
    name="auroc",
    title="AUROC",
    short="AUROC",
    error="1 - AUROC",
)
# The mean over the labels of the precisions, weighted by the gain in recall.
MEAN_AVERAGE_PRECISION = replace(
    MACRO_F1,
    name="mean_average_precision",
    title="mean average precision",
    short="mAP",
    error="1 - mAP",
)
MEAN_IOU = replace(
    BALANCED_ACCURACY,
    name="mean_iou",
    title="mean IoU",
    short="mIoU",
    error="Jaccard distance",
)
# Of images in 0..1: the error is at most 1, and at least 1e-10, where the criterion cuts it off.
PSNR = Metric(
    name="psnr",
    title="PSNR",
    short="PSNR",
    error="mean squared error",
    unit="dB",
    difference_unit="dB",
    margin=0.05,
    worst=0.0,
    best=100.0,
    is_logarithm=True,
)
# The mean over the targets of the coefficient of determination, 1 - MSE / variance: the share of
# the variance that the predictions explain, below 0 for predictions that are worse than the mean.
R2 = replace(
    MACRO_F1,
    name="r2",
    title="R2",
    short="R2",
    error="unexplained variance",
    margin=0.01,
    worst=-math.inf,
)
# The means over the targets, each in its own unit, of the root of the mean squared error, and of
# the mean absolute error.
RMSE = Metric(
    name="rmse",
    title="RMSE",
    short="RMSE",
    error="RMSE",
    unit="target units",
    difference_unit="target units",
    margin=0.005,
    worst=-math.inf,
    best=0.0,
    is_error=True,
)
MAE = replace(RMSE, name="mae", title="MAE", short="MAE", error="MAE")
# Figures besides the score, of all images or of each class, label or target, and the metrics like
# which they are shown.
FIGURES = Table(
    "figure",
    {metric.name: metric for metric in (ACCURACY, MACRO_F1, AUROC, R2, RMSE, MAE)}
    | dict.fromkeys(("recall", "precision", "f1"), MACRO_F1)
    | {"average_precision": MEAN_AVERAGE_PRECISION}
    | {"pixel_accuracy": ACCURACY}
    | dict.fromkeys(("iou", "dice", "mean_dice"), MEAN_IOU)
    | {"ssim": MACRO_F1},  # at most 1, without a unit
)
