"""Waiting for events: no test rests on how long something takes."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
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


def recorded_epochs(run: Path) -> list[int]:
    """How many epochs of each training a study holds; asked so often that it must be quick."""
    if not (run / "checkpoints").exists():  # The study may not be there yet.
        return []
    query = "SELECT COUNT(step) FROM trials LEFT JOIN trial_intermediate_values USING (trial_id)"
    with contextlib.closing(sqlite3.connect(f"file:{run}/study.db?mode=ro", uri=True)) as study:
        return [count for (count,) in study.execute(f"{query} GROUP BY trial_id")]
