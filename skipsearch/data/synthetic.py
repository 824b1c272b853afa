"""A synthetic data set for segmentation: digits on textured backgrounds, without a download.

It is meant for trying out networks, not as a benchmark. The edges of a stroke are visible at full
resolution, but its digit can only be recognised from the shape around it.
"""

from dataclasses import dataclass

import numpy as np

from skipsearch.data.digits import read_digits
from skipsearch.data.source import Array
from skipsearch.errors import DataError

SIZE = 32  # height and width of an image, in pixels
CELL = SIZE // 2  # side of the four cells of an image, each with or without a digit
DIGIT_SIZES = (10, 12, 14)
LATTICES = (2, 4, 8, 16, 32)  # points along a side of the textures, from coarse to fine
IMAGES = {"train": 640, "val": 160, "test": 200}
TENTHS = {"train": (0, 6), "val": (6, 8), "test": (8, 10)}  # of the digits: none is in two splits
CONTRAST, LEAST_CONTRAST = 0.5, 0.01
DIGITS = 5  # a small network tells these apart after a minute of training, all ten after several
SEED = 1
ONE = 256  # integer that represents 1: with integers, all machines compute the same bits


@dataclass(frozen=True)
class _Draws:
    """Random integers from the raw output of PCG64, which no version of numpy changes."""

    bits: np.random.PCG64

    def below(self, limit: int, *shape: int) -> Array:
        """Return integers in 0..limit - 1."""
        raw = self.bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(32)).astype(np.int64).reshape(shape) * limit >> 32


def digits_segmentation(
    contrast: float = CONTRAST, digits: int = DIGITS, seed: int = SEED
) -> dict[str, Array]:
    """Create images of several digits on textures, and masks of background and digits.

    Each image is a sum of noise of five spatial frequencies, in random proportions. Up to four of
    scikit-learn's digits, of 10 to 14 pixels, are added to it. No digit is in two splits. The
    defaults create the named data set ``digits-seg``; for another contrast::

        numpy.savez("hard.npz", **digits_segmentation(contrast=0.3))

    Args:
        contrast: Difference in brightness between a stroke and the texture under it, as a share of
            the range of grey levels. Textures have a standard deviation of about 0.13; at 0.5 a
            sixth of the strokes is darker than the brightest twentieth of the background, at 0.3 a
            half.
        digits: Number of classes beside the background: the first of the digits 0, 1, 2, ..., at
            most 10.
        seed: Seed of all draws.

    Returns:
        The arrays of an .npz file for ``load_data``: images (N, 32, 32) uint8 and masks of the same
        shape, for train, val and test, and class_names.

    Raises:
        DataError: If the contrast or the number of digits is out of range.
    """
    if not (isinstance(contrast, int | float) and LEAST_CONTRAST <= contrast <= 1):
        raise DataError(f"contrast {contrast!r} is not between {LEAST_CONTRAST} and 1")
    if not (isinstance(digits, int) and 1 <= digits <= 10):
        raise DataError(f"digits {digits!r} is not in 1..10")
    draws = _Draws(np.random.PCG64(seed))
    pictures, labels = read_digits().parts["train"]
    pictures, labels = pictures[labels < digits], labels[labels < digits]
    names = ("background", *map(str, range(digits)))
    arrays: dict[str, Array] = {"class_names": np.array(names)}
    for split, number in IMAGES.items():
        chosen = slice(*(len(labels) * tenth // 10 for tenth in TENTHS[split]))
        images = _textures(draws, number)
        strokes, masks = _strokes(draws, number, pictures[chosen], labels[chosen])
        images += round(contrast * ONE) * strokes * 255 // ONE**2
        arrays[f"{split}_images"] = images.clip(0, 255).astype(np.uint8)
        arrays[f"{split}_masks"] = masks
    return arrays


def _textures(draws: _Draws, number: int) -> Array:
    """Return textures (number, SIZE, SIZE) in 0..255, with a mean of about 128."""
    weights = draws.below(ONE, number, len(LATTICES)) + 1
    total = np.zeros((number, SIZE, SIZE), dtype=np.int64)
    for weight, points in zip(weights.T, LATTICES, strict=True):
        noise = draws.below(256, number, points, points)
        total += weight[:, None, None] * _enlarge(noise, SIZE)
    average: Array = total // weights.sum(1)[:, None, None]
    return average


def _strokes(draws: _Draws, number: int, digits: Array, labels: Array) -> tuple[Array, Array]:
    """Place digits in the cells of images.

    Returns:
        Strokes (number, SIZE, SIZE), from 0 to ONE in their middle, and masks.
    """
    cells = 4
    chosen = draws.below(len(digits), number, cells)
    sizes = draws.below(len(DIGIT_SIZES), number, cells)
    tops, lefts = draws.below(ONE, 2, number, cells)
    is_there = draws.below(cells, number, cells) > 0
    by_size = [_enlarge(digits.astype(np.int64), size) * ONE // 255 for size in DIGIT_SIZES]
    strokes = np.zeros((number, SIZE, SIZE), dtype=np.int64)
    masks = np.zeros((number, SIZE, SIZE), dtype=np.uint8)
    for image, cell in zip(*np.nonzero(is_there), strict=True):
        index = chosen[image, cell]
        digit = by_size[sizes[image, cell]][index]
        room = CELL - len(digit) + 1
        top = CELL * (cell // 2) + tops[image, cell] * room // ONE
        left = CELL * (cell % 2) + lefts[image, cell] * room // ONE
        place = image, slice(top, top + len(digit)), slice(left, left + len(digit))
        strokes[place] = digit
        masks[place] = np.where(digit >= ONE // 2, labels[index] + 1, 0)
    return strokes, masks


def _enlarge(images: Array, size: int) -> Array:
    """Enlarge images (N, n, n) of integers to (N, size, size), bilinearly, rounded down."""
    points = images.shape[-1]
    weights = np.zeros((size, points))
    for pixel in range(size):
        # The centre of the pixel in the lattice, as (2 pixel + 1) points / (2 size) - 1 / 2.
        low, part = divmod((2 * pixel + 1) * points - size, 2 * size)
        weights[pixel, max(low, 0)] += 2 * size - part
        weights[pixel, min(low + 1, points - 1)] += part
    # Exact: whole numbers below 2^53.
    return (weights @ images @ weights.T).astype(np.int64) // (2 * size) ** 2
