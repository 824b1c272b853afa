"""Constructors of data sets from arrays and datasets that are given in Python."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from skipsearch.data.arrays import read_arrays
from skipsearch.data.given import check_given_name, given_arrays, names_of, read_items
from skipsearch.data.source import Read
from skipsearch.errors import DataError
from skipsearch.plan import ImageSize, Size, check_image_size


class GivenData(ABC):
    """The part of ``Data`` that creates it from values in Python."""

    @classmethod
    @abstractmethod
    def of(
        cls,
        name: str,
        read: Read,
        *,
        size: Size | None = None,
        split_seed: int = 0,
        validation_fraction: float | None = None,
    ) -> Self:
        """Resize the images of a source, and divide them into splits."""

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
                0 and 1, with K > 1, for K labels that an image has or not; numbers (N,) or (N, K)
                for regression; or masks (N, H, W) of integers, with 255 for pixels to ignore.
                Numbers are for regression if ``target_names`` is given, if they are any other
                matrix of floating-point numbers with K > 1, or if they are (N,) or (N, 1) with
                fractions; whole numbers (N,) or (N, 1) of any type are classes.
            validation: Images and labels of the validation split; None to draw it from the training
                images.
            test: Images and labels of the test split; None to draw it from the training images.
            groups: Group of each training image, (N,), integers or texts, such as a patient: the
                images of one group stay in one split. None if every image is its own group.
            class_names: Name of each class or label; None for numbers, or for the columns of a data
                frame of several labels.
            target_names: Name of each number that a network predicts, for regression; None for the
                columns of a data frame.
            axes: ``NHWC`` or ``NCHW``; needed only if the shape is ambiguous, as (N, 3, 64, 3) is.
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
        read = read_arrays(name, arrays, {}, kind, "arrays given in Python")
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
        axes: str | None = None,
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
            axes: ``NHWC`` or ``NCHW``, as for ``from_arrays``; None for ``NCHW`` of tensors.
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
        for part, read in items.items():
            if axes is None and read.axes != first.axes:
                raise DataError(
                    f"{name}: {part}: images of another kind than in train; give tensors, pictures"
                    " of Pillow or arrays in both, or axes"
                )
        return cls.from_arrays(
            first.images,
            first.labels,
            validation=items["validation"].pair if "validation" in items else None,
            test=items["test"].pair if "test" in items else None,
            class_names=class_names if target_names else class_names or names_of(dataset, label),
            target_names=target_names,
            axes=axes or first.axes,
            name=name,
            image_size=image_size,
            split_seed=split_seed,
            validation_fraction=validation_fraction,
        )
