"""The locations of images and masks for segmentation in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skipsearch.data.looking import SUFFIXES, look_into
from skipsearch.data.words import SPLITS, place_of
from skipsearch.errors import DataError, not_one_of

EXPECTED = "expected images/*.png and masks/*.png, or both below train, val and test"

HALVES = ("images", "masks")
Halves = dict[str, Path]  # folders of images and masks


@dataclass
class Layout:
    """The folders of a data set for segmentation.

    Attributes:
        folder: Folder of the data set.
        found: Folders by split and half; one of each is expected.
        skipped: Folders with another meaning.
    """

    folder: Path
    found: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)

    def add(self, split: str, half: str, place: Path) -> None:
        """Add a folder."""
        self.found.setdefault((split, half), []).append(place)

    def halves(self) -> set[str]:
        """Return the halves that exist in any split."""
        return {half for _, half in self.found}

    def places(self, halves: Sequence[str] = HALVES) -> dict[str, Halves]:
        """Return the folders of each split.

        Args:
            halves: Required halves.

        Raises:
            DataError: If a folder is missing, or there are several for one purpose.
        """
        for place in self.skipped:
            if {*HALVES} <= {place_of(inner.name)[1] for inner in _folders(place)}:
                raise DataError(f"{self.folder}: {not_one_of(place.name, SPLITS)}: rename {place}")
        for (split, half), places in self.found.items():
            if half in halves and len(places) > 1:
                raise DataError(
                    f"{self.folder}: both {below(self.folder, places[0])} and"
                    f" {below(self.folder, places[1])} mean the {half} of {split}: expected one"
                )
        splits = [split for split in SPLITS if any(split == found for found, _ in self.found)]
        if "train" not in splits:
            raise DataError(f"{self.folder}: no train images and masks in it, {EXPECTED}")
        for split in splits:
            for half in halves:
                if (split, half) not in self.found:
                    (other,) = {*HALVES} - {half}
                    place = self.found[split, other][0]
                    raise DataError(f"{place}: {other} without {half} beside them, {EXPECTED}")
        return {split: {half: self.found[split, half][0] for half in halves} for split in splits}


def find_pairs(folder: Path) -> Layout | None:
    """Return the locations of images and masks in a folder; None if it has another structure.

    Split and half are given by two folders in either order, train/images or images/train, or by
    one, such as train_images. If masks are in a folder such as train_masks, images may be in train
    itself.
    """
    layout = Layout(folder)
    bare: list[tuple[str, Path]] = []
    for place in _folders(folder):
        split, half = place_of(place.name)
        if split and half:
            layout.add(split, half, place)
            continue
        if not (split or half):
            layout.skipped.append(place)
            continue
        inner = {other: place_of(other.name) for other in _folders(place)}
        if split:
            halves = {other: found for other, (_, found) in inner.items() if found}
            for other, found in halves.items():
                layout.add(split, found, other)
            layout.skipped += [other for other in inner if halves and other not in halves]
            bare += [] if halves else [(split, place)]
        elif half:
            splits = {other: found for other, (found, _) in inner.items() if found}
            for other, found in splits.items():
                layout.add(found, half, other)
            layout.skipped += [other for other in inner if splits and other not in splits]
            if not splits:
                layout.add("train", half, place)
    if "masks" not in layout.halves():
        return layout if _has_images_alone(layout) else None
    for split, place in bare:
        layout.add(split, "images", place)
    return layout if "images" in layout.halves() else None


def _has_images_alone(layout: Layout) -> bool:
    """Return whether all folders are called images and have images in them."""
    places = list(layout.found.values())
    return (
        bool(places)
        and not layout.skipped
        and all(len(of_split) == 1 for of_split in places)
        and all(place_of(place.name) == (None, "images") for (place,) in places)
        and all(look_into(place, SUFFIXES).images for (place,) in places)
    )


def _folders(folder: Path) -> list[Path]:
    return look_into(folder).folders


def below(folder: Path, place: Path) -> str:
    """Return a path relative to a folder above it."""
    return place.relative_to(folder).as_posix()
