"""Predictions of an exported network: classes, labels or numbers, masks, or restored pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from skipsearch.artefacts.dense import check_outputs, restore, segment
from skipsearch.artefacts.loading import Predictor, load_predictor
from skipsearch.artefacts.tiling import side_of_tiles
from skipsearch.data.looking import refuse_folder
from skipsearch.data.pictures import takes_pictures
from skipsearch.defaults import LABELS
from skipsearch.errors import ExportError
from skipsearch.task import MULTI_LABEL, REGRESSION

BATCH = 64  # number of pictures


def predict(
    export: str | Path,
    images: str | Path | Sequence[str | Path],
    top: int | None = None,
    *,
    out: str | Path | None = None,
    tile: int | None = None,
) -> pd.DataFrame:
    """Predict with an exported network, on the CPU in float32.

    For a network with outputs for the whole image, an image of any size is prepared in the same way
    as a folder of images for training. A file with the size of the data set's images keeps its
    pixels; if a data set of 8-bit arrays was resized for training, the resized pixels of a picture
    may differ by a grey level. A .npy file, a 16-bit picture or a float TIFF must have that size if
    the images of the data set were not resized for training: to stretch or crop a measurement would
    change it.

    For a network with a value for each pixel, a file is written for each picture, of the picture's
    own size: a mask, as a palette PNG with the number of the class of each pixel, or the restored
    picture. A large picture is computed in tiles, see ``in_tiles``. If the training images of a
    segmentation were resized, the picture is resized as they were, and its logits are resized back.

    Args:
        export: Folder of an export.
        images: One or more files, as in a folder of images for training. A network for 8-bit grey
            or RGB images takes pictures of any mode, and all networks take .npy files, TIFF files
            and 16-bit PNGs of their type of pixels and number of channels.
        top: Number of classes or labels for each picture, all if there are fewer. If None, 3, or
            all for several labels and for segmentation.
        out: For a network with a value for each pixel: file for a single picture, or folder of
            ``STEM-mask.png`` or ``STEM-restored.png`` for each; the current folder if None.
        tile: Side of a tile in pixels, a multiple of 4 * 2**h for a network with h halvings at its
            deepest level; if None 512, or the next multiple above it. See ``side_of_tiles``.

    Returns:
        For classification one row for each picture and class, pictures in the given order, classes
        by descending probability: ``image`` (as given), ``rank`` (from 1), ``label`` (name of the
        class), ``probability`` (softmax of the logits: the confidence of the network, which is
        often too high). For several labels the same with the sigmoid of each logit, and ``present``
        (whether it is above 0.5). For regression one row for each picture and target: ``image``,
        ``target`` (its name), ``value`` (in its own unit). For segmentation ``image``, ``file``
        (the mask), ``tiles`` (their number), ``rank``, ``label``, ``share`` (of the pixels), with
        the classes that were found. For denoising ``image``, ``file``, ``tiles``.

    Raises:
        ExportError: If the folder is not an export, lacks a file, or one is damaged; if an
            argument is invalid or does not apply to its task; if a file exists already.
        DataError: If a picture is a folder, or cannot be read.
    """
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ExportError(f"top: {top!r} is not a positive whole number")
    predictor = load_predictor(export)
    paths = [images] if isinstance(images, str | Path) else list(images)
    for path in paths:
        refuse_folder(Path(path))
    task = predictor.task
    for name, value, has_effect in (
        ("top", top, not task.restores and task.name != REGRESSION.name),
        ("out", out, task.per_pixel),
        ("tile", tile, task.per_pixel),
    ):
        if value is not None and not has_effect:
            raise ExportError(f"{name}: has no effect on {task.name}, the task of {export}")
    if task.name == REGRESSION.name:
        return _regress(predictor, paths)
    if task.name == MULTI_LABEL.name:
        table = _classify(predictor, paths, top)
        return table.assign(present=table.probability > 0.5)
    if not task.per_pixel:
        return _classify(predictor, paths, top or LABELS)
    side = side_of_tiles(tile, predictor.halvings)
    if task.restores and not takes_pictures(predictor.pixels, predictor.channels):
        raise ExportError(
            f"{export}: restores {predictor.pixels} images of {predictor.channels} channels, and"
            " only grey or RGB pictures can be written: use model.py or ONNX"
        )
    files = check_outputs(paths, out, "restored" if task.restores else "mask")
    if task.restores:
        return restore(predictor, files, side)
    return segment(predictor, files, side, top)


def _regress(predictor: Predictor, paths: Sequence[str | Path]) -> pd.DataFrame:
    rows = [
        (str(path), target, value)
        for path, values in zip(paths, _batches(predictor, paths, predictor.outputs), strict=True)
        for target, value in zip(predictor.class_names, values.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "target", "value"])


def _classify(predictor: Predictor, paths: Sequence[str | Path], top: int | None) -> pd.DataFrame:
    found = _batches(predictor, paths, predictor.probabilities)
    rows = [
        (str(path), rank, predictor.class_names[label], shares[label].item())
        for path, shares in zip(paths, found, strict=True)
        for rank, label in enumerate(shares.argsort(descending=True).tolist()[:top], 1)
    ]
    return pd.DataFrame(rows, columns=["image", "rank", "label", "probability"])


def _batches(
    predictor: Predictor, paths: Sequence[str | Path], compute: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Compute the outputs of pictures in batches; yield those of each."""
    for start in range(0, len(paths), BATCH):
        images = [predictor.read(path, predictor.size) for path in paths[start : start + BATCH]]
        yield from compute(torch.stack(images))
