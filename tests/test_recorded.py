"""CUDA graphs without a GPU: which streams are current, what waits for what, what stays behind.

What calls the driver is replaced by what notes the call; PyTorch's own contexts of streams and
captures, which are written in Python, are the real ones.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from skipsearch.training.recorded import WARM_UP, CudaGraphs, Recorded, recording_stream

SECOND = torch.device("cuda", 1)
DEFAULT = "default"


class Stream:
    """A stream that notes for what it waits."""

    def __init__(self, cuda: Cuda, name: str, device: torch.device = SECOND) -> None:
        self.name, self.device = name, device
        self._cuda = cuda

    def wait_stream(self, other: Stream) -> None:
        self._cuda.calls.append(f"{self.name} waits for {other.name}")


class Generator:
    """A generator of a GPU; its state is a text."""

    def __init__(self, state: str) -> None:
        self.state = state

    def clone_state(self) -> Generator:
        return Generator(f"copy of {self.state}")

    def graphsafe_set_state(self, other: Generator) -> None:
        self.state = other.state


class Cuda:
    """The state of a driver, as far as recordings concern it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.default = self.current = Stream(self, DEFAULT)
        self.made: list[Stream] = []
        self.captured: Stream | None = None  # what a capture goes on
        self.fails_to: str | None = None

    def make(self, device: torch.device) -> Stream:
        self.made.append(Stream(self, f"stream {len(self.made)}", device))
        return self.made[-1]

    def set(self, stream: Stream) -> None:
        self.current = stream

    def compute(self, _: Tensor) -> None:
        """Be a step."""
        self.calls.append(f"a step on {self.current.name}")
        if self.captured and self.fails_to == "compute":
            raise RuntimeError("not permitted when stream is capturing\nand a long trace")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    cuda = Cuda()

    class Graph:
        def register_generator_state(self, generator: Generator) -> None:
            cuda.calls.append(f"a graph with {generator.state}")

        def capture_begin(self, *_: object, capture_error_mode: str, **__: object) -> None:
            assert capture_error_mode == "thread_local"
            if cuda.fails_to == "begin":
                raise RuntimeError("no capture begins")
            cuda.captured = cuda.current

        def capture_end(self) -> None:
            cuda.captured = None
            if cuda.fails_to is not None:
                raise RuntimeError("the capture failed")

        def replay(self) -> None:
            cuda.calls.append(f"a replay on {cuda.current.name}")

    for name, what in {
        "Stream": cuda.make,
        "CUDAGraph": Graph,
        "_get_device_index": lambda *_: SECOND.index,
        "current_stream": lambda _=None: cuda.current,
        "default_stream": lambda _=None: cuda.default,
        "set_stream": cuda.set,
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "default_generators": (Generator("first"), Generator("second")),
    }.items():
        monkeypatch.setattr(torch.cuda, name, what)
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        note = lambda index, _, name=name: cuda.calls.append(f"{name} {index}")  # noqa: E731
        monkeypatch.setattr(torch._C, name, note)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    recording_stream.cache_clear()
    yield cuda
    recording_stream.cache_clear()


def call(step: Callable[[Tensor], None], times: int) -> None:
    for _ in range(times):
        step(torch.zeros(3))


def test_steps_are_ordered_between_their_stream_and_the_one_of_before(cuda: Cuda) -> None:
    step = Recorded(cuda.compute, CudaGraphs(SECOND))
    call(step, 1)
    around = ["stream 0 waits for default", "a step on stream 0", "default waits for stream 0"]
    assert cuda.calls == around
    call(step, WARM_UP - 1)
    cuda.calls.clear()
    call(step, 2)
    assert cuda.calls == ["a step on stream 0", "a replay on default", "a replay on default"]
    assert cuda.current is cuda.default


def test_a_slot_is_recorded_on_its_own_stream(cuda: Cuda) -> None:
    cuda.current = slot = Stream(cuda, "slot")
    step = Recorded(cuda.compute, CudaGraphs(SECOND))
    call(step, WARM_UP + 1)
    assert cuda.calls == (WARM_UP + 1) * ["a step on slot"] + ["a replay on slot"]
    assert cuda.current is slot
    assert not cuda.made


def test_all_trainings_on_a_default_stream_are_recorded_on_one(cuda: Cuda) -> None:
    # PyTorch has 32 streams: the 33rd would share its workspaces with a graph that is alive.
    for _ in range(40):
        call(Recorded(cuda.compute, CudaGraphs(SECOND)), WARM_UP + 1)
    CudaGraphs(torch.device("cuda", 0))
    assert [stream.device for stream in cuda.made] == [SECOND, torch.device("cuda", 0)]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("begin", "no capture begins"),
        ("compute", "not permitted when stream is capturing"),
        ("end", "the capture failed"),
    ],
)
@pytest.mark.parametrize("place", [DEFAULT, "slot"])
def test_after_a_failed_capture_all_is_as_before(
    cuda: Cuda, what: str, reason: str, place: str
) -> None:
    # PyTorch's context of a capture leaves its stream current where the capture does not end well.
    cuda.current = before = cuda.default if place == DEFAULT else Stream(cuda, place)
    cuda.fails_to = what
    own = Generator("own")
    step = Recorded(cuda.compute, CudaGraphs(SECOND, (own,)))  # type: ignore[arg-type]
    call(step, WARM_UP)
    cuda.calls.clear()
    with pytest.warns(UserWarning, match=f"not recorded: {reason}$"):
        call(step, 1)
    assert cuda.current is before
    assert step.failure == reason
    # The allocator has left the capture, and the generators have left the state that is in it.
    assert {"_cuda_endAllocateToPool 1", "_cuda_releasePool 1"} <= set(cuda.calls)
    states = [each.state for each in (*torch.cuda.default_generators, own)]  # type: ignore[attr-defined]
    assert states == ["first", "copy of second", "copy of own"]
    cuda.calls.clear()
    call(step, 2)
    on = "slot" if before is not cuda.default else "stream 0"
    assert [each for each in cuda.calls if "step" in each] == 2 * [f"a step on {on}"]
    assert not step.replays


def test_a_recording_knows_what_its_steps_draw_from(cuda: Cuda) -> None:
    generators: Any = (Generator("a"), Generator("b"))
    call(Recorded(cuda.compute, CudaGraphs(SECOND, generators)), WARM_UP + 1)
    assert [each for each in cuda.calls if "graph" in each] == ["a graph with a", "a graph with b"]


def test_steps_go_on_when_the_exception_of_a_recording_is_gone() -> None:
    # It holds the frames that it went through, and with them all tensors of the step.
    held: list[weakref.ref[Tensor]] = []
    free: list[bool] = []

    class Fails:
        def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
            free.append(all(tensor() is None for tensor in held))

        def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
            activations = torch.zeros(3)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("no room")

    step = Recorded(lambda _: None, Fails())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(step, WARM_UP + 1)
    assert len(held) == 1
    assert free == (WARM_UP + 1) * [True]
