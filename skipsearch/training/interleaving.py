"""Interleaving: a generator yields after each step, so that several trainings share a device."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar, cast

import torch

T = TypeVar("T")


class Event(Protocol):
    """What a step waits for: work on a device, as a ``torch.cuda.Event``, or the next batch."""

    def query(self) -> bool:
        """Return whether it is complete."""

    def synchronize(self) -> None:
        """Wait until it is complete."""


Wait = Event | None  # what the caller waits for before the next step


def requested_so_far(device: torch.device) -> Wait:
    """Return an event that completes when all work requested so far is complete."""
    if device.type != "cuda":
        return None
    # Blocking: waiting for it does not spin.
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def finish(steps: Generator[Wait, None, T]) -> T:
    """Run all steps at once and return their result."""
    while True:
        try:
            waits_for = next(steps)
        except StopIteration as end:
            return cast("T", end.value)
        if waits_for is not None:
            waits_for.synchronize()
