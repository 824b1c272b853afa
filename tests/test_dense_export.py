"""Exports of networks with a value for each pixel, and the pictures that they write."""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from dense_data import NAMES, denoising, seeded, segmentation, smooth_images
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.artefacts import onnx, program
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.checking import odd
from skipsearch.artefacts.loading import load_predictor
from skipsearch.artefacts.predict import predict
from skipsearch.artefacts.tiling import in_tiles, side_of_tiles, spans, taper
from skipsearch.artefacts.writing import write_artefacts
from skipsearch.cli import main
from skipsearch.data import Data, Split, normalise
from skipsearch.data.masks import open_mask
from skipsearch.design import Design
from skipsearch.errors import ExportError
from skipsearch.models import build
from skipsearch.palette import class_colour
from skipsearch.plan import Size

UNET = Design(
    layout="conv3-bn-relu",
    depths=(1, 1, 1),
    widths=(4, 6, 8),
    stem="none",
    head="map",
    ups=2,
    down="maxpool",
    links=("mirror",),
    link_merge="cat",
)
RESTORER = UNET.replace(
    up="bilinear", down="stride", link_merge="attention", links=("mirror", "x>y")
)


class Exported(NamedTuple):
    folder: Path
    network: nn.Module
    data: Data


def write_export(out: Path, data: Data, design: Design, **options: Any) -> Exported:
    network = build(design, data.in_channels, data.outputs, seed=1)
    with torch.no_grad():  # statistics of batch norms, and a scale that differs from the start's
        network(torch.randn(8, data.in_channels, 12, 10, generator=seeded(5)))
    card = Card(
        task=data.task,
        mean=data.mean,
        std=data.std,
        class_names=() if data.task.restores else data.class_names,
        sigma=data.sigma,
        resized=options.pop("resized", False),
    )
    sizes = {"image_size": data.image_size, "classes": data.outputs}
    write_artefacts(
        network, design, out, in_channels=data.in_channels, **sizes, card=card, **options
    )
    return Exported(out, network.eval(), data)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("unet") / "winner"
    return write_export(out, segmentation(), UNET, formats=("source", "program"))


@pytest.fixture(scope="module")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("restorer") / "winner"
    return write_export(out, denoising(), RESTORER, formats=("onnx",))


def outputs(exported: Exported, images: Tensor) -> Tensor:
    """What the network itself says of raw images."""
    mean, std = torch.tensor(exported.data.mean), torch.tensor(exported.data.std)
    with torch.no_grad():
        found: Tensor = exported.network(normalise(images, mean, std, torch.float32))
    return found


def save_picture(image: Tensor, path: Path) -> Path:
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return path


def picture(height: int, width: int) -> Tensor:
    noise = torch.rand(3, 7, 9, generator=seeded(2))
    whole = torch.nn.functional.interpolate(noise[None], (height, width), mode="bilinear")
    return (255 * whole[0]).round().to(torch.uint8)


# --- programs of any size ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 12, 10), (3, 5, 31), (2, 64, 7)])
def test_programs_take_any_number_of_images_of_any_size(
    size: tuple[int, int, int], segmenter: Exported, restorer: Exported
) -> None:
    number, height, width = size
    images = torch.randn(number, 3, height, width, generator=seeded(0))
    for exported, run in (
        (segmenter, program.load(segmenter.folder / "model.pt2")),
        (restorer, onnx.load(restorer.folder / "model.onnx")),
    ):
        with torch.no_grad():
            expected = exported.network(images)
        assert expected.shape == (number, exported.data.outputs, height, width)
        torch.testing.assert_close(run(images), expected, rtol=0, atol=1e-5)


def test_every_artefact_was_compared_at_an_odd_size_too(segmenter: Exported) -> None:
    assert odd(Size(12, 10)) == (15, 15)
    card = json.loads((segmenter.folder / "card.json").read_text())
    assert card["input"]["least_side"] == 5  # more than a pixel after two halvings
    page = (segmenter.folder / "card.md").read_text()
    for text in (
        "Output: logits (N, 3, H, W), for any H and W; training images had 12 x 10.",
        "on batches of 1 and 5 images, and on one of another, odd, size;",
        "Masks of pictures, as palette PNG, each of its picture's own size:",
        "The torch.export program, for any number of images, of 5 or more pixels a side:",
    ):
        assert text in page


def test_the_card_of_a_restorer_says_what_noise_it_removes(restorer: Exported) -> None:
    page = (restorer.folder / "card.md").read_text()
    assert "Their noise has a standard deviation of 25 grey levels of 0..255." in page
    assert '(restored,) = session.run(["restored"]' in page
    card = json.loads((restorer.folder / "card.json").read_text())
    assert card["input"]["sigma"] == 25
    assert card["class_names"] == []


def test_groups_of_one_value_are_exported(tmp_path: Path) -> None:
    # Five channels are five groups, which hold one value each at the 1 x 1 pixels of stage 4.
    design = Design(
        layout="conv3-gn-relu",
        depths=(1, 1, 1, 1),
        widths=(5, 5, 5, 5),
        ups=3,
        stem="none",
        head="map",
        links=("mirror",),
    )
    data = segmentation()
    train = Split(data.train.images[..., :8, :8], data.train.labels[..., :8, :8])
    data = dataclasses.replace(data, train=train)
    exported = write_export(tmp_path / "winner", data, design, formats=("source", "program"))
    image = torch.randn(1, 3, 8, 8, generator=seeded(0))
    written = runpy.run_path(str(exported.folder / "model.py"))["Network"]().eval()
    states = zip(written.state_dict(), exported.network.state_dict().values(), strict=True)
    written.load_state_dict(dict(states))
    with torch.no_grad():
        torch.testing.assert_close(written(image), exported.network(image))


def test_a_network_whose_levels_have_one_pixel_is_exported_for_its_size_alone() -> None:
    assert program.least_side(UNET, Size(12, 10)) == 5
    assert program.least_side(UNET, Size(4, 10)) is None
    assert (
        program.least_side(Design(layout="conv3-bn-relu", depths=(1,), widths=(4,)), Size(32, 32))
        is None
    )


# --- tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 127, 128, 129, 224, 225, 1000])
def test_tiles_cover_an_axis_and_their_weights_add_up_to_one(length: int) -> None:
    total = torch.zeros(length)
    for span in spans(length, 128):
        assert span.start % 32 == 0
        assert 0 < span.end - span.start <= 128
        total[span.start : span.end] += taper(span, length, 128)
    torch.testing.assert_close(total, torch.ones(length))


@pytest.mark.parametrize("size", [(260, 300), (451, 97), (256, 256)])
def test_tiles_give_what_the_whole_image_gives(size: tuple[int, int], segmenter: Exported) -> None:
    # The receptive field of this network reaches 14 pixels far, less than a sixteenth of a tile.
    image = picture(*size)
    predictor = load_predictor(segmenter.folder)
    found = in_tiles(predictor.outputs, image, 256)
    torch.testing.assert_close(found, outputs(segmenter, image[None])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("halvings", [1, 6])
def test_tiles_have_the_grid_of_the_whole_image(halvings: int) -> None:
    # A network of the right number of halvings that sees no further than a cell of its grid.
    cell = 2**halvings

    def network(images: Tensor) -> Tensor:
        coarse = F.max_pool2d(images, cell, ceil_mode=True)
        large = F.interpolate(coarse, scale_factor=cell)
        return large[:, :, : images.shape[2], : images.shape[3]]

    image = torch.rand(1, 40, 4 * cell * 3 + 5, generator=seeded(0))
    found = in_tiles(network, image, side_of_tiles(4 * cell, halvings))
    torch.testing.assert_close(found, network(image[None])[0])


@pytest.mark.parametrize(
    ("halvings", "default", "refused", "nearest"),
    [
        (0, 512, 30, 32),
        (4, 512, 100, 128),
        (6, 512, 128, 256),
        (7, 512, 256, 512),
        (9, 2048, 512, 2048),
    ],
)
def test_tiles_are_as_large_as_the_levels_of_a_network_require(
    halvings: int, default: int, refused: int, nearest: int
) -> None:
    assert side_of_tiles(None, halvings) == default
    assert side_of_tiles(nearest, halvings) == nearest
    with pytest.raises(ExportError, match=rf"tile: {refused} is .*\(nearest: {nearest}\)$"):
        side_of_tiles(refused, halvings)


@pytest.mark.parametrize("tile", [0, -16, True, 1.5])
def test_what_is_no_side_of_a_tile_is_refused(tile: Any) -> None:
    with pytest.raises(ExportError, match=f"tile: {tile} is not a positive multiple of 16 pixels"):
        side_of_tiles(tile, 2)


def test_no_seam_shows_where_the_network_sees_further_than_the_overlap() -> None:
    # A network that adds the mean of its tile, which differs from tile to tile.
    image = torch.linspace(0, 1, 500).expand(1, 40, 500)
    found = in_tiles(lambda tile: tile * 0 + tile.mean(), image, 128)
    steps = found[0, 0].diff().abs()
    assert steps.max() < 0.015  # hard edges between tiles would be steps of 0.19


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(12, 10), (37, 23)])
def test_a_mask_has_the_size_of_its_picture_and_the_classes_of_the_network(
    size: tuple[int, int], segmenter: Exported, tmp_path: Path
) -> None:
    image = picture(*size)
    path = save_picture(image, tmp_path / "a.png")
    table = predict(segmenter.folder, path, out=tmp_path / "masks")
    expected = outputs(segmenter, image[None])[0].argmax(0)
    mask = open_mask(tmp_path / "masks" / "a-mask.png")  # as a mask of a data set is read
    assert torch.equal(torch.from_numpy(mask.classes).long(), expected)
    assert mask.palette == {c: class_colour(c) for c in np.unique(mask.classes).tolist()}
    assert list(table.columns) == ["image", "file", "tiles", "rank", "label", "share"]
    assert table.share.sum() == pytest.approx(1)
    assert table.share.is_monotonic_decreasing
    share = (expected == NAMES.index(table.label[0])).float().mean().item()
    assert table.share[0] == pytest.approx(share)


def test_a_picture_is_seen_as_large_as_the_training_images_if_they_were_resized(
    tmp_path: Path,
) -> None:
    exported = write_export(tmp_path / "winner", segmentation(), UNET, formats=(), resized=True)
    small = smooth_images(1, 7)[0]
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)  # 48 x 40
    path = save_picture(large, tmp_path / "a.png")
    predict(exported.folder, path, out=tmp_path / "mask.png")
    mask = open_mask(tmp_path / "mask.png").classes
    assert mask.shape == (48, 40)
    whole = outputs(exported, small[None])[0].argmax(0).numpy()
    assert (mask[2::4, 2::4] == whole).mean() > 0.8  # resizing there and back blurs the edges


def test_a_restored_picture_has_the_size_of_its_picture(restorer: Exported, tmp_path: Path) -> None:
    image = picture(31, 45)
    path = save_picture(image, tmp_path / "a.png")
    table = predict(restorer.folder, [path], out=tmp_path / "b.png")
    assert table.file.tolist() == [str(tmp_path / "b.png")]
    mean, std = (torch.tensor(v)[:, None, None] for v in (restorer.data.mean, restorer.data.std))
    expected = ((outputs(restorer, image[None])[0] * std + mean) * 255).clamp(0, 255)
    found = torch.from_numpy(np.array(Image.open(tmp_path / "b.png"))).permute(2, 0, 1)
    assert (found - expected).abs().max() <= 0.5 + 1e-3


def test_the_colours_are_those_of_pascal_voc() -> None:
    # From the table of the development kit: background, aeroplane, bicycle, person, void.
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128)}
    assert {number: class_colour(number) for number in known} == known
    assert class_colour(255) == (224, 224, 192)
    assert len({class_colour(number) for number in range(256)}) == 256


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--out", "there.png"], "there.png: exists already: give another --out"),
        (["a.png", "--out", "mask.jpg"], "mask.jpg: pictures are written as PNG"),
        (["a.png", "sub/a.png", "--out", "b.png"], "b.png is one file for 2 pictures"),
        (["a.png", "sub/a.png", "--out", "masks"], "a-mask.png: would be written for a.png and"),
        (["a.png", "--out", "file"], "file: is a file and no .png"),
        (["a.png", "--tile", "100"], "tile: 100 is not a positive multiple of 16 pixels"),
        (["a.png", "missing.png", "--out", "masks"], "missing.png: no such file"),
    ],
)
def test_what_is_refused_is_refused_in_one_line_and_nothing_is_written(
    words: list[str],
    message: str,
    segmenter: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/a.png", "there.png"):
        save_picture(picture(9, 9), tmp_path / name)
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["predict", str(segmenter.folder), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_verb_prints_shares_and_that_there_are_tiles(
    segmenter: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_picture(picture(20, 140), tmp_path / "a.png")
    words = ["predict", str(segmenter.folder), str(path), "--out", str(tmp_path / "m"), "--tile"]
    assert main([*words, "128"]) == 0
    out = capsys.readouterr().out
    assert out.split()[:6] == ["image", "file", "tiles", "rank", "label", "share"]
    assert "in tiles that overlap by a quarter" in out


@pytest.mark.parametrize(("name", "value"), [("top", 2), ("out", "x.png"), ("tile", 128)])
def test_an_argument_for_another_task_is_refused(
    name: str, value: Any, restorer: Exported, tmp_path: Path
) -> None:
    if name == "top":
        with pytest.raises(ExportError, match="top: has no effect on denoising, the task of"):
            predict(restorer.folder, [], top=value)
        return
    data = segmentation()
    design = Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    write_artefacts(
        build(design, 3, 3),
        design,
        tmp_path / "winner",
        in_channels=3,
        image_size=12,
        classes=3,
        formats=(),
        card=Card(mean=data.mean, std=data.std),
    )
    with pytest.raises(ExportError, match=f"{name}: has no effect on classification, the task of"):
        predict(tmp_path / "winner", [], **{name: value})
