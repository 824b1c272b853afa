"""A data set of images: splits on one device, and information about them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from skipsearch.data.describing import origin_of, summary_of
from skipsearch.data.device import find_device, room_for_images
from skipsearch.data.dividing import three_splits
from skipsearch.data.fingerprint import fingerprint, hash_of
from skipsearch.data.folds import ATTEMPTS, check_count, check_division, check_units, fold_rows
from skipsearch.data.given_data import GivenData
from skipsearch.data.load_options import LoadOptions
from skipsearch.data.mapped import ArrayFile
from skipsearch.data.memory import moved, shown_bytes
from skipsearch.data.notes import Notes
from skipsearch.data.observing import absent_in_folds, observe, observe_folds
from skipsearch.data.pixels import pixel_type
from skipsearch.data.resizing import resize
from skipsearch.data.source import Array, Read
from skipsearch.data.split import Split
from skipsearch.data.strata import strata_of
from skipsearch.data.summaries import mean_and_std
from skipsearch.data.vector_summaries import check_targets, targets_mean_and_std
from skipsearch.errors import DataError, IndivisibleError, escaped
from skipsearch.plan import ImageSize, Size
from skipsearch.task import CLASSIFICATION, SEGMENTATION, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Data(GivenData):
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
        origin: Origin, without the notes; see ``source``.
        fingerprint: 16 hex digits of a BLAKE2b hash of images, labels and groups of every split.
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
        test_groups: Group of each image of a test split that was drawn from grouped images; None
            for other data.
        folds: Number of folds, see ``in_folds``; None for a fixed validation split.
        strata: What folds are stratified by, for each training and then each validation image: its
            class (N,), or which labels, or classes of pixels, it has (N, K). None without folds and
            for other tasks.
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
    origin: str
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
    test_groups: Array | None = None
    folds: int | None = None
    strata: Array | None = None
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
        with read.notes.hinting():
            divided = three_splits(
                name, parts, strata, split_seed, validation_fraction, read.groups
            )
        train, validation, test = divided.train, divided.validation, divided.test
        resized_from = None if before == Size(*train.images.shape[2:]) else before
        splits = {"train": train, "validation": validation, "test": test}
        mean, std = mean_and_std(train.images)
        check_targets(name, task, splits, read.class_names)
        target_mean, target_std = targets_mean_and_std(task, train)
        notes = observe(name, read, splits, size)
        return cls(
            name=escaped(name),
            train=train,
            validation=validation,
            test=test,
            class_names=tuple(map(escaped, read.class_names)),
            mean=mean,
            std=std,
            split_seed=split_seed,
            augmentation=dict(read.augmentation),
            origin=origin_of(read, parts["train"].labels, divided.remark, resized_from),
            fingerprint=fingerprint(
                {part: (s.images, s.labels) for part, s in splits.items()},
                task,
                sigma,
                divided.groups,
            ),
            path=path,
            notes=notes,
            task=task,
            sigma=sigma,
            target_mean=target_mean,
            target_std=target_std,
            place="" if resized_from else read.place,
            drawn=divided.drawn,
            groups=divided.groups,
            test_groups=divided.test_groups,
        )

    @property
    def source(self) -> str:
        """Origin in one sentence, with anything missing or unusual."""
        return "; ".join(filter(None, [self.origin, *map(escaped, self.notes.remarks())]))

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

    @property
    def validation_groups(self) -> Array | None:
        """Group of each image of a drawn validation split; None if there are no groups."""
        if self.groups is None or not self.drawn:
            return None
        return self.groups[-len(self.validation) :]

    def to(self, device: str | torch.device) -> "Data":
        """Return the same data on another device.

        Mapped images are copied to a GPU if they take at most ``GPU_SHARE`` of its free memory.
        Otherwise they stay in their files, and each batch is copied there during training.

        Raises:
            DataError: If the device does not exist here, or has too little memory.
        """
        known = find_device(device)
        if known == self.train.images.device:
            return self
        size = sum(split.nbytes for split in self._splits().values())
        room = room_for_images(known)
        streamed = self.train.is_mapped and size > room
        try:
            test = None if self.test is None else self.test.to(known, streamed=streamed)
            train, validation = (
                split.to(known, streamed=streamed) for split in (self.train, self.validation)
            )
        except torch.OutOfMemoryError:
            raise DataError(
                f"{self.name}: the images take {shown_bytes(size)}, for which {known} has no room:"
                " give a smaller image_size, or load them with in_memory=False from a folder or an"
                " uncompressed .npz file"
            ) from None
        place = self.place
        if self.train.is_mapped:
            place = moved(place, known, train.is_mapped, room)
        return replace(self, train=train, validation=validation, test=test, place=place)

    def summary(self) -> str:
        """Return a readable summary of a few lines.

        It has the classes and the size of an image, the number of images of each split, and the
        smallest class; for several labels, the rarest; for regression, the range of each target;
        for masks, the shares of the pixels of each class and of ignored pixels; for denoising, the
        noise; and notes on what was skipped or looks wrong. With folds, the training and validation
        images are counted together, and the size of a fold is named.
        """
        splits, folds = self._splits(), None
        if self.folds is not None:
            pool = splits.pop("train").followed_by(splits.pop("validation"))
            folds = [len(rows) for rows in self._rows(pool, division=0)]
            splits = {"in folds": pool} | splits
        return summary_of(
            self.name,
            splits,
            self.task,
            self.class_names,
            sigma=self.sigma,
            place=self.place,
            folds=folds,
            notes=self.notes,
        )

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
            DataError: If the number is out of range, the data are in folds already, the validation
                images are not drawn from the training images, or a fold would lack a class.
        """
        if folds is None:
            return self
        check_count(folds)
        if self.folds is not None:
            raise DataError(f"{self.name}: the data are divided into folds already")
        if not self.drawn:
            raise DataError(
                f"{self.name}: folds have no effect, since the data have their own validation"
                " images"
            )
        pool = self.train.followed_by(self.validation).to("cpu")
        strata = strata_of(pool, self.task, len(self.class_names))
        folded = replace(self, folds=folds, strata=strata, first_seed=first_seed)
        with self.notes.hinting():
            classes = strata if self.task.classifies else None
            check_units(self.name, folds, classes, self.groups, self.class_names, len(pool))
            rows = folded._rows(pool, division=0)
        test = None if self.test is None else self.test.to("cpu")
        notes = observe_folds(self.notes, pool, rows, test)
        if self.task.name == SEGMENTATION.name and strata is not None:
            notes = replace(notes, absent_folds=absent_in_folds(strata, rows, self.class_names))
        return replace(folded, notes=notes)

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
            fingerprint=hash_of([self.fingerprint.encode(), held.astype(np.int64).data]),
            drawn=False,
            groups=None,
            folds=None,
            strata=None,
        )

    def _rows(self, pool: Split, division: int) -> list[Array]:
        """Return the rows of each fold of a division of the training and validation images.

        A division on which networks cannot be trained and judged is drawn again.
        """
        assert self.folds is not None
        has_answers = not (self.task.per_pixel or self.task.restores)
        answers = pool.class_labels.cpu().numpy() if has_answers else None
        seeds = (self.split_seed, self.first_seed, division)
        for attempt in range(ATTEMPTS):
            rows = fold_rows(len(pool), self.strata, self.groups, self.folds, (*seeds, attempt))
            try:
                check_division(self.name, rows, answers, self.task, self.class_names)
            except IndivisibleError as error:
                problem = error
            else:
                return rows
        raise problem

    def without_test(self) -> "Data":
        """Return the data without its test split, as required for a search.

        The fingerprint stays unchanged, since train and validation are from the same data set.
        """
        return replace(self, test=None, test_groups=None)

    def with_validation_in_training(self) -> "Data":
        """Return the data with the validation images added to the training images.

        This is for the final training of a winner. The validation split is kept for reference, but
        a network trained on this data has seen it. `mean` and `std` stay unchanged, so that every
        network of a run has the same inputs; `source` and `fingerprint` reflect the change.
        """
        return replace(
            self,
            train=self.train.followed_by(self.validation),
            drawn=False,
            groups=None,
            origin=f"{self.origin}; the validation images are trained on too",
            fingerprint=hash_of([b"validation in training", self.fingerprint.encode()]),
        )
