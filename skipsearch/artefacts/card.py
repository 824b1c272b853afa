"""Information about an exported network: how it was found and trained, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skipsearch.errors import ExportError
from skipsearch.recipe import Recipe
from skipsearch.record import Measurement
from skipsearch.task import CLASSIFICATION, Baseline, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Origin, training and scores of a network; unknown values are omitted.

    Attributes:
        task: Task of the network.
        name: Name of the network; the design's id by default.
        note: Note by the author.
        data: Name of the data set.
        pixels: Type of the pixels, a word of ``FULL_SCALES``.
        mean: Mean of each channel of the training images, in units of their full scale.
        std: Standard deviation of each channel, in the same units.
        class_names: Name of each output: a class, label or target; its number by default.
        target_mean: Mean of each target of a regression in training. The outputs of the network
            are targets, and their differences are judged in standard deviations.
        target_std: Standard deviation of each target in training.
        sigma: Standard deviation of the noise that the network removes, in grey levels of 0..255;
            0 for other tasks.
        resized: Whether images were resized for training.
        run: Name of the run that found the design.
        space: Name of the search space.
        trials: Number of trainings of the search, including stopped and failed ones.
        designs: Number of different designs among them.
        search_epochs: Full budget of a trial.
        search_seed: Seed of the search.
        search_score: Validation score by which the design was chosen.
        confirmations: Validation scores of the design with new seeds, one per seed; empty if it
            was not confirmed.
        folds: Number of folds of the search, in which each seed also chooses the fold for
            validation; None for a fixed validation split.
        confirmed_interval: 95 % interval of their mean.
        chance_of_best: Probability that the design is the best of the confirmed leaders.
        leaders: Number of confirmed leaders, including this one.
        recipe: Recipe of the training of these weights.
        seed: Seed of this training.
        trained_on: Splits of the training, ``train`` or ``train+validation``.
        train_images: Number of their images.
        validation: Measurement of these weights on the validation split.
        test: Measurement of these weights on the test split.
        device: Device of the training.
        versions: Versions of Python and the libraries in the training.

    Raises:
        ExportError: If a score is impossible, or a measurement has no images.
    """

    task: Task = CLASSIFICATION
    name: str = ""
    note: str = ""
    data: str = ""
    pixels: str = "uint8"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    sigma: float = 0.0
    resized: bool = False
    run: str = ""
    space: str = ""
    trials: int | None = None
    designs: int | None = None
    search_epochs: int | None = None
    search_seed: int | None = None
    search_score: float | None = None
    confirmations: tuple[float, ...] = ()
    folds: int | None = None
    confirmed_interval: tuple[float, float] | None = None
    chance_of_best: float | None = None
    leaders: int | None = None
    recipe: Recipe | None = None
    seed: int | None = None
    trained_on: str = "train"
    train_images: int | None = None
    validation: Measurement | None = None
    test: Measurement | None = None
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check("search_score", self.search_score)
        for i, score in enumerate(self.confirmations):
            self._check(f"confirmations[{i}]", score)
        for split, measured in self.measured().items():
            self._check(f"{split}.score", measured.score)
            if measured.images < 1:
                raise ExportError(f"card: {split}.images: {measured.images} is not 1 or more")

    def _check(self, name: str, score: float | None) -> None:
        metric = self.task.metric
        if score is not None and not metric.worst <= score <= metric.best:
            raise ExportError(
                f"card: {name}: {score!r} is no score of {metric.title} from {metric.worst:g} to"
                f" {metric.best:g}"
            )

    def measured(self) -> dict[str, Measurement]:
        """Return the measurements of these weights by split."""
        splits = {"validation": self.validation, "test": self.test}
        return {split: measured for split, measured in splits.items() if measured is not None}

    def baseline(self, split: str) -> Baseline | None:
        """Return the baseline of a measured split; None if it is unknown.

        Args:
            split: Name of the split.
        """
        score = self.measured()[split].baseline
        return None if score is None else Baseline(self.task, score)
