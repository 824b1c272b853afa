"""A worker process and its device: what it watches, and what it does when the device is lost."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from skipsearch.data import Data, load_data
from skipsearch.design import Design
from skipsearch.early_stopping import EarlyStopping
from skipsearch.metric import ACCURACY
from skipsearch.recipe import Recipe
from skipsearch.searching import job as job_file
from skipsearch.searching.job import Job
from skipsearch.searching.messages import Request
from skipsearch.searching.options import Limits
from skipsearch.searching.plans import Plan
from skipsearch.searching.progress import Progress
from skipsearch.searching.searcher import StudySearcher
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.training import Folder, Streams, Trainer, is_lost

DESIGN = Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits").without_test()


def request(**changes: Any) -> Request:
    recipe = Recipe(epochs=2, batch_size=512)
    return replace(Request(design=DESIGN, recipe=recipe, seeds=(0,), checkpoint="c.pt"), **changes)


# --- an error that ends a training ----------------------------------------------------------------


class Fails(Trainer):
    """Fails in its first step; every trainer that was made is known."""

    error: type[RuntimeError] = RuntimeError
    words = "shapes differ\nand a trace"
    made: list[weakref.ref[Trainer]]

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.made.append(weakref.ref(self))

    def run_step(self, number: int) -> None:
        raise self.error(self.words)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Fails]:
    Fails.made = []
    monkeypatch.setattr(job_file, "Trainer", Fails)
    return Fails


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("error", "reason", "tries"),
    [
        (RuntimeError, "RuntimeError: shapes differ", 1),
        (torch.OutOfMemoryError, "OutOfMemoryError: shapes differ (8 images at once", 7),
    ],
)
def test_memory_is_given_back_when_the_exception_is_gone(
    data: Data,
    tmp_path: Path,
    failing: type[Fails],
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
    error: type[RuntimeError],
    reason: str,
    tries: int,
) -> None:
    # An exception holds the frames that it went through, and with them the trainer's tensors.
    held: list[int] = []
    real = Job._release

    def release(self: Job) -> None:
        real(self)
        held.append(sum(made() is not None for made in failing.made))

    monkeypatch.setattr(Job, "_release", release)
    monkeypatch.setattr(failing, "error", error)
    streams = Streams(torch.device("cpu")) if shared else None
    job = Job(request(), data, Folder(tmp_path), streams=streams)
    report = job.step()
    assert report.failure.startswith(reason)
    assert report.done
    assert not report.device_lost
    assert held == [0] * tries
    assert len(failing.made) == tries
    job.end()
    if streams:
        streams.close()


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_a_device_is_asked_by_the_thread_that_uses_it(
    data: Data,
    tmp_path: Path,
    failing: type[Fails],
    monkeypatch: pytest.MonkeyPatch,
    error: type[RuntimeError],
) -> None:
    # By another, it may be asked to wait while a neighbour is being recorded, which no GPU does.
    threads: list[int] = []

    def is_lost(device: torch.device) -> bool:
        threads.append(threading.get_ident())
        return False

    def free_memory(device: torch.device) -> float:
        threads.append(threading.get_ident())
        return math.inf

    monkeypatch.setattr(job_file, "is_lost", is_lost)
    monkeypatch.setattr(job_file, "free_memory", free_memory)
    monkeypatch.setattr(failing, "error", error)
    streams = Streams(torch.device("cpu"))
    job = Job(request(), data, Folder(tmp_path), streams=streams)
    assert job.step().failure
    with streams.slot() as slot:
        assert set(threads) == {slot.call(threading.get_ident)}
    # What was foreseen, whether the device is lost, and what is told of a lack of memory.
    assert len(threads) == 2 + (error is torch.OutOfMemoryError)
    job.end()
    streams.close()


def test_a_device_that_refuses_a_stream_is_lost(
    data: Data, tmp_path: Path, failing: type[Fails]
) -> None:
    streams = Streams(torch.device("cpu"))
    job = Job(request(), data, Folder(tmp_path), streams=streams)
    assert not job.step().device_lost

    def refuse(function: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    assert job._slot is not None
    job._slot.call = refuse  # type: ignore[method-assign]
    assert job.step().device_lost
    streams.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_is_dropped_when_its_work_is_done(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    # What is still to be replayed would write into memory that is free for the next training.
    job = Job(request(), data, Folder(tmp_path))
    job.step()
    trainer = weakref.ref(job._trainer)
    second, order = torch.device("cuda", 1), []

    class Stream:
        def synchronize(self) -> None:
            order.append(("done", trainer() is not None))
            if fails:
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    def current_stream(device: torch.device) -> Stream:
        assert device == second
        return Stream()

    def empty_cache() -> None:
        order.append(("given back", trainer() is not None))

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    job._device = second
    job.close()
    assert order == [("done", True), ("given back", False)]


def test_a_device_that_is_lost_is_reported(
    data: Data, tmp_path: Path, failing: type[Fails], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_file, "is_lost", lambda device: True)
    report = Job(request(), data, Folder(tmp_path)).step()
    assert report.device_lost
    assert report.failure == "RuntimeError: shapes differ"


def test_a_device_is_lost_where_waiting_for_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 1)

    def synchronize(device: torch.device) -> None:
        assert device == gpu
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert is_lost(gpu)
    assert not is_lost(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert not is_lost(gpu)


class NoRoom:
    """A recorder that finds no room for a graph."""

    def run(self, function: Any, value: torch.Tensor) -> None:
        function(value)

    def record(self, function: Any, value: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("no room for a graph\nand a long trace")


def test_the_driver_says_once_why_trainings_are_slow(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_file, "Trainer", partial(Trainer, recorder=NoRoom()))
    space = Space.from_yaml(
        "name: two\nbase: {depths: [1], widths: [4]}\n"
        "axes: {layout: [conv3-bn-relu, conv3-bn-relu +]}"
    )
    plan = Plan(space=space, recipe=Recipe(epochs=3, batch_size=256), trials=2, sampler="grid")
    study = SearchStudy(optuna.storages.InMemoryStorage(), "two", plan)
    said = io.StringIO()
    searcher = StudySearcher(
        study,
        Folder(tmp_path),
        (),
        at_once=2,
        engines=0,
        request=Request,
        stopping=EarlyStopping(rule="none"),
        cost_bounds=(),
        limits=Limits(),
        progress=Progress(2, (), ACCURACY, stream=said),
    )
    for trial_id in ("a", "b"):
        job = Job(Request.from_config(searcher.suggest(trial_id)), data, Folder(tmp_path))
        for _ in range(2):
            with warnings.catch_warnings():  # which a worker's console shows, if anybody looks
                warnings.simplefilter("ignore")
                report = job.step()
            searcher.on_trial_result(trial_id, report.to_result())
        job.close()
    assert searcher.crash is None
    slow = "trials train slower than they could: not recorded: no room for a graph"
    assert [line for line in said.getvalue().splitlines() if "slower" in line] == [slow]
    study.close()


def test_a_seat_is_left_once(data: Data, tmp_path: Path) -> None:
    streams = Streams(torch.device("cpu"))
    job = Job(request(), data, Folder(tmp_path), streams=streams)
    job.step()
    job.discard()
    job.end()
    assert len(streams._free) == 1
    assert not (tmp_path / "c.pt").exists()
    streams.close()


@pytest.mark.parametrize("spoil", ["of another form", "no checkpoint"])
def test_a_checkpoint_that_does_not_read_costs_its_epochs_alone(
    data: Data, tmp_path: Path, spoil: str
) -> None:
    first = Job(request(), data, Folder(tmp_path))
    first.step()
    first.close()
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    del state["curves"], state["failed"]
    if spoil == "of another form":
        torch.save(state, tmp_path / "c.pt")
    else:
        (tmp_path / "c.pt").write_bytes(b"nothing")
    report = Job(request(), data, Folder(tmp_path)).step()
    assert not report.failure
    assert [epoch.epoch for epoch in report.members[0].curve] == [1]


# --- the watchdog ---------------------------------------------------------------------------------


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_process_that_hangs_is_ended_and_shows_where() -> None:
    done = run_python(
        """
        import threading
        from skipsearch.searching import worker
        worker.HANG_SECONDS = 0.2
        watchdog = worker.Watchdog()
        with watchdog.watch(None), watchdog.watch(1000.0):
            def hangs():
                with watchdog.watch(0.1):
                    threading.Event().wait()
            threading.Thread(target=hangs, daemon=True).start()
            threading.Event().wait()
        """
    )
    assert done.returncode == 1
    assert "in hangs" in done.stderr


def test_what_ended_in_time_is_watched_no_more() -> None:
    done = run_python(
        """
        import time
        from skipsearch.searching import worker
        worker.HANG_SECONDS = 0.2
        watchdog = worker.Watchdog()
        with watchdog.watch(1000.0):
            with watchdog.watch(0.0):
                pass
            time.sleep(0.5)
        assert not watchdog._deadlines
        """
    )
    assert done.returncode == 0, done.stderr
