"""Checks of ``check_gpu.py``, by section; each check is a function."""

import contextlib
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

import skipsearch as ss
from skipsearch.data import Data, Split, load_data
from skipsearch.data.mapped import ArrayFile, Mapped
from skipsearch.data.npy_headers import array_in
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.models import build
from skipsearch.operations import ENLARGING, OPERATIONS
from skipsearch.plan import Step
from skipsearch.planning import SHORTCUTS
from skipsearch.searching.job import Job
from skipsearch.searching.messages import Report, Request
from skipsearch.training import (
    Folder,
    PackTrainer,
    Streams,
    Trainer,
    recorded,
    versions,
)
from skipsearch.training.checkpoint import load_checkpoint, save_checkpoint
from skipsearch.training.recorded import WARM_UP, CudaGraphs, Recorded

Check = Callable[[torch.device], str | None]  # returns a detail for the report
CHECKS: dict[str, list[Check]] = {}
MIB = 1 << 20

DROPS = ss.Design(
    layout="bn-relu-conv3-dropout-bn-relu-conv3 +",
    depths=(1, 1),
    widths=(8, 16),
    dropout=0.3,
    drop_path=0.4,
)
CALM = DROPS.replace(dropout=0.0, drop_path=0.0)
RECIPE = ss.Recipe(epochs=3, batch_size=16, crop=1, flip=True, cutout=3)


class Skip(Exception):
    """Raised with the reason by a check that cannot run here."""


def check(section: str) -> Callable[[Check], Check]:
    """Return a decorator that adds a function to a section."""

    def add(function: Check) -> Check:
        CHECKS.setdefault(section, []).append(function)
        return function

    return add


def run_checks(section: str, device: str) -> int:
    """Run the checks of a section, print a line for each, and return the number of failures."""
    where = torch.device(device, 0) if device == "cuda" else torch.device(device)
    torch.set_num_threads(1)
    recorded.OLDEST_TORCH = (0, 0)  # to test older versions as well
    if device == "cuda":
        name = torch.cuda.get_device_name(where)
        print(f"   {name}, {versions()}", flush=True)
    failed = 0
    for function in CHECKS[section]:
        name, start = function.__name__.replace("_", " "), time.monotonic()
        try:
            detail = function(where)
        except Skip as reason:
            print(f"skip {name}: {reason}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name} ({time.monotonic() - start:.1f} s)", flush=True)
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
        else:
            print(
                f"ok   {name} ({time.monotonic() - start:.1f} s){f': {detail}' * bool(detail)}",
                flush=True,
            )
    return failed


# --- shared parts ---------------------------------------------------------------------------------


def few(device: torch.device, train: int = 100, validation: int = 60) -> Data:
    """Return some images of the digits."""
    digits = load_data("digits").without_test()
    return replace(
        digits,
        train=Split(digits.train.images[:train], digits.train.labels[:train]),
        validation=Split(
            digits.validation.images[:validation], digits.validation.labels[:validation]
        ),
    ).to(device)


def random_data(device: torch.device, train: int, size: int, validation: int = 1) -> Data:
    """Return random images of three channels."""
    generator = torch.Generator().manual_seed(0)
    count = max(train, validation)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    return ss.Data(
        name="random",
        train=Split(images[:train], labels[:train]),
        validation=Split(images[:validation], labels[:validation]),
        test=None,
        class_names=tuple("0123456789"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        split_seed=0,
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        origin="random",
        fingerprint="0" * 16,
    ).to(device)


def streamed(data: Data, folder: str) -> Data:
    """Return the same data with images in files, from which batches are copied to the device."""
    splits = {}
    for name, split in (("train", data.train), ("validation", data.validation)):
        path = Path(folder) / f"{name}.npy"
        np.save(path, split.images[:].cpu().numpy())
        file = array_in(path)
        assert isinstance(file, ArrayFile), file
        mapped = Split(Mapped((file,)), split.class_labels)
        splits[name] = mapped.to(data.train.images.device, streamed=True)
    return replace(data, train=splits["train"], validation=splits["validation"])


class CallsAgain:
    """A recorder whose replay is a real call, on the stream on which graphs are recorded."""

    def __init__(self, device: torch.device) -> None:
        self._graphs = CudaGraphs(device) if device.type == "cuda" else None

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call the function."""
        if self._graphs:
            self._graphs.run(function, value)
        else:
            function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Return a function that calls it again."""
        return lambda: self.run(function, value)


class Refuses(CallsAgain):
    """A recorder that cannot record."""

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Raise the error of exhausted memory."""
        raise torch.OutOfMemoryError("no room for a graph")


def trainer(
    data: Data, design: ss.Design = DROPS, recipe: ss.Recipe = RECIPE, seed: int = 0, **how: Any
) -> Trainer:
    """Return a trainer; on the CPU its steps are recorded as well."""
    device = data.train.images.device
    if device.type == "cpu":
        how.setdefault("recorder", CallsAgain(device))
    return Trainer(build(design, data.in_channels, 10, seed=seed), data, recipe, seed, **how)


Curve = list[tuple[float, ...]]


def figures(epoch: ss.Epoch) -> tuple[float, ...]:
    """Return the results of an epoch, except for its time."""
    return (
        *(epoch.train_loss, epoch.train_score),
        *(epoch.validation_loss, epoch.validation_score),
    )


def curve(one: Trainer, epochs: int | None = None) -> Curve:
    """Train, and return the results of each epoch."""
    until = one.recipe.epochs if epochs is None else one.epoch + epochs
    result = []
    while one.epoch < until:
        result.append(figures(one.run_epoch()))
    return result


def same(one: Trainer, other: Trainer) -> bool:
    """Return whether two networks have the same weights, bit by bit."""
    a, b = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def on_gpu(device: torch.device) -> None:
    """Skip a check if there is no GPU."""
    if device.type != "cuda":
        raise Skip("needs a GPU")


@contextlib.contextmanager
def never_waits() -> Iterator[None]:
    """Raise an error if the host waits for the device; PyTorch warns about this mode itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def in_threads(functions: list[Callable[[], Any]]) -> list[Any]:
    """Call functions in parallel; return their results, or raise the first error."""
    results: list[Any] = [None] * len(functions)
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            results[place] = functions[place]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


# --- bits: graphs against plain steps -------------------------------------------------------------


def _graph_and_plain(device: torch.device, **changes: Any) -> str:
    data = few(device)
    recipe = RECIPE.replace(**changes)
    for name, design in (("calm", CALM), ("drops", DROPS)):
        graph = trainer(data, design, recipe, deterministic=True)
        plain = trainer(data, design, recipe, deterministic=True, recorder=CallsAgain(device))
        expected, found = curve(plain), curve(graph)
        assert "graph" in graph.numerics, graph.warning
        assert found == expected, f"{name}: {found} instead of {expected}"
        assert same(graph, plain), name
    return graph.numerics


@check("bits")
def a_graph_gives_the_bits_of_plain_steps(device: torch.device) -> str:
    return _graph_and_plain(device)


@check("bits")
def so_in_float32(device: torch.device) -> str:
    return _graph_and_plain(device, precision="float32")


@check("bits")
def so_with_the_batch_in_parts(device: torch.device) -> None:
    data = few(device)
    graph = trainer(data, deterministic=True, parts=2)
    plain = trainer(data, deterministic=True, parts=2, recorder=CallsAgain(device))
    assert curve(graph) == curve(plain)


@check("bits")
def so_in_a_pack(device: torch.device) -> None:
    data = few(device)

    def pack(**how: Any) -> list[tuple[float, ...]]:
        models = [build(DROPS, data.in_channels, 10, seed=seed) for seed in range(3)]
        one = PackTrainer(models, data, RECIPE, range(3), deterministic=True, **how)
        return [figures(epoch) for _ in range(3) for epoch in one.run_epochs()]

    assert pack() == pack(recorder=CallsAgain(device))


@check("bits")
def so_with_images_in_a_file(device: torch.device) -> str:
    data = few(device)

    def pack(data: Data) -> list[tuple[float, ...]]:
        models = [build(DROPS, data.in_channels, 10, seed=seed) for seed in range(3)]
        one = PackTrainer(models, data, RECIPE, range(3), deterministic=True)
        return [figures(epoch) for _ in range(3) for epoch in one.run_epochs()]

    with tempfile.TemporaryDirectory() as folder:
        in_file = streamed(data, folder)
        for how in ({}, {"parts": 2}, {"recorder": CallsAgain(device)}):
            one, other = (trainer(each, deterministic=True, **how) for each in (in_file, data))
            expected, found = curve(other), curve(one)
            assert found == expected, f"{how}: {found} instead of {expected}"
            assert same(one, other), how
        assert pack(in_file) == pack(data)
    return one.numerics


@check("bits")
def deterministic_trainings_repeat_their_bits(device: torch.device) -> None:
    data = few(device)
    one, other = (trainer(data, deterministic=True) for _ in range(2))
    assert curve(one) == curve(other)
    assert same(one, other)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


@check("bits")
def deterministic_works_after_plain_products(device: torch.device) -> None:
    code = f"""
        import torch, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from gpu_checks import *
        torch.set_num_threads(1)
        device = torch.device({str(device)!r})
        data = few(device)
        curve(trainer(data))
        from skipsearch.training import latency
        latency(build(DROPS, 1, 10), 4, 1, 8, device)
        print(json.dumps(curve(trainer(data, deterministic=True))))
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]
    assert found == curve(trainer(few(device), deterministic=True))


@check("bits")
def a_tuned_graph_learns_what_tuned_steps_learn(device: torch.device) -> str:
    data = few(device)
    graph, plain = trainer(data), trainer(data, recorder=CallsAgain(device))
    pairs = list(zip(curve(graph), curve(plain), strict=True))
    worst = max(abs(a[0] - b[0]) / b[0] for a, b in pairs)
    assert worst < 0.1, pairs
    return f"losses differ by {worst:.1e} at most"


@check("bits")
def the_default_generator_is_left_alone(device: torch.device) -> None:
    on_gpu(device)
    before = torch.cuda.get_rng_state(device)
    curve(trainer(few(device)))
    assert torch.equal(torch.cuda.get_rng_state(device), before)


# --- streams ------------------------------------------------------------------------------------


def _resident(streams: Streams, data: Data, design: ss.Design, seed: int, epochs: int) -> Curve:
    recipe = RECIPE.replace(epochs=epochs)
    with streams.slot() as slot:
        one = slot.call(lambda: trainer(data, design, recipe, seed, deterministic=True))
        result = [figures(*slot.run(one.all_steps())) for _ in range(epochs)]
        assert "graph" in one.numerics, one.warning
        if slot.stream is not None:
            slot.stream.synchronize()
        return result


def _alone(data: Data, design: ss.Design, seed: int, epochs: int) -> Curve:
    return curve(trainer(data, design, RECIPE.replace(epochs=epochs), seed, deterministic=True))


def _residents_as_alone(device: torch.device, design: ss.Design) -> None:
    data, streams = few(device), Streams(device)
    found = in_threads([partial(_resident, streams, data, design, seed, 6) for seed in range(4)])
    streams.close()
    for seed in range(4):
        expected = _alone(data, design, seed, 6)
        assert found[seed] == expected, f"seed {seed}: {found[seed]} instead of {expected}"


@check("streams")
def four_residents_train_as_each_would_alone(device: torch.device) -> None:
    _residents_as_alone(device, CALM)


@check("streams")
def so_where_they_draw_at_random(device: torch.device) -> str:
    _residents_as_alone(device, DROPS)
    return f"torch {torch.__version__}, each with a generator of its own"


@check("streams")
def one_long_beside_forty_short_ones(device: torch.device) -> None:
    data, streams = few(device), Streams(device)
    short = 40 if device.type == "cuda" else 4
    long = 40 if device.type == "cuda" else 4

    def shorts(first: int) -> list[Curve]:
        return [_resident(streams, data, DROPS, seed, 1) for seed in range(first, short, 2)]

    of_long, even, odd = in_threads(
        [
            lambda: _resident(streams, data, DROPS, 99, long),
            lambda: shorts(0),
            lambda: shorts(1),
        ]
    )
    streams.close()
    assert of_long == _alone(data, DROPS, 99, long)
    assert even[0] == _alone(data, DROPS, 0, 1)
    assert odd[-1] == _alone(data, DROPS, short - 1, 1)


@check("streams")
def a_neighbour_that_cannot_be_recorded_harms_nobody(device: torch.device) -> None:
    data, streams = few(device), Streams(device)
    how: dict[str, Any] = {} if device.type == "cuda" else {"recorder": Refuses(device)}

    def spoils() -> str:
        with streams.slot() as slot:
            one = slot.call(lambda: trainer(data, DROPS, deterministic=True, **how))
            one._step.__class__ = type("Waits", (type(one._step),), {"__call__": _waits})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for _ in range(3):
                    slot.run(one.all_steps())
            return one.warning

    expected = _alone(data, DROPS, 1, 12)
    found, warning = in_threads([lambda: _resident(streams, data, DROPS, 1, 12), spoils])
    streams.close()
    assert "not recorded" in warning, warning
    assert found == expected, f"{found} instead of {expected}"


def _waits(step: Any, draws: Tensor) -> None:
    """Run a step that reads a value back, which no capture allows."""
    type(step).__mro__[1].__call__(step, draws)
    step.loss_sum.tolist()


# --- failures of a recording ----------------------------------------------------------------------


@check("failures")
def what_cannot_be_recorded_leaves_nothing_behind(device: torch.device) -> str:
    on_gpu(device)
    value = torch.zeros(4, device=device)
    generator = torch.Generator(device)
    stream = torch.cuda.current_stream(device)

    def bad(x: Tensor) -> None:
        torch.empty(32 * MIB, device=device).add_(1)
        torch.rand(4, device=device, generator=generator)
        x.tolist()

    reserved = []
    for _ in range(4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one = Recorded(bad, CudaGraphs(device, (generator,)))
            for _ in range(WARM_UP + 2):
                one(value)
        assert one.failure, "it was recorded"
        assert any("not recorded" in str(warning.message) for warning in caught)
        assert torch.cuda.current_stream(device) == stream
        torch.rand(4, device=device)  # the default generator still draws outside a capture
        torch.rand(4, device=device, generator=generator)
        failure = one.failure
        del one
        gc.collect()
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved(device) // MIB)
    assert reserved[-1] <= reserved[0], f"MiB reserved after each: {reserved}"

    def good(x: Tensor) -> None:
        x += torch.rand(4, device=device, generator=generator)

    one = Recorded(good, CudaGraphs(device, (generator,)))
    for _ in range(WARM_UP + 3):
        one(value)
    assert one.replays, one.failure
    assert len(set(value.tolist())) == 4
    # Outside a capture, the allocator frees its cached memory before it reports out of memory.
    kept = torch.empty(64 * MIB, dtype=torch.uint8, device=device)
    del kept
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_reserved(device) + 40 * MIB) / total, device
    )
    try:
        torch.empty(90 * MIB, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    return f"{failure!r}, MiB reserved after each: {reserved}"


class ShortOfMemory(CudaGraphs):
    """Recorder without memory for the recording."""

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Record while all memory available to the process is in use."""
        with memory_limited(self._device, 0):
            return super().record(function, value)


@contextlib.contextmanager
def memory_limited(device: torch.device, more: int) -> Iterator[None]:
    """Limit the memory of the process to what it has, plus some bytes."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    limit = torch.cuda.memory_reserved(device) + more
    torch.cuda.set_per_process_memory_fraction(limit / total, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@check("failures")
def out_of_memory_in_a_recording(device: torch.device) -> str:
    on_cuda = device.type == "cuda"
    data = random_data(device, 256, 32 if on_cuda else 8, 64)
    design = DROPS.replace(widths=(64, 64) if on_cuda else (8, 8))
    recipe = RECIPE.replace(batch_size=64)
    one = trainer(data, design, recipe, deterministic=True)
    one._recorder = ShortOfMemory(device, one._generators()) if on_cuda else Refuses(device)
    one._run = one._recorded()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = curve(one)
    assert "not recorded" in one.warning, "there was enough"
    assert found == curve(trainer(data, design, recipe, deterministic=True))
    again = trainer(data, design, recipe, deterministic=True)
    assert curve(again) == found
    assert "graph" in again.numerics, again.warning
    return one.warning


@check("failures")
def out_of_memory_in_evaluation(device: torch.device) -> str:
    on_gpu(device)
    data = random_data(device, 64, 64, 4096)
    one = trainer(data, CALM.replace(widths=(64, 64)), RECIPE.replace(batch_size=32))
    one.run_step(0)
    expected = one.evaluate(data.validation)
    size = one._evaluation.size
    with memory_limited(device, 200 * MIB):
        found = one.evaluate(data.validation)
    assert one._evaluation.size < size, "there was enough"
    assert abs(found[0] - expected[0]) < 1e-2 * abs(expected[0])
    return f"batches of {one._evaluation.size} instead of {size}"


# --- designs --------------------------------------------------------------------------------------

LAYOUTS = (
    "conv3-bn-relu-dropout-conv3-bn0 + relu",
    "bn-relu-conv1-bn-relu-conv3-bn-relu-conv1 +",
    "bn-relu6-dw3-bn-gelu-conv1 +",
    "conv3-gn-silu-conv3-gn-se + relu",
    "dw5-ln-conv1-gelu-conv1-scale +",
)


@check("designs")
def all_merges_and_operations_are_recorded(device: torch.device) -> str:
    data = random_data(device, 64, 16, 32)
    recipe = RECIPE.replace(epochs=2, batch_size=8)
    designs = [
        ss.Design(
            layout=layout,
            merge=merge,
            shortcut=[*SHORTCUTS][(i + j) % len(SHORTCUTS)],
            depths=(1, 1),
            widths=(8, 16),
            drop_path=0.2 * (j % 2),
            dropout=0.1,
            stem=("conv3", "conv3-bn-relu-pool", "conv3-bn")[i % 3],
            links=((), ("0>1",), ("1>2",))[j % 3],
            link_merge=("add", "cat")[i % 2],
            bottleneck_ratio=(1.0, 0.5)[i % 2],
            groups=(1, 1, 4)[j % 3],
        )
        for i, layout in enumerate(LAYOUTS)
        for j, merge in enumerate(MERGES)
    ]
    designs += [
        ss.Design(
            layout="conv3-bn-relu",
            depths=(1, 1),
            widths=(8, 16),
            ups=1,
            up=up,
            down="maxpool",
            links=("mirror",),
            link_merge=[*LINK_MERGES][i % len(LINK_MERGES)],
        )
        for i, up in enumerate(ENLARGING)
    ]
    words = {word for design in designs for word in _words(design.plan(data.in_channels))}
    assert words == set(OPERATIONS), set(OPERATIONS) ^ words
    problems = []
    for number, design in enumerate(designs):
        i, j = divmod(number, len(MERGES))
        # At least one layout of each merge, and one merge of each layout, must be deterministic.
        for deterministic in (False, True)[: 1 + ((j - i) % len(LAYOUTS) == 0)]:
            try:
                one = trainer(data, design, recipe, deterministic=deterministic)
                curve(one)
                assert "graph" in one.numerics, one.warning
            except Exception as error:
                problems.append(f"{design}, deterministic {deterministic}: {error!r}")
    assert not problems, "\n".join(problems)
    return f"{len(designs)} designs"


def _words(part: Any) -> set[str]:
    """Return the words of all operations in a part of a plan."""
    if isinstance(part, Step):
        return {part.op}
    return set().union(*map(_words, part)) if isinstance(part, tuple) else set()


# --- waits ----------------------------------------------------------------------------------------


@check("waits")
def neither_a_step_nor_a_replay_waits(device: torch.device) -> None:
    on_gpu(device)
    with tempfile.TemporaryDirectory() as folder:
        for data in (few(device), streamed(few(device), folder)):
            for recorder in (None, CallsAgain(device)):
                one = trainer(data, recorder=recorder)
                one.model.train()
                for step in range(WARM_UP + 2):
                    one.run_step(step)
                with never_waits():
                    one.run_step(WARM_UP + 2)


@check("waits")
def an_evaluation_waits_once(device: torch.device) -> None:
    on_gpu(device)
    one = trainer(few(device))
    one.evaluate(one.data.validation)
    with never_waits():
        steps = one._evaluation.steps(one.data.validation)
        next(steps)


# --- resume ---------------------------------------------------------------------------------------


@check("resume")
def a_training_goes_on_with_the_same_bits(device: torch.device) -> None:
    data = few(device)
    whole = trainer(data, deterministic=True)
    expected = curve(whole)
    first = trainer(data, deterministic=True)
    found = curve(first, 1)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "c.pt", first.state_dict())
        state = load_checkpoint(Path(folder) / "c.pt", torch.device("cpu"))
    second = trainer(data, deterministic=True)
    second.load_state_dict(state)
    assert found + curve(second) == expected
    assert same(second, whole)


@check("resume")
def a_state_that_is_loaded_after_the_recording_counts(device: torch.device) -> None:
    data = few(device)
    one = trainer(data, deterministic=True)
    curve(one, 1)
    state = {key: _cloned(value) for key, value in one.state_dict().items()}
    rest = curve(one)
    one.load_state_dict(state)
    assert curve(one) == rest


def _cloned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cloned(each) for key, each in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


@check("resume")
def a_checkpoint_of_the_cpu_goes_on_here(device: torch.device) -> None:
    first = trainer(few(torch.device("cpu")))
    curve(first, 1)
    second = trainer(few(device))
    second.load_state_dict(first.state_dict())
    assert len(curve(second)) == RECIPE.epochs - 1
    assert second._optimizer.fused == (device.type == "cuda")


# --- memory ---------------------------------------------------------------------------------------


def request(design: ss.Design, recipe: ss.Recipe, seed: int = 0, **changes: Any) -> Request:
    """Return a request as the driver sends it to a worker."""
    asked = Request(
        design=design, recipe=recipe, seeds=(seed,), checkpoint=f"{seed}.pt", deterministic=True
    )
    return replace(asked, **changes)


def finished(job: Job) -> Report:
    """Run the steps of a job until its end, and return the last report."""
    report = job.step()
    while not report.done:
        report = job.step()
    return report


def losses(report: Report) -> list[float]:
    """Return the losses of a job's report."""
    return [epoch.train_loss for epoch in report.members[0].curve]


@check("memory")
def memory_stays_flat_over_forty_trials(device: torch.device) -> str:
    data, streams = few(device), Streams(device)
    trials = 40 if device.type == "cuda" else 4
    held = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(trials):
            design = DROPS.replace(widths=(8 + number % 5, 16))
            job = Job(
                request(design, RECIPE.replace(epochs=2), number, latency_batch=4),
                data,
                Folder(folder),
                streams=streams if number % 2 else None,
            )
            result = finished(job)
            assert not result.failure, result.failure
            job.discard()
            if device.type == "cuda":
                free, total = torch.cuda.mem_get_info(device)
                held.append((total - free) // MIB)
    streams.close()
    if held:
        middle = max(held[trials // 4 : trials // 2])
        # Kernels that are used for the first time are loaded into the device's memory.
        assert max(held[-5:]) <= middle + 16, f"MiB in use after each trial: {held}"
    return (
        f"MiB in use after the first, the tenth and the last: {held[:1] + held[9:10] + held[-1:]}"
    )


@check("memory")
def out_of_memory_in_a_first_step_divides_the_batch(device: torch.device) -> str:
    on_gpu(device)
    data = random_data(device, 512, 32, 64)
    design = CALM.replace(widths=(64, 64), depths=(4, 4))
    recipe = ss.Recipe(epochs=2, batch_size=512, precision="float32")
    with tempfile.TemporaryDirectory() as folder, memory_limited(device, 700 * MIB):
        job = Job(request(design, recipe), data, Folder(folder))
        result = finished(job)
        job.discard()
    assert not result.failure, result.failure
    assert "parts" in result.numerics, result.numerics
    return result.numerics


@check("memory")
def what_never_fits_fails_and_the_next_trial_trains(device: torch.device) -> str:
    on_gpu(device)
    data = random_data(device, 64, 32, 64)
    recipe = ss.Recipe(epochs=1, batch_size=64)
    with tempfile.TemporaryDirectory() as folder:
        with memory_limited(device, 60 * MIB):
            wide = Job(request(CALM.replace(widths=(1024, 1024)), recipe), data, Folder(folder))
            result = finished(wide)
            wide.discard()
        assert "OutOfMemory" in result.failure, result
        assert not result.device_lost
        fits = Job(request(CALM, recipe, 1), data, Folder(folder))
        assert not finished(fits).failure
        fits.discard()
    return result.failure


# --- harm: effects of one trial on another --------------------------------------------------------


@check("harm")
def a_time_out_beside_a_healthy_neighbour(device: torch.device) -> str:
    data, streams = few(device), Streams(device)
    with tempfile.TemporaryDirectory() as folder:
        expected = finished(Job(request(DROPS, RECIPE, 5), data, Folder(Path(folder) / "a")))
        endless = RECIPE.replace(epochs=100_000)
        late = Job(request(CALM, endless, 1, timeout=1.0), data, Folder(folder), streams=streams)
        healthy = Job(request(DROPS, RECIPE, 5), data, Folder(folder), streams=streams)
        ended, found = in_threads([lambda: finished(late), lambda: finished(healthy)])
        # The next trial in the slot of the late one has the memory to itself.
        late.discard()
        after = Job(request(DROPS, RECIPE, 5), data, Folder(Path(folder) / "b"), streams=streams)
        assert losses(finished(after)) == losses(expected)
    streams.close()
    assert "took longer than 1 s" in ended.failure, ended
    assert losses(found) == losses(expected)
    return str(ended.failure)


ASSERTS = """
import sys
sys.path.insert(0, {here!r})
from gpu_checks import *
device = torch.device("cuda", 0)
data, streams = few(device), Streams(device)
labels = data.train.labels.clone()
labels[:] = 77
bad = replace(data, train=Split(data.train.images, labels))
healthy = Job(request(DROPS, RECIPE, 5), data, Folder({folder!r}), streams=streams)
print(json.dumps(healthy.step().epoch))
wrong = Job(request(CALM, RECIPE, 1), bad, Folder({folder!r}), streams=streams)
results = in_threads([lambda: finished(wrong), lambda: finished(healthy)])
print('RESULTS', json.dumps([[r.failure, r.device_lost] for r in results]), flush=True)
os._exit(1)
"""


@check("harm")
def a_device_assert_beside_a_healthy_neighbour(device: torch.device) -> str:
    on_gpu(device)
    here = str(Path(__file__).parent)
    data = few(device)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", "import os\n" + ASSERTS.format(here=here, folder=folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=80,
        )
        _, _, results = done.stdout.partition("RESULTS ")
        assert results, f"{done.stdout}\n{done.stderr[-3000:]}"
        (_, wrong_lost), (reason, lost) = json.loads(results.splitlines()[0])
        assert wrong_lost, results
        assert lost or not reason, results
        # In a new process, which is this one, it resumes from its checkpoint.
        again = Job(request(DROPS, RECIPE, 5), data, Folder(folder))
        result = finished(again)
        expected = finished(Job(request(DROPS, RECIPE, 5), data, Folder(Path(folder) / "a")))
    assert losses(result) == losses(expected)
    return results.splitlines()[0]


# --- speed ----------------------------------------------------------------------------------------


def _steps(one: Trainer, seconds: float) -> tuple[float, float]:
    """Return the milliseconds per step, and those of the host."""
    for step in range(WARM_UP + 20):
        one.run_step(step)
    _wait(one.device)
    hosts, start, number = [], time.perf_counter(), WARM_UP + 20
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        for _ in range(10):
            one.run_step(number)
            number += 1
        hosts.append((time.perf_counter() - begin) / 10)
        _wait(one.device)
    whole = (time.perf_counter() - start) / (number - WARM_UP - 20)
    return 1000 * whole, 1000 * median(hosts)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@check("speed")
def plain_steps_and_a_graph(device: torch.device) -> None:
    small = ss.Design(
        layout="conv3-bn-relu-conv3-bn + relu", depths=(1, 1, 1), widths=(16, 32, 64), stem_width=16
    )
    seconds = 2.0 if device.type == "cuda" else 0.1
    data = random_data(device, 8192 if device.type == "cuda" else 256, 32)
    recipe = ss.Recipe(epochs=1000, batch_size=128 if device.type == "cuda" else 8)
    for name, design in (
        ("small", small),
        ("small that drops", small.replace(drop_path=0.1)),
        ("resnet-20", ss.classic("resnet-20").design),
    )[: 3 if device.type == "cuda" else 1]:
        ways: dict[str, dict[str, Any]] = {"plain": {"recorder": CallsAgain(device)}, "graph": {}}
        for way, how in ways.items():
            one = trainer(data, design, recipe, **how)
            one.model.train()
            whole, host = _steps(one, seconds)
            print(
                f"     {name}, {way}: {whole:.3f} ms a step, {host:.3f} ms of the host", flush=True
            )


@check("speed")
def residents_side_by_side(device: torch.device) -> None:
    data = random_data(device, 8192 if device.type == "cuda" else 64, 32)
    recipe = ss.Recipe(epochs=1000, batch_size=128 if device.type == "cuda" else 8)
    design = ss.classic("resnet-20").design if device.type == "cuda" else CALM
    for count in (1, 2, 4, 8) if device.type == "cuda" else (1, 2):
        streams = Streams(device)
        ready = threading.Barrier(count)

        def work(seed: int, streams: Streams = streams, ready: Any = ready) -> float:
            with streams.slot() as slot:
                one = slot.call(lambda: trainer(data, design, recipe, seed))
                slot.run(one.all_steps())
                ready.wait(60)
                start, epochs = time.perf_counter(), 0
                while time.perf_counter() - start < (4 if device.type == "cuda" else 0.1):
                    slot.run(one.all_steps())
                    epochs += 1
                return epochs * len(data.train) / (time.perf_counter() - start)

        speed = sum(in_threads([partial(work, seed) for seed in range(count)]))
        streams.close()
        print(f"     {count} streams: {speed:,.0f} images/s", flush=True)


# --- search ---------------------------------------------------------------------------------------


def _search(device: torch.device, gpus: float, trials: int) -> str:
    for name in ("ray", "optuna"):
        if find_spec(name) is None:
            raise Skip(f"{name} is not installed")
    on_gpu(device)
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(
            "name: tiny\nbase: {widths: [8], depths: [1]}\naxes:\n"
            "  layout: [conv3-bn-relu +, bn-relu-conv3-bn-relu-conv3 +, conv3-gn-relu-conv3 +]\n"
            "  shortcut: [pad, proj]\n  drop_path: [0.0, 0.1]\n"
        )
        resources = ss.Resources(gpus_per_trial=gpus)
        run = ss.search(
            space, trials=trials, epochs=3, out=Path(folder) / "run", resources=resources
        )
        ended = run.trials()
        states = [trial.state for trial in ended]
        reasons = [trial.reason for trial in ended if trial.reason]
        assert len(ended) == trials, states
        assert set(states) <= {"COMPLETE", "PRUNED"}, reasons
        return f"{states}, {ended[0].numerics}"


@check("search")
def a_search_with_a_whole_gpu(device: torch.device) -> str:
    return _search(device, 1.0, 4)


@check("search")
def a_search_with_a_quarter_of_a_gpu(device: torch.device) -> str:
    return _search(device, 0.25, 8)
