"""Pictures written by networks with a value for each pixel: masks, and restored pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from skipsearch.artefacts.loading import Predictor
from skipsearch.artefacts.tiling import in_tiles, number_of_tiles
from skipsearch.data.geometry import fit
from skipsearch.data.image_files import read_header
from skipsearch.errors import ExportError
from skipsearch.palette import flat_palette
from skipsearch.plan import Size

PNG = ".png"

Files = Mapping[str | Path, Path]  # file to write, by picture


def check_outputs(
    paths: Sequence[str | Path], out: str | Path | None, what: str
) -> dict[str | Path, Path]:
    """Return the file to write for each picture; nothing is written yet.

    Args:
        paths: Pictures.
        out: File for a single picture, or folder; the current folder if None.
        what: Suffix of the file names in a folder.

    Raises:
        ExportError: If a file exists already, is for several pictures, or is not a PNG.
    """
    folder = Path(out or ".")
    if folder.suffix and not folder.is_dir():
        if folder.suffix.lower() != PNG:
            raise ExportError(f"out: {folder}: pictures are written as PNG: NAME{PNG}, or a folder")
        if len(paths) != 1:
            raise ExportError(f"out: {folder} is one file for {len(paths)} pictures: give a folder")
        files = {paths[0]: folder}
    else:
        if folder.exists() and not folder.is_dir():
            raise ExportError(f"out: {folder}: is a file and no {PNG}")
        files = {path: folder / f"{Path(path).stem}-{what}{PNG}" for path in paths}
    written: dict[Path, str | Path] = {}
    for path, file in files.items():
        if file.exists():
            raise ExportError(f"{file}: exists already: give another --out, or remove it")
        if file in written:
            raise ExportError(f"{file}: would be written for {written[file]} and for {path}")
        written[file] = path
    return files


def segment(predictor: Predictor, files: Files, tile: int, top: int | None) -> pd.DataFrame:
    """Write a mask for each picture; return the share of its pixels of each class.

    Args:
        predictor: Network of a segmentation.
        files: File of each mask.
        tile: Side of a tile in pixels.
        top: Number of classes for each picture in the table; None for all.
    """
    rows = []
    for path, size in _sizes(predictor, files).items():
        file = files[path]
        seen = _size_seen(predictor, size)
        image = predictor.read(path, seen)
        logits = in_tiles(predictor.outputs, image, tile)
        if seen != size:
            (logits,) = F.interpolate(logits[None], size, mode="bilinear")
        classes = logits.argmax(0)
        mask = Image.fromarray(classes.to(torch.uint8).numpy())
        mask.putpalette(flat_palette())
        _write(mask, file)
        shares = classes.flatten().bincount(minlength=len(predictor.class_names)) / size.pixels
        found = [c for c in shares.argsort(descending=True, stable=True).tolist() if shares[c] > 0]
        written = (str(path), str(file), number_of_tiles(seen, tile))
        rows += [
            (*written, rank, predictor.class_names[label], shares[label].item())
            for rank, label in enumerate(found[:top], 1)
        ]
    return pd.DataFrame(rows, columns=["image", "file", "tiles", "rank", "label", "share"])


def restore(predictor: Predictor, files: Files, tile: int) -> pd.DataFrame:
    """Write the restored image of each picture.

    Args:
        predictor: Network of a denoising.
        files: File of each restored picture.
        tile: Side of a tile in pixels.
    """
    mean, std = (torch.tensor(v)[:, None, None] for v in (predictor.mean, predictor.std))
    rows = []
    for path, size in _sizes(predictor, files).items():
        file = files[path]
        image = predictor.read(path, size)
        restored = in_tiles(predictor.outputs, image, tile) * std + mean
        _write(Image.fromarray(_pixels(restored)), file)
        rows.append((str(path), str(file), number_of_tiles(size, tile)))
    return pd.DataFrame(rows, columns=["image", "file", "tiles"])


def _sizes(predictor: Predictor, files: Files) -> dict[str | Path, Size]:
    """Return the size of every picture, so that all are checked before any file is written.

    Raises:
        DataError: If one cannot be read.
    """
    return {path: read_header(Path(path), predictor.channels).size for path in files}


def _size_seen(predictor: Predictor, size: Size) -> Size:
    """Return the size at which the network sees a picture: that of training, without cropping."""
    return fit(size, predictor.size)[0] if predictor.resized else size


def _pixels(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Convert (C, H, W) in units of 0..1 to (H, W) or (H, W, C), uint8."""
    levels = (255 * image).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).squeeze(2).numpy()


def _write(image: Image.Image, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as stream:  # never overwrites a file that appeared meanwhile
            image.save(stream, "png")
    except OSError as problem:
        raise ExportError(f"{file}: cannot be written: {problem.strerror or problem}") from problem
