"""Augmentation against a plain loop over images and pixels that makes the same random draws."""

from typing import Any

import pytest
import torch
from gpu import needs_cuda, never_waits
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import functional as vision

from skipsearch.data import augment, draw, normalise
from skipsearch.errors import RecipeError
from skipsearch.recipe import Recipe


def seeded(seed: int, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def some_images(
    count: int = 64, channels: int = 3, height: int = 12, width: int = 12, seed: int = 0
) -> Tensor:
    # From 1 on, so that a 0 in a result is always one that augment put there.
    shape = (count, channels, height, width)
    return torch.randint(1, 256, shape, generator=seeded(seed), dtype=torch.uint8)


def drawn(images: Tensor, seed: int, crop: int = 0) -> Tensor:
    """The draws of a seed for these images, on their device."""
    count, _, height, width = images.shape
    return draw(count, height, width, seeded(seed), crop=crop).to(images.device)


def augmented(images: Tensor, seed: int, **asked: Any) -> Tensor:
    return augment(images, drawn(images, seed, asked.get("crop", 0)), **asked)


def one_by_one(images: Tensor, draws: Tensor, crop: int, flip: bool, cutout: int) -> Tensor:
    """What augment does, in words of one image, one row and one column."""
    count, _, height, width = images.shape
    down, right, coins, *centres = draws.tolist()
    down, right = (down, right) if crop else ([0] * count, [0] * count)
    mirrored = coins if flip else [0] * count
    centres = list(zip(*centres, strict=True))

    result = torch.zeros_like(images)
    for image in range(count):
        for y in range(height):
            for x in range(width):
                if cutout:
                    top, left = (centre - cutout // 2 for centre in centres[image])
                    if y in range(top, top + cutout) and x in range(left, left + cutout):
                        continue
                from_x = width - 1 - x if mirrored[image] else x
                from_y, from_x = y + down[image] - crop, from_x + right[image] - crop
                if from_y in range(height) and from_x in range(width):
                    result[image, :, y, x] = images[image, :, from_y, from_x]
    return result


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(1, 5),
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    crop=st.integers(0, 4),
    flip=st.booleans(),
    cutout=st.integers(0, 12),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.bfloat16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_a_loop_over_pixels(
    count, channels, height, width, crop, flip, cutout, dtype, seed
) -> None:
    images = some_images(count, channels, height, width).to(dtype)
    draws = drawn(images, seed, crop)
    expected = one_by_one(images, draws, crop, flip, cutout)
    result = augment(images, draws, crop=crop, flip=flip, cutout=cutout)
    assert result.dtype == dtype
    assert torch.equal(result, expected)


def test_nothing_asked_changes_nothing() -> None:
    images = some_images()
    assert torch.equal(augmented(images, 3), images)


def test_the_images_given_stay_as_they_are() -> None:
    images = some_images()
    before = images.clone()
    augmented(images, 0, crop=4, flip=True, cutout=6)
    assert torch.equal(images, before)


def test_draws_are_a_function_of_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = draw(50, 8, 9, seeded(7), crop=2)
    torch.manual_seed(2)
    generator = seeded(7)
    assert torch.equal(draw(50, 8, 9, generator, crop=2), first)
    assert not torch.equal(draw(50, 8, 9, generator, crop=2), first), "the state has moved on"
    assert not torch.equal(draw(50, 8, 9, seeded(8), crop=2), first)
    assert first.shape == (5, 50)
    assert first.dtype == torch.int64
    assert first.amin(1).tolist() == [0, 0, 0, 0, 0]
    assert first.amax(1).tolist() == [4, 4, 1, 7, 8]


def test_every_offset_and_both_sides_come_up_evenly() -> None:
    # One bright pixel in the middle tells where each image went.
    images = torch.zeros(6000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 255
    where = augmented(images, 0, crop=1).flatten(1).argmax(1).bincount(minlength=25)
    moved = where.view(5, 5)[1:4, 1:4]
    assert moved.sum() == 6000
    assert moved.min() > 6000 / 9 * 0.85
    assert moved.max() < 6000 / 9 * 1.15

    images = torch.zeros(6000, 1, 1, 2, dtype=torch.uint8)
    images[..., 0] = 255
    mirrored = augmented(images, 0, flip=True)[..., 1].count_nonzero()
    assert 2850 < mirrored < 3150


def test_cutout_is_a_square_clipped_at_the_border() -> None:
    covered = (augmented(some_images(5000), 0, cutout=4) == 0).all(dim=1)
    areas = covered.sum(dim=(1, 2))
    assert areas.max() == 16
    assert areas.min() == 4, "a centre in the corner leaves 2 x 2 pixels of the square"
    heights, widths = covered.any(dim=2).sum(dim=1), covered.any(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, areas), "each is a full rectangle"
    centres_inside = (12 - 4 + 1) ** 2 / 12**2  # whole squares need 9 of the 12 rows and columns
    assert abs((areas == 16).double().mean().item() - centres_inside) < 0.03


def test_cutout_larger_than_the_image_covers_it() -> None:
    assert augmented(some_images(), 0, cutout=24).count_nonzero() == 0


def test_an_empty_batch_stays_empty() -> None:
    asked = {"crop": 4, "flip": True, "cutout": 6}
    assert augmented(some_images(0), 0, **asked).shape == (0, 3, 12, 12)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_agrees_with_torchvision(channels: int) -> None:
    images = some_images(channels=channels)
    mean, std = torch.tensor([[0.5, 0.4, 0.3], [0.2, 0.25, 0.3]], dtype=torch.float64)[:, :channels]
    expected = vision.normalize(images.double() / 255, mean.tolist(), std.tolist())
    exact = normalise(images, mean, std, torch.float64)
    torch.testing.assert_close(exact, expected, rtol=1e-12, atol=1e-12)
    mean, std = mean.float(), std.float()
    single = normalise(images, mean, std, torch.float32)
    torch.testing.assert_close(single, expected.float(), rtol=1e-6, atol=1e-6)
    # A half-precision result is the exact one rounded once, not computed in half precision.
    assert torch.equal(normalise(images, mean, std, torch.bfloat16), single.bfloat16())


@pytest.mark.gpu
@needs_cuda
def test_cuda_equals_the_loop_and_never_waits() -> None:
    images = some_images(32).cuda()
    asked = {"crop": 3, "flip": True, "cutout": 5}
    draws = drawn(images, 5, 3)
    expected = one_by_one(images, draws, **asked)
    mean, std = torch.full((2, 3), 0.4, device="cuda")
    with never_waits():
        result = augment(images, draws, **asked)
        normalise(result, mean, std, torch.bfloat16)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("name", ["crop", "cutout"])
def test_what_would_leave_nothing_of_an_image_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe\.{name}: 9 pixels, and the images have 4 x 8"):
        Recipe(**{name: 9}).check_augmentation((4, 8))
    Recipe(**{name: 8}).check_augmentation((4, 8))
