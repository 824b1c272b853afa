"""Classification of pictures by an exported network, without executing code of its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from skipsearch.artefacts import CARD_VALUES, DESIGN, WEIGHTS
from skipsearch.artefacts.weights import read_network
from skipsearch.data import normalise, read_picture
from skipsearch.data.pictures import MODES
from skipsearch.defaults import LABELS
from skipsearch.design import Design
from skipsearch.errors import ExportError, reason
from skipsearch.task import CLASSIFICATION
from skipsearch.text import read_text

BATCH = 64  # number of pictures


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """A trained network with the preprocessing of its pictures.

    Attributes:
        network: Network from normalised float32 images (N, C, H, W) to logits, in evaluation mode.
        class_names: Name of each output.
        channels: Number of channels of an image: 1 for grey, 3 for RGB.
        image_size: Height and width in pixels.
        mean: Mean of each channel of the training images, in units of 0..1.
        std: Standard deviation of each channel, in the same units.
    """

    network: nn.Module
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the softmax (N, classes) of the logits for raw images (N, C, H, W) uint8."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        with torch.inference_mode():
            logits: Tensor = self.network(normalise(images, mean, std, torch.float32))
            return logits.softmax(1)


def predict(
    export: str | Path, images: str | Path | Sequence[str | Path], top: int = LABELS
) -> pd.DataFrame:
    """Classify pictures with an exported network, on the CPU in float32.

    A picture of any size and mode is prepared in the same way as a folder of images for training
    (see ``read_picture``). A file with the size of the data set's images keeps its pixels; if a
    data set of arrays was resized for training, the resized pixels may differ by a grey level.

    Args:
        export: Folder of an export.
        images: One or more files.
        top: Number of classes for each picture; all if there are fewer.

    Returns:
        One row for each picture and class, pictures in the given order, classes by descending
        probability: ``image`` (as given), ``rank`` (from 1), ``label`` (name of the class),
        ``probability`` (softmax of the logits: the confidence of the network, which is often too
        high).

    Raises:
        ExportError: If the folder is not an export, lacks a file, or one is damaged; if ``top`` is
            below 1.
        DataError: If a picture cannot be read.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ExportError(f"top: {top!r} is not a positive whole number")
    classifier = load_classifier(export)
    paths = [images] if isinstance(images, str | Path) else list(images)
    rows = [
        (str(path), rank, classifier.class_names[label], shares[label].item())
        for path, shares in zip(paths, _probabilities(classifier, paths), strict=True)
        for rank, label in enumerate(shares.argsort(descending=True).tolist()[:top], 1)
    ]
    return pd.DataFrame(rows, columns=["image", "rank", "label", "probability"])


def load_classifier(export: str | Path) -> Classifier:
    """Build the network of an export from its design, weights and card.

    Nothing is unpickled, and ``model.py`` is not run: the folder need not be trusted.

    Args:
        export: Folder of the export.

    Raises:
        ExportError: If it is not an export, lacks a file, or one is damaged.
        DesignError: If its design cannot be read.
    """
    export = Path(export)
    if not (export / CARD_VALUES).is_file():
        raise ExportError(f"{export}: no export: it holds no {CARD_VALUES} (see skipsearch export)")
    values = _card(export / CARD_VALUES)
    design = Design.load(export / DESIGN)
    network = read_network(export / WEIGHTS, design, values["channels"], len(values["class_names"]))
    return Classifier(network=network, **values)


def _card(path: Path) -> dict[str, Any]:
    """Read the fields of a classifier from a card; raise an error for invalid values."""
    text = read_text(path, ExportError)
    try:
        card = json.loads(text)
    except ValueError as problem:
        raise ExportError(f"{path}: not JSON ({reason(problem)})") from None
    try:
        found = {name: card["input"][name] for name in ("channels", "image_size", "mean", "std")}
        found["class_names"] = card["class_names"]
    except (KeyError, TypeError):
        raise ExportError(
            f"{path}: does not say what the network takes: it is damaged, or of an earlier"
            " skipsearch; export the design again"
        ) from None
    task = card.get("task", CLASSIFICATION.name)
    if task != CLASSIFICATION.name:
        raise ExportError(f"{path}: task: {task!r}, and pictures are classified here")
    channels, size, names = found["channels"], found["image_size"], found["class_names"]
    if channels not in tuple(MODES):
        raise ExportError(f"{path}: input.channels: {channels!r}, and a picture has 1 or 3")
    if not isinstance(size, int) or size < 1:
        raise ExportError(f"{path}: input.image_size: {size!r} is not a number of pixels")
    for name in ("mean", "std"):
        if not _numbers(found[name], channels) or (name == "std" and 0 in found[name]):
            raise ExportError(
                f"{path}: input.{name}: {found[name]!r} is not a number for each of {channels}"
                " channels; pictures cannot be normalised without"
            )
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ExportError(f"{path}: class_names: {names!r} is not a list of names")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )


def _probabilities(classifier: Classifier, paths: Sequence[str | Path]) -> Iterator[Tensor]:
    """Classify pictures in batches; yield the probabilities (classes,) of each."""
    for start in range(0, len(paths), BATCH):
        read = [
            read_picture(path, classifier.channels, classifier.image_size)
            for path in paths[start : start + BATCH]
        ]
        yield from classifier.probabilities(torch.stack(read))
