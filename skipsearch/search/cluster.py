"""The Ray that trials run on: one of our own on this machine, or a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray

from skipsearch.errors import RunError
from skipsearch.training import available_cores

# Set before Ray starts: default loggers cost disk and seconds, a changed working directory breaks
# relative paths, and a failed trial reports no accuracy.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor would end the whole session where one worker grows too large.
    "RAY_memory_monitor_refresh_ms": "0",
}
# On top, for a calm console.
CALM = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "1",
}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What trials may use.

    Attributes:
        cpus_per_trial: CPU cores of each trial, also its threads where it is 1 or more.
        gpus_per_trial: GPUs of each trial, a share below 1 or a whole number; None for one GPU
            where the cluster has any, else 0.
        concurrency: Trials at once at most; None for as many as the resources allow.
        address: Of a Ray cluster to join; None for a Ray of its own on this machine.

    Raises:
        RunError: If a number is out of range.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    concurrency: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.cpus_per_trial < math.inf:
            raise RunError(f"cpus-per-trial: {self.cpus_per_trial!r} is not a number above 0")
        gpus = self.gpus_per_trial
        if gpus is not None and not (0 <= gpus <= 1 or (gpus < math.inf and gpus == int(gpus))):
            raise RunError(f"gpus-per-trial: {gpus!r} is neither a share from 0 to 1 nor whole")
        if self.concurrency is not None and self.concurrency < 1:
            raise RunError(f"concurrency: {self.concurrency!r} is not a positive whole number")


class Share(NamedTuple):
    """What each trial gets of a running Ray.

    Attributes:
        each: CPUs and GPUs of a trial's own.
        at_once: Trials that fit.
        memory: Share of its device's free memory that a trial may count on.
        engines: Where trials share GPUs: how many engines, and how many GPUs each has.
        spread: Whether trials may run on other machines.
    """

    each: dict[str, float]
    at_once: int
    memory: float
    engines: tuple[int, float] = (0, 0.0)
    spread: bool = False


@contextlib.contextmanager
def ray_session(resources: Resources, verbose: bool = False) -> Iterator[Share]:
    """Start a Ray of our own, or join one, and leave no trace of it afterwards.

    Args:
        resources: What trials may use.
        verbose: Whether to show what Ray prints.

    Yields:
        What each trial gets.

    Raises:
        RunError: If the resources asked for do not exist, or Ray cannot be reached.
    """
    with _environment(ENVIRONMENT | ({} if verbose else CALM)), _quiet(verbose):
        if ray.is_initialized():
            yield _share(resources)
            return
        # Sockets below it must not exceed the 107 bytes of a Unix socket's path.
        scratch = tempfile.mkdtemp(prefix="ss-", dir="/tmp")
        try:
            with _interrupts_wait():
                _start_ray(resources.address, scratch, verbose)
            with _termination_interrupts():
                yield _share(resources)
        finally:
            ray.shutdown()
            shutil.rmtree(scratch, ignore_errors=True)


def _share(resources: Resources) -> Share:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = resources.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0.0) >= 1.0 for node in nodes) else 0.0
    each = {"cpu": resources.cpus_per_trial, "gpu": gpus}
    wanted = {name: amount for name, amount in each.items() if amount}
    for name, amount in wanted.items():
        has = max((node.get(name.upper(), 0.0) for node in nodes), default=0.0)
        if has < amount:
            raise RunError(f"{name}s-per-trial: {amount:g} asked for, Ray has {has:g} on a node")
    at_once = sum(
        min(int(node.get(name.upper(), 0.0) / amount + 1e-9) for name, amount in wanted.items())
        for node in nodes
    )
    at_once = min(at_once, resources.concurrency or at_once)
    spread = resources.address is not None
    if 0 < gpus < 1:
        engines = int(sum(node.get("GPU", 0.0) for node in nodes))
        return Share({"cpu": each["cpu"], "gpu": 0.0}, at_once, gpus, (engines, 1.0), spread)
    return Share(each, at_once, 1.0 if gpus else 1.0 / at_once, spread=spread)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM, by which schedulers and containers end a job, as Ctrl-C.

    Ray's own handler, set when it starts, would abort the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back while Ray forks: Python would lose it in a hook of ``os.fork``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def _start_ray(address: str | None, scratch: str, verbose: bool) -> None:
    common: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
    }
    if address is None:
        ray.init(address="local", num_cpus=available_cores(), _temp_dir=scratch, **common)
        return
    _check_reachable(address)
    package = str(Path(__file__).parents[1])
    del common["include_dashboard"]
    try:
        ray.init(address=address, runtime_env={"py_modules": [package]}, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first_line = str(error).partition("\n")[0]
        raise RunError(
            f"address {address}: no Ray cluster can be joined: {first_line}"
            " (a cluster with token authentication needs RAY_AUTH_MODE=token here too)"
        ) from None


def _check_reachable(address: str) -> None:
    """Refuse at once an address that nobody listens at: Ray itself tries for many minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address:
        return  # ``auto``, or a URL such as ray://: Ray knows better what it means.
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            pass
    except (OSError, ValueError) as error:
        raise RunError(f"address {address}: nobody answers there: {error}") from None


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, and take them back after."""
    mine = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    loggers = [] if verbose else [logging.getLogger("ray"), logging.getLogger("ray.tune")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
