"""Several trainings on one device at once, in one process."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import torch

from skipsearch.record import Epoch
from skipsearch.training.engine import Turns


class Residents:
    """Lets several threads train on one device, each on a stream of its own.

    A kernel of a small network leaves most of a GPU idle; several streams fill it. The device's
    queue is fed by one thread at a time, so that what one trainer draws is not what another seeded,
    and so that no step is recorded while another is; waiting for the device is done by all at once.
    The process must be of its own: its global random state is not kept.

    Args:
        device: That all of them train on.
        residents: Threads that train at once, at most.

    Attributes:
        turn: To be held by whoever else draws from the global generator, such as ``build``.
    """

    def __init__(self, device: torch.device, residents: int) -> None:
        self.turn = threading.Lock()
        self._streams: SimpleQueue[torch.cuda.Stream | None] = SimpleQueue()
        for _ in range(residents):
            on_gpu = device.type == "cuda"
            self._streams.put(torch.cuda.Stream(device) if on_gpu else None)  # type: ignore[no-untyped-call]

    def run(self, turns: Turns) -> Epoch:
        """Take all turns of an epoch, while other threads take those of others.

        Args:
            turns: As ``Trainer.turns`` returns them.

        Raises:
            DivergedError: If the loss is no longer finite.
        """
        stream = self._streams.get()
        try:
            with torch.cuda.stream(stream):  # of None: nothing
                return self._run(turns)
        finally:
            self._streams.put(stream)

    def _run(self, turns: Turns) -> Epoch:
        while True:
            try:
                with self.turn:
                    waits_for = next(turns)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if waits_for is not None:
                waits_for.synchronize()
