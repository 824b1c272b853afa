"""The Ray that trials run on: one of our own on this machine, or a cluster that is joined.

Whoever reaches a Ray without token authentication runs code there as its user. One of our own
listens on the loopback interface alone, behind a token that lasts as long as its session; a cluster
without token authentication is not joined unasked. Ray encrypts nothing by itself: in a network
that is not trusted a cluster needs Ray's TLS settings too.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skipsearch.errors import RunError
from skipsearch.searching.options import Resources
from skipsearch.searching.requirements import check_machine, import_problem

if import_problem():
    raise RunError(import_problem())

import ray
from ray import _raylet
from ray._private import ray_constants, services
from ray.exceptions import RayError

from skipsearch import openmp
from skipsearch.searching.folder import session_folder
from skipsearch.searching.probe import probe
from skipsearch.searching.terminal import Line, can_redraw
from skipsearch.training import available_cores

# Set before Ray starts: default loggers cost disk and seconds, a changed working directory breaks
# relative paths, and a failed trial reports no accuracy.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Its own state, which nobody restores, would be written every few seconds, larger each time.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # Workers start together, not each once the one before has: the searcher says how many.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor would end the whole session where one worker grows too large.
    "RAY_memory_monitor_refresh_ms": "0",
} | openmp.SETTINGS
# On top, for a quiet console.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "1",
}


# A Ray client (ray://) is none of these: it would run the search on another machine.
STARTS = 2  # attempts to start Ray: a busy machine may take longer than Ray waits


class Allocation(NamedTuple):
    """What each trial gets of a running Ray.

    Attributes:
        each: CPUs and GPUs of a trial's own.
        at_once: Trials that fit.
        memory: Allocation of its device's free memory that a trial may count on.
        engines: Where trials share GPUs: how many engines, and how many GPUs each has.
        spread: Whether trials may run on other machines.
        folder: For what the session writes: only this user can enter it, and it goes with the
            session, or, where the driver is killed, with the next one's start. None where Ray was
            running already.
    """

    each: dict[str, float]
    at_once: int
    memory: float
    engines: tuple[int, float] = (0, 0.0)
    spread: bool = False
    folder: Path | None = None


@contextlib.contextmanager
def ray_session(resources: Resources, verbose: bool = False) -> Iterator[Allocation]:
    """Start a Ray of our own, or join one, and leave no trace of it afterwards.

    A Ray that this process has started or joined already is used, and left running.

    Args:
        resources: What trials may use.
        verbose: Whether to show what Ray prints.

    Yields:
        What each trial gets.

    Raises:
        RunError: If the resources asked for do not exist, or Ray cannot be reached or entered.
    """
    settings = ENVIRONMENT | ({} if verbose else QUIET)
    if ray.is_initialized():
        _check_running(resources)
        with _environment(settings), _quiet(verbose):
            yield _allocate(resources)
        return
    with session_folder() as folder, _environment(settings), _quiet(verbose):
        try:
            with _interrupts_wait():
                if resources.address is None:
                    _start(folder, resources.dashboard, verbose)
                else:
                    _join(resources.address, resources.insecure, verbose)
            with _termination_interrupts():
                yield _allocate(resources)._replace(folder=folder)
        finally:
            ray.shutdown()


def _allocate(resources: Resources) -> Allocation:
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
    fit = [
        min(int(node.get(name.upper(), 0.0) / amount + 1e-9) for name, amount in wanted.items())
        for node in nodes
    ]
    if not any(fit):
        both = " and ".join(f"{amount:g} {name}s" for name, amount in wanted.items())
        raise RunError(f"cpus-per-trial, gpus-per-trial: no node of Ray has {both}")
    at_once = min(sum(fit), resources.concurrency or sum(fit))
    spread = resources.address is not None
    if 0 < gpus < 1:
        engines = int(sum(node.get("GPU", 0.0) for node in nodes))
        return Allocation({"cpu": each["cpu"], "gpu": 0.0}, at_once, gpus, (engines, 1.0), spread)
    return Allocation(each, at_once, 1.0 if gpus else 1.0 / min(max(fit), at_once), spread=spread)


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM, by which schedulers and containers end a job, as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, _or_default(before))


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while Ray forks: Python would lose them in an ``os.fork`` hook.

    Ray sets a handler of its own for SIGTERM, which would abort the process; it is taken back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: seen.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, _or_default(handler))
    if seen:
        raise KeyboardInterrupt


def _or_default(handler: Any) -> Any:
    return signal.SIG_DFL if handler is None else handler  # None: not set from Python


def _start(folder: Path, dashboard: bool, verbose: bool) -> None:
    """Start a Ray of our own, that nobody but this user can reach."""
    check_machine()
    if dashboard:
        try:
            importlib.import_module("ray.dashboard.optional_deps")
        except ImportError as error:
            raise RunError(f"dashboard: needs pip install 'ray[default]': {error}") from None
    token = folder / "token"
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_TOKEN", None)  # It would count more than the file.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    _read_environment()
    no_api = contextlib.nullcontext() if dashboard else _without_api_server()
    with _on_loopback(), no_api, _word("starting Ray"):
        for left in reversed(range(STARTS)):
            try:
                context = ray.init(
                    address="local",
                    num_cpus=available_cores(),
                    include_dashboard=dashboard,
                    dashboard_host="127.0.0.1",
                    # Ray opens the folder that it is given to everybody: one below ours.
                    _temp_dir=str(folder / str(left)),
                    **_printing(verbose),
                )
                break
            except Exception as error:  # Ray's time-out of 30 s, which is fixed, has no class
                ray.shutdown()
                if not left:
                    reason = textwrap.shorten(str(error), 300)
                    raise RunError(
                        f"Ray did not start in {STARTS} attempts; where this machine is busy, run"
                        f" the same command again later: {reason}"
                    ) from None
    if dashboard:
        print(f"dashboard: http://{context.dashboard_url}, its token: {token}", file=sys.stderr)


def _join(address: str, insecure: bool, verbose: bool) -> None:
    if not insecure and os.environ.get("RAY_AUTH_MODE") != "token":
        raise RunError(
            f"address {address}: joining needs token authentication: set RAY_AUTH_MODE=token here"
            " and where the cluster's nodes start, with one token for all in ~/.ray/auth_token or"
            " RAY_AUTH_TOKEN_PATH, or ask for insecure"
        )
    with _word(f"joining Ray at {address}"):
        _check_reachable(address)
        access = probe(address)
        if access.state == "open" and not insecure:
            raise RunError(
                f"address {address}: everybody who reaches that cluster may run code on it: start"
                " its nodes with RAY_AUTH_MODE=token, or ask for insecure"
            )
        if access.state == "denied":
            raise RunError(f"address {address}: the cluster does not let us in: {access.detail}")
        if access.state == "none":
            raise RunError(f"address {address}: no Ray cluster can be joined: {access.detail}")
        _read_environment()
        package = str(Path(__file__).parents[1])
        try:
            ray.init(
                address=access.detail,
                # For nodes where skipsearch is not installed.
                runtime_env={"py_modules": [package], "excludes": ["__pycache__"]},
                **_printing(verbose),
            )
        except (OSError, ValueError, RuntimeError, RayError) as error:
            reason = textwrap.shorten(str(error.__cause__ or error), 300)
            raise RunError(
                f"address {address}: the cluster cannot be joined: {reason}"
                " (this machine must be one of its nodes, with the same Ray and Python)"
            ) from None


def _printing(verbose: bool) -> dict[str, Any]:
    level = logging.INFO if verbose else logging.ERROR
    return {"log_to_driver": verbose, "logging_level": level}


def _read_environment() -> None:
    """Let Ray read its settings anew: it keeps those of its import, and the first token it sees."""
    _raylet.Config.initialize("")
    # In this order: while the settings ask for a token, one must be found.
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let nothing listen but on the loopback interface.

    Without this Ray's servers listen on all, and it takes no other address for this machine. The
    switch is Ray's own, for systems where it knows no clusters; it is read when Ray is imported.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _without_api_server() -> Iterator[None]:
    """Start no server of the dashboard; Ray continues as where it could not be started.

    Ray starts it without the dashboard too, for its usage statistics, and switched off it still
    asks the metadata services of three clouds where it runs.
    """
    before = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = before


def _check_reachable(address: str) -> None:
    """Refuse at once an address that nobody listens at."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            pass
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a machine
        raise RunError(f"address {address}: nobody answers there: {error}") from None


def _check_running(resources: Resources) -> None:
    """Refuse what a Ray that runs already is not."""
    runs_at = ray.get_runtime_context().gcs_address
    asked = resources.address
    if asked not in (None, "auto") and _resolve(asked) != _resolve(runs_at):
        raise RunError(
            f"address {asked}: this process uses Ray at {runs_at} already: ray.shutdown() first"
        )
    if resources.dashboard:
        raise RunError("dashboard: this process uses Ray already: ray.shutdown() first")


def _resolve(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        host = socket.gethostbyname(host)
    return (ray.util.get_node_ip_address() if host.startswith("127.") else host), port


@contextlib.contextmanager
def _word(text: str) -> Iterator[None]:
    """Say on a terminal what takes a few seconds; the next line goes over it."""
    if not can_redraw(sys.stderr):
        yield
        return
    row = Line(sys.stderr)
    row.write(text)
    try:
        yield
    finally:
        row.clear()


@contextlib.contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, and take all changes back after."""
    before = dict(os.environ)
    os.environ |= dict(defaults) | before
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ |= before
        if not ray.is_initialized():
            _read_environment()


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
