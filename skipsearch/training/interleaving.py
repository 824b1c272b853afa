"""Interleaving: a generator yields after each step, so that several trainings share a device."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar, cast

import torch

T = TypeVar("T")


class Event(Protocol):
    """Work on a device, as a ``torch.cuda.Event``."""

    def query(self) -> bool:
        """Return whether it is complete."""

    def synchronize(self) -> None:
        """Wait until it is complete."""


# What the caller waits for before the next step: work on a device, work of a thread, or nothing.
Wait = Event | Future[Any] | None


def is_complete(waits_for: Wait) -> bool:
    """Return whether the next step can be taken."""
    if isinstance(waits_for, Future):
        return waits_for.done()
    return waits_for is None or waits_for.query()


def requested_so_far(device: torch.device) -> Event | None:
    """Return an event that completes when all work requested so far is complete."""
    if device.type != "cuda":
        return None
    # Blocking: waiting for it does not spin.
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return cast("Event", event)


def finish(steps: Generator[Wait, None, T]) -> T:
    """Run all steps at once and return their result."""
    while True:
        try:
            waits_for = next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        if isinstance(waits_for, Future):
            wait([waits_for])
        elif waits_for is not None:
            waits_for.synchronize()
