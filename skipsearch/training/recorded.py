"""A step that is recorded once and replayed: on a GPU one launch instead of hundreds."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

# Before it, graphs of one process share the memory that holds the default generator's seed, and a
# capture that fails leaves allocator and generators as if it went on. What is done here against
# both, ``drawing_from`` and ``CudaGraphs._clean_up``, was not seen to work on a GPU yet.
OLDEST_TORCH = (2, 13)
WARM_UP = 3  # real steps before the recording: allocations, momentum buffers, choice of kernels


def cannot_record(device: torch.device) -> str | None:
    """Return why steps are not recorded on a device; None where they are."""
    if device.type != "cuda":
        return "no CUDA device"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        return f"torch {torch.__version__} is older than {OLDEST_TORCH[0]}.{OLDEST_TORCH[1]}"
    return None


class Recorder(Protocol):
    """What a device must be able to do for ``Recorded``."""

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call the function where recordings of it will be made."""

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Record a call without computing it, and return what replays it on this very tensor.

        Raises:
            RuntimeError: If that is not possible.
        """


class Recorded:
    """A function of one tensor; after a few real calls a replay of its recording.

    Recording computes nothing, so that no state has to be saved and restored. Where it fails, for
    lack of memory or because an operation cannot be recorded, all calls stay real.

    Args:
        function: Of a tensor that always has the same shape; all else that it reads and writes
            must stay at its place in memory.
        recorder: Of the device.

    Attributes:
        failure: Why the function could not be recorded; None where it was, or was not tried yet.
    """

    def __init__(self, function: Callable[[Tensor], None], recorder: Recorder) -> None:
        self.failure: str | None = None
        self._function = function
        self._recorder = recorder
        self._calls = 0
        self._input = torch.empty(0)
        self._replay: Callable[[], None] | None = None

    @property
    def replays(self) -> bool:
        """Whether calls are replays."""
        return self._replay is not None

    def __call__(self, value: Tensor) -> None:
        """Run or replay."""
        self._calls += 1
        if self._calls == WARM_UP + 1:
            self._record(value)
        if self._replay is None:
            self._recorder.run(self._function, value)
        else:
            self._input.copy_(value, non_blocking=True)
            self._replay()

    def _record(self, value: Tensor) -> None:
        self._input = value.clone()
        try:
            self._replay = self._recorder.record(self._function, self._input)
        except RuntimeError as error:  # lack of memory is one
            self.failure = str(_cause(error)).partition("\n")[0]
        if self.failure is not None:
            message = f"trains step by step, not recorded: {self.failure}"
            warnings.warn(message, stacklevel=3)


def _cause(error: BaseException) -> BaseException:
    """Return what failed first: the step, where the end of its capture then failed as well."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@cache
def recording_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream that trainings on a device's default stream are recorded on.

    One for all of them: PyTorch has 32 streams and then hands out the first one again, and two
    graphs of one stream share cuBLAS's workspace, which they may if they never run at once.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class CudaGraphs:
    """Records on a CUDA device, in a memory pool of its own.

    It works on the stream that is current when it is made, or beside the default stream, on which
    nothing can be recorded. That stream must be current at each call.

    Args:
        device: The device, with its index.
        generators: That the functions draw from.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        self._device = device
        self._generators = generators
        stream = torch.cuda.current_stream(device)
        on_default = stream == torch.cuda.default_stream(device)
        self._stream = recording_stream(device) if on_default else stream

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call on the stream of the recording: gradients must not change theirs later."""
        current = torch.cuda.current_stream(self._device)
        if current == self._stream:
            function(value)
            return
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function(value)
        current.wait_stream(self._stream)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Capture a CUDA graph, to be replayed on the stream that is current then."""
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            # The outer context takes the stream back where a capture fails. thread_local: other
            # threads may use the device meanwhile.
            with (
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"),
            ):
                function(value)
        except BaseException:
            self._clean_up(pool)
            raise
        return graph.replay

    def _clean_up(self, pool: tuple[int, int]) -> None:
        """Take back what a capture leaves behind where it does not end in order.

        Before torch 2.15 the allocator would go on as within a capture, and before 2.13 the
        generators.
        """
        index = self._device.index
        with contextlib.suppress(RuntimeError):  # it has ended in order
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)
        for generator in (torch.cuda.default_generators[index], *self._generators):
            generator.graphsafe_set_state(generator.clone_state())
