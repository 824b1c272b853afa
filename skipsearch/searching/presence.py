"""Which drivers of a shared study are alive, by their beats in the storage.

Clocks of several machines differ, and any of them may be set while a search runs. A driver is dead
when its beat has not changed for a while by the monotonic clock of whoever looks; what wall clocks
say only decides how long a driver that is seen for the first time is watched.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Set
from uuid import uuid4

import optuna

DRIVER = "driver:"  # begins the study's attributes that hold the beats
ENDED = 0.0  # the beat of a driver that has said goodbye
BEAT_SECONDS = 15.0
DEAD_SECONDS = 120.0  # without a new beat
DOUBT_SECONDS = 3 * BEAT_SECONDS  # the same, where the first beat that was seen was old already
LOOK_SECONDS = 1.0  # between looks at a driver in doubt


class Watch:
    """Measures how long a beat has not changed, by the monotonic clock.

    Args:
        monotonic: That clock.
        wall: What beats are stamped with, on each machine by its own.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._seen: dict[str, tuple[float, float, float]] = {}  # beat, since when, how long to wait

    def is_alive(self, name: str, beat: float) -> bool:
        """Whether a beat is new, or not yet old enough.

        Args:
            name: Whose beat it is.
            beat: As the storage has it now.
        """
        now = self._monotonic()
        seen = self._seen.get(name)
        if seen is None:
            recent = abs(self._wall() - beat) < DEAD_SECONDS
            seen = self._seen[name] = (beat, now, DEAD_SECONDS if recent else DOUBT_SECONDS)
        elif seen[0] != beat:
            seen = self._seen[name] = (beat, now, DEAD_SECONDS)
        _, since, patience = seen
        return now - since < patience

    def in_doubt(self, name: str, beat: float) -> bool:
        """Whether a beat looked old when it was first seen, and is watched still."""
        return self.is_alive(name, beat) and self._seen[name][2] == DOUBT_SECONDS


def is_known_dead(driver: str) -> bool:
    """Whether a driver ran on this machine and does not any more.

    Args:
        driver: Its id.
    """
    host, pid, _ = driver.rsplit("-", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's
    return False


class Presence:
    """Tells other drivers of a study that this one is alive, from a thread of its own.

    Args:
        study: Of them all.
        watch: Judges the beats of the others.
        pause: Waits for so many seconds.

    Attributes:
        driver: This driver's id.
    """

    def __init__(
        self,
        study: optuna.Study,
        watch: Watch | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.driver = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._study = study
        self._watch = watch or Watch()
        self._pause = pause
        self._ended = threading.Event()
        self._last = 0.0
        self._beat()
        self._thread = threading.Thread(target=self._beat_on, name="presence", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        # A time: whoever sees this driver first judges by it; never the same one twice.
        now = time.time()
        self._last = now if now != self._last else now + 1e-3
        self._study.set_user_attr(DRIVER + self.driver, self._last)

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(Exception):  # the next beat may get through
                self._beat()

    def _beats(self) -> dict[str, float]:
        """Return the last beat of each driver that may be alive."""
        beats = {
            name.removeprefix(DRIVER): float(beat)
            for name, beat in self._study.user_attrs.items()
            if name.startswith(DRIVER)
        }
        return {
            driver: beat
            for driver, beat in beats.items()
            if beat != ENDED and not is_known_dead(driver)
        }

    def alive(self) -> set[str]:
        """Return the drivers that are alive as far as can be known, this one among them."""
        return {
            driver for driver, beat in self._beats().items() if self._watch.is_alive(driver, beat)
        }

    def is_recent(self, number: int, start: float) -> bool:
        """Whether a trial that no driver has signed may still get its signature.

        Args:
            number: Of the trial.
            start: When it began, by the clock of its driver.
        """
        return self._watch.is_alive(f"trial {number}", start)

    def settle(self, drivers: Set[str], unsigned: Mapping[int, float]) -> None:
        """Wait until it is known of each driver whether it is alive.

        Args:
            drivers: Their ids.
            unsigned: When trials began that no driver has signed, by their numbers.
        """
        started = {f"trial {number}": start for number, start in unsigned.items()}
        while any(
            self._watch.in_doubt(name, beat)
            for name, beat in (self._beats() | started).items()
            if name in drivers or name in started
        ):
            self._pause(LOOK_SECONDS)

    def end(self) -> None:
        """Say goodbye, so that nobody waits for this driver."""
        self._ended.set()
        self._thread.join()
        self._study.set_user_attr(DRIVER + self.driver, ENDED)
