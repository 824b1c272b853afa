"""Images and masks for segmentation: what is read as what, and what is said of other masks."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from checked_data import assert_pairs, refusal, sizes, splits
from made_data import (
    COLOURS,
    folder_of_images,
    folder_of_pairs,
    mask_arrays,
    mask_npz,
    pair,
    png_of,
)
from PIL import Image

from skipsearch.data import load_data
from skipsearch.data.split import IGNORED
from skipsearch.data.words import place_of

MASKS = mask_arrays()["train_masks"]


def picture(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.copy()


# --- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("images", (None, "images")),
        ("Masks", (None, "masks")),
        ("ground_truth", (None, "masks")),
        ("Training", ("train", None)),
        ("train_images", ("train", "images")),
        ("trainannot", ("train", "masks")),
        ("masks-val", ("validation", "masks")),
        ("Test Set Labels", ("test", "masks")),
        ("cat", (None, None)),
        ("train_test_masks", (None, None)),
        ("data", (None, None)),
    ],
)
def test_the_place_of_a_folder_is_known_by_its_name(
    name: str, place: tuple[str | None, str | None]
) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        (("train/images", "train/masks"), ("val/images", "val/masks"), ("test/img", "test/label")),
        (("images/train", "gt/train"), ("images/val", "gt/val"), ("images/test", "gt/test")),
        (("Training/imgs", "Training/GT"), ("dev/imgs", "dev/GT"), ("Testing/imgs", "Testing/GT")),
        (("train", "trainannot"), ("val", "valannot"), ("test", "testannot")),
        (("train_images", "train_masks"), ("val_images", "val_masks"), ("test-imgs", "test-masks")),
    ],
)
def test_splits_of_images_and_masks_in_any_usual_order(
    tmp_path: Path, train: tuple[str, str], validation: tuple[str, str], test: tuple[str, str]
) -> None:
    for names, count, first in ((train, 5, 0), (validation, 3, 5), (test, 2, 8)):
        folder_of_pairs(tmp_path, count, first, names)
    data = load_data(tmp_path)
    assert sizes(data) == [5, 3, 2]
    assert_pairs(data, 10)
    assert (data.task.name, data.classes, data.class_names) == ("segmentation", 3, ("0", "1", "2"))
    assert (data.image_size, data.in_channels, data.outputs) == ((6, 8), 3, 3)
    assert data.train.labels.dtype == torch.uint8
    assert data.validation.images[:, 0, 0, 0].tolist() == [5, 6, 7]
    assert data.source.startswith(f"the images and masks in {tmp_path}")


def test_splits_that_are_lacking_are_drawn(tmp_path: Path) -> None:
    data = load_data(folder_of_pairs(tmp_path, 20))
    assert sizes(data) == [12, 4, 4]
    assert_pairs(data, 20)
    assert "a fixed 20% is set aside" in data.source
    other = load_data(tmp_path, split_seed=1)
    assert torch.equal(other.test.images, data.test.images)
    assert not torch.equal(other.validation.images, data.validation.images)
    assert sizes(load_data(tmp_path, validation_fraction=0.5)) == [6, 10, 4]


def test_pairs_have_the_same_path_without_its_suffix(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path, 6)
    for number, suffix in enumerate((".webp", ".jpg", ".tif", ".bmp")):
        image, mask = pair(number)
        for half in ("images", "masks"):
            (tmp_path / half / f"{number:03}.png").unlink()
        png_of(tmp_path / "images" / "town" / f"a.{number}{suffix}", image, quality=100)
        png_of(tmp_path / "masks" / "town" / f"a.{number}.tif", mask)
    data = load_data(tmp_path)
    masks = torch.cat([split.labels for split in splits(data).values()])
    assert sorted(mask.numpy().tobytes() for mask in masks) == sorted(
        pair(number)[1].tobytes() for number in range(6)
    )


def test_classes_have_the_names_of_a_file_and_some_may_be_absent(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path, 10, names=("train/images", "train/masks"))
    folder_of_pairs(tmp_path, 3, 10, ("val/images", "val/masks"), classes=2)
    folder_of_pairs(tmp_path, 3, 13, ("test/images", "test/masks"))
    (tmp_path / "classes.txt").write_text("sky\nroad\n tree \nbus\n\n")
    (tmp_path / "README.md").write_text("")
    png_of(tmp_path / "train" / "overview.png", pair(99)[0])
    folder_of_images(tmp_path / "extra")
    _, mask = pair(10)
    png_of(tmp_path / "val" / "masks" / "010.png", np.full_like(mask, IGNORED))
    data = load_data(tmp_path)
    assert data.class_names == ("sky", "road", "tree", "bus")
    assert data.summary().splitlines() == [
        f"data {tmp_path}: segmentation, 4 classes, images of 3 x 6 x 8",
        "images: 10 train, 3 validation, 3 test",
        "labelled pixels: 'sky' 35.6 %, 'road' 35.6 %, 'tree' 28.9 %, 'bus' 0.0 %",
        "ignored pixels: 6.2 %",
        "smallest class: 'bus', 0.0 % of the labelled pixels (0.0 % train, 0.0 % validation, "
        "0.0 % test)",
        "left out: 1 file (1 .md), 1 image outside the folders of images and masks, the folder "
        "extra",
        "note: no train mask has the class bus",
        "note: no validation mask has the classes tree, bus",
        "note: no test mask has the class bus",
        "note: all pixels of 1 mask are ignored",
    ]


def test_one_split_with_images_alone_is_no_segmentation(tmp_path: Path) -> None:
    folder_of_images(tmp_path, classes=("photos", "paintings"))
    assert load_data(tmp_path, image_size=8).task.name == "classification"
    folder_of_images(tmp_path / "other" / "train", classes=("mask", "no mask"))
    assert load_data(tmp_path / "other", image_size=8).class_names == ("mask", "no mask")


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path)
    for path in (tmp_path / "images").iterdir():
        picture(path).convert("L").save(path)
    assert load_data(tmp_path).in_channels == 1
    png_of(tmp_path / "images" / "000.png", pair(0)[0])
    assert load_data(tmp_path).in_channels == 3


def test_a_mask_is_read_by_the_indices_of_its_palette_and_this_is_said(tmp_path: Path) -> None:
    plain = load_data(folder_of_pairs(tmp_path))
    for number, path in enumerate(sorted((tmp_path / "masks").iterdir())):
        mask = picture(path)
        if number < 4:
            mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
            mask.save(path, bits=8 if number else 2)
    data = load_data(tmp_path)
    assert data.fingerprint == plain.fingerprint
    assert data.notes.palettes == 4
    assert "note: 4 palette masks were read by index" in data.summary().splitlines()


@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_masks_of_one_bit_and_of_sixteen_hold_class_numbers(tmp_path: Path, mode: str) -> None:
    plain = load_data(folder_of_pairs(tmp_path, classes=2))
    for path in (tmp_path / "masks").iterdir():
        mask = np.array(picture(path))
        png_of(path, mask.astype(bool if mode == "1" else np.uint16))
        assert picture(path).mode == mode
    assert load_data(tmp_path).fingerprint == plain.fingerprint


# --- what is refused -----------------------------------------------------------------------------


def recoloured(folder: Path, change: Callable[[np.ndarray], np.ndarray], half: str = "masks"):
    """Change all images of one half of the pairs."""
    for path in sorted((folder / half).iterdir()):
        png_of(path, change(np.array(picture(path))))
    return folder


def image_without_mask(here: Path) -> list[str]:
    (folder_of_pairs(here) / "masks" / "003.png").rename(here / "masks" / "003_mask.png")
    return [str(here / "images" / "003.png"), "no mask", "did you mean 003_mask.png?"]


def images_without_masks_of_their_names(here: Path) -> list[str]:
    folder_of_pairs(here, 3)
    folder_of_pairs(here, 2, 5, names=("images", "elsewhere"))
    return [str(here / "images" / "005.png"), "no mask", "nor have 1 more of 5 files"]


def mask_without_image(here: Path) -> list[str]:
    (folder_of_pairs(here) / "images" / "004.png").unlink()
    return [str(here / "masks" / "004.png"), "no image"]


def two_images_of_one_name(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "images" / "004.bmp", pair(4)[0])
    return ["004.png: of the same name as 004.bmp"]


def no_masks_at_all(here: Path) -> list[str]:
    folder_of_pairs(here, 3, names=("images", "masks"))
    for path in (here / "masks").iterdir():
        path.rename(path.with_suffix(".txt"))
    return [str(here / "masks"), "no masks in it"]


def split_without_masks(here: Path) -> list[str]:
    folder_of_pairs(here / "train")
    png_of(here / "test" / "images" / "a.png", pair(0)[0])
    return [str(here / "test" / "images"), "images without masks beside them"]


def images_alone(here: Path) -> list[str]:
    png_of(here / "train" / "images" / "a.png", pair(0)[0])
    return [str(here / "train"), "images without masks beside them"]


def bare_test_images(here: Path) -> list[str]:
    folder_of_pairs(here / "train")
    png_of(here / "test" / "a.png", pair(0)[0])
    return [str(here / "test"), "images without masks"]


def misspelt_split_of_pairs(here: Path) -> list[str]:
    folder_of_pairs(here / "train")
    folder_of_pairs(here / "vall")
    return ["'vall' is not one of train, validation, test", "rename"]


def no_training_pairs(here: Path) -> list[str]:
    folder_of_pairs(here / "test")
    return ["no train images and masks"]


def two_folders_of_masks(here: Path) -> list[str]:
    folder_of_pairs(here)
    folder_of_pairs(here, names=("images", "labels"))
    return ["both labels and masks mean the masks of train"]


def pair_of_two_sizes(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "masks" / "002.png", pair(2)[1][:5])
    return [str(here / "masks" / "002.png"), "has 5 x 8 pixels", "002.png 6 x 8", "the same size"]


def pair_that_exif_turns(here: Path) -> list[str]:
    exif = Image.Exif()
    exif[0x0112] = 6
    png_of(folder_of_pairs(here) / "images" / "002.png", pair(2)[0], exif=exif)
    return ["002.png has 6 x 8 pixels", "8 x 6, which its EXIF turns"]


def images_of_several_sizes(here: Path) -> list[str]:
    folder_of_pairs(here)
    folder_of_pairs(here, 1, 10, size=(8, 8))
    return ["000.png has 6 x 8 pixels", "010.png 8 x 8", "need image_size"]


def jpeg_masks(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "masks" / "001.jpg", pair(1)[1])
    (here / "masks" / "001.png").unlink()
    return [str(here / "masks" / "001.jpg"), "a JPEG mask", "may change class numbers", "PNG"]


def jpeg_called_png(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "masks" / "001.png", pair(1)[1], format="JPEG")
    return [str(here / "masks" / "001.png"), "a JPEG mask"]


def webp_masks(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "masks" / "001.png", pair(1)[1], format="WEBP", lossless=True)
    return ["a WEBP mask"]


def jpeg_in_tiff(here: Path) -> list[str]:
    (folder_of_pairs(here) / "masks" / "001.png").unlink()
    png_of(here / "masks" / "001.tif", pair(1)[1], compression="jpeg")
    return ["001.tif: a TIFF mask: its compression"]


def several_masks_in_a_file(here: Path) -> list[str]:
    (folder_of_pairs(here) / "masks" / "001.png").unlink()
    more = [Image.fromarray(pair(2)[1])]
    png_of(here / "masks" / "001.tif", pair(1)[1], save_all=True, append_images=more)
    return ["001.tif: 2 masks in one file, expected one"]


def value_above_a_byte(here: Path) -> list[str]:
    png_of(folder_of_pairs(here) / "masks" / "001.png", pair(1)[1].astype(np.uint16) * 400)
    return ["001.png: value 800 is no class"]


def float_mask(here: Path) -> list[str]:
    (folder_of_pairs(here) / "masks" / "001.png").unlink()
    png_of(here / "masks" / "001.tif", pair(1)[1].astype(np.float32))
    return ["001.tif: a mask of floating-point numbers"]


def unknown_value(here: Path) -> list[str]:
    folder_of_pairs(here / "train")
    folder_of_pairs(here / "val", 3, 10)
    mask = pair(11)[1]
    mask[2, 3] = 7
    png_of(here / "val" / "masks" / "011.png", mask)
    path = here / "val" / "masks" / "011.png"
    return [f"{path}: value 7 (1 pixel) is not in 0..2", "of the train masks", "255"]


def value_without_a_name(here: Path) -> list[str]:
    (folder_of_pairs(here) / "classes.txt").write_text("sky\nroad")
    return ["000.png: value 2 (16 pixels, and 9 masks more) is not in 0..1", "classes.txt"]


def one_class_masks(here: Path) -> list[str]:
    recoloured(folder_of_pairs(here), lambda mask: mask * 0)
    return ["all labelled pixels of the train masks are 0", "2 or more"]


def ignored_masks(here: Path) -> list[str]:
    recoloured(folder_of_pairs(here), lambda mask: np.full_like(mask, 255))
    return ["all pixels of the train masks are 255"]


def ignored_test_masks(here: Path) -> list[str]:
    folder_of_pairs(here / "train")
    recoloured(folder_of_pairs(here / "test", 3, 10), lambda mask: np.full_like(mask, 255))
    return ["all pixels of the test masks are 255"]


def grey_levels(here: Path) -> list[str]:
    noise = np.random.default_rng(0)
    recoloured(folder_of_pairs(here), lambda mask: noise.integers(0, 250, mask.shape, np.uint8))
    return ["values in the train masks", "as of grey levels", "classes.txt"]


def name_that_is_there_twice(here: Path) -> list[str]:
    (folder_of_pairs(here) / "classes.txt").write_text("sky\nroad\nsky")
    return [str(here / "classes.txt"), "'sky' is listed twice"]


def line_without_a_name(here: Path) -> list[str]:
    (folder_of_pairs(here) / "classes").write_text("sky\n\nroad")
    return [str(here / "classes"), "line 2 is empty"]


def single_name(here: Path) -> list[str]:
    (folder_of_pairs(here) / "classes.txt").write_text("sky")
    return ["1 class, expected 2 to 255"]


def too_few_pairs(here: Path) -> list[str]:
    folder_of_pairs(here, 2)
    return ["2 images, too few to set 0 aside"]


def corrupt_mask(here: Path) -> list[str]:
    path = folder_of_pairs(here, size=(64, 64)) / "masks" / "001.png"
    path.write_bytes(path.read_bytes()[:-60])
    return [str(path), "unreadable image"]


REFUSED = [
    image_without_mask,
    images_without_masks_of_their_names,
    mask_without_image,
    two_images_of_one_name,
    no_masks_at_all,
    split_without_masks,
    images_alone,
    bare_test_images,
    misspelt_split_of_pairs,
    no_training_pairs,
    two_folders_of_masks,
    pair_of_two_sizes,
    pair_that_exif_turns,
    images_of_several_sizes,
    jpeg_masks,
    jpeg_called_png,
    webp_masks,
    jpeg_in_tiff,
    several_masks_in_a_file,
    value_above_a_byte,
    float_mask,
    unknown_value,
    value_without_a_name,
    one_class_masks,
    ignored_masks,
    ignored_test_masks,
    grey_levels,
    name_that_is_there_twice,
    line_without_a_name,
    single_name,
    too_few_pairs,
    corrupt_mask,
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_what_no_network_should_be_trained_on_is_refused(tmp_path: Path, case: Callable) -> None:
    expected = case(tmp_path)
    message = refusal(tmp_path)
    for words in expected:
        assert words in message


# --- masks as networks see them: resized and cropped ---------------------------------------------


def labelled_at_the_sides(here: Path, kind: str, classes: int) -> Path:
    """Twenty masks of 20 x 24 pixels, of which a centred crop to a square loses two columns."""
    masks = np.full((20, 20, 24), IGNORED, np.uint8)
    masks[:, ::2, :2], masks[:, 1::2, :2] = 0, 1
    masks[:, :10, 4:] = np.arange(1, 3)[:classes].repeat(10 // classes)[:, None] if classes else 255
    images = np.random.default_rng(0).integers(0, 256, (20, 20, 24, 3), dtype=np.uint8)
    if kind == "arrays":
        return mask_npz(here, train_images=images, train_masks=masks)
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        png_of(here / "images" / f"{number:03}.png", image)
        png_of(here / "masks" / f"{number:03}.png", mask)
    return here


@pytest.mark.parametrize("kind", ["folder", "arrays"])
def test_masks_that_lose_their_labels_by_resizing_are_refused_or_noted(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "none").mkdir()
    none = labelled_at_the_sides(tmp_path / "none", kind, classes=0)
    assert load_data(none).class_names == ("0", "1")
    assert "all pixels of the train masks, resized and cropped to 16 x 16, are 255" in refusal(
        none, image_size=16
    )
    (tmp_path / "one").mkdir()
    one = labelled_at_the_sides(tmp_path / "one", kind, classes=1)
    assert "masks, resized and cropped to 16 x 16, are of class '1', expected 2 or more" in refusal(
        one, image_size=16
    )
    (tmp_path / "two").mkdir()
    two = labelled_at_the_sides(tmp_path / "two", kind, classes=2)
    assert not load_data(two).notes.warnings()
    assert load_data(two, image_size=16).notes.warnings() == [
        f"no {split} mask, resized to 16 x 16, has the class 0"
        for split in ("train", "validation", "test")
    ]


def test_a_split_drawn_of_masks_without_a_label_is_refused(tmp_path: Path) -> None:
    masks = MASKS.copy()
    masks[1:] = IGNORED
    message = refusal(mask_npz(tmp_path, train_masks=masks))
    assert "masks are 255, so ignored" in message


# --- the code in a message mends what it is about ------------------------------------------------


def blurred(mask: np.ndarray) -> np.ndarray:
    """Black and white with an edge of another grey level, which no class has."""
    levels = np.where(mask > 0, 255, 0).astype(np.uint8)
    levels[0, 0] = 100
    return levels


# What masks of 0..2 were changed to; words of the message; which classes its code makes of them.
MENDED = {
    "black and white": (
        lambda mask: np.where(mask > 0, 255, 0).astype(np.uint8),
        "masks of 0 and 255, where 255 would be ignored",
        lambda mask: mask > 0,
    ),
    "black and white with blurred edges": (blurred, "with blurred edges", None),
    "numbered from one": (lambda mask: mask + 1, "hold 1, 2, 3, expected class", None),
    "gaps": (lambda mask: mask * 17, "hold 0, 17, 34, expected class numbers", lambda mask: mask),
    "gaps and ignored pixels": (
        lambda mask: np.where(mask == 2, 255, mask * 5).astype(np.uint8),
        "hold 0, 5, expected",
        lambda mask: np.where(mask == 2, 255, mask),
    ),
    "colours": (lambda mask: COLOURS[mask], "mode RGB with 3 colours ((0, 0, 0), (0,", None),
    "grey in RGB": (lambda mask: np.stack([mask] * 3, -1), "a mask of mode RGB, expected", None),
    "grey and alpha": (lambda mask: np.stack([mask, mask * 0 + 255], -1), "mode LA", None),
    "colours and alpha": (
        lambda mask: np.concatenate([COLOURS[mask], mask[..., None] * 0 + 255], -1),
        "mode RGBA with 3 colours",
        None,
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_masks_of_another_kind_are_explained_with_the_code_that_mends_them(
    tmp_path: Path, case: str
) -> None:
    change, words, expected = MENDED[case]
    plain = load_data(folder_of_pairs(tmp_path))
    recoloured(tmp_path, change)
    message = refusal(tmp_path)
    assert words in message
    line = re.search(r"save (.+?)(?: for each|$)", message)[1]
    for path in (tmp_path / "masks").iterdir():
        names = {"mask": picture(path), "colours": COLOURS, "numpy": np, "Image": PIL.Image}
        eval(line, names).save(path)
    data = load_data(tmp_path)
    if case.startswith("black and white with"):
        assert data.classes == 2
        return
    wanted = plain.train.labels if expected is None else expected(plain.train.labels.numpy())
    assert np.array_equal(data.train.labels, wanted)


def test_palettes_that_differ_are_refused(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path)
    for number in (0, 1):
        # As `convert` does, which chooses a palette for each picture.
        mask = Image.fromarray(COLOURS[np.roll(pair(number)[1], number) % (3 - number)])
        mask.quantize(3).save(tmp_path / "masks" / f"00{number}.png")
    message = refusal(tmp_path)
    assert re.search(r"001.png: index \d of its palette is the colour \(\d+, \d+, \d+\)", message)
    assert "indices are no class numbers" in message


# --- what holds of masks as of labels ------------------------------------------------------------


def test_the_fingerprint_tells_of_each_pixel_of_a_mask(tmp_path: Path) -> None:
    prints = [load_data(mask_npz(tmp_path)).fingerprint]
    for index, value in (((0, 0, 0), 1), ((19, 5, 7), 255)):
        masks = MASKS.copy()
        masks[index] = value
        prints.append(load_data(mask_npz(tmp_path, train_masks=masks)).fingerprint)
    assert len(set(prints)) == 3


def test_the_fingerprint_of_labels_is_that_of_earlier_versions() -> None:
    data = load_data("digits")
    hashed = hashlib.blake2b(digest_size=8)
    for name, split in splits(data).items():
        hashed.update(f"{name} {tuple(split.images.shape)}".encode())
        hashed.update(split.images.contiguous().numpy().tobytes())
        hashed.update(split.labels.numpy().tobytes())
    assert data.fingerprint == hashed.hexdigest()


def test_equal_images_are_counted_and_those_with_several_masks(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path / "train")
    folder_of_pairs(tmp_path / "test", 3)  # the first three
    png_of(tmp_path / "test" / "masks" / "000.png", pair(1)[1])
    data = load_data(tmp_path)
    assert data.notes.repeated[("test", "train")] >= 1
    assert data.notes.contradictory == 2
    assert "2 images also in the data with other labels" in data.source


def test_validation_masks_can_join_training(tmp_path: Path) -> None:
    data = load_data(mask_npz(tmp_path))
    joined = data.with_validation_in_training()
    assert torch.equal(joined.train.labels, torch.cat([data.train.labels, data.validation.labels]))
    assert joined.task == data.task
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)


def test_the_source_tells_how_far_classes_differ_in_size(tmp_path: Path) -> None:
    masks = MASKS.copy()
    masks[masks == 2] = 0
    masks[0, 0, 0] = 2
    data = load_data(mask_npz(tmp_path, train_masks=masks))
    assert "unbalanced, 0.1 % of the labelled pixels of class '2' to 66" in data.source


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_images_that_exif_turns_without_their_masks_are_said(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number in range(10):
        mask = np.zeros((16, 16), np.uint8)
        mask[: 4 + number, :5] = 1
        for name, pixels, said in (("images", mask * 200 + number, exif), ("masks", mask, None)):
            (tmp_path / name).mkdir(exist_ok=True)
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(tmp_path / name / f"{number}.png", **({"exif": said} if said else {}))
    summary = load_data(tmp_path).summary()
    assert "10 images are turned or mirrored by EXIF, and the mask is not" in summary
