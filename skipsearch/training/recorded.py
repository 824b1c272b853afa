"""A step that is recorded once and then replayed: on a GPU one launch instead of hundreds."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

# In older versions, all graphs of a process share the memory of the default generator's seed, and
# a failed capture leaves allocator and generators in the state of a capture. The remedies for
# both, ``drawing_from`` and ``CudaGraphs._clean_up``, have not been verified on a GPU yet.
OLDEST_TORCH = (2, 13)
WARM_UP = 3  # real steps before the recording: they allocate memory and choose kernels


def cannot_record(device: torch.device) -> str | None:
    """Return why steps are not recorded on a device; None if they are."""
    if device.type != "cuda":
        return "no CUDA device"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        return f"torch {torch.__version__} is older than {OLDEST_TORCH[0]}.{OLDEST_TORCH[1]}"
    return None


class Recorder(Protocol):
    """Operations of a device that ``Recorded`` needs."""

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call the function on the stream of its later recording."""

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Record a call without computing it; return its replay, which reads the same tensor.

        Raises:
            RuntimeError: If it cannot be recorded.
        """


class Recorded:
    """A function of one tensor, recorded and replayed after a few real calls.

    Recording computes nothing, so that no state has to be saved and restored. If it fails, for
    lack of memory or because an operation cannot be recorded, all calls stay real.

    Args:
        function: Function of a tensor of constant shape; everything else that it reads and writes
            must keep its place in memory.
        recorder: Recorder of the device.

    Attributes:
        failure: Reason why the function could not be recorded; None if it was, or was not tried
            yet.
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
        """Run or replay the function."""
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
        except RuntimeError as error:  # includes lack of memory
            self.failure = str(_cause(error)).partition("\n")[0]
        if self.failure is not None:
            message = f"trains step by step, not recorded: {self.failure}"
            warnings.warn(message, stacklevel=3)


def _cause(error: BaseException) -> BaseException:
    """Return the first failure: that of the step, if the end of its capture failed as well."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@cache
def recording_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which trainings of a device's default stream are recorded.

    They share one stream: PyTorch has 32 streams and then reuses the first. Two graphs of one
    stream share cuBLAS's workspace, which is safe if they never run at the same time.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class CudaGraphs:
    """Recorder of a CUDA device, with a separate memory pool for each recording.

    It uses the stream that is current at its creation; since the default stream cannot be recorded,
    ``recording_stream`` replaces it. That stream must be current at each call.

    Args:
        device: Device with its index.
        generators: Generators that the functions draw from.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        self._device = device
        self._generators = generators
        stream = torch.cuda.current_stream(device)
        on_default = stream == torch.cuda.default_stream(device)
        self._stream = recording_stream(device) if on_default else stream

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call on the stream of the recording, as gradients must not change their stream later."""
        current = torch.cuda.current_stream(self._device)
        if current == self._stream:
            function(value)
            return
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function(value)
        current.wait_stream(self._stream)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Capture a CUDA graph, whose replay uses the stream that is current then."""
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            # The outer context restores the stream if a capture fails. thread_local: other threads
            # may use the device meanwhile.
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
        """Restore the state of allocator and generators after a failed capture.

        Otherwise the allocator (before torch 2.15) and the generators (before 2.13) would stay in
        the state of a capture.
        """
        index = self._device.index
        with contextlib.suppress(RuntimeError):  # raised if the capture has ended properly
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)
        for generator in (torch.cuda.default_generators[index], *self._generators):
            generator.graphsafe_set_state(generator.clone_state())
