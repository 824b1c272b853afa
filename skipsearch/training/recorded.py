"""A step that is recorded once and replayed: on a GPU one launch instead of hundreds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3  # real steps before the recording: allocations, momentum buffers, choice of kernels


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
    """

    def __init__(self, function: Callable[[Tensor], None], recorder: Recorder) -> None:
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
            self._input = value.clone()
            try:
                self._replay = self._recorder.record(self._function, self._input)
            except RuntimeError as error:  # lack of memory is one
                first_line = str(error).partition("\n")[0]
                warnings.warn(f"trains step by step, not recorded: {first_line}", stacklevel=2)
        if self._replay is None:
            self._recorder.run(self._function, value)
        else:
            self._input.copy_(value, non_blocking=True)
            self._replay()


class CudaGraphs:
    """Records on a CUDA device, on a stream and in a memory pool of its own.

    Args:
        generators: That the functions draw from, beside the default one.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = generators
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call on the stream of the recording: gradients must not change theirs later."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function(value)
        current.wait_stream(self._stream)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Capture a CUDA graph, to be replayed on whatever stream is current then."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        # thread_local: other threads may use the device meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            function(value)
        return graph.replay
