"""Names of arrays in files: the nearest one, and those that are expected beside the others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_data import arrays_of, as_folder, as_npz, folder_of_images

from skipsearch.data import load_data
from skipsearch.errors import DataError


@pytest.mark.parametrize("write", [as_npz, as_folder])
@pytest.mark.parametrize("denoise", [None, 20.0])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("train_images", "train_image"),
        ("train_images", "trian_images"),
        ("train_images", "Train_Images"),
        ("test_labels", "test_label"),
        ("test_labels", "test_lables"),
    ],
)
def test_the_nearest_name_of_an_array_is_named(
    tmp_path: Path,
    write: Callable[[Path, dict[str, np.ndarray]], Path],
    denoise: float | None,
    name: str,
    wrong: str,
) -> None:
    arrays = arrays_of("labels")
    arrays[wrong] = arrays.pop(name)
    expected = rf"array '{wrong}' is not one of .{{,60}} \(did you mean '{name}'\?\)$"
    with pytest.raises(DataError, match=expected):
        load_data(write(tmp_path, arrays), denoise=denoise)


@pytest.mark.parametrize(
    ("names", "near"), [(("image", "labels"), "images"), (("images", "label"), "labels")]
)
def test_the_nearest_name_of_training_arrays_alone_is_named(
    tmp_path: Path, names: tuple[str, str], near: str
) -> None:
    arrays = arrays_of("labels")
    alone = dict(zip(names, (arrays["train_images"], arrays["train_labels"]), strict=True))
    with pytest.raises(DataError, match=rf"did you mean '{near}'\?"):
        load_data(as_folder(tmp_path, alone))


def test_suffixes_in_capitals_and_hidden_files_make_no_difference(tmp_path: Path) -> None:
    folder = as_folder(tmp_path, arrays_of("labels"))
    expected = load_data(folder).fingerprint
    (folder / "train_images.npy").rename(folder / "train_images.NPY")
    (folder / "._train_images.npy").write_bytes(b"as macOS writes")
    assert load_data(folder).fingerprint == expected


def test_arrays_beside_classes_of_images_stay_files_that_are_left_out(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "images")
    np.save(folder / "image.npy", np.zeros((3, 4, 5)))
    assert "left out: 1 file (1 .npy)" in load_data(folder, image_size=8).summary()


OF_LABELS = "expected train_images, train_labels, test_images, test_labels$"
OF_MASKS = "expected train_images, train_masks, test_images, test_masks$"
EXPECTED = {  # by arrays that are there, what is said of an .npz file and of a folder
    "train_images train_labels test_labels": (f"no test_images in it, {OF_LABELS}",) * 2,
    "train_images train_labels test_images": (f"no test_labels in it, {OF_LABELS}",) * 2,
    "train_images train_labels": (f"no test_images in it, {OF_LABELS}", ""),
    "train_images train_masks test_masks": (f"no test_images in it, {OF_MASKS}",) * 2,
    "train_images train_masks test_images": (f"no test_masks in it, {OF_MASKS}",) * 2,
    "train_images train_masks": ("", ""),
    "train_images test_images": (
        r"no labels or masks in it, expected train_images, train_labels, test_images, test_labels;"
        r" or train_images, train_masks \(images alone are for denoising\)$",
        r"no labels or masks in it, expected train_images, train_labels; or train_images,"
        r" train_masks \(images alone are for denoising\)$",
    ),
}


@pytest.mark.parametrize("names", EXPECTED)
@pytest.mark.parametrize("answers", ["classes", "several labels", "numbers"])
def test_a_missing_array_is_named_with_those_that_are_expected(
    tmp_path: Path, names: str, answers: str
) -> None:
    arrays = arrays_of("labels") | arrays_of("masks")
    for part, number in (("train", 60), ("test", 20)):
        arrays[f"{part}_labels"] = {
            "classes": arrays[f"{part}_labels"],
            "several labels": np.arange(2 * number).reshape(-1, 2) // 3 % 2,
            "numbers": np.arange(number) / 7,
        }[answers]
    there = {name: arrays[name] for name in names.split()}
    for write, message in zip((as_npz, as_folder), EXPECTED[names], strict=True):
        place = write(tmp_path, there)
        if message:
            with pytest.raises(DataError, match=message):
                load_data(place)
        else:
            load_data(place)
