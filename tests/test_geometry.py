"""The geometry of images and masks: sizes of height and width, and the same pixels of both."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from made_data import folder_of_images, folder_of_pairs, pair, png_of
from torch.nn import functional as F

from skipsearch.data import load_data
from skipsearch.data.geometry import fit, resize_masks
from skipsearch.errors import DataError
from skipsearch.plan import Size

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, SIDES, SIDES)
def test_an_image_covers_the_size_and_hardly_more(h: int, w: int, height: int, width: int) -> None:
    resized, window = fit(Size(h, w), Size(height, width))
    assert resized.height == height or resized.width == width
    assert 0 <= window.top <= window.bottom <= resized.height
    assert 0 <= window.left <= window.right <= resized.width
    assert (window.bottom - window.top, window.right - window.left) == (height, width)
    scale = max(Fraction(height, h), Fraction(width, w))  # of both sides, rounded down
    assert resized == (math.floor(h * scale), math.floor(w * scale))


@given(SIDES, SIDES, SIDES, SIDES)
def test_masks_are_resized_to_the_nearest_pixel(h: int, w: int, height: int, width: int) -> None:
    resized, window = fit(Size(h, w), Size(height, width))
    for old, new in ((h, resized.height), (w, resized.width)):
        assume(all((2 * i + 1) * old % (2 * new) for i in range(new)))  # no two pixels as near
    masks = torch.arange(h * w, dtype=torch.float64).view(1, 1, h, w)
    expected = F.interpolate(masks, size=tuple(resized), mode="nearest-exact")[0, 0]
    expected = expected[window.top : window.bottom, window.left : window.right]
    found = resize_masks(masks[0, 0].numpy(), Size(height, width))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("size", [12, (12, 24), (7, 32), (30, 31), (48, 40)])
def test_masks_and_images_keep_the_same_pixels(tmp_path: Path, size: int | tuple[int, int]) -> None:
    # Both hold the number of the column: a mask that of a pixel, an image also what is between.
    columns = np.broadcast_to(np.arange(32, dtype=np.uint8), (24, 32))
    for number in range(6):
        image = np.stack([columns * 8, columns * 8, np.full_like(columns, number)], -1)
        png_of(tmp_path / "images" / f"{number}.png", image)
        png_of(tmp_path / "masks" / f"{number}.png", columns)
    data = load_data(tmp_path, image_size=size)
    assert data.image_size == size
    assert data.train.images.shape[2:] == data.train.labels.shape[1:] == Size.of(size)
    off = (data.train.images[:, 0] / 8 - data.train.labels)[:, :, 1:-1]  # no border beside them
    assert off.abs().max() <= 0.5 + 1 / 16 + 1e-6  # half a pixel, and a rounded grey level


def test_arrays_and_files_are_resized_alike(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path / "folder", 20, size=(12, 20))
    images, masks = zip(*(pair(number, size=(12, 20)) for number in range(20)), strict=True)
    np.savez(tmp_path / "some.npz", train_images=np.stack(images), train_masks=np.stack(masks))
    for size in (6, (8, 8), (7, 13)):
        of_files = load_data(tmp_path / "folder", image_size=size)
        of_arrays = load_data(tmp_path / "some.npz", image_size=size)
        assert torch.equal(of_files.train.labels, of_arrays.train.labels)
        difference = of_files.train.images.int() - of_arrays.train.images.int()
        assert difference.abs().max() <= 1
    assert "resized from 12x20 pixels" in of_arrays.source


@pytest.mark.parametrize("size", [(6, 8), (4, 9)])
def test_classes_may_be_of_images_that_are_no_squares(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    data = load_data(folder_of_images(tmp_path), image_size=size)
    assert data.image_size == size
    assert load_data("digits", image_size=size).image_size == size
    assert load_data("digits", image_size=(9, 9)).image_size == 9
    assert f"images of 3 x {size[0]} x {size[1]}" in data.summary()


@pytest.mark.parametrize("size", [(8,), (8, 8, 8), (0, 8), (8, True), (8.0, 8), [8, 8], ()])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(DataError, match="image_size"):
        load_data("digits", image_size=size)
