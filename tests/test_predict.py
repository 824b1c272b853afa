"""Predict: an exported network says of a picture what the trained network says of its pixels."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as vision

from skipsearch.artefacts.card import Card
from skipsearch.artefacts.checking import TOLERANCES
from skipsearch.artefacts.loading import load_predictor
from skipsearch.artefacts.predict import predict
from skipsearch.artefacts.writing import write_artefacts
from skipsearch.classics import FULL_PREACTIVATION, ORIGINAL
from skipsearch.cli import main
from skipsearch.data import Data, load_data, normalise, read_picture
from skipsearch.data.pictures import rule_of, takes_pictures
from skipsearch.design import Design
from skipsearch.errors import DataError, ExportError, SkipSearchError
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.training import train

DESIGN = Design(layout=FULL_PREACTIVATION, depths=(1, 1), widths=(8, 16))


def export_network(model: nn.Module, data: Data, out: Path, **options: Any) -> Path:
    card = Card(mean=data.mean, std=data.std, class_names=data.class_names)
    sizes = {
        "in_channels": data.in_channels,
        "image_size": data.image_size,
        "classes": data.classes,
    }
    write_artefacts(model, DESIGN, out, **sizes, card=card, **{"formats": "source", **options})
    return out


def expected(model: nn.Module, data: Data, images: Tensor) -> Tensor:
    """Probabilities of the trained network itself."""
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    # Trained in channels_last, whose sums round otherwise.
    network = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    with torch.no_grad():
        probabilities: Tensor = network(normalise(images, mean, std, torch.float32)).softmax(1)
    return probabilities


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits")


@pytest.fixture(scope="module")
def trained(digits: Data) -> nn.Module:
    model = build(DESIGN, digits.in_channels, digits.classes)
    recipe = Recipe(epochs=6, batch_size=64, peak_lr=0.1, precision="float32")
    for _ in train(model, digits.without_test(), recipe, seed=0):
        pass
    return model


@pytest.fixture(scope="module")
def exported(trained: nn.Module, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_network(trained, digits, tmp_path_factory.mktemp("exported") / "winner")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be spoilt."""
    return Path(shutil.copytree(exported, tmp_path / "winner"))


def save_pictures(images: Tensor, out: Path) -> list[Path]:
    out.mkdir()
    paths = [out / f"{number:03}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(path)
    return paths


def probabilities(export: Path, paths: list[Path], names: tuple[str, ...]) -> Tensor:
    """The table of ``predict`` as (pictures, classes)."""
    table = predict(export, paths, top=len(names))
    wide = table.pivot(index="image", columns="label", values="probability")
    return torch.tensor(wide.loc[[str(path) for path in paths], list(names)].to_numpy()).float()


# --- the same as the trained network -------------------------------------------------------------


@pytest.mark.parametrize("formats", [(), ("source",)])
def test_pictures_are_classified_as_the_trained_network_does(
    formats: tuple[str, ...], trained: nn.Module, digits: Data, tmp_path: Path
) -> None:
    assert digits.test is not None
    images = digits.test.images[:100]  # more than one batch of pictures
    out = export_network(trained, digits, tmp_path / "out", formats=formats)
    found = probabilities(out, save_pictures(images, tmp_path / "in"), digits.class_names)
    known = expected(trained, digits, images)
    torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-7)
    right = (found.argmax(1) == digits.test.labels[:100]).double().mean().item()
    assert right > 0.5  # it has learnt something, and the names are those of the labels


def test_the_network_that_is_loaded_is_the_trained_one_to_the_last_bit(
    exported: Path, trained: nn.Module, digits: Data
) -> None:
    images = digits.validation.images[:50]
    classifier = load_predictor(exported)
    assert torch.equal(classifier.probabilities(images), expected(trained, digits, images))
    assert not classifier.network.training
    assert classifier.class_names == tuple("0123456789")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_rounded_weights_predict_within_the_tolerance(
    precision: str, trained: nn.Module, digits: Data, tmp_path: Path
) -> None:
    images = digits.validation.images[:50]
    out = export_network(trained, digits, tmp_path / "out", precision=precision)
    found = load_predictor(out).probabilities(images)
    known = expected(trained, digits, images)
    assert not torch.equal(found, known)
    torch.testing.assert_close(found, known, rtol=0, atol=TOLERANCES[precision])


def test_the_table_lists_the_most_probable_classes_of_each_picture_in_order(
    exported: Path, digits: Data, tmp_path: Path
) -> None:
    second, first = save_pictures(digits.validation.images[:2], tmp_path / "in")
    table = predict(exported, [first, str(second)], top=4)
    assert list(table.columns) == ["image", "rank", "label", "probability"]
    assert list(table.image) == [str(first)] * 4 + [str(second)] * 4
    assert list(table["rank"]) == [1, 2, 3, 4] * 2
    for _, rows in table.groupby("image"):
        assert rows.probability.is_monotonic_decreasing
        assert rows.label.is_unique
    assert len(predict(exported, first, top=99)) == 10
    whole = predict(exported, first, top=10)
    assert whole.probability.sum() == pytest.approx(1, abs=1e-6)
    assert predict(exported, []).empty


# --- any picture ---------------------------------------------------------------------------------


def photo(width: int, height: int) -> Image.Image:
    """Smooth colours, as photos have, with something transparent in a corner."""
    y, x = np.mgrid[0:height, 0:width]
    bands = (x * 255 / width, y * 255 / height, 127 + 100 * np.sin(x / 9), 255 - 200 * (x < y / 3))
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8), "RGBA")


PHOTOS = {
    "RGBA.png": lambda: photo(57, 31),
    "RGB.jpg": lambda: photo(31, 57).convert("RGB"),
    "CMYK.jpg": lambda: photo(40, 90).convert("CMYK"),
    "L.png": lambda: photo(20, 20).convert("L"),
    "LA.png": lambda: photo(19, 20).convert("LA"),
    "P.gif": lambda: photo(300, 200).convert("RGB").convert("P"),
    "1.bmp": lambda: photo(64, 64).convert("1"),
    "tiny.webp": lambda: photo(3, 2).convert("RGB"),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PHOTOS)
def test_a_picture_of_any_size_and_mode_becomes_what_torchvision_makes_of_it(
    name: str, channels: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    PHOTOS[name]().save(path)
    with Image.open(path) as image:
        converted = image.convert({1: "L", 3: "RGB"}[channels])
    square = vision.center_crop(vision.resize(converted, [12]), [12])
    found = read_picture(path, channels, 12)
    assert found.shape == (channels, 12, 12)
    assert torch.equal(found, vision.pil_to_tensor(square))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_a_photo_is_prepared_as_the_folder_that_was_trained_on(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(5):
            picture = photo(20 + 7 * number, 30).convert("RGB").rotate(90 * (kind == "dog"))
            picture.save(tmp_path / "photos" / kind / f"{number}.jpg", quality=90)
    data = load_data(tmp_path / "photos", image_size=12)
    model = build(DESIGN, 3, 2)
    out = export_network(model, data, tmp_path / "out")
    paths = sorted((tmp_path / "photos").rglob("*.jpg"))
    assert data.test is not None
    splits = (data.train, data.validation, data.test)
    known = expected(model, data, torch.cat([split.images for split in splits]))
    found = probabilities(out, paths, ("cat", "dog"))
    # The splits hold the pictures in another order.
    assert torch.allclose(found[:, 0].sort().values, known[:, 0].sort().values, atol=1e-6)
    assert set(predict(out, paths[0]).label) == {"cat", "dog"}


def test_a_camera_that_was_held_sideways_makes_no_difference(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "upright.png")
    turned = Image.fromarray(noise).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    upright, seen = (read_picture(tmp_path / f"{name}.png", 3, 8) for name in ("upright", "turned"))
    assert torch.equal(upright, seen)
    turned.save(tmp_path / "plain.png")
    assert not torch.equal(upright, read_picture(tmp_path / "plain.png", 3, 8))


def test_the_rule_says_what_is_resized() -> None:
    for pixels, channels in (("uint8", 3), ("float32", 3), ("uint8", 13)):
        is_picture = takes_pictures(pixels, channels)
        for resized in (False, True):
            rule = rule_of(pixels, channels, per_pixel=False, resized=resized)
            assert ("resized (bilinear" in rule) == (is_picture or resized)
            assert ("must have the size of the training images" in rule) == (not resized)


def test_arrays_resized_for_training_differ_from_their_pictures_by_a_grey_level(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 17, 23, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    content = {"train_images": noise, "train_labels": labels}
    content |= {"test_images": noise, "test_labels": labels}
    np.savez(tmp_path / "a.npz", **content)
    for size in (8, 17, 30):
        data = load_data(tmp_path / "a.npz", image_size=size)
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        paths = save_pictures(torch.from_numpy(noise).permute(0, 3, 1, 2), tmp_path / "in")
        assert data.test is not None
        read = torch.stack([read_picture(path, 3, size) for path in paths])
        difference = (read.int() - data.test.images.int()).abs().max()
        assert difference <= (0 if size == 17 else 1)


# --- what is wrong -------------------------------------------------------------------------------


def change_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads((folder / "card.json").read_text())
    change(values)
    (folder / "card.json").write_text(json.dumps(values))


def cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return spoil


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def card_with(**fields: Any) -> Callable[[Path], None]:
    """Set values below ``input``, or the class names."""

    def change(values: dict[str, Any]) -> None:
        for name, value in fields.items():
            (values if name in values else values["input"])[name] = value

    return lambda folder: change_card(folder, change)


def earlier(folder: Path) -> None:
    change_card(folder, lambda values: values.pop("class_names"))


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def other_design(folder: Path) -> None:
    """Another order of the same parts, whose weights have the same shapes."""
    other = DESIGN.replace(layout="bn-conv3-relu-bn-relu-conv3 +")
    (folder / "design.yaml").write_text(other.to_yaml())


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (shutil.rmtree, r"winner: not an export: no card\.json"),
    (empty, r"winner: not an export: no card\.json"),
    (without("design.yaml"), r"winner/design\.yaml: No such file"),
    (without("model.safetensors"), r"winner/model\.safetensors: cannot be read \(FileNotFound"),
    (cut("card.json"), r"winner/card\.json: not JSON \("),
    (cut("model.safetensors"), r"winner/model\.safetensors: cannot be read \(SafetensorError"),
    (lambda f: (f / "design.yaml").write_text("layout: [3"), r"winner/design\.yaml: .*not YAML"),
    (lambda f: (f / "card.json").write_bytes(b"\xff\xfe"), r"card\.json: not a text file"),
    (lambda f: (f / "card.json").write_text("[]"), r"card\.json: does not say what the network"),
    (earlier, "of an earlier skipsearch; export the design again"),
    (other_design, r"model\.safetensors: weights of design \w{16}, and not of \w{16}"),
    (card_with(task="colouring"), "task: 'colouring' is not one of classification, segm"),
    (card_with(task="denoising"), r"class_names: \['0', .* is not a list of names"),
    (card_with(class_names=["a", "b"]), "its names and shapes are not those"),
    (card_with(class_names=[]), r"class_names: \[\] is not a list of names"),
    (card_with(channels=2), r"mean: .* is not a number for each of 2 channels"),
    (card_with(pixels="int8"), "input.pixels: .int8. is not one of uint8, uint16"),
    (card_with(channels=[1]), r"channels: \[1\] is not a positive whole number"),
    (card_with(image_size=0), "image_size: 0 is not a number of pixels"),
    (card_with(mean=[]), r"mean: \[\] is not a number for each of 1 channels"),
    (card_with(std=["x"]), r"std: \['x'\] is not a number for each of 1"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_a_spoilt_export_is_refused_in_one_line(
    spoil: Callable[[Path], None], message: str, folder: Path, digits: Data, tmp_path: Path
) -> None:
    (path,) = save_pictures(digits.validation.images[:1], tmp_path / "in")
    spoil(folder)
    with pytest.raises(SkipSearchError, match=message) as caught:
        predict(folder, path)
    assert "\n" not in str(caught.value)


def bad_picture(kind: str, path: Path) -> None:
    match kind:
        case "text":
            path.write_text("not a picture")
        case "half":
            photo(60, 60).save(path, "png")
            path.write_bytes(path.read_bytes()[:300])
        case "16 bits":
            Image.fromarray(np.zeros((9, 9), np.uint16)).save(path)
        case "folder":
            path.mkdir()
        case "folder of pictures":
            save_pictures(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), path)
        case "folder of classes":
            path.mkdir()
            save_pictures(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), path / "cat")


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", r"bad\.png: unreadable image \(not a known image format"),
        ("half", r"bad\.png: unreadable image \(OSError: .*truncated"),
        ("16 bits", r"bad\.png is an image of uint16 in 1 channel, and the network takes uint8"),
        (
            "folder",
            r"bad\.png: a folder without images, expected files that end .* \.png .* \.npy$",
        ),
        ("folder of pictures", r"bad\.png: a folder, expected .*, such as .*/bad\.png/\*\.png$"),
        ("folder of classes", r"bad\.png: a folder, .*, such as .*/bad\.png/\*/\*\.png$"),
        ("missing", r"bad\.png: no such file"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused_in_one_line(
    kind: str, message: str, exported: Path, digits: Data, tmp_path: Path
) -> None:
    (good,) = save_pictures(digits.validation.images[:1], tmp_path / "in")
    bad_picture(kind, tmp_path / "bad.png")
    with pytest.raises(DataError, match=message) as caught:
        predict(exported, [good, tmp_path / "bad.png"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("top", [0, -1, True, 1.5])
def test_top_is_a_positive_whole_number(top: Any, exported: Path) -> None:
    with pytest.raises(ExportError, match=f"top: {top!r} is not a positive whole number"):
        predict(exported, [], top=top)


def test_nothing_of_the_folder_is_run(folder: Path, digits: Data, tmp_path: Path) -> None:
    (path,) = save_pictures(digits.validation.images[:1], tmp_path / "in")
    before = predict(folder, path)
    (folder / "model.py").write_text("raise RuntimeError('was run')")
    assert predict(folder, path).equals(before)


def test_designs_of_the_same_shapes_are_told_apart(digits: Data, tmp_path: Path) -> None:
    # What ``other_design`` above rests on: the shapes alone would let it through.
    other = DESIGN.replace(layout="bn-conv3-relu-bn-relu-conv3 +")
    shapes = [
        [value.shape for value in build(design, 1, 10).state_dict().values()]
        for design in (DESIGN, other, DESIGN.replace(layout=ORIGINAL))
    ]
    assert shapes[0] == shapes[1] != shapes[2]


# --- the verb ------------------------------------------------------------------------------------


def test_the_verb_prints_a_table(
    exported: Path, digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_pictures(digits.validation.images[:2], tmp_path / "in")
    assert main(["predict", str(exported), *map(str, paths), "--top", "2"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["image", "rank", "label", "probability"]
    table = predict(exported, paths, top=2)
    for line, row in zip(lines, table.itertuples(), strict=True):
        assert line.split() == [row.image, str(row.rank), row.label, f"{row.probability:.4f}"]


def test_the_verb_prints_one_line_for_each_row_whatever_the_name_of_a_file(
    exported: Path, digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = save_pictures(digits.validation.images[:1], tmp_path / "in")
    odd = path.rename(path.with_name("a\n\x1b\u2028b.png"))
    assert main(["predict", str(exported), str(odd), "--top", "2"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [rf"{path.parent}/a\n\x1b\u2028b.png"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tmp}", "a.png"], "not an export: no card.json"),
        (["{export}", "{tmp}/a.png"], "a.png: no such file"),
        (["{export}", "a.png", "--top", "0"], "'0' is not a positive whole number"),
    ],
)
def test_the_verb_refuses_in_one_line(
    words: list[str],
    message: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["predict", *(word.format(tmp=tmp_path, export=exported) for word in words)]
    try:
        code = main(command)
    except SystemExit as end:  # of argparse
        code = int(str(end.code))
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("skipsearch: error: ")
    assert error.count("\n") == 1
