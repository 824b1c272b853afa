"""Folders of images of other pixels than 8-bit grey or RGB, from the files to the prediction."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
import torch
from checked_data import refusal
from made_data import folder_of_images, png
from PIL import Image

import skipsearch as ss
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.loading import load_predictor
from skipsearch.artefacts.writing import write_artefacts
from skipsearch.data import Data, load_data, read_picture
from skipsearch.data.image_files import read_header
from skipsearch.errors import DataError
from skipsearch.models import build

RNG = np.random.default_rng(0)
SIZE = (9, 12)  # height and width


def save_pillow(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path)


def save_lzw(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, compression="tiff_lzw")


def save_npy(path: Path, image: np.ndarray) -> None:
    with path.open("wb") as stream:  # numpy.save would add a suffix to .NPY
        np.save(stream, image)


def save_tiff(**options: Any) -> Callable[[Path, np.ndarray], None]:
    return lambda path, image: tifffile.imwrite(path, image, **options)


CONTIG = {"planarconfig": "contig", "photometric": "minisblack"}
SEPARATE = {"planarconfig": "separate", "photometric": "minisblack"}


class Kind(NamedTuple):
    """A kind of files: suffix, type of pixels, shape of the array in a file, and how it is saved.

    ``first`` tells that the channels are its first axis.
    """

    suffix: str
    pixels: str
    shape: tuple[int, ...]
    save: Callable[[Path, np.ndarray], None]
    first: bool = False


KINDS = {
    "16-bit PNG": Kind(".png", "uint16", SIZE, save_pillow),
    "16-bit TIFF": Kind(".tif", "uint16", SIZE, save_pillow),
    "16-bit TIFF, big-endian": Kind(
        ".TIF", "uint16", SIZE, lambda path, image: save_pillow(path, image.astype(">u2"))
    ),
    "16-bit TIFF, compressed": Kind(".tiff", "uint16", SIZE, save_lzw),
    "float TIFF": Kind(".tif", "float32", SIZE, save_pillow),
    "half TIFF": Kind(".tif", "float16", SIZE, save_tiff()),
    "RGB TIFF of 16 bits": Kind(".tif", "uint16", (*SIZE, 3), save_tiff(photometric="rgb")),
    "TIFF, channels last": Kind(".tif", "uint16", (*SIZE, 13), save_tiff(**CONTIG)),
    "BigTIFF": Kind(".tif", "float32", (*SIZE, 2), save_tiff(bigtiff=True, **CONTIG)),
    "TIFF, channels first": Kind(".tif", "float32", (13, *SIZE), save_tiff(**SEPARATE), True),
    "TIFF of 8 bits and 5 channels": Kind(".tif", "uint8", (*SIZE, 5), save_tiff(**CONTIG)),
    "TIFF of RGB and infrared": Kind(
        ".tif", "uint8", (*SIZE, 4), save_tiff(photometric="rgb", extrasamples=[0])
    ),
    "TIFF of pages": Kind(".tif", "uint16", (13, *SIZE), save_tiff(photometric="minisblack"), True),
    "TIFF of pages of 8 bits": Kind(
        ".tif", "uint8", (5, *SIZE), save_tiff(photometric="minisblack"), True
    ),
    "TIFF of pages, of which the first has tags": Kind(
        ".tif", "uint8", (5, *SIZE), save_tiff(photometric="minisblack", truncate=True), True
    ),
    "ImageJ TIFF of 8 bits": Kind(
        ".tif", "uint8", (3, *SIZE), save_tiff(imagej=True, metadata={"axes": "CYX"}), True
    ),
    "ImageJ TIFF of 16 bits": Kind(
        ".tif", "uint16", (3, *SIZE), save_tiff(imagej=True, metadata={"axes": "CYX"}), True
    ),
    "OME TIFF of 8 bits": Kind(
        ".ome.tif", "uint8", (3, *SIZE), save_tiff(photometric="minisblack", ome=True), True
    ),
    "OME TIFF of 16 bits": Kind(
        ".ome.tif", "uint16", (3, *SIZE), save_tiff(photometric="minisblack", ome=True), True
    ),
    "RGB TIFF of 16 bits, described in bytes": Kind(
        ".tif",
        "uint16",
        (*SIZE, 3),
        save_tiff(photometric="rgb", metadata=None, extratags=[(270, "B", 3, b"abc", True)]),
    ),
    "RGB TIFF of 16 bits, LZW": Kind(
        ".tif", "uint16", (*SIZE, 3), save_tiff(photometric="rgb", compression="lzw", predictor=2)
    ),
    "volume TIFF, channels last": Kind(
        ".tif", "uint16", (*SIZE, 5), save_tiff(photometric="minisblack")
    ),
    ".npy, grey": Kind(".npy", "uint16", SIZE, np.save),
    ".npy, channels last": Kind(".npy", "float32", (*SIZE, 5), np.save),
    ".npy, channels first": Kind(".NPY", "uint8", (3, *SIZE), save_npy, True),
    ".npy, big-endian": Kind(
        ".npy", "float16", SIZE, lambda path, image: np.save(path, image.astype(">f2"))
    ),
}


def arrays(kind: Kind, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of two classes, in the order of their folders."""
    top = np.iinfo(kind.pixels).max if kind.pixels.startswith("u") else 1.0
    images = (RNG.random((count, *kind.shape)) * top).astype(kind.pixels)
    return images, np.arange(count) * 2 // count


def write(folder: Path, kind: Kind, images: np.ndarray, labels: np.ndarray) -> Path:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / ("cat", "dog")[label] / f"{number:03}{kind.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.save(path, image)
    return folder


# --- every kind of files -------------------------------------------------------------------------


@pytest.mark.parametrize("image_size", [None, 6, (10, 7)])
@pytest.mark.parametrize("name", KINDS)
def test_a_folder_is_the_arrays_of_its_files(tmp_path: Path, name: str, image_size: Any) -> None:
    kind = KINDS[name]
    train, test = arrays(kind, 20), arrays(kind, 8)
    write(tmp_path / "train", kind, *train)
    write(tmp_path / "test", kind, *test)
    data = load_data(tmp_path, image_size=image_size)
    axes = None if len(kind.shape) == 2 else ("NCHW" if kind.first else "NHWC")
    given = Data.from_arrays(*train, test=test, axes=axes, image_size=image_size)
    assert data.fingerprint == given.fingerprint
    assert (data.pixels, data.mean, data.std) == (kind.pixels, given.mean, given.std)
    assert data.class_names == ("cat", "dog")
    size = f"{data.in_channels} x {data.train.images.shape[2]} x {data.train.images.shape[3]}"
    typed = "" if kind.pixels == "uint8" else f", {kind.pixels}"
    assert f"2 classes, images of {size}{typed}" in data.summary().splitlines()[0]


@pytest.mark.parametrize("name", ["16-bit PNG", ".npy, channels last"])
def test_a_folder_without_splits_is_divided_as_its_arrays_are(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    images, labels = arrays(kind, 30)
    data = load_data(write(tmp_path, kind, images, labels))
    assert data.fingerprint == Data.from_arrays(images, labels).fingerprint


def test_images_of_several_sizes_are_resized_one_by_one(tmp_path: Path) -> None:
    kind = KINDS["16-bit PNG"]
    images, labels = arrays(kind, 20)
    write(tmp_path, kind, images, labels)
    large = (RNG.random((20, 30)) * 65535).astype("uint16")
    save_pillow(tmp_path / "cat" / "large.png", large)
    message = refusal_of(tmp_path)
    assert "has 9 x 12 pixels and " in message
    assert "large.png 20 x 30: images of several sizes need image_size" in message
    data = load_data(tmp_path, image_size=8)
    three = np.stack([large, large + 1, large + 2])
    alone = Data.from_arrays(three.repeat(10, 0), np.arange(30) % 3, image_size=8).train.images
    images = torch.cat([split.images for split in (data.train, data.validation, data.test)])
    assert any(torch.equal(one, other) for one in images for other in alone)


def test_big_endian_arrays_are_those_of_the_machine() -> None:
    images, labels = arrays(KINDS["16-bit PNG"], 20)
    swapped = Data.from_arrays(images.astype(">u2"), labels)
    assert swapped.fingerprint == Data.from_arrays(images, labels).fingerprint


def test_further_images_in_a_file_are_said(tmp_path: Path) -> None:
    kind = KINDS["TIFF, channels last"]
    images, labels = arrays(kind, 20)
    write(tmp_path, kind, images, labels)
    with tifffile.TiffWriter(tmp_path / "cat" / "000.tif") as file:
        file.write(images[0], **CONTIG)
        file.write(images[0, ::2, ::2], **CONTIG)
    data = load_data(tmp_path)
    assert data.fingerprint == Data.from_arrays(images, labels, axes="NHWC").fingerprint
    assert "note: only the first frame of 1 file was read" in data.summary()


def save_plain(path: Path, pages: np.ndarray) -> None:
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)


def save_pages(path: Path, pages: np.ndarray) -> None:
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize("save", [save_plain, save_pages])
@pytest.mark.parametrize("shape", [(200, 17, 15), (4, 32, 24)])
def test_pages_of_unknown_meaning_are_refused_with_code_that_names_it(
    tmp_path: Path, save: Callable[[Path, np.ndarray], None], shape: tuple[int, ...]
) -> None:
    pages, path = noise(*shape), tmp_path / "a.tif"
    save(path, pages)
    with pytest.raises(DataError) as caught:
        read_header(path)
    message, _, code = str(caught.value).partition(": for channels, save ")
    assert message == (
        f"{path}: {shape[0]} pages that could be channels or images, expected one image"
    )
    exec(code, {"tifffile": tifffile, "FILE": path})
    header = read_header(path)
    assert (header.channels, header.size, header.pixels) == (shape[0], shape[1:], "uint16")


def test_the_first_page_of_8_bits_is_a_picture_and_said(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    save_pages(tmp_path / "cat" / "more.tif", noise(4, 8, 8).astype("uint8"))
    data = load_data(tmp_path, image_size=8)
    assert (data.in_channels, data.notes.animated) == (3, 1)
    assert "note: only the first frame of 1 file was read" in data.summary()


@pytest.mark.parametrize("description", [{}, {"ome": True}, {"imagej": True}])
def test_a_single_page_of_rgb_is_a_picture_in_any_program(
    tmp_path: Path, description: dict[str, bool]
) -> None:
    image = noise(*SIZE, 3).astype("uint8")
    photometric = {} if "imagej" in description else {"photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", image, **photometric, **description)
    assert np.array_equal(read_picture(tmp_path / "a.tif", 3, SIZE).permute(1, 2, 0), image)


def test_8_bits_of_which_0_is_white_are_inverted(tmp_path: Path) -> None:
    image = noise(*SIZE).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "a.tif", 1, SIZE)[0], 255 - image)


# --- arrays beside pictures ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cat/embedding.npy", "cat/features/000.npy", "cat/000.npy", "labels.npy"]
)
@pytest.mark.parametrize("asked", [{}, {"denoise": 25}])
def test_arrays_beside_pictures_are_left_out(
    tmp_path: Path, name: str, asked: dict[str, int]
) -> None:
    folder_of_images(tmp_path)
    plain = load_data(tmp_path, image_size=8, **asked)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    np.save(tmp_path / name, np.zeros(128, "float32"))
    data = load_data(tmp_path, image_size=8, **asked)
    assert data.fingerprint == plain.fingerprint
    assert data.notes.passed_over == {".npy": 1}
    assert "left out: 1 file (1 .npy)" in data.summary()


def test_arrays_beside_masks_are_left_out(tmp_path: Path) -> None:
    kind = KINDS["16-bit PNG"]
    write_pairs(tmp_path, kind, arrays(kind)[0])
    plain = load_data(tmp_path)
    for half in ("images", "masks"):
        np.save(tmp_path / half / "000.npy", np.zeros(128, "float32"))
    data = load_data(tmp_path)
    assert data.fingerprint == plain.fingerprint
    assert "left out: 2 files (2 .npy)" in data.summary()


# --- 8-bit pictures stay as they were ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_8_bit_pictures_of_any_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    folder_of_images(tmp_path)
    picture = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / "dog" / "more.tif"
    picture.save(path)
    data = load_data(tmp_path, image_size=8)
    assert (data.pixels, data.in_channels) == ("uint8", 3)
    with Image.open(path) as saved:
        known = torch.from_numpy(np.array(saved.convert("RGB"))).permute(2, 0, 1)
    splits = (data.train, data.validation, data.test)
    assert any(torch.equal(image, known) for split in splits for image in split.images)


def test_pictures_need_a_size_as_before(tmp_path: Path) -> None:
    assert "a folder of images needs image_size" in refusal(folder_of_images(tmp_path))


# --- what is refused -----------------------------------------------------------------------------


def refusal_of(folder: Path, **asked: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(folder, **asked)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def png_of_16_bits(path: Path, channels: int) -> None:
    """Write a PNG of 16 bits a channel, which Pillow cannot."""
    height, width = SIZE
    samples = RNG.integers(0, 65536, (height, width * channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bits_of_which_pillow_would_drop_8_are_refused(tmp_path: Path, channels: int) -> None:
    folder_of_images(tmp_path)
    path = tmp_path / "dog" / "deep.png"
    png_of_16_bits(path, channels)
    with Image.open(path) as image:
        assert image.mode in ("RGB", "RGBA")  # that is why
    message = f"{path}: a PNG of several channels of 16 bits, of which Pillow keeps 8"
    assert message in refusal_of(tmp_path, image_size=8)
    with pytest.raises(DataError, match="of which Pillow keeps 8"):
        read_picture(path, 3, 8)


def test_the_grey_png_of_16_bits_is_the_one_that_pillow_writes(tmp_path: Path) -> None:
    png_of_16_bits(tmp_path / "a.png", 1)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
    with pytest.raises(DataError, match=r"a\.png is an image of uint16 in 1 channel, and 8-bit"):
        read_picture(tmp_path / "a.png", 1, 8)


def pictures_and_16_bits(here: Path) -> list[str]:
    folder_of_images(here)
    png(here / "dog" / "deep.png", 1000, mode="I;16")
    return [
        f"{here / 'dog' / 'deep.png'} is an image of uint16 in 1 channel",
        f"{here / 'cat' / '000.png'} is an 8-bit picture: expected one type of pixels",
    ]


def sixteen_bits_and_a_picture(here: Path) -> list[str]:
    folder_of_images(write(here, KINDS["16-bit PNG"], *arrays(KINDS["16-bit PNG"])), 1, ("dog",))
    return [
        f"{here / 'dog' / '000.png'} is an 8-bit picture",
        f"{here / 'cat' / '000.png'} is an image of uint16 in 1 channel",
    ]


def two_types(here: Path) -> list[str]:
    write(here, KINDS[".npy, grey"], *arrays(KINDS[".npy, grey"]))
    np.save(here / "dog" / "more.npy", np.zeros(SIZE, "float32"))
    return ["more.npy is an image of float32 in 1 channel", "000.npy is an image of uint16 in 1"]


def two_numbers_of_channels(here: Path) -> list[str]:
    write(here, KINDS[".npy, grey"], *arrays(KINDS[".npy, grey"]))
    np.save(here / "dog" / "more.npy", np.zeros((*SIZE, 2), "uint16"))
    return ["more.npy is an image of uint16 in 2 channels"]


def arrays_and_pictures(here: Path) -> list[str]:
    (folder_of_images(here, classes=("cat",)) / "dog").mkdir()
    np.save(here / "dog" / "000.npy", np.zeros((8, 8, 3), "uint8"))
    return ["000.npy is an image of uint8 in 3 channels", "000.png is an 8-bit picture"]


def only(save: Callable[[Path], object], name: str, *words: str) -> Callable[[Path], list[str]]:
    """A folder of grey arrays in which the first file is another one."""

    def case(here: Path) -> list[str]:
        write(here, KINDS[".npy, grey"], *arrays(KINDS[".npy, grey"]))
        save(here / "cat" / name)
        return [str(here / "cat" / name), *words]

    return case


def cut(save: Callable[[Path], object]) -> Callable[[Path], None]:
    def saved(path: Path) -> None:
        save(path)
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) * 2 // 3])

    return saved


def empty(path: Path) -> None:
    path.write_bytes(b"")


def npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(SIZE))


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 65536, shape, dtype=np.uint16)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(*SIZE)).save(path, exif=exif)


NPY = {
    "float64": (np.zeros(SIZE), "an array of float64 (9, 12), expected uint8, ", "'float32'"),
    "int32": (np.zeros(SIZE, "int32"), "an array of int32 (9, 12), expected uint8, "),
    "text": (np.array([["a"]]), "an array of <U1 (1, 1), expected uint8, "),
    "one axis": (np.zeros(9, "uint8"), "an array of uint8 (9,), expected one image (H, W)"),
    "four axes": (np.zeros((1, 2, 3, 4), "uint8"), "expected one image (H, W)"),
    "nothing": (np.zeros((0, 9), "uint8"), "(0, 9), expected one image", "not empty"),
    "NaN": (np.full(SIZE, np.nan, "float32"), "with 108 values not finite", "nan_to_num"),
    "any axis": (np.zeros((13, 9, 9), "uint16"), "could be the first or the last axis: save it"),
    "narrow": (np.zeros((3, 9, 3), "uint16"), "could be the first or the last axis: save it as"),
}


def test_an_array_without_the_known_channels_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((12, 24, 31), "uint16"))
    with pytest.raises(DataError, match="neither the first nor the last axis has 13 channels"):
        read_header(tmp_path / "a.npy", 13)


REFUSED = {
    "pictures and 16 bits": pictures_and_16_bits,
    "16 bits and a picture": sixteen_bits_and_a_picture,
    "two types": two_types,
    "two numbers of channels": two_numbers_of_channels,
    "a class of arrays and one of pictures": arrays_and_pictures,
    **{
        name: only(lambda path, array=array: np.save(path, array), "000.npy", *words)
        for name, (array, *words) in NPY.items()
    },
    "cut .npy": only(
        cut(lambda path: np.save(path, noise(*SIZE))), "000.npy", "unreadable as an .npy file"
    ),
    "empty .npy": only(empty, "000.npy", "unreadable as an .npy file"),
    "objects": only(
        lambda path: np.save(path, np.array([[None]]), allow_pickle=True),
        "000.npy",
        "image holds Python objects, which are not read: save numpy.stack(list(image))",
    ),
    "archive": only(npz, "000.npy", "an archive of arrays, expected one array"),
    "no .npy": only(lambda path: path.write_bytes(b"GIF89a" * 9), "000.npy", "the magic string"),
    "cut PNG": only(
        cut(lambda path: save_pillow(path, noise(*SIZE))), "000.aaa.png", "unreadable image"
    ),
    "cut TIFF": only(
        cut(lambda path: tifffile.imwrite(path, noise(9, 12, 13), **CONTIG)),
        "000.aaa.tif",
        "unreadable as a TIFF file (",
    ),
    "stub of a TIFF": only(
        lambda path: path.write_bytes(b"II*\0\x08\0\0\0"), "000.aaa.tif", "unreadable image"
    ),
    "stack": only(
        lambda path: tifffile.imwrite(
            path, noise(5, 9, 12), photometric="minisblack", metadata={"axes": "ZYX"}
        ),
        "000.aaa.tif",
        "a stack of images (axes ZYX of (5, 9, 12)), expected one image",
    ),
    "int16 TIFF": only(
        lambda path: tifffile.imwrite(path, noise(9, 12).astype("int16")),
        "000.aaa.tif",
        "an array of int16 (9, 12), expected uint8, ",
    ),
    "int8 TIFF": only(
        lambda path: tifffile.imwrite(path, noise(9, 12).astype("int8")),
        "000.aaa.tif",
        "an array of int8 (9, 12), expected uint8, ",
    ),
    "MinIsWhite TIFF": only(
        lambda path: tifffile.imwrite(path, noise(9, 12), photometric="miniswhite"),
        "000.aaa.tif",
        "the value 0 is white (MinIsWhite), expected black: save ",
    ),
    "turned TIFF": only(turned, "000.aaa.tif", "by its orientation tag: save it upright"),
    "32-bit integers": only(
        lambda path: path.write_bytes(b"P5 2 2 65535\n" + bytes(8)),
        "000.aaa.pgm",
        "a PPM file that Pillow opens as 32-bit integers (mode I), expected 8 or 16 bits",
    ),
}


@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")
@pytest.mark.parametrize(
    ("name", "image_size"),
    [(name, 8) for name in REFUSED] + [(name, None) for name in REFUSED if "pictures" not in name],
)
def test_what_is_no_image_of_the_set_is_refused(
    tmp_path: Path, name: str, image_size: int | None
) -> None:
    expected = REFUSED[name](tmp_path)
    message = refusal_of(tmp_path, image_size=image_size)
    for words in expected:
        assert words in message


def test_several_channels_need_tifffile_and_grey_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, grey = KINDS["TIFF, channels last"], KINDS["16-bit TIFF"]
    write(tmp_path / "many", many, *arrays(many))
    write(tmp_path / "grey", grey, *arrays(grey))
    monkeypatch.setitem(sys.modules, "tifffile", None)  # as Python holds a package that is missing
    message = refusal_of(tmp_path / "many")
    assert message.endswith("tifffile is not installed: pip install 'skipsearch[tiff]'")
    assert str(tmp_path / "many" / "cat" / "000.tif") in message
    assert load_data(tmp_path / "grey").pixels == "uint16"


def test_denoising_of_other_pixels_is_refused(tmp_path: Path) -> None:
    kind = KINDS["16-bit PNG"]
    write(tmp_path, kind, *arrays(kind))
    message = refusal_of(tmp_path, denoise=25)
    assert "pixels of uint16, and denoising is of uint8" in message


# --- masks ---------------------------------------------------------------------------------------


def masks(count: int) -> np.ndarray:
    return ((np.indices(SIZE).sum(0) + np.arange(count)[:, None, None]) % 3).astype("uint8")


def write_pairs(folder: Path, kind: Kind, images: np.ndarray, suffix: str = ".png") -> Path:
    for half in ("images", "masks"):
        (folder / half).mkdir(parents=True)
    for number, (image, mask) in enumerate(zip(images, masks(len(images)), strict=True)):
        kind.save(folder / "images" / f"{number:03}{kind.suffix}", image)
        path = folder / "masks" / f"{number:03}{suffix}"
        np.save(path, mask) if suffix == ".npy" else save_pillow(path, mask)
    return folder


@pytest.mark.parametrize("image_size", [None, 6])
@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize(
    "name", ["16-bit PNG", "float TIFF", "TIFF, channels first", ".npy, channels last"]
)
def test_images_of_other_pixels_have_masks(
    tmp_path: Path, name: str, suffix: str, image_size: int | None
) -> None:
    kind = KINDS[name]
    images, _ = arrays(kind, 20)
    data = load_data(write_pairs(tmp_path, kind, images, suffix), image_size=image_size)
    axes = None if len(kind.shape) == 2 else ("NCHW" if kind.first else "NHWC")
    given = Data.from_arrays(images, masks(20), axes=axes, image_size=image_size)
    assert data.fingerprint == given.fingerprint
    assert kind.pixels in data.summary()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros(SIZE, "float32"), "an array of float32 (9, 12), expected a class number for"),
        (np.zeros((*SIZE, 1), "uint8"), "an array of uint8 (9, 12, 1), expected a class number"),
        (np.full(SIZE, -1), "value -1 is no class"),
        (np.zeros((9, 13), "uint8"), "000.npy has 9 x 13 pixels, and its image"),
    ],
)
def test_arrays_that_are_no_masks_are_refused(tmp_path: Path, mask: Any, words: str) -> None:
    kind = KINDS[".npy, grey"]
    write_pairs(tmp_path, kind, arrays(kind)[0], ".npy")
    np.save(tmp_path / "masks" / "000.npy", mask)
    assert words in refusal_of(tmp_path)


# --- the whole way -------------------------------------------------------------------------------

SPACE = {
    "name": "tiny",
    "base": {"widths": [4, 8], "depths": [1, 1], "layout": "conv3-bn-relu"},
    "recipe": {"batch_size": 32},
    "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
}


@pytest.mark.usefixtures("ray")
def test_a_folder_of_16_bits_goes_the_whole_way(tmp_path: Path) -> None:
    kind = KINDS["16-bit PNG"]
    train, test = arrays(kind, 40), arrays(kind, 10)
    write(tmp_path / "data" / "train", kind, *train)
    write(tmp_path / "data" / "test", kind, *test)
    space = ss.Space.from_dict(SPACE)
    run = ss.search(
        space, tmp_path / "data", image_size=8, trials=1, epochs=1, out=tmp_path / "run"
    )
    exported = ss.export(run, "best", out=tmp_path / "winner")
    files = sorted((tmp_path / "data" / "test").rglob("*.png"))
    found = ss.predict(exported.path, files, top=1)
    predictor = load_predictor(exported.path)
    data = load_data(tmp_path / "data", image_size=8)
    assert data.test is not None
    known = predictor.probabilities(data.test.images)
    assert found.probability.tolist() == pytest.approx(known.max(1).values.tolist(), abs=1e-6)
    assert found.label.tolist() == [data.class_names[n] for n in known.argmax(1).tolist()]
    np.save(tmp_path / "one.npy", test[0][0])
    tifffile.imwrite(tmp_path / "one.tif", test[0][0])
    same = ss.predict(exported.path, [files[0], tmp_path / "one.npy", tmp_path / "one.tif"], top=1)
    assert same.probability.nunique() == 1
    message = r"8\.png is an 8-bit picture, and the network takes uint16 in 1 channel"
    with pytest.raises(DataError, match=message):
        ss.predict(exported.path, png(tmp_path / "8.png"))
    card = (exported.path / "card.json").read_text()
    assert "its type of pixels and its channels kept, resized" in card


@pytest.mark.parametrize("resized", [False, True])
def test_masks_are_predicted_for_many_channels(tmp_path: Path, resized: bool) -> None:
    kind = KINDS["TIFF, channels last"]
    images, _ = arrays(kind, 20)
    data = Data.from_arrays(images, masks(20), axes="NHWC")
    design = ss.Design(
        layout="conv3-bn-relu",
        depths=(1, 1),
        widths=(4, 6),
        stem="none",
        head="map",
        ups=1,
        links=("mirror",),
    )
    network = build(design, data.in_channels, data.outputs, seed=1).eval()
    card = Card(
        task=data.task,
        mean=data.mean,
        std=data.std,
        class_names=data.class_names,
        pixels=data.pixels,
        resized=resized,
    )
    sizes = {"in_channels": 13, "image_size": data.image_size, "classes": data.outputs}
    write_artefacts(network, design, tmp_path / "net", **sizes, card=card, formats=("source",))
    image = noise(18, 24, 13)
    kind.save(tmp_path / "a.tif", image)
    np.save(tmp_path / "b.npy", image.transpose(2, 0, 1))
    ss.predict(tmp_path / "net", [tmp_path / "a.tif", tmp_path / "b.npy"], out=tmp_path / "out")
    written = [np.asarray(Image.open(tmp_path / "out" / f"{n}-mask.png")) for n in "ab"]
    assert written[0].shape == (18, 24)
    assert np.array_equal(*written)
    if not resized:
        raw = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        known = load_predictor(tmp_path / "net").outputs(raw[None])[0].argmax(0)
        assert np.array_equal(written[0], known)
    with pytest.raises(DataError, match="takes uint16 in 13 channels"):
        ss.predict(tmp_path / "net", png(tmp_path / "c.png"), out=tmp_path / "other")


@pytest.mark.parametrize(("letters", "size"), [("CYX", (9, 3)), ("YXC", (3, 9))])
def test_a_narrow_image_is_read_after_it_is_saved_as_the_message_says(
    tmp_path: Path, letters: str, size: tuple[int, int]
) -> None:
    image = noise(3, 9, 3)
    np.save(tmp_path / "image.npy", image)
    with pytest.raises(DataError) as caught:
        read_header(tmp_path / "image.npy")
    found = re.search(r"save it as a TIFF file by (.+\)), or 'YXC'", str(caught.value))
    assert found is not None
    line = found[1].replace("'CYX'", repr(letters))
    eval(line, {"tifffile": tifffile, "image": image, "FILE": tmp_path / "image.tif"})
    header = read_header(tmp_path / "image.tif")
    assert (header.size, header.channels) == (size, 3)
