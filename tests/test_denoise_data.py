"""Images for denoising: any known data set, folder or arrays, with a stated noise."""

import dataclasses
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import arrays, folder_of_images, folder_of_pairs, mask_arrays, npz, pair, png_of
from PIL import Image

from skipsearch.analysis.command import search_command
from skipsearch.cli.parser import read_arguments
from skipsearch.config import DataConfig, SearchConfig, difference
from skipsearch.data import Data, LoadOptions, load_data
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import DataError, RunError
from skipsearch.plan import ImageSize
from skipsearch.recipe import Recipe
from skipsearch.run.dataset import describe, load_again
from skipsearch.space import Space


def flat(folder: Path, count: int = 10, size: tuple[int, int] = (6, 8)) -> Path:
    """Write images into one folder, no two alike."""
    for number in range(count):
        png_of(folder / f"{number:03}.png", pair(number, size=size)[0])
    return folder


def sizes(data: Data) -> list[int]:
    assert data.test is not None
    return [len(split) for split in (data.train, data.validation, data.test)]


def test_a_known_data_set_keeps_its_images_and_labels() -> None:
    plain, noisy = load_data("digits"), load_data("digits", denoise=25)
    assert (noisy.task.name, noisy.sigma) == ("denoising", 25.0)
    assert (noisy.classes, noisy.in_channels, noisy.outputs) == (10, 1, 1)
    assert sizes(noisy) == sizes(plain)
    both = [
        sorted(
            image.numpy().tobytes() + bytes([int(label)])
            for split in (data.train, data.validation, data.test)
            for image, label in zip(split.images, split.labels, strict=True)
        )
        for data in (plain, noisy)
    ]
    assert both[0] == both[1]


def test_the_summary_has_the_noise() -> None:
    data = load_data("digits", denoise=25)
    assert data.summary().splitlines()[:3] == [
        "data digits: denoising, sigma 25, images of 1 x 8 x 8",
        "images: 1,079 train, 359 validation, 359 test",
        "noise: normal, sigma 25 of 255 grey levels",
    ]
    assert "unbalanced" not in data.source
    assert "sigma 12.5 of 255" in load_data("digits", denoise=12.5).summary()


def test_a_flat_folder_needs_neither_classes_nor_a_size(tmp_path: Path) -> None:
    data = load_data(flat(tmp_path, 20), denoise=25)
    assert sizes(data) == [12, 4, 4]
    assert (data.image_size, data.in_channels, data.outputs) == ((6, 8), 3, 3)
    assert (data.class_names, data.classes) == ((), 0)
    assert data.train.labels.tolist() == [0] * 12
    numbers = torch.cat([split.images[:, 0, 0, 0] for split in (data.train, data.validation)])
    assert sorted([*numbers.tolist(), *data.test.images[:, 0, 0, 0].tolist()]) == list(range(20))
    assert load_data(tmp_path, denoise=25, image_size=5).image_size == 5
    assert load_data(tmp_path, denoise=25, image_size=(9, 4)).image_size == (9, 4)


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    # As RGB they would have three noises for one picture, which is an easier task.
    for path in flat(tmp_path).iterdir():
        with Image.open(path) as picture:
            grey = picture.convert("L")
        grey.save(path)
    assert load_data(tmp_path, denoise=25).in_channels == 1


def test_a_folder_of_classes_keeps_its_labels(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "train")
    folder_of_images(tmp_path / "test", 3)
    data = load_data(tmp_path, denoise=25)
    assert data.class_names == ("cat", "dog")
    assert data.test.labels.tolist() == [0] * 3 + [1] * 3
    assert data.test.images[:, 0, 0, 0].tolist() == data.test.labels.tolist()
    png_of(tmp_path / "test" / "stray.png", pair(0, size=(8, 8))[0])
    assert load_data(tmp_path, denoise=25).class_names == ()


def test_masks_are_not_read(tmp_path: Path) -> None:
    folder_of_pairs(tmp_path / "train")
    folder_of_pairs(tmp_path / "test", 3, 10)
    (tmp_path / "train" / "masks" / "000.png").write_bytes(b"no image")
    for path in (tmp_path / "test" / "masks").iterdir():
        path.unlink()
    (tmp_path / "test" / "labels").mkdir()
    data = load_data(tmp_path, denoise=25)
    assert (sizes(data), data.classes) == ([9, 1, 3], 0)
    assert "left out: the folder masks" in data.summary()


@pytest.mark.parametrize("content", ["labels", "masks", "images"])
def test_arrays_with_labels_masks_or_neither(tmp_path: Path, content: str) -> None:
    if content == "masks":
        np.savez(tmp_path / "some.npz", **mask_arrays())
    elif content == "labels":
        npz(tmp_path)
    else:
        np.savez(tmp_path / "some.npz", train_images=arrays()["train_images"])
    data = load_data(tmp_path / "some.npz", denoise=10)
    assert data.task.name == "denoising"
    assert data.classes == (4 if content == "labels" else 0)
    assert data.train.labels.shape == (len(data.train),)


def test_the_fingerprint_tells_of_the_noise() -> None:
    prints = [load_data("digits").fingerprint]
    prints += [load_data("digits", denoise=sigma).fingerprint for sigma in (25, 25.5, 50)]
    assert len(set(prints)) == 4
    assert load_data("digits", denoise=25.0).fingerprint == prints[1]


def test_images_under_several_labels_are_no_trouble(tmp_path: Path) -> None:
    content = arrays()
    content["train_images"][1] = content["train_images"][0]
    plain = load_data(npz(tmp_path, **content))
    assert plain.notes.contradictory == 2
    assert load_data(tmp_path / "some.npz", denoise=25).notes.contradictory == 0


def images_of_several_sizes(here: Path) -> list[str]:
    png_of(flat(here) / "last.png", pair(20, size=(8, 8))[0])
    return ["000.png has 6 x 8 pixels and ", "last.png 8 x 8", "need image_size"]


def no_images(here: Path) -> list[str]:
    (here / "notes.txt").write_text("")
    return [f"{here}: no images in it"]


def split_without_images(here: Path) -> list[str]:
    flat(here / "train")
    (here / "test").mkdir()
    return [f"{here / 'test'}: no images in it"]


def one_image(here: Path) -> list[str]:
    flat(here, 1)
    return ["too few to set 0 aside"]


def unreadable_image(here: Path) -> list[str]:
    (flat(here) / "003.png").write_bytes(b"no image")
    return [str(here / "003.png"), "unreadable image"]


def deep_images(here: Path) -> list[str]:
    png_of(flat(here) / "003.png", pair(3)[1].astype(np.uint16))
    return [
        f"{here / '003.png'} is an image of uint16 in 1 channel, and {here / '000.png'} is an 8-bit"
    ]


REFUSED = [
    images_of_several_sizes,
    no_images,
    split_without_images,
    one_image,
    unreadable_image,
    deep_images,
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_bad_images_are_one_clear_line(tmp_path: Path, case) -> None:
    expected = case(tmp_path)
    with pytest.raises(DataError) as caught:
        load_data(tmp_path, denoise=25)
    for words in expected:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sigma", [0, -25, 256, math.nan, math.inf, True, "25"])
def test_noise_that_is_none_is_refused(sigma: object) -> None:
    with pytest.raises(DataError, match=r"denoise .* is not a number of grey levels, up to 255"):
        load_data("digits", denoise=sigma)


# --- a run goes on with the same data ------------------------------------------------------------


def described(data: Data, size: ImageSize | None = None) -> DataConfig:
    """What a search records of its data."""
    return describe(data, data, LoadOptions(image_size=size), 0.0, is_given=False)


def test_a_run_records_whether_its_images_have_groups() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    plain = described(Data.from_arrays(images, np.arange(60) % 2))
    groups = np.arange(60) // 3
    grouped = described(Data.from_arrays(images, np.arange(60) % 2, groups=groups))
    assert (plain.grouped, grouped.grouped) == (False, True)
    assert (plain.scale.grouped, grouped.scale.grouped) == (False, True)
    # Older runs record only whether folders are groups.
    older = {name: value for name, value in plain.to_dict().items() if name != "grouped"}
    assert not DataConfig.from_dict(older).scale.grouped
    assert DataConfig.from_dict(older | {"group_folders": True}).scale.grouped


def test_a_run_records_the_task_and_loads_it_again(tmp_path: Path) -> None:
    data = load_data(flat(tmp_path), image_size=(4, 6), denoise=25)
    config = described(data, (4, 6))
    assert (config.task, config.sigma, config.resized_to) == ("denoising", 25.0, (4, 6))
    again = DataConfig.from_dict(config.to_dict())
    assert again == config
    assert load_again(tmp_path, again, "cpu").fingerprint == data.fingerprint
    with pytest.raises(RunError, match="has changed since the search"):
        load_again(tmp_path, dataclasses.replace(again, sigma=50.0), "cpu")


def test_a_square_is_recorded_as_one_number() -> None:
    assert described(load_data("digits", image_size=(9, 9)), (9, 9)).resized_to == 9


def test_another_noise_is_another_search() -> None:
    one, other = (described(load_data("digits", denoise=s)) for s in (25, 50))
    assert "data.sigma is 25.0 there, 50.0 was asked for" in difference(
        {"data": one.to_dict()}, {"data": other.to_dict()}
    )


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"), [("96", 96), ("96x128", (96, 128)), ("8x8", 8), ("1x1", 1)]
)
@pytest.mark.parametrize("verb", ["search quickstart", "train resnet-20", "show resnet-20"])
def test_a_size_is_one_number_or_height_and_width(verb: str, text: str, size: object) -> None:
    assert read_arguments([*verb.split(), "--image-size", text]).image_size == size


@pytest.mark.parametrize("text", ["0", "96x0", "x96", "96x", "96X128", "96x128x3", "-8", "8.5", ""])
def test_other_sizes_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_arguments(["train", "resnet-20", f"--image-size={text}"])
    assert "is not a size such as 96, or 96x128 (HxW)" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "sigma"), [(None, 0.0), (96, 25.0), ((96, 128), 12.5)])
def test_the_command_of_a_search_names_size_and_noise(size: object, sigma: float) -> None:
    data = described(load_data("digits", denoise=sigma or None), size)
    config = SearchConfig(
        space=Space.load("quickstart"),
        data=data,
        recipe=Recipe(),
        seed=0,
        sampler="random",
        stopping=EarlyStopping(rule="none"),
        rungs=(20,),
        objectives=("validation_accuracy",),
        latency_batch=None,
        trials=3,
        seeds=1,
        storage=None,
        ask=("best",),
        margin=None,
        versions={},
    )
    _, *words = shlex.split(search_command(config, Path("run")))
    options = read_arguments(words)
    assert (options.image_size, options.denoise) == (size, sigma or None)
