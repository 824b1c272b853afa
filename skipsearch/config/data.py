"""The data set of a search, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from skipsearch.metric import Scale
from skipsearch.plan import ImageSize
from skipsearch.task import CLASSIFICATION, TASKS, Task


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data set of a search, as it was read.

    Attributes:
        name: Name of the data set, or the path that it was read from.
        root: Folder of its files; None for the default.
        resized_to: Height and width that images were resized to, in pixels; None if they were not.
        split_seed: Seed of the validation split.
        fingerprint: Hash of images, labels and splits.
        in_channels: Number of image channels.
        image_size: Side of square images in pixels, or height and width.
        classes: Number of outputs: classes, or channels of a restored image.
        train_images: Number of training images of the first training.
        validation_images: Number of its validation images.
        source: Description of its origin.
        task: Task that networks are trained for.
        task_version: Version of the trainings for this task, see ``Task.changes``.
        sigma: Standard deviation of the noise that denoising removes, in grey levels of 0..255.
        baseline: Score of the trivial baseline on the validation images; None if unknown.
        pixels: Type of the pixels.
        is_given: Whether the data were given in Python, so that they must be given again.
        metric: Name of the metric by which networks are judged; None for that of the task.
        folds: Number of folds of the training and validation images; None for fixed splits.
        skip_damaged: Whether image files that could not be read were left out.
        group_folders: Whether the folders inside a class are groups of images.
        grouped: Whether the images have groups; older runs record only those of ``group_folders``.
        cache: Whether a folder is decoded once, into the cache.
        class_names: First names of the classes, labels or targets, with a hash of all; None if the
            run is older, or the task has none.
    """

    name: str
    root: str | None
    resized_to: ImageSize | None
    split_seed: int
    fingerprint: str
    in_channels: int
    image_size: ImageSize
    classes: int
    train_images: int
    validation_images: int
    source: str
    task: str = CLASSIFICATION.name
    task_version: int = 1
    sigma: float = 0.0
    baseline: float | None = None
    pixels: str = "uint8"
    is_given: bool = False
    metric: str | None = None
    folds: int | None = None
    skip_damaged: bool = False
    group_folders: bool = False
    grouped: bool = False
    cache: bool = True
    class_names: str | None = None

    @property
    def judged_task(self) -> Task:
        """Task with the metric of the search."""
        return TASKS[self.task].judged_by(self.metric)

    @property
    def scale(self) -> Scale:
        """Scale on which differences between validation scores are judged."""
        return Scale(
            self.judged_task.metric,
            self.validation_images,
            self.baseline,
            self.folds or 1,
            self.grouped or self.group_folders,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a description from plain values."""
        pairs: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return cls(**pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
