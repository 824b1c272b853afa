"""Training on mapped images: the same bits as on images in memory, in every way to train."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipsearch as ss
from skipsearch.data import Data, Split, load_data
from skipsearch.errors import DataError
from skipsearch.models import build
from skipsearch.training import Trainer, train, train_several
from skipsearch.training.diagnosis import explain
from skipsearch.training.prefetching import Prefetcher

TASKS = {"classes": {}, "masks": {}, "denoising": {"denoise": 25.0}}
RECIPE = ss.Recipe(epochs=2, batch_size=16, crop=1, flip=True, warmup_epochs=0)


def written(path: Path, task: str) -> Path:
    """Write a small data set."""
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (90, 8, 8, 3), dtype=np.uint8)
    arrays: dict[str, np.ndarray] = {"train_images": images}
    if task == "masks":
        arrays["train_masks"] = (images[..., 0] > 127).astype("uint8")
    else:
        arrays["train_labels"] = (images.mean((1, 2, 3)) > images.mean()).astype(int)
        arrays |= {"test_images": images[:9], "test_labels": arrays["train_labels"][:9]}
    np.savez(path / f"{task}.npz", **arrays)
    return path / f"{task}.npz"


def both(path: Path, task: str) -> tuple[Data, Data]:
    """Return a data set in memory and in a file."""
    place = written(path, task)
    resident, mapped = (load_data(place, in_memory=each, **TASKS[task]) for each in (True, False))
    assert mapped.train.is_mapped
    assert not resident.train.is_mapped
    return resident, mapped


def design_for(data: Data) -> ss.Design:
    """Return a small design."""
    head = "mean" if data.task.name == "classification" else "map"
    return ss.Design(layout="conv3-bn-relu +", depths=(1,), widths=(4,), stem_width=4, head=head)


def timeless(epochs: list[ss.Epoch]) -> list[ss.Epoch]:
    """Return epochs without their times."""
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in epochs]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", [{}, {"parts": 2}])
def test_training_is_the_same(tmp_path: Path, task: str, how: dict[str, Any]) -> None:
    results, weights = [], []
    for data in both(tmp_path, task):
        model = build(design_for(data), data.in_channels, data.outputs, seed=3)
        recipe = RECIPE if task != "denoising" else RECIPE.replace(crop=0)
        results.append(timeless(list(train(model, data, recipe, 3, **how))))
        weights.append(model.state_dict())
    assert results[0] == results[1]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_what_is_trained_otherwise_is_the_same(tmp_path: Path) -> None:
    packs, explained, measured, resumed = [], [], [], []
    for number, data in enumerate(both(tmp_path, "classes")):
        design = design_for(data)
        models = [build(design, 3, 2, seed=seed) for seed in (0, 1)]
        packs.append([timeless(epochs) for epochs in train_several(models, data, RECIPE)])
        found = explain(build(design, 3, 2, seed=0), data, RECIPE)
        explained.append(found.table)
        assert data.test is not None
        trainer = Trainer(models[0], data, RECIPE)
        measured.append(trainer.measure(data.test))
        file = tmp_path / f"{number}.pt"
        next(iter(train(build(design, 3, 2, seed=0), data, RECIPE, checkpoint=file)))
        rest = train(build(design, 3, 2, seed=0), data, RECIPE, checkpoint=file)
        resumed.append(timeless(list(rest)))
    assert packs[0] == packs[1]
    assert explained[0].equals(explained[1])
    assert measured[0] == measured[1]
    assert resumed[0] == resumed[1]


def test_a_search_trains_on_mapped_images(tmp_path: Path) -> None:
    resident, mapped = both(tmp_path, "classes")
    axes = {"widths": [[4], [6]]}
    space = ss.Space.from_dict(
        {"name": "two", "base": {"layout": "conv3-bn-relu +", "depths": [1]}, "axes": axes}
    )
    run = ss.search(space, mapped, trials=2, epochs=2, recipe=RECIPE, out=tmp_path / "run")
    for trial in run.trials():
        assert trial.state == "COMPLETE", trial.reason
        model = build(trial.design, 3, 2, seed=trial.seed)
        expected = timeless(list(train(model, resident, run.config.recipe, trial.seed)))
        assert timeless(list(trial.curve)) == expected


# --- reading ahead -------------------------------------------------------------------------------


class Counting:
    """A split that counts how often it is read."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.read: list[list[int]] = []

    def batch(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read a batch."""
        self.read.append(index.tolist())
        return self.split.batch(index)


def test_a_batch_is_read_once_and_the_same_without_announcement(tmp_path: Path) -> None:
    _, data = both(tmp_path, "classes")
    counting = Counting(data.train)
    source = Prefetcher(counting)  # type: ignore[arg-type]
    index = [torch.tensor([n, n + 3]) for n in range(6)]
    for each in (index[0], index[1], index[1]):
        source.prefetch(each)
    for each in (index[1], index[4], index[0]):  # passes over one, announced none, and again one
        for one, other in zip(source.batch(each), data.train.batch(each), strict=True):
            assert one.equal(other)
    assert sorted(counting.read).count([1, 4]) == 1
    source.prefetch(index[2])
    source.clear()
    assert source.batch(index[2])[0].equal(data.train.batch(index[2])[0])


def test_an_error_of_reading_ahead_is_raised(tmp_path: Path) -> None:
    place = written(tmp_path, "classes")
    data = load_data(place, in_memory=False)
    source = Prefetcher(data.train)
    with place.open("r+b") as stream:
        stream.write(b"PK")  # the same bytes, at another time
    index = torch.arange(3)
    source.prefetch(index)
    with pytest.raises(DataError, match="has changed since it was read"):
        source.batch(index)
