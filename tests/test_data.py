"""Data sets: what is read, how it is split, and what is said about data that are wrong."""

import gzip
import inspect
import re
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import arrays, folder_of_images, npz, png
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms import functional as vision

from skipsearch.data import Data, Split, augment, load_data
from skipsearch.data.known import DATASETS
from skipsearch.data.stored import files_of
from skipsearch.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"


# --- data made here ------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an array of bytes in the format of MNIST."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def mnist(root: Path) -> dict[str, np.ndarray]:
    """Write a small MNIST below a root, unpacked."""
    content = arrays(train=100, test=30, classes=10, shape=(28, 28))
    for part, word in (("train", "train"), ("test", "t10k")):
        raw = root / "MNIST" / "raw"
        write_idx(raw / f"{word}-images-idx3-ubyte", content[f"{part}_images"])
        write_idx(raw / f"{word}-labels-idx1-ubyte", content[f"{part}_labels"])
    return content


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """All that lies in a folder, with sizes and times of change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def contents(*splits: Split) -> Counter[tuple[bytes, int]]:
    """Each image with its label, and how often it occurs."""
    return Counter(
        (image.tobytes(), int(label))
        for split in splits
        for image, label in zip(split.images.numpy(), split.labels, strict=True)
    )


def same(one: Split, other: Split) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


# --- splits --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits")


def test_digits_are_scikit_learns(digits: Data) -> None:
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1079, 359, 359)
    assert (digits.classes, digits.in_channels, digits.image_size) == (10, 1, 8)
    assert digits.train.images.shape == (1079, 1, 8, 8)
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.labels.dtype == torch.int64
    original = load_digits()
    pixels = torch.from_numpy(original.images * 255 / 16).round().to(torch.uint8)[:, None]
    everything = Split(pixels, torch.from_numpy(original.target))
    # Together they are all images, each once: so no image is in two splits.
    assert contents(digits.train, digits.validation, digits.test) == contents(everything)


def test_every_class_has_its_share_of_each_split(digits: Data) -> None:
    splits = (digits.train, digits.validation, digits.test)
    counts = torch.stack([split.labels.bincount(minlength=10) for split in splits]).double()
    shares = counts / counts.sum(dim=0)
    expected = torch.tensor([[0.6], [0.2], [0.2]], dtype=torch.float64).expand(3, 10)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.01)


def test_a_split_seed_gives_the_same_splits_again(digits: Data) -> None:
    again = load_data("digits", split_seed=0)
    assert again.fingerprint == digits.fingerprint
    for part in ("train", "validation", "test"):
        assert same(getattr(again, part), getattr(digits, part))


def test_another_split_seed_moves_validation_and_never_test(digits: Data) -> None:
    other = load_data("digits", split_seed=1)
    assert other.split_seed == 1
    assert other.fingerprint != digits.fingerprint
    assert contents(other.validation) != contents(digits.validation)
    assert same(other.test, digits.test)
    assert contents(other.train, other.validation) == contents(digits.train, digits.validation)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.78))
def test_splits_share_out_all_images_whatever_is_asked(
    digits: Data, seed: int, fraction: float
) -> None:
    data = load_data("digits", split_seed=seed, validation_fraction=fraction)
    assert len(data.validation) == round(1797 * fraction)
    assert same(data.test, digits.test)
    assert contents(data.train, data.validation) == contents(digits.train, digits.validation)
    for split in (data.train, data.validation):
        assert len(split.labels.unique()) == 10


def test_official_test_images_are_untouched(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path))
    content = arrays()
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1), content["test_images"])
    assert np.array_equal(data.test.labels, content["test_labels"])
    assert (len(data.train), len(data.validation)) == (36, 4)
    assert data.validation.labels.bincount().tolist() == [1, 1, 1, 1]
    given_images = torch.from_numpy(content["train_images"]).permute(0, 3, 1, 2)
    given_split = Split(given_images, torch.from_numpy(content["train_labels"]))
    assert contents(data.train, data.validation) == contents(given_split)


def test_the_fraction_is_one_of_the_training_images(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path), validation_fraction=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (28, 12, 8)


def test_without_test_takes_only_the_test_split_away(digits: Data) -> None:
    seen = digits.without_test()
    assert seen.test is None
    assert digits.test is not None
    assert same(seen.train, digits.train)
    assert same(seen.validation, digits.validation)
    assert seen.fingerprint == digits.fingerprint
    assert seen.to("cpu").test is None


def test_validation_can_join_training(digits: Data) -> None:
    joined = digits.with_validation_in_training()
    assert contents(joined.train) == contents(digits.train, digits.validation)
    assert same(joined.validation, digits.validation)
    assert same(joined.test, digits.test)
    assert (joined.mean, joined.std) == (digits.mean, digits.std)
    assert joined.fingerprint != digits.fingerprint
    assert joined.fingerprint == digits.without_test().with_validation_in_training().fingerprint
    assert "validation images are trained on" in joined.source


# --- what is known of a data set -----------------------------------------------------------------


def test_mean_and_std_are_those_of_the_training_images(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path))
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    assert data.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-12)
    everything = torch.cat([data.train.images, data.validation.images]).double() / 255
    assert data.mean != pytest.approx(everything.mean(dim=(0, 2, 3)).tolist(), rel=1e-6)


def test_a_channel_that_never_changes_can_be_divided_by_its_std(tmp_path: Path) -> None:
    content = arrays()
    content["train_images"][..., 1] = 77
    data = load_data(npz(tmp_path, **content))
    assert data.mean[1] == pytest.approx(77 / 255)
    assert data.std[1] == pytest.approx(1 / 255)


def test_the_fingerprint_tells_of_each_image_and_label(tmp_path: Path) -> None:
    prints = [load_data(npz(tmp_path)).fingerprint]
    for key, index in (("train_images", (3, 2, 2, 1)), ("test_images", (1, 0, 3, 0))):
        content = arrays()
        content[key][index] ^= 1
        prints.append(load_data(npz(tmp_path, **content)).fingerprint)
    content = arrays()
    content["test_labels"][:2] = content["test_labels"][1::-1]
    prints.append(load_data(npz(tmp_path, **content)).fingerprint)
    assert len(set(prints)) == 4
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints)


@pytest.mark.parametrize("name", DATASETS)
def test_a_convention_is_the_keywords_of_augment(name: str) -> None:
    keywords = [
        name
        for name, parameter in inspect.signature(augment).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert list(DATASETS[name].augmentation) == keywords == ["crop", "flip", "cutout"]


def test_changing_the_augmentation_of_one_load_leaves_the_next_alone(digits: Data) -> None:
    data = load_data("digits")
    data.augmentation["crop"] = 9
    assert (
        load_data("digits").augmentation
        == digits.augmentation
        == {
            "crop": 0,
            "flip": False,
            "cutout": 0,
        }
    )


def test_the_source_tells_what_is_unusual(tmp_path: Path, digits: Data) -> None:
    assert "no test split of its own" in digits.source
    assert "unbalanced" not in digits.source
    path = npz(tmp_path)
    assert load_data(path).source == f"the arrays in {path}"
    assert load_data(path, image_size=3).source == f"the arrays in {path}; resized from 6x6 pixels"


# --- torchvision's data sets ---------------------------------------------------------------------


def test_unpacked_files_are_read_in_place(tmp_path: Path) -> None:
    content = mnist(tmp_path)
    before = listing(tmp_path)
    data = load_data("mnist", root=tmp_path)
    assert listing(tmp_path) == before
    assert np.array_equal(data.test.images[:, 0], content["test_images"])
    assert np.array_equal(data.test.labels, content["test_labels"])
    assert (len(data.train), len(data.validation)) == (90, 10)
    assert data.augmentation == {"crop": 2, "flip": False, "cutout": 0}
    assert data.class_names[3] == "3 - three"


def test_fashion_mnist_is_read_from_archives_that_nobody_may_touch() -> None:
    if not (SHARED / "FashionMNIST").is_dir():
        pytest.skip(f"no Fashion-MNIST in {SHARED}")
    before = listing(SHARED / "FashionMNIST")
    data = load_data("fashion-mnist", root=SHARED, download=False)
    assert listing(SHARED / "FashionMNIST") == before
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.validation.labels.bincount().tolist() == [600] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert (data.in_channels, data.image_size, data.classes) == (1, 28, 10)
    assert data.class_names[int(data.test.labels[0])] == "Ankle boot"
    # The figures that everyone normalises Fashion-MNIST with, 0.2860 and 0.3530.
    assert data.mean == pytest.approx([0.2860], abs=1e-3)
    assert data.std == pytest.approx([0.3530], abs=1e-3)


IDX = [
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
]
FILES = {
    "CIFAR10": (
        [
            *(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
            *("cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta"),
        ],
        ["cifar-10-python.tar.gz"],
    ),
    "CIFAR100": (
        [f"cifar-100-python/{name}" for name in ("train", "test", "meta")],
        ["cifar-100-python.tar.gz"],
    ),
    "MNIST": ([f"MNIST/raw/{name}" for name in IDX], [f"MNIST/raw/{name}.gz" for name in IDX]),
    "FashionMNIST": (
        [f"FashionMNIST/raw/{name}" for name in IDX],
        [f"FashionMNIST/raw/{name}.gz" for name in IDX],
    ),
    "SVHN": (["train_32x32.mat", "test_32x32.mat"], []),
}


def test_the_files_of_every_data_set_are_known() -> None:
    # As their authors call them. What torchvision keeps elsewhere one day is downloaded again.
    kinds = [known.kind for known in DATASETS.values() if known.kind is not None]
    assert set(kinds) == set(FILES)
    for kind in kinds:
        unpacked, archives = files_of(kind)
        assert (unpacked, [name for name, _ in archives]) == FILES[kind]
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for _, md5 in archives)


def test_corrupt_archives_are_neither_read_nor_written_over(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive, _ in files_of("MNIST").archives:
        (tmp_path / archive).write_bytes(gzip.compress(b"not the real thing"))
    before = listing(tmp_path)
    with pytest.raises(DataError, match=r"mnist in .* is unreadable .*MD5.*train-images"):
        load_data("mnist", root=tmp_path, download=True)
    assert listing(tmp_path) == before


# --- folders and arrays --------------------------------------------------------------------------


def test_a_folder_of_classes_is_split_in_three(tmp_path: Path) -> None:
    data = load_data(folder_of_images(tmp_path), image_size=8)
    assert data.class_names == ("cat", "dog")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [12, 4, 4]
    assert data.test.labels.bincount().tolist() == [2, 2]
    found = contents(data.train, data.validation, data.test)
    assert sorted(image[0] for image, _ in found) == [0] * 10 + [1] * 10, "all are there, once"
    assert all(image[0] == label for image, label in found), "with the label of their folder"
    assert str(tmp_path) in data.source


@pytest.mark.parametrize("word", ["val", "validation"])
def test_folders_for_the_splits_are_taken_as_they_are(tmp_path: Path, word: str) -> None:
    for part, count in (("train", 5), (word, 3), ("test", 2)):
        folder_of_images(tmp_path / part, count)
    data = load_data(tmp_path, image_size=8)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [10, 6, 4]
    assert data.validation.images[:, 1, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert load_data(tmp_path, image_size=8, split_seed=5).fingerprint == data.fingerprint


def test_folders_that_are_lacking_are_drawn_from_the_training_images(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "train", 20)
    folder_of_images(tmp_path / "test", 2)
    data = load_data(tmp_path, image_size=8)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [36, 4, 4]
    (tmp_path / "test").rename(tmp_path / "val")
    data = load_data(tmp_path, image_size=8)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [32, 4, 8]


def test_images_become_rgb_squares_as_with_torchvision(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (23, 41, 3), dtype=np.uint8)
    wide, tall = Image.fromarray(noise), Image.fromarray(noise[:, :17]).convert("L")
    for number in range(5):
        (tmp_path / "wide" / "deeper").mkdir(parents=True, exist_ok=True)
        wide.save(tmp_path / "wide" / "deeper" / f"{number}.PNG")
        (tmp_path / "tall").mkdir(exist_ok=True)
        tall.save(tmp_path / "tall" / f"{number}.bmp")
    (tmp_path / "tall" / "notes.txt").write_text("not an image")
    (tmp_path / "tall" / "._0.png").write_text("nor is this")
    (tmp_path / ".cache").mkdir()
    data = load_data(tmp_path, image_size=10)
    assert data.class_names == ("tall", "wide")
    for split in (data.train, data.validation, data.test):
        for image, label in zip(split.images, split.labels, strict=True):
            original = (tall.convert("RGB"), wide)[int(label)]
            expected = vision.center_crop(vision.resize(original, [10]), [10])
            assert torch.equal(image, vision.pil_to_tensor(expected))


def test_grey_arrays_have_one_channel_and_classes_may_have_names(tmp_path: Path) -> None:
    content = arrays(shape=(6, 6))
    names = np.array(["ant", "bee", "cow", "doe"])
    path = npz(tmp_path, **content, class_names=names)
    data = load_data(path)
    assert data.name == str(path)
    assert (data.in_channels, data.image_size) == (1, 6)
    assert data.class_names == ("ant", "bee", "cow", "doe")
    assert data.augmentation == {"crop": 0, "flip": False, "cutout": 0}
    assert load_data(npz(tmp_path)).class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("image_size", [4, 6, 9])
@pytest.mark.parametrize("shape", [(6, 6, 3), (6, 11, 3), (15, 6)])
def test_arrays_become_squares_as_with_torchvision(
    tmp_path: Path, shape: tuple[int, ...], image_size: int
) -> None:
    content = arrays(shape=shape)
    data = load_data(npz(tmp_path, **content), image_size=image_size)
    images = torch.from_numpy(content["test_images"]).reshape(8, shape[0], shape[1], -1)
    resized = vision.resize(images.permute(0, 3, 1, 2), [image_size], antialias=True)
    expected = vision.center_crop(resized, [image_size])
    assert data.image_size == image_size
    assert torch.equal(data.test.images, expected)


@pytest.mark.parametrize("word", ["digits", "mnist"])
def test_a_word_is_never_a_path_and_a_path_never_a_word(
    tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist(tmp_path)
    folder_of_images(tmp_path / word)
    monkeypatch.chdir(tmp_path)
    known = load_data(word, root=tmp_path, image_size=8)
    assert (known.classes, known.path) == (10, None)
    for name in (Path(word), f"./{word}", tmp_path / word, f"{tmp_path}/{word}"):
        data = load_data(name, root=tmp_path, image_size=8)
        assert (data.classes, data.path) == (2, tmp_path / word)


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_data_live_on_the_device(digits: Data) -> None:
    there = load_data("digits", device="cuda")
    assert there.fingerprint == digits.fingerprint
    for part in ("train", "validation", "test"):
        assert getattr(there, part).images.device == getattr(there, part).labels.device
        assert getattr(there, part).images.is_cuda
        assert same(getattr(there, part).to("cpu"), getattr(digits, part))
    assert there.to("cpu").train.images.device.type == "cpu"


# --- errors --------------------------------------------------------------------------------------


def unknown_name(here: Path):
    return {"name": "cifr10"}, ["'cifr10' is not one of digits, cifar10", "did you mean 'cifar10'?"]


def missing_folder(here: Path):
    return {"name": here / "nowhere"}, [str(here / "nowhere"), "no folder or .npz file"]


def missing_npz(here: Path):
    return {"name": here / "nowhere.npz"}, [str(here / "nowhere.npz"), "no folder or .npz file"]


def unknown_device(here: Path):
    return {"name": "digits", "device": "cudo"}, ["'cudo'", "expected one of cpu"]


def image_size_of_nothing(here: Path):
    return {"name": "digits", "image_size": 0}, ["image_size: 0 is not a positive whole number"]


def negative_seed(here: Path):
    return {"name": "digits", "split_seed": -1}, ["split_seed -1", "0..4294967295"]


def whole_fraction(here: Path):
    asked = {"name": "digits", "validation_fraction": 0.8}
    return asked, ["digits", "validation_fraction 0.8", "between 0 and 0.8"]


def no_fraction(here: Path):
    asked = {"name": npz(here), "validation_fraction": 0.0}
    return asked, ["some.npz", "validation_fraction 0.0", "between 0 and 1"]


def tiny_fraction(here: Path):
    asked = {"name": "digits", "validation_fraction": 0.001}
    return asked, ["digits", "class '8' has", "too few to set 2 aside"]


def not_there_and_not_wanted(here: Path):
    asked = {"name": "cifar10", "root": here / "root", "download": False}
    return asked, ["cifar10 is not in", str(here / "root"), "--data-root"]


def failed_download(here: Path):
    # A root below a file can never be made, so this fails before it reaches for the network.
    (here / "file").write_text("")
    asked = {"name": "svhn", "root": here / "file" / "root"}
    return asked, ["svhn in", str(here / "file" / "root"), "cannot be downloaded", "--data-root"]


def truncated_files(here: Path):
    mnist(here)
    path = here / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    return {"name": "mnist", "root": here}, ["mnist in", str(here), "unreadable", "--data-root"]


def files_that_differ_in_length(here: Path):
    mnist(here)
    write_idx(here / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.arange(99) % 10)
    asked = {"name": "mnist", "root": here}
    return asked, ["mnist in", str(here), "train: 99 labels for 100 images"]


def folder_without_a_size(here: Path):
    return {"name": folder_of_images(here)}, [str(here), "needs image_size"]


def empty_folder(here: Path):
    return {"name": here, "image_size": 8}, [str(here), "no folders in it", "CLASS/*.png"]


def one_class(here: Path):
    png(here / "cat" / "0.png")
    return {"name": here, "image_size": 8}, [str(here), "1 class folder, expected 2 or more"]


def class_without_images(here: Path):
    folder_of_images(here)
    (here / "eel").mkdir()
    (here / "eel" / "notes.txt").write_text("none yet")
    return {"name": here, "image_size": 8}, [str(here / "eel"), "no images of this class", ".png"]


def class_without_test_images(here: Path):
    folder_of_images(here / "train")
    folder_of_images(here / "test", classes=("cat",))
    asked = {"name": here, "image_size": 8}
    return asked, [str(here / "test" / "dog"), "no images of this class"]


def class_only_in_test(here: Path):
    folder_of_images(here / "train")
    folder_of_images(here / "test", classes=("cat", "dog", "eel"))
    return {"name": here, "image_size": 8}, [
        str(here / "test" / "eel"),
        "is not a class of the",
        "training images",
    ]


def misspelt_split(here: Path):
    folder_of_images(here / "train")
    folder_of_images(here / "tests")
    asked = {"name": here, "image_size": 8}
    return asked, [
        str(here),
        "'tests' is not one of train, validation, test",
        "did you mean 'test'?",
    ]


def lone_test_folder(here: Path):
    folder_of_images(here / "test")
    return {"name": here, "image_size": 8}, [str(here), "test but no train folder"]


def both_validation_folders(here: Path):
    for part in ("train", "val", "validation"):
        folder_of_images(here / part)
    return {"name": here, "image_size": 8}, [str(here), "both val and validation"]


def fraction_beside_a_validation_folder(here: Path):
    for part in ("train", "val"):
        folder_of_images(here / part)
    asked = {"name": here, "image_size": 8, "validation_fraction": 0.3}
    return asked, [str(here), "validation_fraction 0.3 has no effect"]


def corrupt_image(here: Path):
    folder_of_images(here)
    (here / "dog" / "003.png").write_bytes(b"no image at all")
    return {"name": here, "image_size": 8}, [str(here / "dog" / "003.png"), "unreadable image"]


def truncated_image(here: Path):
    folder_of_images(here)
    path = png(here / "dog" / "003.png", size=(64, 64))
    path.write_bytes(path.read_bytes()[:-60])
    return {"name": here, "image_size": 8}, [str(path), "unreadable image"]


def deep_image(here: Path):
    folder_of_images(here)
    path = png(here / "dog" / "003.png", 1000, mode="I;16")
    words = f"{path} is an image of uint16 in 1 channel, and {here / 'cat' / '000.png'} is an 8-bit"
    return {"name": here, "image_size": 8}, [words, "expected one type of pixels"]


def too_few_images(here: Path):
    folder_of_images(here, count=20)
    png(here / "eel" / "0.png")
    asked = {"name": here, "image_size": 8}
    return asked, [str(here), "class 'eel' has 1 of 41 images", "too few to set 8 aside"]


def text_called_npz(here: Path):
    (here / "some.npz").write_text("no archive")
    return {"name": here / "some.npz"}, [str(here / "some.npz"), "unreadable as an .npz file"]


def npy_called_npz(here: Path):
    with (here / "some.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    return {"name": here / "some.npz"}, [str(here / "some.npz"), "unreadable as an .npz file"]


def truncated_npz(here: Path):
    path = npz(here)
    path.write_bytes(path.read_bytes()[:2000])
    return {"name": path}, [str(path), "unreadable as an .npz file"]


def pickles_in_npz(here: Path):
    path = npz(here, train_labels=np.array([object()] * 40))
    return {"name": path}, [
        str(path),
        "train_labels holds Python objects",
        "train_labels.astype(str)",
    ]


def missing_key(here: Path):
    path = npz(here, test_labels=None)
    return {"name": path}, [str(path), "no test_labels in it", "train_images, train_labels"]


def float_images(here: Path):
    path = npz(here, train_images=np.zeros((40, 6, 6)))
    return {"name": path}, [str(path), "train_images is float64 (40, 6, 6)", "expected uint8"]


def flat_images(here: Path):
    path = npz(here, test_images=np.zeros((8, 36), dtype=np.uint8))
    return {"name": path}, [str(path), "test_images is uint8 (8, 36)", "(N, H, W, C)"]


def no_images(here: Path):
    path = npz(here, train_images=np.zeros((0, 6, 6), dtype=np.uint8))
    return {"name": path}, [str(path), "train_images is uint8 (0, 6, 6)", "not empty"]


def float_labels(here: Path):
    path = npz(here, train_labels=np.arange(1.0, 41.0) % 4 + 1)
    return {"name": path}, [str(path), "train_labels: label 4 is not in 0..3"]


def one_hot_labels(here: Path):
    path = npz(here, test_labels=np.zeros((8, 4), dtype=np.int64))
    return {"name": path}, [str(path), "test_labels is int64 (8, 4)", "expected integers (N,)"]


def images_of_another_size(here: Path):
    path = npz(here, test_images=np.zeros((8, 5, 5, 3), dtype=np.uint8))
    return {"name": path}, [str(path), "(5, 5, 3)", "(6, 6, 3)", "the same size"]


def fewer_labels_than_images(here: Path):
    path = npz(here, train_labels=np.arange(39) % 4)
    return {"name": path}, [str(path), "train_labels: 39 labels for 40 images"]


def negative_label(here: Path):
    path = npz(here, test_labels=np.array([0, 1, 2, 3, 0, 1, 2, -1]))
    return {"name": path}, [str(path), "test_labels: label -1 is not in 0..3"]


def label_unknown_in_training(here: Path):
    path = npz(here, test_labels=np.array([0, 1, 2, 3, 0, 1, 2, 4]))
    return {"name": path}, [str(path), "test_labels: label 4 is not in 0..3", "4 classes"]


def gap_in_the_labels(here: Path):
    path = npz(here, train_labels=np.arange(40) % 4 * 10**12)
    return {"name": path}, [str(path), "train_labels: label 3000000000000 is not in 0..3"]


def single_label(here: Path):
    path = npz(here, train_labels=np.zeros(40, dtype=int), test_labels=np.zeros(8, dtype=int))
    return {"name": path}, [str(path), "1 class, expected 2 or more"]


def numbers_for_names(here: Path):
    path = npz(here, class_names=np.arange(4))
    return {"name": path}, [str(path), "class_names is int64 (4,)", "one text for each class"]


def name_without_images(here: Path):
    path = npz(here, class_names=np.array(["ant", "bee", "cow", "doe", "eel"]))
    return {"name": path}, [str(path), "no training image has the class 'eel'"]


CASES: list[Callable] = [
    unknown_name,
    missing_folder,
    missing_npz,
    unknown_device,
    image_size_of_nothing,
    negative_seed,
    whole_fraction,
    no_fraction,
    tiny_fraction,
    not_there_and_not_wanted,
    failed_download,
    truncated_files,
    files_that_differ_in_length,
    folder_without_a_size,
    empty_folder,
    one_class,
    class_without_images,
    class_without_test_images,
    class_only_in_test,
    misspelt_split,
    lone_test_folder,
    both_validation_folders,
    fraction_beside_a_validation_folder,
    corrupt_image,
    truncated_image,
    deep_image,
    too_few_images,
    text_called_npz,
    npy_called_npz,
    truncated_npz,
    pickles_in_npz,
    missing_key,
    float_images,
    flat_images,
    no_images,
    float_labels,
    one_hot_labels,
    images_of_another_size,
    fewer_labels_than_images,
    negative_label,
    label_unknown_in_training,
    gap_in_the_labels,
    single_label,
    numbers_for_names,
    name_without_images,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_clear_line(tmp_path: Path, case: Callable) -> None:
    asked, expected = case(tmp_path)
    with pytest.raises(DataError) as caught:
        load_data(**asked)
    message = str(caught.value)
    for words in expected:
        assert words in message
    assert "\n" not in message
    shown = caught.value.__cause__ or (
        None if caught.value.__suppress_context__ else caught.value.__context__
    )
    assert shown is None, "one trace, without those of others"


def test_a_device_that_holds_no_data_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^device 'meta' is not available, expected one of cpu"):
        load_data("digits", device="meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none_is_an_error(digits: Data) -> None:
    expected = r"^device 'cuda' is not available, expected one of cpu \("
    with pytest.raises(DataError, match=expected):
        load_data("digits", device="cuda")
    with pytest.raises(DataError, match=expected):
        digits.to("cuda")
