"""Folders of images: which layouts are understood, what is left out, what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_data import folder_of_images, png
from PIL import Image

from skipsearch.data import Data, load_data
from skipsearch.data.looking import IMAGE_SUFFIXES
from skipsearch.data.words import FILLERS, SPLITS, split_of, splits_within
from skipsearch.errors import DataError


def load(folder: Path) -> Data:
    return load_data(folder, image_size=8)


def sizes(data: Data) -> list[int]:
    assert data.test is not None
    return [len(split) for split in (data.train, data.validation, data.test)]


# --- splits in any usual spelling ----------------------------------------------------------------

SPELT = {
    "train": (
        *("train", "Train", "TRAIN", "training", "Training", "training_set", "training-set"),
        *("train_set", "Training Set", "trainingSet", "train_images", "images.train", "TrainData"),
    ),
    "validation": (
        *("val", "Val", "valid", "validation", "Validation", "VALIDATION", "dev", "val_set"),
        *("validation_split", "val-images", "ValidationSet"),
    ),
    "test": (
        *("test", "Test", "testing", "Testing", "test_set", "TestSet", "test_images"),
        "TEST DATA",
    ),
}
NO_SPLITS = ("cat", "trains", "bullet_train", "testament", "value", "device", "set", "images")


@pytest.mark.parametrize(
    ("name", "split"),
    [(name, split) for split, names in SPELT.items() for name in names]
    + [(name, None) for name in NO_SPLITS],
)
def test_a_split_is_recognised_by_its_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


@given(
    st.sampled_from([(word, split) for split, words in SPLITS.items() for word in words]),
    st.sampled_from(["", *(filler.replace("?", "") for filler in FILLERS)]),
    st.sampled_from(["", " ", "_", "-", ".", "__"]),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.booleans(),
)
def test_case_separators_and_fillers_make_no_difference(
    word: tuple[str, str], filler: str, separator: str, case: Callable[[str], str], first: bool
) -> None:
    parts = (filler, word[0]) if first else (word[0], filler)
    assert split_of(case(separator.join(parts))) == word[1]


def test_split_words_are_found_among_others() -> None:
    assert splits_within("seg_train") == {"train"}
    assert splits_within("myTest2") == {"test"}
    assert splits_within("trains and testers") == set()


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test", "val"),
        ("training_set", "test_set", "validation"),
        ("Training", "Testing", "Validation"),
        ("Train", "Test", "Val"),
    ],
)
def test_splits_in_any_usual_spelling_are_taken_as_they_are(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    for name, count in zip(names, (5, 2, 3), strict=True):
        folder_of_images(tmp_path / name, count)
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert sizes(data) == [10, 6, 4]


# --- what is refused -----------------------------------------------------------------------------


def two_of_one_split(here: Path) -> list[str]:
    folder_of_images(here / "train")
    folder_of_images(here / "Training Set")
    return ["both Training Set and train", "both mean train"]


def classes_beside_splits(here: Path) -> list[str]:
    folder_of_images(here / "Train")
    folder_of_images(here, classes=("bus", "car"))
    return ["'bus' is not one of train, validation, test", "cannot lie beside", "such as Train"]


def splits_that_look_like_classes(here: Path) -> list[str]:
    folder_of_images(here, classes=("seg_train", "seg_test"))
    return ["seg_test, seg_train look like splits", "expected train, validation, test"]


def a_test_folder_alone(here: Path) -> list[str]:
    folder_of_images(here / "Testing")
    return ["Testing but no train folder", "train/CLASS/*.png"]


def folders_of_folders(here: Path) -> list[str]:
    folder_of_images(here / "animals")
    folder_of_images(here / "things", classes=("bus", "car"))
    return [str(here / "animals"), "2 folders of images (cat, dog", "expected CLASS/*.png"]


def classes_before_splits(here: Path) -> list[str]:
    for name in ("cat", "dog"):
        folder_of_images(here / name, classes=("train", "test"))
    return [str(here / "cat" / "test"), "a split inside a class", "train/CLASS/*.png"]


def one_folder_too_high(here: Path) -> list[str]:
    folder_of_images(here / "pets" / "train")
    folder_of_images(here / "pets" / "test")
    return ["1 class folder, expected 2 or more", f"did you mean {here / 'pets'}?"]


def images_without_classes(here: Path) -> list[str]:
    png(here / "0.png")
    png(here / "1.png")
    return ["2 images but no folders in it", "CLASS/*.png"]


def splits_without_classes(here: Path) -> list[str]:
    png(here / "train" / "0.png")
    png(here / "test" / "1.png")
    return [str(here / "train"), "0 class folders, expected 2 or more"]


def classes_that_differ_in_case(here: Path) -> list[str]:
    folder_of_images(here, classes=("Cat", "cat", "dog"))
    return ["'Cat' and 'cat' differ only in spelling"]


def class_in_another_case(here: Path) -> list[str]:
    folder_of_images(here / "train")
    folder_of_images(here / "test", classes=("Cat", "dog"))
    return [str(here / "test" / "Cat"), "is not a class of the", "did you mean 'cat'?"]


def class_that_is_not_utf8(here: Path) -> list[str]:
    folder_of_images(here, classes=("caf\udce9", "dog"))
    return ["caf\\udce9", "not UTF-8", "rename it"]


def link_around_itself(here: Path) -> list[str]:
    folder_of_images(here)
    (here / "cat" / "again").symlink_to(here / "cat")
    return [str(here / "cat" / "again"), "a link to a folder that it lies in itself"]


def links_in_a_circle(here: Path) -> list[str]:
    folder_of_images(here)
    (here / "a").symlink_to(here / "b")
    (here / "b").symlink_to(here / "a")
    return [str(here / "a"), "symbolic links"]


def class_that_is_a_dead_link(here: Path) -> list[str]:
    folder_of_images(here)
    (here / "eel").symlink_to(here / "nowhere")
    return [str(here / "eel"), "a link to nothing"]


def pipe_for_an_image(here: Path) -> list[str]:
    folder_of_images(here)
    os.mkfifo(here / "cat" / "pipe.png")
    return [str(here / "cat" / "pipe.png"), "neither a file nor a folder"]


def empty_image(here: Path) -> list[str]:
    folder_of_images(here)
    (here / "cat" / "000.png").write_bytes(b"")
    return [str(here / "cat" / "000.png"), "unreadable image (an empty file)"]


def images_all_alike(here: Path) -> list[str]:
    for name in ("cat", "dog"):
        for number in range(10):
            png(here / name / f"{number}.png")
    return ["all 12 training images are the same picture"]


REFUSED = [
    two_of_one_split,
    classes_beside_splits,
    splits_that_look_like_classes,
    a_test_folder_alone,
    folders_of_folders,
    classes_before_splits,
    one_folder_too_high,
    images_without_classes,
    splits_without_classes,
    classes_that_differ_in_case,
    class_in_another_case,
    class_that_is_not_utf8,
    link_around_itself,
    links_in_a_circle,
    class_that_is_a_dead_link,
    pipe_for_an_image,
    empty_image,
    images_all_alike,
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_what_a_network_should_not_learn_from_is_refused(tmp_path: Path, case: Callable) -> None:
    expected = case(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    for words in (str(tmp_path), *expected):
        assert words in message
    assert "\n" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match="cat: Permission denied"):
            load(tmp_path)
    finally:
        (tmp_path / "cat").chmod(0o700)


# --- what is read, and what is said of the rest --------------------------------------------------


def test_what_is_passed_over_is_counted_by_suffix_and_said(tmp_path: Path) -> None:
    folder_of_images(tmp_path, count=20)
    for number in range(30):
        (tmp_path / "cat" / f"{number}.HEIC").write_text("")
    for number in range(15):
        (tmp_path / "dog" / f"{number}.txt").write_text("")
    for number in range(5):
        (tmp_path / "dog" / f"notes{number}").write_text("")
    png(tmp_path / "stray.png")
    data = load(tmp_path)
    assert data.notes.passed_over == {".heic": 30, ".txt": 15, "": 5}
    assert data.notes.outside == 1
    left_out = "50 files (30 .heic, 15 .txt, 5 without a suffix), 1 image outside the class folders"
    assert f"left out: {left_out}" in data.summary().splitlines()
    assert f"skipped: {left_out}" in data.source


def test_rare_suffixes_are_counted_together(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    for number in range(9):
        (tmp_path / "cat" / f"scan.{number}").write_text("")
    assert load(tmp_path).notes.left_out() == (
        "9 files (1 .0, 1 .1, 1 .2, 1 .3, 1 .4, 4 with other suffixes)"
    )


def test_hidden_parts_are_skipped_wherever_they_are(tmp_path: Path) -> None:
    for part in ("train", "test"):
        folder_of_images(tmp_path / part)
    plain = load(tmp_path)
    for part in ("train", "test"):
        shutil.copytree(tmp_path / "train" / "dog", tmp_path / part / "cat" / ".ipynb_checkpoints")
        shutil.copytree(tmp_path / "train" / "dog", tmp_path / part / "__MACOSX")
    png(tmp_path / "train" / "cat" / "._000.png")
    png(tmp_path / ".git" / "a.png")
    data = load(tmp_path)
    assert data.fingerprint == plain.fingerprint
    assert data.notes.hidden == 6


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".JPG", ".Jfif", ".GIF"])
def test_every_suffix_of_an_image_is_read(tmp_path: Path, suffix: str) -> None:
    folder_of_images(tmp_path)
    kind = {".jfif": "JPEG", ".jpe": "JPEG", ".dib": "DIB", ".apng": "PNG", ".jp2": "JPEG2000"}
    picture = Image.effect_noise((8, 8), 50)
    picture = picture.convert("1") if suffix == ".pbm" else picture.convert("RGB")
    picture = picture.convert("L") if suffix == ".pgm" else picture
    picture.save(tmp_path / "dog" / f"more{suffix}", format=kind.get(suffix.lower()))
    assert sum(sizes(load(tmp_path))) == 21


def test_the_first_frame_is_read_and_transparency_dropped_and_both_are_said(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    frames = [Image.new("RGB", (8, 8), (level, 200, 7)) for level in (100, 50, 0)]
    frames[0].save(tmp_path / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    png(tmp_path / "dog" / "glass.png", (1, 2, 3, 4), mode="RGBA")
    png(tmp_path / "dog" / "opaque.png", (1, 2, 3, 255), mode="RGBA")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(tmp_path / "dog" / "palette.png", transparency=b"\xff\x80")
    data = load(tmp_path)
    assert (data.notes.animated, data.notes.transparent) == (1, 2)
    assert "only the first frame of 1 file was read" in data.source
    assert "note: the transparency of 2 images was dropped" in data.summary()
    pixels = {
        tuple(image[:, 0, 0].tolist())
        for split in (data.train, data.validation, data.test)
        for image in split.images
    }
    assert {(100, 200, 7), (1, 2, 3), (9, 8, 7)} <= pixels


@pytest.mark.parametrize("inner", ["images", "a/b"])
def test_a_single_folder_inside_a_class_is_the_class(tmp_path: Path, inner: str) -> None:
    for number, name in enumerate(("cat", "dog")):
        for level in range(10):
            png(tmp_path / name / inner / f"{level}.png", (number, level, 0))
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert sum(sizes(data)) == 20


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "store")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "store" / "cat")
    (tmp_path / "data" / "dog").mkdir()
    for path in (tmp_path / "store" / "dog").iterdir():
        (tmp_path / "data" / "dog" / path.name).symlink_to(path)
    assert load(tmp_path / "data").fingerprint == load(tmp_path / "store").fingerprint


# --- duplicates ----------------------------------------------------------------------------------


def test_equal_images_of_two_splits_are_counted_and_said(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "train", 20)
    folder_of_images(tmp_path / "test", 5)  # the first five of each class
    png(tmp_path / "test" / "dog" / "new.png", (7, 7, 7))
    # Other files with the same pixels.
    png(tmp_path / "val" / "cat" / "same.bmp", (0, 3, 99))
    png(tmp_path / "val" / "dog" / "new.png", (8, 8, 8))
    data = load(tmp_path)
    assert data.notes.repeated == {
        ("validation", "train"): 1,
        ("test", "train"): 10,
        ("test", "validation"): 1,
    }
    assert data.notes.contradictory == 0
    said = "10 of 11 test images are in the train split as well"
    assert said in data.source
    assert f"note: {said}" in data.summary().splitlines()
    assert "1 of 2 validation images is in the train split as well" in data.source


def test_equal_images_are_found_in_a_validation_split_that_is_drawn(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 10)
    for path in sorted((tmp_path / "cat").iterdir()):
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    repeated = load(tmp_path).notes.repeated
    assert repeated
    assert all(later != "train" for later, _ in repeated)


def test_an_image_under_two_labels_is_said(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 10)
    shutil.copy(tmp_path / "cat" / "000.png", tmp_path / "dog" / "stray.png")
    data = load(tmp_path)
    assert data.notes.contradictory == 2
    assert "2 images also in the data with other labels" in data.source


# --- the summary ---------------------------------------------------------------------------------


def test_the_summary_names_classes_splits_and_the_smallest_class(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 10)
    folder_of_images(tmp_path, 25, classes=("cat",))
    data = load(tmp_path)
    assert data.summary().splitlines() == [
        f"data {tmp_path}: 2 classes, images of 3 x 8 x 8",
        "images: 21 train, 7 validation, 7 test",
        "smallest class: 'dog', 10 images (6 train, 2 validation, 2 test)",
        "note: channel 2 has one value in all training images",
    ]
    assert "images: 21 train, 7 validation" in data.without_test().summary().splitlines()


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "data: '' is not a path"),
        ("a\0b", "is not a path"),
        (None, "data: None is neither a text nor a path"),
        (7, "data: 7 is neither a text nor a path"),
        (([[1, 2]], [0, 1]), "give arrays as Data.from_arrays(images, labels)"),
        ("caf\udce9", "'caf\\udce9' is not UTF-8"),
        (Path("caf\udce9"), "'caf\\udce9' is not UTF-8"),
        ("x" * 5000, "File name too long"),
        ("~nobody-of-this-name/x", "needs a home folder"),
        ("CIFAR-10", "did you mean 'cifar10'?"),
        ("FashionMNIST", "did you mean 'fashion-mnist'?"),
    ],
)
def test_what_is_no_path_is_one_short_line(name: object, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data(name, image_size=8)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_image_size_that_no_memory_holds_is_refused_before_the_images_are_read(
    tmp_path: Path,
) -> None:
    folder_of_images(tmp_path)
    (tmp_path / "cat" / "001.png").write_bytes(b"not an image")  # would be an error if it were read
    expected = r"20 images of 3 x 60000000 x 60000000 bytes need [\d,.]+ GiB of memory, and [\d,.]+"
    with pytest.raises(DataError, match=expected):
        load_data(tmp_path, image_size=60_000_000)
    with pytest.raises(DataError, match=r"1,797 images of 1 x 60000000 x 60000000 pixels need"):
        load_data("digits", image_size=60_000_000)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"image_size": True}, "image_size: True"),
        ({"image_size": 8.0}, "image_size: 8.0"),
        ({"image_size": "8"}, "image_size: '8'"),
        ({"split_seed": 1.5}, "split_seed 1.5"),
        ({"split_seed": None}, "split_seed None"),
        ({"validation_fraction": "0.1"}, "validation_fraction '0.1'"),
        ({"validation_fraction": float("nan")}, "validation_fraction nan"),
        ({"device": 3.5}, "device '3.5'"),
    ],
)
def test_a_number_of_another_kind_is_refused(asked: dict[str, object], words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data("digits", **asked)
    assert words in str(caught.value)


def test_digits_need_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    # As pathlib does where neither HOME nor the user data base names one.
    monkeypatch.setattr(Path, "expanduser", nobody)
    assert load_data("digits").classes == 10
    with pytest.raises(DataError, match=r"data-root: .* needs a home folder, and there is none"):
        load_data("mnist")


# --- groups --------------------------------------------------------------------------------------


def folder_of_patients(folder: Path) -> Path:
    """Write images of two classes from 12 patients, of whom the first four have both classes."""
    for patient in range(12):
        for label, name in enumerate(("healthy", "ill")):
            if patient < 4 or patient % 2 == label:
                for number in range(3):
                    png(folder / name / f"p{patient}" / f"{number}.png", (patient, label, number))
    return folder


@pytest.mark.parametrize("in_memory", [None, False])
def test_folders_inside_a_class_are_groups_if_asked(tmp_path: Path, in_memory: bool | None) -> None:
    folder = folder_of_patients(tmp_path / "images")
    how = {"root": tmp_path / "cache", "in_memory": in_memory}
    for _ in range(2):  # the second time from the cache
        data = load_data(folder, image_size=8, group_folders=True, **how)
        assert data.test is not None
        patients = [
            set(split.batch(torch.arange(len(split)))[0][:, 0, 0, 0].tolist())
            for split in (data.train, data.validation, data.test)
        ]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 12
        assert "images of one group are in one split" in data.source
        assert data.test_groups is not None
        assert len(set(data.test_groups)) == len(patients[2])
    with pytest.raises(DataError, match="or group_folders if they are groups"):
        load_data(folder, image_size=8, root=tmp_path / "cache")


def test_a_group_in_two_given_splits_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        folder_of_patients(tmp_path / split)
    with pytest.raises(DataError, match=r"the group 'p0' is in train and in test, expected all"):
        load_data(tmp_path, image_size=8, group_folders=True)


def test_group_folders_need_a_folder_for_each_image(tmp_path: Path) -> None:
    folder = folder_of_patients(tmp_path)
    png(folder / "ill" / "alone.png")
    with pytest.raises(DataError, match=r"alone\.png: lies directly in the folder of its class"):
        load_data(folder, image_size=8, group_folders=True)
    with pytest.raises(
        DataError, match="group_folders has no effect, expected a folder of classes"
    ):
        load_data("digits", group_folders=True)
