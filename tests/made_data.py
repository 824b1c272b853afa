"""Data sets that tests make: arrays in an .npz file, and folders of images."""

from pathlib import Path

import numpy as np
from PIL import Image


def arrays(train: int = 40, test: int = 8, classes: int = 4, shape: tuple[int, ...] = (6, 6, 3)):
    """Arrays of an .npz file in which the first two pixels of each image are its own number."""
    images = np.random.default_rng(0).integers(0, 256, (train + test, *shape), dtype=np.uint8)
    flat = images.reshape(train + test, -1)
    flat[:, 0], flat[:, 1] = np.divmod(np.arange(train + test), 256)
    labels = np.arange(train + test) % classes
    return {
        "train_images": images[:train],
        "train_labels": labels[:train],
        "test_images": images[train:],
        "test_labels": labels[train:],
    }


def npz(folder: Path, **changes: object) -> Path:
    """Write an .npz file with some arrays changed, or left out where the change is None."""
    content = {key: value for key, value in (arrays() | changes).items() if value is not None}
    np.savez(folder / "some.npz", **content)
    return folder / "some.npz"


def arrays_of(kind: str) -> dict[str, np.ndarray]:
    """Return arrays of train and test images with labels or masks."""
    rng = np.random.default_rng(3)
    arrays = {}
    for part, number in (("train", 60), ("test", 20)):
        images = rng.integers(0, 256, (number, 6, 5, 3), dtype=np.uint8)
        arrays[f"{part}_images"] = images
        if kind == "labels":
            arrays[f"{part}_labels"] = np.arange(number) % 3
        else:
            arrays[f"{part}_masks"] = images[..., 0] % 4
    return arrays


def as_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write an .npz file."""
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


def as_folder(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a folder of .npy files."""
    (path / "arrays").mkdir()
    for name, array in arrays.items():
        np.save(path / "arrays" / f"{name}.npy", array)
    return path / "arrays"


def png(
    path: Path, colour: object = (255, 0, 0), size: tuple[int, int] = (8, 8), mode: str = "RGB"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def folder_of_images(folder: Path, count: int = 10, classes: tuple[str, ...] = ("cat", "dog")):
    """Write `count` images of each class, no two alike."""
    for label, name in enumerate(classes):
        for number in range(count):
            png(folder / name / f"{number:03}.png", (label, number, 99))
    return folder


def png_of(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an array as an image file of the kind of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def pair(number: int, classes: int = 3, size: tuple[int, int] = (6, 8)):
    """Return an image (H, W, 3) and its mask (H, W); the first pixel of the image is its number."""
    image = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    image[0, 0] = number
    mask = (np.arange(size[0])[:, None] + np.arange(size[1]) + number) % classes
    return image, mask.astype(np.uint8)


def folder_of_pairs(
    folder: Path,
    count: int = 10,
    first: int = 0,
    names: tuple[str, str] = ("images", "masks"),
    classes: int = 3,
    size: tuple[int, int] = (6, 8),
) -> Path:
    """Write images and masks into two folders, no two images alike."""
    for number in range(first, first + count):
        image, mask = pair(number, classes, size)
        png_of(folder / names[0] / f"{number:03}.png", image)
        png_of(folder / names[1] / f"{number:03}.png", mask)
    return folder


def mask_arrays(train: int = 20, **changes: object) -> dict[str, np.ndarray]:
    """Arrays of an .npz file for segmentation, with some changed, or left out if None."""
    images, masks = (np.stack(half) for half in zip(*map(pair, range(train)), strict=True))
    content = {"train_images": images, "train_masks": masks} | changes
    return {key: value for key, value in content.items() if value is not None}


def mask_npz(folder: Path, **changes: object) -> Path:
    """Write an .npz file for segmentation with some arrays changed, or left out if None."""
    np.savez(folder / "some.npz", **mask_arrays(**changes))
    return folder / "some.npz"


COLOURS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)  # of three classes
