"""Training on mapped images: the same bits as on images in memory, in every way to train."""

import dataclasses
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import torch
from gpu import needs_cuda
from waiting import HANG

import skipsearch as ss
from skipsearch.data import Data, Split, dataset, load_data
from skipsearch.errors import DataError
from skipsearch.models import build
from skipsearch.training import PackTrainer, Streams, Trainer, prefetching, train, train_several
from skipsearch.training.diagnosis import explain
from skipsearch.training.interleaving import Wait, finish, is_complete
from skipsearch.training.prefetching import DEPTH, Prefetcher

T = TypeVar("T")

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


def recipe_for(data: Data) -> ss.Recipe:
    """Return a recipe, without crops for denoising."""
    return RECIPE.replace(crop=0) if data.task.restores else RECIPE


def timeless(epochs: list[ss.Epoch]) -> list[ss.Epoch]:
    """Return epochs without their times."""
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in epochs]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", [{}, {"parts": 2}])
def test_training_is_the_same(tmp_path: Path, task: str, how: dict[str, Any]) -> None:
    results, weights = [], []
    for data in both(tmp_path, task):
        model = build(design_for(data), data.in_channels, data.outputs, seed=3)
        results.append(timeless(list(train(model, data, recipe_for(data), 3, **how))))
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


class Replays:
    """A recorder whose replay calls again, and reads only the tensor of its recording."""

    def __init__(self) -> None:
        self.replays = 0

    def run(self, function: Callable[[torch.Tensor], None], value: torch.Tensor) -> None:
        function(value)

    def record(
        self, function: Callable[[torch.Tensor], None], value: torch.Tensor
    ) -> Callable[[], None]:
        def replay() -> None:
            self.replays += 1
            function(value)

        return replay


def trained(data: Data, networks: int = 1, **how: Any) -> tuple[list[Any], list[torch.Tensor]]:
    """Return the epochs and the weights of a training, or of several as a packed network."""
    models = [build(design_for(data), data.in_channels, data.outputs, seed=n) for n in (3, 4)]
    if networks == 1:
        one: Any = Trainer(models[0], data, recipe_for(data), 3, **how)
    else:
        one = PackTrainer(models, data, recipe_for(data), range(networks), **how)
    epochs = [timeless(one.run_epochs()) for _ in range(RECIPE.epochs)]
    return epochs, list(one.model.state_dict().values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", [{}, {"networks": 2}, {"parts": 2}])
def test_a_recorded_step_reads_each_batch(tmp_path: Path, task: str, how: dict[str, Any]) -> None:
    resident, mapped = both(tmp_path, task)
    recorder = Replays()
    epochs, weights = trained(mapped, recorder=recorder, **how)
    expected, their_weights = trained(resident, **how)
    assert recorder.replays
    assert epochs == expected
    assert all(map(torch.equal, weights, their_weights))


def test_a_batch_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    # A CUDA graph reads addresses.
    _, data = both(tmp_path, "classes")
    trainer = Trainer(build(design_for(data), 3, 2), data, RECIPE)
    places = set()
    for number in range(3):
        trainer.run_step(number)
        loaded = trainer._step.examples._split
        images, labels = loaded.images, loaded.labels
        assert isinstance(images, torch.Tensor)
        assert isinstance(labels, torch.Tensor)
        expected = data.train.batch(trainer._batches.index(number))
        assert images.equal(expected[0])
        assert labels.equal(expected[1])
        places.add((images.data_ptr(), labels.data_ptr()))
    assert len(places) == 1


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", [{}, {"networks": 2}, {"parts": 2}])
def test_batches_copied_to_a_gpu_are_those_in_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, how: dict[str, Any]
) -> None:
    _, mapped = both(tmp_path, task)
    resident = mapped.to("cuda")
    monkeypatch.setattr(dataset, "room_for_images", lambda device: 0.0)
    streamed = mapped.to("cuda")
    assert "copied to cuda:0 batch by batch" in streamed.summary()
    assert not resident.train.is_mapped
    assert streamed.train.is_mapped
    (epochs, weights), (expected, their_weights) = (
        trained(data, deterministic=True, **how) for data in (streamed, resident)
    )
    assert epochs == expected
    assert all(map(torch.equal, weights, their_weights))


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


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, tuple[int, ...]]]:
    """All batches that are read from files: whether by the main thread, and the index."""
    found: list[tuple[bool, tuple[int, ...]]] = []
    batch = Split.batch

    def noted(split: Split, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if split.is_mapped:
            main = threading.current_thread() is threading.main_thread()
            found.append((main, tuple(index.tolist())))
        return batch(split, index)

    monkeypatch.setattr(Split, "batch", noted)
    return found


def test_each_batch_is_read_once_and_ahead(
    tmp_path: Path, reads: list[tuple[bool, tuple[int, ...]]]
) -> None:
    _, data = both(tmp_path, "classes")
    trainer = Trainer(build(design_for(data), 3, 2), data, RECIPE)
    trainer._evaluation.size = 3
    trainer.run_epochs()
    number = len(data.train) // RECIPE.batch_size + -(-len(data.validation) // 3)
    assert len(reads) == len({index for _, index in reads}) == number > 7
    assert not any(main for main, _ in reads)


def test_a_batch_is_the_same_without_announcement(
    tmp_path: Path, reads: list[tuple[bool, tuple[int, ...]]]
) -> None:
    resident, data = both(tmp_path, "classes")
    source = Prefetcher(data.train)
    index = [torch.tensor([n, n + 3]) for n in range(6)]
    for each in (index[0], index[1], index[1]):
        source.prefetch(each)
    for each in (index[1], index[4], index[0]):  # passes over one, announced none, and again one
        for one, other in zip(source.batch(each), resident.train.batch(each), strict=True):
            assert one.equal(other)
    assert [index for _, index in reads].count((1, 4)) == 1


def test_a_copy_to_a_gpu_waits_for_the_last_but_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The host may be many steps ahead, and each queued copy keeps pinned memory.
    said: list[str] = []

    class Event:
        def __init__(self, device: torch.device) -> None:
            self.number = len(said)
            said.append(f"copied {self.number}")

        def synchronize(self) -> None:
            said.append(f"complete {self.number}")

    monkeypatch.setattr(prefetching, "requested_so_far", Event)
    source = Prefetcher(both(tmp_path, "classes")[1].train)
    for _ in range(DEPTH + 2):
        source.batch(torch.arange(4))
    assert said == ["copied 0", "copied 1", "complete 0", "copied 3", "complete 1", "copied 5"]


class Work:
    """Work on a device that is complete when it is waited for."""

    def __init__(self) -> None:
        self._complete = False

    def query(self) -> bool:
        return self._complete

    def synchronize(self) -> None:
        self._complete = True


def on_a_device(steps: Generator[Wait, None, T]) -> Generator[Wait, None, T]:
    """Steps that wait for a device after each one."""
    while True:
        try:
            waits_for = next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        yield waits_for or Work()


@pytest.mark.parametrize("where", [lambda steps: steps, on_a_device], ids=["here", "device"])
def test_a_training_that_waits_for_a_batch_lets_the_others_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Callable[[Any], Any]
) -> None:
    resident, mapped = both(tmp_path, "classes")
    design = design_for(resident)
    alone = timeless(list(train(build(design, 3, 2, seed=0), resident, RECIPE, 0)))
    reads, may_read, batch = threading.Event(), threading.Event(), Split.batch

    def held(split: Split, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if split.is_mapped:
            reads.set()
            assert may_read.wait(HANG), "the other training has not ended"
        return batch(split, index)

    monkeypatch.setattr(Split, "batch", held)
    streams = Streams(torch.device("cpu"))
    with streams.slot() as one, streams.slot() as other, ThreadPoolExecutor(1) as pool:
        waiting, ready = (
            Trainer(build(design, 3, 2, seed=0), data, RECIPE, 0) for data in (mapped, resident)
        )
        for part in range(2):  # at the first batch of training, and at that of the next epoch
            first = pool.submit(one.run, waiting.all_steps())
            assert reads.wait(HANG)
            expected = other.run(where(ready.all_steps()))
            assert not first.done()
            may_read.set()
            assert timeless(first.result()) == timeless(expected) == alone[part : part + 1]
            reads.clear()
            may_read.clear()
    streams.close()


def test_a_batch_is_ready_when_it_is_read_and_an_earlier_copy_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Work] = []

    def copy(device: torch.device) -> Work:
        made.append(Work())
        return made[-1]

    monkeypatch.setattr(prefetching, "requested_so_far", copy)
    source = Prefetcher(both(tmp_path, "classes")[1].train)
    index = [torch.arange(n, n + 2) for n in range(DEPTH + 1)]
    for each in index:
        source.prefetch(each)
        wait(source._expected.values())
        assert list(source.ready(each)) == made[:1] * (len(made) == DEPTH)
        if each is not index[-1]:
            source.batch(each)
    made[1].synchronize()
    assert list(source.ready(index[-1])) == made[:1]
    made[0].synchronize()
    assert not list(source.ready(index[-1]))


def test_a_batch_that_is_not_read_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read, batch = threading.Event(), Split.batch

    def held(split: Split, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert may_read.wait(HANG)
        return batch(split, index)

    monkeypatch.setattr(Split, "batch", held)
    source = Prefetcher(both(tmp_path, "classes")[1].train)
    index = torch.arange(3)
    source.prefetch(index)
    (read,) = source.ready(index)
    assert not is_complete(read)
    may_read.set()
    finish(source.ready(index))
    assert is_complete(read)


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
