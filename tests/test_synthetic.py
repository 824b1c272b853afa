"""The synthetic digits on textures: the same bits everywhere, and a contrast that can be turned."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from skipsearch.data import load_data
from skipsearch.data.synthetic import IMAGES, TENTHS, digits_segmentation
from skipsearch.errors import DataError

NAMES = ("background", "0", "1", "2", "3", "4")


def test_the_bits_are_the_same_on_every_machine() -> None:
    arrays = digits_segmentation()
    hashed = hashlib.blake2b(digest_size=8)
    for split in IMAGES:
        for half in ("images", "masks"):
            hashed.update(arrays[f"{split}_{half}"].tobytes())
    assert hashed.hexdigest() == "b9541f359a6b1cdf"


def test_the_known_data_set_is_made_of_them(tmp_path: Path) -> None:
    known = load_data("digits-seg")
    np.savez(tmp_path / "some.npz", **digits_segmentation())
    assert load_data(tmp_path / "some.npz").fingerprint == known.fingerprint
    assert (known.task.name, known.class_names) == ("segmentation", NAMES)
    assert [len(known.train), len(known.validation), len(known.test)] == [640, 160, 200]
    assert (known.in_channels, known.image_size) == (1, 32)
    assert "synthetic" in known.source
    assert not known.notes.warnings()
    assert load_data("digits-seg", denoise=25).classes == 0


def test_no_digit_is_in_two_splits() -> None:
    tenths = [tenth for ends in TENTHS.values() for tenth in range(*ends)]
    assert tenths == list(range(10))
    assert list(TENTHS) == list(IMAGES)


@pytest.mark.parametrize("digits", [1, 5, 10])
def test_every_split_has_every_class_in_about_the_same_share(digits: int) -> None:
    arrays = digits_segmentation(digits=digits)
    assert arrays["class_names"].tolist() == ["background", *"0123456789"[:digits]]
    for split in IMAGES:
        masks = arrays[f"{split}_masks"]
        shares = np.bincount(masks.ravel(), minlength=digits + 1) / masks.size
        assert 0.84 < shares[0] < 0.9
        assert shares[1:] * digits == pytest.approx([0.13] * digits, rel=0.4)


def test_strokes_stand_out_by_the_contrast_and_textures_overlap_them() -> None:
    stand_out = []
    masks = digits_segmentation()["test_masks"]
    for contrast in (0.1, 0.3, 0.5):
        arrays = digits_segmentation(contrast)
        assert np.array_equal(arrays["test_masks"], masks)
        images = arrays["test_images"].astype(float)
        strokes, background = images[masks > 0], images[masks == 0]
        stand_out.append((strokes.mean() - background.mean()) / 255)
        assert np.quantile(strokes, 0.1) < np.quantile(background, 0.95)
    assert stand_out == pytest.approx([0.07, 0.21, 0.35], abs=0.03)  # strokes are soft at edges


def test_textures_have_several_spatial_frequencies() -> None:
    arrays = digits_segmentation(0.01)
    images = arrays["train_images"].astype(float)
    images -= images.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.rfft(images, axis=2)) ** 2
    coarse = power[:, :, 1:4].sum((1, 2)) / power.sum((1, 2))
    assert np.quantile(coarse, 0.1) < 0.4 < 0.6 < np.quantile(coarse, 0.9)


def test_another_seed_makes_other_images() -> None:
    one, other = digits_segmentation(seed=1), digits_segmentation(seed=2)
    assert not np.array_equal(one["train_masks"], other["train_masks"])


@pytest.mark.parametrize("contrast", [0, -0.5, 1.1, float("nan"), "0.5"])
def test_a_contrast_out_of_range_is_refused(contrast: object) -> None:
    with pytest.raises(DataError, match=r"contrast .* is not between 0.01 and 1"):
        digits_segmentation(contrast)


@pytest.mark.parametrize("digits", [0, 11, 2.0])
def test_a_number_of_digits_out_of_range_is_refused(digits: object) -> None:
    with pytest.raises(DataError, match=r"digits .* is not in 1..10"):
        digits_segmentation(digits=digits)
