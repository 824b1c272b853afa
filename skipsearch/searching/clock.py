"""Detection of changes of the system clock during a search: Ray does not survive every jump."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from skipsearch.errors import RunError, SkipSearchError, reason

JUMP_SECONDS = 60.0  # larger than any small correction of a synchronised clock


class Clock:
    """A comparison of the system clock with the monotonic clock since its creation.

    Args:
        wall: System clock.
        monotonic: Monotonic clock.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def jump(self) -> float:
        """Return the seconds by which the system clock was changed, forwards if positive."""
        return self._wall() - self._monotonic() - self._offset

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Mention the system clock in an error of Ray if the clock was changed.

        Raises:
            RunError: Instead of the error of Ray, if the clock was changed.
        """
        try:
            yield
        except SkipSearchError:
            raise
        except Exception as error:
            jump = self.jump()
            if abs(jump) < JUMP_SECONDS:
                raise
            way = "forwards" if jump > 0 else "backwards"
            raise RunError(
                f"the system clock jumped {way} by {_shown(abs(jump))} while the search ran (or the"
                f" machine slept), which Ray does not support ({reason(error)}); nothing that was"
                " recorded is lost: run the same command again to resume"
            ) from error


def _shown(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
