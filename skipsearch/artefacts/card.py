"""What is known of a network that is exported: how it was found and trained, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skipsearch.errors import ExportError
from skipsearch.recipe import Recipe
from skipsearch.task import CLASSIFICATION, Scale, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How a network was found and trained, and its figures; what is not known is left out.

    Attributes:
        task: What the network was trained to do.
        name: What to call the network; the design's id unless given.
        note: A sentence or more of the author's own.
        data: Name of the data set.
        mean: Of each channel of the training images, in units of 0..1.
        std: Their deviation, likewise.
        class_names: One for each output; their numbers unless given.
        run: Name of the run that found the design.
        space: Name of the search space.
        trials: Trainings of the search, stopped and failed ones among them.
        designs: Different designs among them.
        search_epochs: Full budget of a trial.
        search_seed: Of the search.
        search_score: Validation score that the design was chosen by.
        confirmations: Validation scores of the design trained again with new seeds, one a
            seed; empty where nobody did.
        confirmed_interval: 95 % interval of their mean.
        chance_of_best: Chance that the design is the best of the leaders confirmed with it.
        leaders: Their number, this one among them.
        recipe: How these weights were trained.
        seed: Of this training.
        trained_on: The splits, ``train`` or ``train+validation``.
        train_images: Their number of images.
        validation_score: Score of these weights on the validation split.
        validation_images: Number of validation images.
        test_score: Score of these weights on the test split.
        test_images: Number of test images.
        device: What the training ran on.
        versions: Of Python and the libraries, there.

    Raises:
        ExportError: If a score is not possible or lacks its number of images.
    """

    task: Task = CLASSIFICATION
    name: str = ""
    note: str = ""
    data: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    run: str = ""
    space: str = ""
    trials: int | None = None
    designs: int | None = None
    search_epochs: int | None = None
    search_seed: int | None = None
    search_score: float | None = None
    confirmations: tuple[float, ...] = ()
    confirmed_interval: tuple[float, float] | None = None
    chance_of_best: float | None = None
    leaders: int | None = None
    recipe: Recipe | None = None
    seed: int | None = None
    trained_on: str = "train"
    train_images: int | None = None
    validation_score: float | None = None
    validation_images: int | None = None
    test_score: float | None = None
    test_images: int | None = None
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("search_score", "validation_score", "test_score"):
            self._check(name, getattr(self, name))
        for i, score in enumerate(self.confirmations):
            self._check(f"confirmations[{i}]", score)
        for split in ("validation", "test"):
            images = getattr(self, f"{split}_images")
            if getattr(self, f"{split}_score") is not None and (images is None or images < 1):
                raise ExportError(f"card: {split}_score needs {split}_images, not {images!r}")

    def _check(self, name: str, score: float | None) -> None:
        metric = self.task.metric
        if score is not None and not metric.worst <= score <= metric.best:
            raise ExportError(
                f"card: {name}: {score!r} is no {metric.title} from {metric.worst:g} to"
                f" {metric.best:g}"
            )

    def measured(self) -> dict[str, tuple[float, int, tuple[float, float]]]:
        """Return what is known of these weights: by split, score, images and 95 % interval."""
        splits = {
            "validation": (self.validation_score, self.validation_images),
            "test": (self.test_score, self.test_images),
        }
        return {
            split: (score, images, Scale(self.task.metric, images).interval(score))
            for split, (score, images) in splits.items()
            if score is not None and images is not None
        }
