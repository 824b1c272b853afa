"""Loading of an export for prediction, without executing code from its folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skipsearch.artefacts import CARD_VALUES, DESIGN, WEIGHTS
from skipsearch.artefacts.weights import read_network
from skipsearch.data import normalise
from skipsearch.data.image_files import Format, read_image
from skipsearch.data.pictures import takes_pictures
from skipsearch.data.pixels import FULL_SCALES
from skipsearch.design import Design
from skipsearch.errors import ExportError, counted, reason
from skipsearch.plan import Size
from skipsearch.task import CLASSIFICATION, MULTI_LABEL, REGRESSION, TASKS, Task
from skipsearch.text import read_text

PER_CHANNEL = ("mean", "std")


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictor:
    """A trained network with the preprocessing of its pictures.

    Attributes:
        network: Network from normalised float32 images (N, C, H, W) to its outputs, in evaluation
            mode.
        task: Task of the network.
        class_names: Name of each class, label or target; empty for a network that restores
            images.
        channels: Number of channels of an image.
        pixels: Type of the pixels, a word of ``FULL_SCALES``.
        size: Height and width of the training images in pixels.
        mean: Mean of each channel of the training images, in units of 0..1.
        std: Standard deviation of each channel, in the same units.
        resized: Whether the training images were resized.
        halvings: Number of halvings at the deepest level of the network.
    """

    network: nn.Module
    task: Task
    class_names: tuple[str, ...]
    channels: int
    pixels: str
    size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resized: bool
    halvings: int

    def read(self, path: str | Path, size: Size) -> Tensor:
        """Read an image file as pixels (C, H, W) of a size.

        Raises:
            DataError: If it cannot be read, or has other pixels than the network takes.
        """
        wanted = Format(
            pixels=self.pixels,
            channels=self.channels,
            size=size,
            pictures=takes_pictures(self.pixels, self.channels),
            arrays=True,
            exact=not self.resized,
            origin=f"the network takes {self.pixels} in {counted(self.channels, 'channel')}",
        )
        return read_image(Path(path), wanted, self.channels).pixels

    def outputs(self, images: Tensor) -> Tensor:
        """Return the outputs (N, ...) of the network for raw images (N, C, H, W)."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        with torch.inference_mode():
            outputs: Tensor = self.network(normalise(images, mean, std, torch.float32))
            return outputs

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability (N, classes) of each class or label for raw images (N, C, H, W).

        It is the softmax of the logits or, for several labels, their sigmoid.
        """
        logits = self.outputs(images)
        return logits.sigmoid() if self.task.name == MULTI_LABEL.name else logits.softmax(1)


def load_predictor(export: str | Path) -> Predictor:
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
        raise ExportError(f"{export}: not an export: no {CARD_VALUES} (see skipsearch export)")
    values = _card(export / CARD_VALUES)
    task, channels = values["task"], values["channels"]
    outputs = channels if task.restores else len(values["class_names"])
    design = Design.load(export / DESIGN)
    network = read_network(export / WEIGHTS, design, channels, outputs)
    return Predictor(network=network, halvings=design.halvings, **values)


def _card(path: Path) -> dict[str, Any]:
    """Read the fields of a predictor from a card; raise an error for invalid values."""
    text = read_text(path, ExportError)
    try:
        card = json.loads(text)
    except ValueError as problem:
        raise ExportError(f"{path}: not JSON ({reason(problem)})") from None
    try:
        image = card["input"]
        is_regression = card.get("task") == REGRESSION.name
        names = card["target_names" if is_regression else "class_names"]
        channels, size = image["channels"], image["image_size"]
        found = {name: image[name] for name in PER_CHANNEL}
        resized, pixels = image.get("resized", False), image.get("pixels", "uint8")
    except (KeyError, TypeError, AttributeError):
        raise ExportError(
            f"{path}: does not say what the network takes: it is damaged, or of an earlier"
            " skipsearch; export the design again"
        ) from None
    word = card.get("task", CLASSIFICATION.name)
    if word not in tuple(TASKS):
        raise ExportError(f"{path}: task: {word!r} is not one of {', '.join(TASKS)}")
    task = TASKS[word]
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise ExportError(f"{path}: input.channels: {channels!r} is not a positive whole number")
    if pixels not in tuple(FULL_SCALES):
        raise ExportError(
            f"{path}: input.pixels: {pixels!r} is not one of {', '.join(FULL_SCALES)}"
        )
    for name, values in found.items():
        if not _numbers(values, channels) or (name == "std" and 0 in values):
            raise ExportError(
                f"{path}: input.{name}: {values!r} is not a number for each of {channels}"
                " channels; pictures cannot be normalised without"
            )
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not named or bool(names) == task.restores:
        key = "target_names" if is_regression else "class_names"
        raise ExportError(f"{path}: {key}: {names!r} is not a list of names")
    return {
        "task": task,
        "class_names": tuple(names),
        "channels": channels,
        "pixels": pixels,
        "size": _size(path, size),
        "resized": resized is True,
        **{name: tuple(values) for name, values in found.items()},
    }


def _size(path: Path, size: Any) -> Size:
    sides = size if isinstance(size, list) and len(size) == 2 else [size, size]
    if not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ExportError(f"{path}: input.image_size: {size!r} is not a number of pixels")
    return Size(*sides)


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )
