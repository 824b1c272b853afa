"""Per-pixel predictions of a network, as shown in a report."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from skipsearch.palette import VALUES, class_colour
from skipsearch.task import TASKS, Task

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

PLACES = ("best", "median", "worst")  # by the score of each image
IGNORED = 255  # value of ignored mask pixels
WRONG, RIGHT, UNLABELLED = (213, 94, 0), (235, 235, 235), (150, 150, 150)  # colours of errors
ERROR_GAIN = 4  # factor that brightens the errors of restored images


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """The best, the median and the worst image of a split, and the IoU of each class on it.

    Attributes:
        task: Task of the network.
        class_names: Name of each class; empty for restored images.
        images: Inputs of the network (3, H, W, C), by ``PLACES``.
        truth: Masks (3, H, W), or images (3, H, W, C) without noise.
        found: Predictions, of the shape of ``truth``.
        scores: Score (3,) of each image.
        count: Number of images of the split.
        overlaps: IoU of each class over all images, and both ends of its 95 % interval, by the
            name of the class; NaN for an absent class.
        groups: Number of groups of the images; None if every image is its own group.
    """

    task: Task
    class_names: tuple[str, ...]
    images: Pixels
    truth: Pixels
    found: Pixels
    scores: tuple[float, ...]
    count: int
    overlaps: Mapping[str, tuple[float, float, float]]
    groups: int | None = None

    def strips(self) -> Iterator[tuple[Pixels, Pixels, Pixels, Pixels]]:
        """Yield image, truth, prediction and error of each image as colours (H, W, 3)."""
        for image, truth, found in zip(self.images, self.truth, self.found, strict=True):
            if self.task.restores:
                error = np.abs(found.astype(int) - truth) * ERROR_GAIN
                shown = [truth, found, error.clip(0, 255).astype(np.uint8)]
            else:
                error = np.where((found == truth)[..., None], RIGHT, WRONG)
                error = np.where((truth == IGNORED)[..., None], UNLABELLED, error)
                shown = [_coloured(truth), _coloured(found), error.astype(np.uint8)]
            first, second, third = map(_in_colour, shown)
            yield _in_colour(image), first, second, third

    def seen(self) -> dict[int, str]:
        """Return the names of the classes in these masks or their predictions, by number."""
        if self.task.restores:
            return {}
        numbers = np.union1d(self.truth, self.found).tolist()
        return {n: self.class_names[n] for n in numbers if n < len(self.class_names)}

    def save(self, path: Path) -> None:
        """Write a file, and create its folder if it is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                task=self.task.name,
                class_names=np.array(self.class_names, dtype=str),
                images=self.images,
                truth=self.truth,
                found=self.found,
                scores=np.array(self.scores),
                count=self.count,
                groups=self.groups or 0,
                overlap_names=np.array(list(self.overlaps), dtype=str),
                overlaps=np.array(list(self.overlaps.values())).reshape(-1, 3),
            )

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read a file; return None if it is missing or damaged, since it can be created again."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return cls(
                    task=TASKS[str(file["task"])],
                    class_names=tuple(file["class_names"].tolist()),
                    images=file["images"],
                    truth=file["truth"],
                    found=file["found"],
                    scores=tuple(file["scores"].tolist()),
                    count=int(file["count"]),
                    overlaps={
                        name: (values[0], values[1], values[2])
                        for name, values in zip(
                            file["overlap_names"].tolist(), file["overlaps"].tolist(), strict=True
                        )
                    },
                    groups=int(file["groups"]) or None if "groups" in file else None,
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def _coloured(mask: Pixels) -> Pixels:
    """Convert class numbers (H, W) to colours (H, W, 3)."""
    colours = np.array([class_colour(number) for number in range(VALUES)], dtype=np.uint8)
    return colours[mask]


def _in_colour(image: Pixels) -> Pixels:
    """Convert an image (H, W, 1) or (H, W, 3) to (H, W, 3)."""
    return np.broadcast_to(image, (*image.shape[:2], 3))
