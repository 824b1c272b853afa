"""Waiting for events: no test rests on how long something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

HANG = 600.0  # seconds; on the busiest machine only a hang takes as long


def wait_for(what: Callable[[], Found]) -> Found:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + HANG
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found
