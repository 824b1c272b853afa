"""Detection of the living drivers of a shared study, by their heartbeats in the storage.

Clocks of several machines differ, and any of them may change during a search. A driver is dead
when its heartbeat has not changed for a while on the monotonic clock of the observer; wall clocks
only determine how long a driver is watched when it is first seen.
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

DRIVER = "driver:"  # prefix of the study's attributes with heartbeats
ENDED = 0.0  # the heartbeat of a driver that has left
HEARTBEAT_SECONDS = 15.0
DEAD_SECONDS = 120.0  # without a new heartbeat
DOUBT_SECONDS = 3 * HEARTBEAT_SECONDS  # the same, if the first heartbeat seen was already old
LOOK_SECONDS = 1.0  # between checks of a driver in doubt


class Watch:
    """A watch that measures how long a heartbeat has not changed, by the monotonic clock.

    Args:
        monotonic: Monotonic clock.
        wall: Wall clock, which each machine uses for its heartbeats.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        # By name: the heartbeat, the time of its change, and the seconds to wait.
        self._seen: dict[str, tuple[float, float, float]] = {}

    def is_alive(self, name: str, heartbeat: float) -> bool:
        """Return whether a heartbeat is recent enough.

        Args:
            name: Name of the owner of the heartbeat.
            heartbeat: Current heartbeat in the storage.
        """
        now = self._monotonic()
        seen = self._seen.get(name)
        if seen is None:
            recent = abs(self._wall() - heartbeat) < DEAD_SECONDS
            seen = self._seen[name] = (heartbeat, now, DEAD_SECONDS if recent else DOUBT_SECONDS)
        elif seen[0] != heartbeat:
            seen = self._seen[name] = (heartbeat, now, DEAD_SECONDS)
        _, since, patience = seen
        return now - since < patience

    def in_doubt(self, name: str, heartbeat: float) -> bool:
        """Return whether a heartbeat was old when first seen, and is still watched."""
        return self.is_alive(name, heartbeat) and self._seen[name][2] == DOUBT_SECONDS


def is_known_dead(driver: str) -> bool:
    """Return whether a driver ran on this machine and has ended.

    Args:
        driver: Name of the driver.
    """
    host, pid, _ = driver.rsplit("-", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # of another user
    return False


class Presence:
    """The heartbeats of this driver, sent to the study by a thread, and a watch over all others.

    Args:
        study: Shared study.
        watch: Watch over the heartbeats of the others.
        pause: Function that waits for a number of seconds.

    Attributes:
        driver: Name of this driver.
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
        self._send_heartbeat()
        self._thread = threading.Thread(target=self._send_heartbeats, name="presence", daemon=True)
        self._thread.start()

    def _send_heartbeat(self) -> None:
        # The time by which new observers judge this driver. Each heartbeat differs from the last.
        now = time.time()
        self._last = now if now != self._last else now + 1e-3
        self._study.set_user_attr(DRIVER + self.driver, self._last)

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(Exception):  # the next heartbeat may succeed
                self._send_heartbeat()

    def _heartbeats(self) -> dict[str, float]:
        """Return the last heartbeat of each driver that may be alive."""
        heartbeats = {
            name.removeprefix(DRIVER): float(heartbeat)
            for name, heartbeat in self._study.user_attrs.items()
            if name.startswith(DRIVER)
        }
        return {
            driver: heartbeat
            for driver, heartbeat in heartbeats.items()
            if heartbeat != ENDED and not is_known_dead(driver)
        }

    def alive(self) -> set[str]:
        """Return the drivers that seem to be alive, including this one."""
        return {
            driver
            for driver, heartbeat in self._heartbeats().items()
            if self._watch.is_alive(driver, heartbeat)
        }

    def is_recent(self, number: int, start: float) -> bool:
        """Return whether a trial without a driver's name may still get one.

        Args:
            number: Number of the trial.
            start: Start time by the clock of its driver.
        """
        return self._watch.is_alive(f"trial {number}", start)

    def wait_until_known(self, drivers: Set[str], unsigned: Mapping[int, float]) -> None:
        """Wait until it is known whether each driver is alive.

        Args:
            drivers: Names of the drivers.
            unsigned: Start times of the trials without a driver's name, by number.
        """
        started = {f"trial {number}": start for number, start in unsigned.items()}
        while any(
            self._watch.in_doubt(name, heartbeat)
            for name, heartbeat in (self._heartbeats() | started).items()
            if name in drivers or name in started
        ):
            self._pause(LOOK_SECONDS)

    def end(self) -> None:
        """Mark this driver as ended, so that no other driver waits for it."""
        self._ended.set()
        self._thread.join()
        self._study.set_user_attr(DRIVER + self.driver, ENDED)
