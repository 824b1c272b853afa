"""Notes on loaded data: skipped, changed and duplicate images, and the like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from skipsearch.errors import DataError, IndivisibleError, counted

SUFFIXES_SHOWN = 5
NAMES_SHOWN = 5
POOL = "train or validation"  # images that are divided into folds
TO_PREDICT = "give target_names if they are numbers to predict (regression)"


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Observations from loading data; all empty if there were none.

    Attributes:
        passed_over: Number of files of a folder that were not read, by suffix in lower case ("" for
            none).
        outside: Number of images that were not read because they are outside the folders read.
        hidden: Number of hidden files and folders that were skipped.
        animated: Number of files with several images, of which the first was read.
        transparent: Number of images whose transparency was dropped.
        repeated: Number of images of the first split that are in the second split as well, pixel
            by pixel, by names of the two splits.
        across_folds: Number of images that are in another fold as well.
        contradictory: Number of images that also have another label, target or mask, pixel by
            pixel.
        read_folders: Description of the folders that are read.
        folders: Folders that were not read.
        turned: Number of images that are rotated or mirrored by EXIF, unlike their masks.
        palettes: Number of masks whose class numbers are the indices of a palette.
        absent: Classes without an image, or a pixel of a mask, in a split, by name of the split.
        absent_from: Word for what they are absent from: mask, or image.
        absent_folds: Number of folds, as ``2 of 5``, without a pixel of a class, by class.
        answers: Word for what images have: labels, or targets.
        unstratified: Whether splits were drawn without regard to labels or targets.
        unused: Labels that no image of a split has, by name of the split.
        unlabelled: Number of masks whose pixels are all ignored.
        mask_size: Height and width to which masks were resized and cropped, such as ``16 x 16``;
            empty if they kept their own.
        sizes: Number of images of each split, by name.
        damaged: Image and mask files that could not be read, as paths below the folder.
        constant: Channels with one value in all training images, counted from 0.
        numbers: Type of labels without names that were taken as classes and may be numbers to
            predict, such as ``float64``; empty for others.
        axes: How images were read if their shape suggests another order of the axes, such as
            ``NCHW, with 64 channels, though the shape suggests NHWC, with 3``; empty otherwise.
    """

    passed_over: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    hidden: int = 0
    animated: int = 0
    transparent: int = 0
    repeated: Mapping[tuple[str, str], int] = field(default_factory=dict)
    across_folds: int = 0
    contradictory: int = 0
    read_folders: str = "class folders"
    folders: tuple[str, ...] = ()
    turned: int = 0
    palettes: int = 0
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    absent_from: str = "mask"
    absent_folds: Mapping[str, str] = field(default_factory=dict)
    answers: str = "labels"
    unstratified: bool = False
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unlabelled: int = 0
    mask_size: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    constant: tuple[int, ...] = ()
    numbers: str = ""
    axes: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the notes of ``to_dict``."""
        plain: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values of notes on files, which are made before splits are compared."""
        assert not self.repeated, "expected notes on files alone"
        return asdict(self)

    def left_out(self) -> str:
        """Return what was not read, as a list in words; empty if everything was read."""
        parts = []
        if self.passed_over:
            ordered = sorted(self.passed_over.items(), key=lambda item: (-item[1], item[0]))
            words = [f"{number:,} {_suffix(suffix)}" for suffix, number in ordered[:SUFFIXES_SHOWN]]
            if rest := sum(number for _, number in ordered[SUFFIXES_SHOWN:]):
                words.append(f"{rest:,} with other suffixes")
            total = sum(self.passed_over.values())
            parts.append(f"{counted(total, 'file')} ({', '.join(words)})")
        if self.damaged:
            files = counted(len(self.damaged), "damaged file")
            parts.append(f"{files} ({_listed(self.damaged)})")
        if self.outside:
            parts.append(f"{counted(self.outside, 'image')} outside the {self.read_folders}")
        if self.folders:
            parts.append(f"the folder{'s' * (len(self.folders) > 1)} {_listed(self.folders)}")
        if self.hidden:
            parts.append(f"{self.hidden:,} hidden")
        return ", ".join(parts)

    def warnings(self) -> list[str]:
        """Return a clause on each observation that may make a result misleading."""
        clauses = [
            f"{number:,} of {self.sizes[one]:,} {one} images {'is' if number == 1 else 'are'} in "
            f"the {other} split as well"
            for (one, other), number in self.repeated.items()
        ]
        if self.across_folds:
            are = "is" if self.across_folds == 1 else "are"
            clauses.append(
                f"{self.across_folds:,} of {self.sizes[POOL]:,} {POOL} images {are} in another fold"
                " as well"
            )
        if self.numbers.startswith("float"):
            clauses.append(
                f"the labels are whole numbers of {self.numbers}, taken as classes: {TO_PREDICT}"
            )
        if self.axes:
            clauses.append(f"images are read as {self.axes}")
        if self.contradictory:
            clauses.append(
                f"{counted(self.contradictory, 'image')} also in the data with other {self.answers}"
            )
        if self.constant:
            several = len(self.constant) > 1
            clauses.append(
                f"channel{'s' * several} {_listed([str(number) for number in self.constant])}"
                f" {'have' if several else 'has'} one value in all training images"
            )
        seen = f", resized to {self.mask_size}," if self.mask_size else ""
        for split, names in self.absent.items():
            clauses.append(
                f"no {split} {self.absent_from}{seen} has the class{'es' * (len(names) > 1)}"
                f" {_listed(names)}"
            )
        clauses += [
            f"{number} folds have no mask with the class {name}"
            for name, number in self.absent_folds.items()
        ]
        if self.unstratified:
            clauses.append("the drawn splits are not stratified")
        for split, names in self.unused.items():
            clauses.append(
                f"no {split} image has the label{'s' * (len(names) > 1)} {_listed(names)}"
            )
        if self.unlabelled:
            clauses.append(f"all pixels of {counted(self.unlabelled, 'mask')} are ignored")
        if self.turned:
            clauses.append(
                f"{counted(self.turned, 'image')} {'is' if self.turned == 1 else 'are'} turned or"
                " mirrored by EXIF, and the mask is not"
            )
        if self.palettes:
            were = "was" if self.palettes == 1 else "were"
            clauses.append(f"{counted(self.palettes, 'palette mask')} {were} read by index")
        if self.animated:
            clauses.append(f"only the first frame of {counted(self.animated, 'file')} was read")
        if self.transparent:
            clauses.append(f"the transparency of {counted(self.transparent, 'image')} was dropped")
        return clauses

    @contextmanager
    def hinting(self) -> Iterator[None]:
        """Add to an error about classes how to get a regression, if labels may be for one."""
        try:
            yield
        except IndivisibleError as error:
            raise DataError(f"{error}; {TO_PREDICT}" if self.numbers else f"{error}") from None

    def remarks(self) -> list[str]:
        """Return all observations, as clauses for a sentence about the source."""
        left_out = self.left_out()
        return ([f"skipped: {left_out}"] if left_out else []) + self.warnings()


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _suffix(suffix: str) -> str:
    if not suffix:
        return "without a suffix"
    return suffix if suffix.isascii() and suffix.isprintable() else ascii(suffix)
