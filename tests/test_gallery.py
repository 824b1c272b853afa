"""The predictions that a report shows: which images, what is drawn, and the IoU of each class."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dense_data import NAMES, denoising, segmentation
from test_dense_runs import make_run
from torchmetrics.functional.classification import multiclass_jaccard_index

from skipsearch.analysis.figures import plot_gallery
from skipsearch.analysis.gallery import gallery_section
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.gallery import IGNORED, RIGHT, UNLABELLED, WRONG, Gallery
from skipsearch.models import build
from skipsearch.palette import class_colour
from skipsearch.recipe import Recipe
from skipsearch.run.places import GALLERIES
from skipsearch.task import SEGMENTATION
from skipsearch.training import Trainer
from skipsearch.training.bootstrap import bootstrap

DESIGN = Design(layout="conv3-bn-relu", depths=(1,), widths=(6,), head="map")


def hung(data: Data) -> tuple[Gallery, Trainer]:
    model = build(DESIGN, data.in_channels, data.outputs)
    recipe = Recipe(epochs=1, batch_size=8, peak_lr=0.05, precision="float32")
    trainer = Trainer(model, data, recipe, seed=0)
    trainer.run_epoch()
    return trainer.gallery(data.validation), trainer


@pytest.fixture(scope="module")
def of_masks() -> tuple[Gallery, Trainer]:
    return hung(segmentation())


@pytest.fixture(scope="module")
def of_images() -> tuple[Gallery, Trainer]:
    return hung(denoising())


@pytest.mark.parametrize("unit", [1.0, 1e-20])
def test_images_in_any_unit_are_drawn(unit: float) -> None:
    masks = torch.arange(40).view(-1, 1, 1).expand(-1, 8, 8) % 2
    images = torch.rand(40, 8, 8, 1, generator=torch.Generator().manual_seed(0)) * unit
    gallery, _ = hung(Data.from_arrays(images, masks))
    assert gallery.images.min() == 0
    assert gallery.images.max() == 255


def test_best_median_and_worst_image_by_the_score_of_each(
    of_masks: tuple[Gallery, Trainer],
) -> None:
    gallery, trainer = of_masks
    split = trainer.data.validation
    inputs, target = trainer._step.examples.of(split, torch.arange(len(split)))
    with torch.no_grad():
        found = trainer.model.eval()(inputs.contiguous(memory_format=torch.channels_last))
    found = found.argmax(1)
    alone = []
    for mask, truth in zip(found, target, strict=True):
        both = torch.cat([mask[truth != IGNORED], truth[truth != IGNORED]]).unique()
        iou = multiclass_jaccard_index(
            mask[None], truth[None], len(NAMES), "none", ignore_index=IGNORED
        )
        alone.append(iou[both].mean().item())
    ranked = sorted(alone, reverse=True)
    assert gallery.scores == pytest.approx((ranked[0], ranked[5], ranked[-1]), abs=1e-6)
    best = alone.index(ranked[0])
    assert (gallery.images[0] == split.images[best].permute(1, 2, 0).numpy()).all()
    assert (gallery.truth[0] == split.labels[best].numpy()).all()
    assert (gallery.found[0] == found[best].numpy()).all()
    whole = multiclass_jaccard_index(found, target, len(NAMES), "none", ignore_index=IGNORED)
    assert [values[0] for values in gallery.overlaps.values()] == pytest.approx(whole.tolist())
    for iou, low, high in gallery.overlaps.values():
        assert low <= iou <= high


def test_errors_of_masks_are_marked_and_ignored_pixels_are_neither(
    of_masks: tuple[Gallery, Trainer],
) -> None:
    gallery, _ = of_masks
    for strip, truth, found in zip(gallery.strips(), gallery.truth, gallery.found, strict=True):
        assert all(pixels.shape == (12, 10, 3) for pixels in strip)
        assert tuple(strip[1][5, 5]) == class_colour(truth[5, 5])
        error = strip[3]
        assert (error[truth == IGNORED] == UNLABELLED).all()
        labelled = truth != IGNORED
        assert (error[labelled & (truth != found)] == WRONG).all()
        assert (error[labelled & (truth == found)] == RIGHT).all()


def test_restored_images_stand_beside_the_noisy_and_the_clean_one(
    of_images: tuple[Gallery, Trainer],
) -> None:
    gallery, trainer = of_images
    clean = trainer.data.validation.images.permute(0, 2, 3, 1).numpy()
    best = gallery.truth[0]
    assert any((best == image).all() for image in clean)
    noise = gallery.images[0].astype(int) - best
    assert 15 < noise.std() < 30  # of 25 grey levels, some clipped
    mse = ((gallery.found[0] / 255.0 - best / 255.0) ** 2).mean()
    assert gallery.scores[0] == pytest.approx(-10 * math.log10(mse), abs=0.1)  # of rounded pixels
    assert gallery.overlaps == {}
    assert gallery.seen() == {}


@pytest.mark.parametrize("which", ["of_masks", "of_images"])
def test_a_gallery_is_written_and_read_back(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    gallery, _ = request.getfixturevalue(which)
    gallery.save(tmp_path / "new" / "a.npz")
    again = Gallery.load(tmp_path / "new" / "a.npz")
    assert again is not None
    for name in ("images", "truth", "found"):
        assert np.array_equal(getattr(again, name), getattr(gallery, name))
    for name in ("task", "class_names", "count", "overlaps", "scores", "groups"):
        assert getattr(again, name) == getattr(gallery, name)
    (tmp_path / "new" / "a.npz").write_bytes(b"PK\x03\x04half of a file")
    assert Gallery.load(tmp_path / "new" / "a.npz") is None
    assert Gallery.load(tmp_path / "none.npz") is None
    assert len(plot_gallery(gallery).axes) == 12


def test_intervals_over_groups(of_masks: tuple[Gallery, Trainer], tmp_path: Path) -> None:
    gallery, trainer = of_masks
    grouped = trainer.gallery(trainer.data.validation, np.arange(12) // 3)
    assert (gallery.groups, grouped.groups) == (None, 4)
    for name, (iou, *ends) in gallery.overlaps.items():
        assert grouped.overlaps[name][0] == iou
        assert list(grouped.overlaps[name][1:]) != ends
    grouped.save(tmp_path / "a.npz")
    assert getattr(Gallery.load(tmp_path / "a.npz"), "groups", None) == 4
    with np.load(tmp_path / "a.npz") as file:  # a file of an earlier version
        np.savez(tmp_path / "b.npz", **{name: file[name] for name in file if name != "groups"})
    older = Gallery.load(tmp_path / "b.npz")
    assert older is not None
    assert older.groups is None
    found: Any = SimpleNamespace(
        config=SimpleNamespace(task=SEGMENTATION), metric=SEGMENTATION.metric, gallery=grouped
    )
    section = gallery_section(found)
    assert section is not None
    assert "by bootstrap over 4 groups of images." in section.tables[0].caption


def test_resamples_without_a_class_are_left_out_of_its_interval() -> None:
    tallies = torch.tensor([[1.0, 2.0], [2.0, 2.0], [0.0, 0.0]])

    def ratio(sums: Any) -> list[float]:
        shares: list[float] = (sums[:, 0] / sums[:, 1]).tolist()
        return shares

    assert bootstrap(tallies, ratio) == (0.5, 1.0)
    assert all(map(math.isnan, bootstrap(tallies[1:], ratio)))  # all have the same score


def test_the_section_of_the_report(of_masks: tuple[Gallery, Trainer], tmp_path: Path) -> None:
    gallery, _ = of_masks
    run = make_run(tmp_path / "run", SEGMENTATION)
    assert run._gallery("best") is None
    gallery.save(run.path / GALLERIES / f"{run.trial('best').key}.npz")
    found: Any = SimpleNamespace(
        config=run.config, metric=SEGMENTATION.metric, gallery=run._gallery("best")
    )
    section = gallery_section(found)
    assert section is not None
    assert "the median and the worst of 12 validation images by the" in section.figures[0].caption
    assert [list(table.rows["class"]) for table in section.tables] == [list(NAMES)]
