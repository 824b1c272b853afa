"""Resources and limits of a session."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from skipsearch.errors import RunError, shown_value

# This excludes the Ray client (ray://), which would run the search on another machine.
HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]{1,253}):(\d{1,5})", re.ASCII)
LAST_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources of the trials.

    Attributes:
        cpus_per_trial: Number of CPU cores of each trial, and of its threads if it is 1 or more.
        gpus_per_trial: Number of GPUs of each trial, a share below 1 or an integer; None for one
            GPU if the cluster has any, else 0.
        concurrency: Maximum number of trials at once; None for as many as the resources allow.
        address: Address of a Ray cluster to join, ``host:port`` or ``auto`` for the one on this
            machine; None for a local Ray.
        insecure: Whether to accept a cluster without token authentication.
        dashboard: Whether a local Ray provides its dashboard, on this machine only.

    Raises:
        RunError: If a number is out of range, or options are incompatible.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    concurrency: int | None = None
    address: str | None = None
    insecure: bool = False
    dashboard: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.cpus_per_trial < math.inf:
            raise RunError(f"cpus-per-trial: {self.cpus_per_trial!r} is not a number above 0")
        gpus = self.gpus_per_trial
        if gpus is not None and not (0 <= gpus <= 1 or (gpus < math.inf and gpus == int(gpus))):
            raise RunError(f"gpus-per-trial: {gpus!r} is neither a share from 0 to 1 nor whole")
        most = self.concurrency
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise RunError(f"concurrency: {most!r} is not a positive whole number")
        if self.address is None:
            if self.insecure:
                raise RunError("insecure: has no effect without an address")
            return
        match = HOST_PORT.fullmatch(self.address)
        if self.address != "auto" and not (match and 1 <= int(match[2]) <= LAST_PORT):
            raise RunError(
                f"address: {shown_value(self.address)} is neither auto nor host:port,"
                f" with a port from 1 to {LAST_PORT}"
            )
        if self.dashboard:
            raise RunError("dashboard: has no effect with an address: the cluster has its own")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a search and its trials.

    Attributes:
        time_budget: Seconds after which the session stops; run it again to resume.
        trial_timeout: Seconds of training after which a trial fails.
        max_failures: Number of consecutive failed trainings that stops a search; a pack is one.

    Raises:
        RunError: If a number is out of range.
    """

    time_budget: float | None = None
    trial_timeout: float | None = None
    max_failures: int = 10

    def __post_init__(self) -> None:
        for name in ("time_budget", "trial_timeout"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise RunError(f"{name}: {value!r} is not a number of seconds above 0")
        most = self.max_failures
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise RunError(f"max_failures: {most!r} is not a positive whole number")
