"""Task: what a network is trained to do, and the metric by which it is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

from skipsearch.intervals import rounding, wilson
from skipsearch.table import Table


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of a trained network; higher is better.

    Attributes:
        name: Word in tables and options, such as ``validation_accuracy``.
        title: Name in sentences.
        short: Abbreviation for the heads of narrow tables.
        error: Name of the gap between a score and the best score.
        unit: Unit in which scores are shown.
        difference_unit: Unit in which differences between scores are shown.
        factor: Factor from a score to that unit.
        format: Format of a score in tables, such as ``.2%``.
        worst: Lowest possible score.
        best: Highest possible score.
        is_share_of_images: Whether a score is the share of images that a network gets right, so
            that its uncertainty follows from the binomial distribution.
    """

    name: str
    title: str
    short: str
    error: str
    unit: str
    difference_unit: str
    factor: float
    format: str
    worst: float
    best: float
    is_share_of_images: bool

    @property
    def validation(self) -> str:
        """Name of the score on the validation split, in tables and as an objective."""
        return f"validation_{self.name}"

    @property
    def train(self) -> str:
        """Name of the score on the training split."""
        return f"train_{self.name}"

    @property
    def search(self) -> str:
        """Name, in tables, of the score by which a search ranked a design."""
        return f"search_{self.name}"

    def guess(self, classes: int) -> float:
        """Return the score of random guessing; the worst where nobody knows it.

        Args:
            classes: Number of classes of the data.
        """
        return 1 / classes if self.is_share_of_images else self.worst

    def lack(self, score: float) -> float:
        """Return the gap between a score and the best score."""
        return self.best - score

    def text(self, score: float | None) -> str:
        """Return a score, or a positive difference between scores, as text with its unit."""
        return "" if score is None else f"{self.factor * score:.2f} {self.unit}"

    def clip(self, score: float) -> float:
        """Return the nearest possible score."""
        return min(self.best, max(self.worst, score))


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale on which differences between scores are judged: the metric and its resolution.

    Attributes:
        metric: Metric of the scores.
        images: Number of images on which each score was measured.
    """

    metric: Metric
    images: int

    @property
    def rounding(self) -> float:
        """Variance of a score due to rounding to whole images; see ``intervals.rounding``."""
        return rounding(self.images) if self.metric.is_share_of_images else 0.0

    def interval(self, score: float) -> tuple[float, float]:
        """Return the 95 % interval of one network's score, given the number of images.

        It is Wilson's interval for a share of the images, and NaN if no rule is known.
        """
        if not self.metric.is_share_of_images:
            return math.nan, math.nan
        return wilson(score, self.images)


@dataclass(frozen=True, slots=True)
class Task:
    """What a network is trained to do.

    ``training.criterion`` computes the loss and the metric from a network's outputs.

    Attributes:
        name: Name of the task.
        metric: Metric by which networks are judged.
        per_pixel: Whether a network puts out values for each pixel, not for the whole image.
        restores: Whether the values are an image with the channels of the input, not classes.
    """

    name: str
    metric: Metric
    per_pixel: bool = False
    restores: bool = False


ACCURACY = Metric(
    name="accuracy",
    title="accuracy",
    short="acc.",
    error="error",
    unit="%",
    difference_unit="points",
    factor=100.0,
    format=".2%",
    worst=0.0,
    best=1.0,
    is_share_of_images=True,
)
MEAN_IOU = Metric(
    name="mean_iou",
    title="mean IoU",
    short="IoU",
    error="lack",
    unit="%",
    difference_unit="points",
    factor=100.0,
    format=".2%",
    worst=0.0,
    best=1.0,
    is_share_of_images=False,
)
PSNR = Metric(
    name="psnr",
    title="PSNR",
    short="PSNR",
    error="lack",
    unit="dB",
    difference_unit="dB",
    factor=1.0,
    format=".2f",
    worst=-math.inf,
    best=math.inf,
    is_share_of_images=False,
)
CLASSIFICATION = Task(name="classification", metric=ACCURACY)
SEGMENTATION = Task("segmentation", MEAN_IOU, per_pixel=True)
DENOISING = Task("denoising", PSNR, per_pixel=True, restores=True)
TASKS = Table("task", {task.name: task for task in (CLASSIFICATION, SEGMENTATION, DENOISING)})
