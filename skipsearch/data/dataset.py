"""A data set of images: splits on one device, and information about them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from skipsearch.data.arrays import read_arrays
from skipsearch.data.dividing import three_splits
from skipsearch.data.fingerprint import fingerprint, hash_of
from skipsearch.data.folds import check_count, check_division, check_units, fold_rows
from skipsearch.data.given import check_given_name, given_arrays, names_of, read_items
from skipsearch.data.load_options import LoadOptions
from skipsearch.data.mapped import ArrayFile
from skipsearch.data.memory import GIB, shown_bytes
from skipsearch.data.notes import Notes
from skipsearch.data.observing import observe
from skipsearch.data.pixels import pixel_type
from skipsearch.data.resizing import resize
from skipsearch.data.source import Array, Read
from skipsearch.data.split import Split
from skipsearch.data.summaries import (
    balance,
    describe_labels,
    describe_masks,
    mean_and_std,
)
from skipsearch.data.vector_summaries import (
    check_targets,
    describe_label_matrices,
    describe_targets,
    label_balance,
    targets_mean_and_std,
)
from skipsearch.errors import DataError
from skipsearch.plan import ImageSize, Size, check_image_size
from skipsearch.task import CLASSIFICATION, MULTI_LABEL, REGRESSION, SEGMENTATION, Task

BALANCE: Mapping[str, Callable[[Any, tuple[str, ...]], str]] = {
    CLASSIFICATION.name: balance,
    SEGMENTATION.name: balance,
    MULTI_LABEL.name: label_balance,
}
DESCRIBE: Mapping[str, Callable[[Any, tuple[str, ...]], list[str]]] = {
    CLASSIFICATION.name: describe_labels,
    SEGMENTATION.name: describe_masks,
    MULTI_LABEL.name: describe_label_matrices,
    REGRESSION.name: describe_targets,
}

SAID_FROM = 2**28  # bytes of images in memory from which the summary mentions them


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set with its splits, on one device.

    Attributes:
        name: Requested name: a word of `DATASETS`, a path, or the name of data given in Python.
        train: Images for the training of networks.
        validation: Images for the comparison of designs.
        test: Images that do not affect any choice; None if they were removed.
        class_names: Name of each class, label or target; empty for denoising of images without
            classes.
        mean: Mean of each channel of the training images, in units of the full scale of the pixels.
        std: Standard deviation of each channel, in the same units; that of one level if constant.
        split_seed: Seed of the division into train and validation.
        augmentation: Convention of this data set, as the keywords of `augment`: crop (pixels of
            padding), flip (yes or no), cutout (side in pixels).
        source: Origin in one sentence, with anything missing or unusual.
        fingerprint: 16 hex digits of a BLAKE2b hash of the images and labels of every split.
        path: Absolute path of the folder or file; None for other data.
        notes: Notes on what was skipped or looks wrong.
        task: Task of the networks.
        sigma: Standard deviation of the noise that denoising removes, in grey levels of 0..255; 0
            for other tasks.
        target_mean: Mean of each target of the training images; empty for other tasks than
            regression. Networks are trained on targets with mean 0 and standard deviation 1.
        target_std: Standard deviation of each target of the training images.
        place: Where the images lie, in a sentence; empty for memory without a cache.
        options: Arguments of ``load_data``; None for other data.
        drawn: Whether the validation split was drawn from the training images.
        groups: Group of each training and then each drawn validation image; None if every image is
            its own group.
        folds: Number of folds, see ``in_folds``; None for a fixed validation split.
        first_seed: Seed that has the first fold.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_seed: int
    augmentation: dict[str, int | bool]
    source: str
    fingerprint: str
    path: Path | None = None
    notes: Notes = field(default_factory=Notes)
    task: Task = CLASSIFICATION
    sigma: float = 0.0
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    place: str = ""
    options: LoadOptions | None = None
    drawn: bool = False
    groups: Array | None = None
    folds: int | None = None
    first_seed: int = 0

    @classmethod
    def of(
        cls,
        name: str,
        read: Read,
        *,
        path: Path | None = None,
        size: Size | None = None,
        split_seed: int = 0,
        validation_fraction: float | None = None,
        sigma: float = 0.0,
    ) -> Self:
        """Resize the images of a source, and divide them into splits.

        Args:
            name: Name of the data.
            read: Source after reading.
            path: Absolute path of the source.
            size: Height and width to resize images to; None to keep their size.
            split_seed: Seed of the division into train and validation.
            validation_fraction: Share of validation images; None for the default.
            sigma: Standard deviation of the noise to remove, in grey levels; 0 for other tasks.

        Raises:
            DataError: If the images cannot be divided, or no network could learn from the masks.
        """
        task, before = read.task, Size(*read.parts["train"].images.shape[2:])
        parts = {part: resize(name, split, size) for part, split in read.parts.items()}
        strata = read.class_names if task.classifies else None
        divided = three_splits(name, parts, strata, split_seed, validation_fraction, read.groups)
        train, validation, test = divided.train, divided.validation, divided.test
        remarks = [read.source, divided.remark]
        if task.name in BALANCE:
            remarks.append(BALANCE[task.name](parts["train"].labels, read.class_names))
        if before != Size(*train.images.shape[2:]):
            remarks.append(f"resized from {before.height}x{before.width} pixels")
        splits = {"train": train, "validation": validation, "test": test}
        mean, std = mean_and_std(train.images)
        check_targets(name, task, splits, read.class_names)
        target_mean, target_std = targets_mean_and_std(task, train)
        notes = observe(name, read, splits, size)
        return cls(
            name=name,
            train=train,
            validation=validation,
            test=test,
            class_names=read.class_names,
            mean=mean,
            std=std,
            split_seed=split_seed,
            augmentation=dict(read.augmentation),
            source="; ".join(filter(None, [*remarks, *notes.remarks()])),
            fingerprint=fingerprint(
                {part: (s.images, s.labels) for part, s in splits.items()}, task, sigma
            ),
            path=path,
            notes=notes,
            task=task,
            sigma=sigma,
            target_mean=target_mean,
            target_std=target_std,
            place=read.place if before == Size(*train.images.shape[2:]) else "",
            drawn=divided.drawn,
            groups=divided.groups,
        )

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None,
        groups: Any = None,
        class_names: Sequence[str] | None = None,
        target_names: Sequence[str] | None = None,
        axes: str | None = None,
        name: str = "arrays",
        image_size: ImageSize | None = None,
        split_seed: int = 0,
        validation_fraction: float | None = None,
    ) -> Self:
        """Create a data set from arrays: classes, several labels, numbers or masks.

        To resume, confirm, explain or export a run of such data, pass the same arrays again.

        Args:
            images: Training images (N, H, W), (N, H, W, C) or (N, C, H, W), a NumPy array or a
                tensor of uint8, uint16, float16 or float32. They keep their type.
            labels: Labels (N,), integers from 0 on or texts, for classification; a matrix (N, K) of
                0 and 1 for K labels that an image has or not; numbers (N,) or (N, K) for
                regression; or masks (N, H, W) of integers, with 255 for pixels to ignore. Numbers
                are for regression if they are floating-point numbers, except 0.0, 1.0, 2.0 and so
                on, or if ``target_names`` is given.
            validation: Images and labels of the validation split; None to draw it from the training
                images.
            test: Images and labels of the test split; None to draw it from the training images.
            groups: Group of each training image, (N,), integers or texts, such as a patient: the
                images of one group stay in one split. None if every image is its own group.
            class_names: Name of each class or label.
            target_names: Name of each number that a network predicts.
            axes: ``NHWC`` or ``NCHW``; needed only if the shape is ambiguous.
            name: Name of the data in tables and messages.
            image_size: Side of square images in pixels, or (height, width), to resize to.
            split_seed: Seed of the division into train and validation.
            validation_fraction: Share of validation images: by default 0.1 of the training images
                if ``test`` is given, and otherwise 0.2.

        Returns:
            Data on the CPU.

        Raises:
            DataError: If the arrays are of another kind or do not match each other.
        """
        arrays, kind = given_arrays(
            images, labels, validation, test, class_names, target_names, axes, groups
        )
        read = read_arrays(name, arrays, kind, "arrays given in Python")
        size = None if image_size is None else check_image_size(image_size, DataError)
        return cls.of(
            check_given_name(name),
            read,
            size=size,
            split_seed=split_seed,
            validation_fraction=validation_fraction,
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        validation: Any = None,
        test: Any = None,
        image: str = "image",
        label: str = "label",
        class_names: Sequence[str] | None = None,
        target_names: Sequence[str] | None = None,
        name: str = "dataset",
        image_size: ImageSize | None = None,
        split_seed: int = 0,
        validation_fraction: float | None = None,
    ) -> Self:
        """Create a data set from a map-style dataset, whose items are all read in advance.

        Its items are pairs (image, label), as in torchvision, or mappings, as in Hugging Face
        datasets. Images are PIL images, arrays or tensors, all of one size; a tensor (C, H, W) has
        its channels first. Random transforms are rejected: the recipe sets the augmentation.

        Args:
            dataset: Training images and their labels; any ``torch.utils.data.Dataset`` with a
                length, ``datasets.Dataset``, or sequence.
            validation: The same for the validation split; None to draw it from the training images.
            test: The same for the test split; None to draw it from the training images.
            image: Key of the image, if items are mappings.
            label: Key of the label, if items are mappings.
            class_names: Name of each class or label; None for the names in the dataset.
            target_names: Name of each number that a network predicts, as for ``from_arrays``.
            name: Name of the data in tables and messages.
            image_size: Side of square images in pixels, or (height, width), to resize to.
            split_seed: Seed of the division into train and validation.
            validation_fraction: Share of validation images; None for the default.

        Returns:
            Data on the CPU.

        Raises:
            DataError: If an item is of another kind, or the images differ in size.
        """
        parts = {"train": dataset, "validation": validation, "test": test}
        items = {
            part: read_items(f"{name}: {part}", items, image, label)
            for part, items in parts.items()
            if items is not None
        }
        first = items["train"]
        return cls.from_arrays(
            first.images,
            first.labels,
            validation=items["validation"].pair if "validation" in items else None,
            test=items["test"].pair if "test" in items else None,
            class_names=class_names if target_names else class_names or names_of(dataset, label),
            target_names=target_names,
            axes=first.axes,
            name=name,
            image_size=image_size,
            split_seed=split_seed,
            validation_fraction=validation_fraction,
        )

    @property
    def classes(self) -> int:
        """Number of classes, labels or targets."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """Number of outputs of a network, for each image or for each of its pixels."""
        return self.in_channels if self.task.restores else self.classes

    @property
    def in_channels(self) -> int:
        """Number of channels of an image."""
        return self.train.images.shape[1]

    @property
    def pixels(self) -> str:
        """Type of the pixels, such as ``uint8``."""
        return pixel_type(self.train.images)

    @property
    def image_size(self) -> ImageSize:
        """Side of square images in pixels, or height and width."""
        return Size(*self.train.images.shape[2:]).image_size

    def to(self, device: str | torch.device) -> "Data":
        """Return the same data on another device.

        Raises:
            DataError: If the device does not exist here, or has too little memory.
        """
        try:
            test = None if self.test is None else self.test.to(device)
            train, validation = self.train.to(device), self.validation.to(device)
        except torch.OutOfMemoryError:
            size = sum(split.images.nbytes for split in self._splits().values()) / GIB
            raise DataError(
                f"{self.name}: the images take {size:.1f} GiB, for which {device} has no room:"
                " give a smaller image_size, or train on the CPU, which reads them from a file"
            ) from None
        place = self.place
        if self.train.is_mapped and not train.is_mapped:
            place = f"{place.partition(',')[0]}, copied to {device}"
        return replace(self, train=train, validation=validation, test=test, place=place)

    def summary(self) -> str:
        """Return a readable summary of a few lines.

        It has the classes and the size of an image, the number of images of each split, and the
        smallest class; for several labels, the rarest; for regression, the range of each target;
        for masks, the shares of the pixels of each class and of ignored pixels; for denoising, the
        noise; and notes on what was skipped or looks wrong. With folds, the training and validation
        images are counted together, and the size of a fold is named.
        """
        splits = self._splits()
        size = sum(split.nbytes for split in splits.values())
        if self.folds is not None:
            pool = {"in folds": splits.pop("train").followed_by(splits.pop("validation"))}
            splits = pool | splits
        form = f"{self.in_channels} x {Size.of(self.image_size)}"
        form += "" if self.pixels == "uint8" else f", {self.pixels}"
        task = self.task
        what = [f"{self.classes} {task.output if self.classes == 1 else task.outputs}"]
        if task.restores:
            what = [task.name, f"sigma {self.sigma:g}"]
        elif not task.classifies:
            what = [task.name, *what]
        lines = [
            f"data {self.name}: {', '.join(what)}, images of {form}",
            f"images: {', '.join(f'{len(split):,} {name}' for name, split in splits.items())}",
        ]
        if task.restores:
            lines.append(f"noise: normal, sigma {self.sigma:g} of 255 grey levels")
        else:
            labels = {name: split.labels for name, split in splits.items()}
            lines += DESCRIBE[task.name](labels, self.class_names)
        if self.place:
            lines.append(f"place: {self.place}")
        elif size >= SAID_FROM:
            where = f"in memory on {self.train.images.device}"
            lines.append(f"place: {shown_bytes(size)} {where} and in each worker of a search")
        if self.folds is not None:
            counts = [len(rows) for rows in self._rows(splits["in folds"], division=0)]
            of_each = f"{min(counts):,}" + f" to {max(counts):,}" * (min(counts) < max(counts))
            lines.append(
                f"{self.folds} folds of {of_each} images: each is the validation split of another"
                " seed, and the others are its training split"
            )
        if left_out := self.notes.left_out():
            lines.append(f"left out: {left_out}")
        lines += [f"note: {warning}" for warning in self.notes.warnings()]
        return "\n".join(lines)

    def _splits(self) -> dict[str, Split]:
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def files(self) -> tuple[ArrayFile, ...]:
        """Return the files that images or masks are read from during training; none in memory."""
        found = [file for split in self._splits().values() for file in split.files()]
        return tuple(dict.fromkeys(found))

    def in_files(self, files: Iterable[ArrayFile]) -> "Data":
        """Return the same data, read from other files of the same content and names."""
        by_name = {(file.path.name, file.offset): file for file in files}
        found = {file: by_name[file.path.name, file.offset] for file in self.files()}
        test = None if self.test is None else self.test.in_files(found)
        train, validation = self.train.in_files(found), self.validation.in_files(found)
        return replace(self, train=train, validation=validation, test=test)

    def judged_by(self, metric: str | None) -> "Data":
        """Return the same data with another metric of their task.

        Args:
            metric: Name of the metric, such as ``balanced_accuracy``; None for the present one.

        Raises:
            RunError: If the task has no such metric.
        """
        return replace(self, task=self.task.judged_by(metric))

    def in_folds(self, folds: int | None, first_seed: int = 0) -> "Data":
        """Return the same data for cross-validation: ``for_seed`` then draws the splits.

        The seeds from ``first_seed`` on have the folds of one division, so that each image is in
        one of their validation splits. The next ``folds`` seeds have those of another division, and
        so on (repeated k-fold cross-validation).

        Args:
            folds: Number of folds that training and validation images are divided into; None to
                leave the data as they are.
            first_seed: Seed of the first training of a design.

        Raises:
            DataError: If the number is out of range, the validation images are not drawn from the
                training images, or a fold would lack a class.
        """
        if folds is None:
            return self
        check_count(folds)
        if not self.drawn:
            raise DataError(
                f"{self.name}: folds have no effect, since the data have their own validation"
                " images"
            )
        pool = self.train.followed_by(self.validation)
        strata = self._strata(pool)
        check_units(self.name, folds, strata, self.groups, self.class_names, len(pool))
        folded = replace(self, folds=folds, first_seed=first_seed)
        if not (self.task.per_pixel or self.task.restores):
            answers = pool.class_labels.cpu().numpy()
            rows = folded._rows(pool, division=0)
            check_division(self.name, rows, answers, self.task, self.class_names)
        return folded

    def for_seed(self, seed: int) -> "Data":
        """Return the data for a training with this seed.

        With folds, one of them is the validation split and the others are the training split.
        Images, and the targets of a regression, are normalised by the latter. The test split is not
        affected.

        Args:
            seed: Seed of the training, which determines the fold, see ``in_folds``.
        """
        if self.folds is None:
            return self
        division, fold = divmod((seed - self.first_seed) % 2**32, self.folds)
        pool = self.train.followed_by(self.validation)
        held = self._rows(pool, division)[fold]
        train, validation = pool.at(np.delete(np.arange(len(pool)), held)), pool.at(held)
        mean, std = mean_and_std(train.images)
        target_mean, target_std = targets_mean_and_std(self.task, train)
        return replace(
            self,
            train=train,
            validation=validation,
            mean=mean,
            std=std,
            target_mean=target_mean,
            target_std=target_std,
            fingerprint=hash_of(
                [f"{self.fingerprint} {self._seeds(division)} {fold} {self.folds}".encode()]
            ),
            drawn=False,
            folds=None,
        )

    def _rows(self, pool: Split, division: int) -> list[Array]:
        """Return the rows of each fold of a division of the training and validation images."""
        assert self.folds is not None
        strata, seeds = self._strata(pool), self._seeds(division)
        return fold_rows(len(pool), strata, self.groups, self.folds, seeds)

    def _seeds(self, division: int) -> tuple[int, int, int]:
        """Return the numbers that determine a division into folds."""
        return self.split_seed, self.first_seed, division

    def _strata(self, pool: Split) -> Array | None:
        """Return the class of each image; None if images have no class."""
        return pool.class_labels.cpu().numpy() if self.task.classifies else None

    def without_test(self) -> "Data":
        """Return the data without its test split, as required for a search.

        The fingerprint stays unchanged, since train and validation are from the same data set.
        """
        return replace(self, test=None)

    def with_validation_in_training(self) -> "Data":
        """Return the data with the validation images added to the training images.

        This is for the final training of a winner. The validation split is kept for reference, but
        a network trained on this data has seen it. `mean` and `std` stay unchanged, so that every
        network of a run has the same inputs; `source` and `fingerprint` reflect the change.
        """
        return replace(
            self,
            train=self.train.followed_by(self.validation),
            source=f"{self.source}; the validation images are trained on too",
            fingerprint=hash_of([b"validation in training", self.fingerprint.encode()]),
        )
