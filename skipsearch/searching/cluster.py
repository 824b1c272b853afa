"""The Ray instance of the trials: a local one on this machine, or an existing cluster.

Anyone who can reach Ray without token authentication can run code there as its user. A local
instance listens only on the loopback interface, protected by a token that is valid for one session;
a cluster without token authentication is joined only on request. Ray does not encrypt by default:
in an untrusted network, a cluster also needs Ray's TLS settings.
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

from skipsearch.errors import RunError, one_line
from skipsearch.searching.options import Resources
from skipsearch.searching.requirements import check_machine, import_problem

if import_problem():
    raise RunError(import_problem())

import ray
from ray import _raylet
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.exceptions import RayError
from ray.tune.execution import class_cache

from skipsearch import openmp
from skipsearch.searching.folder import session_folder
from skipsearch.searching.probe import probe
from skipsearch.terminal import Line, can_redraw
from skipsearch.training import available_cores

# Set before Ray starts: default loggers cost disk and seconds, and a failed trial reports no
# accuracy.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Tune would write its growing state, which nothing restores, every few seconds.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # Workers start together instead of one after another: the searcher limits their number.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor would end the whole session if one worker grows too large.
    "RAY_memory_monitor_refresh_ms": "0",
} | openmp.SETTINGS
# In addition, for a quiet console.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "1",
}


STARTS = 2  # attempts to start Ray, whose time-out may be too short on a busy machine


class Allocation(NamedTuple):
    """Resources of each trial in a running Ray.

    Attributes:
        each: Dedicated CPUs and GPUs of a trial.
        at_once: Number of trials that fit at once.
        memory: Share of its device's free memory that a trial may use.
        engines: Number of engines and GPUs of each, if trials share GPUs.
        spread: Whether trials may run on other machines.
        folder: Folder for files of the session, private to this user. It is removed at the end of
            the session or, if the driver is killed, at the start of the next one. None if Ray was
            already running.
    """

    each: dict[str, float]
    at_once: int
    memory: float
    engines: tuple[int, float] = (0, 0.0)
    spread: bool = False
    folder: Path | None = None


@contextlib.contextmanager
def ray_session(resources: Resources, verbose: bool = False) -> Iterator[Allocation]:
    """Start a local Ray or join a cluster, and shut it down or leave it afterwards.

    A Ray that this process has already started or joined is used, and is left running.

    Args:
        resources: Resources of the trials.
        verbose: Whether to show the output of Ray.

    Yields:
        Resources of each trial.

    Raises:
        RunError: If the requested resources do not exist, or Ray cannot be reached or joined.
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
    """Treat SIGTERM, with which schedulers and containers end a job, as Ctrl-C."""
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
    """Defer Ctrl-C and SIGTERM while Ray starts: Python would lose them in an ``os.fork`` hook.

    Ray's handler for SIGTERM, which would abort the process, is replaced by the previous one.
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
    """Start a local Ray that only this user can reach."""
    check_machine()
    if dashboard:
        try:
            importlib.import_module("ray.dashboard.optional_deps")
        except ImportError as error:
            raise RunError(
                f"dashboard: needs pip install 'ray[default]': {one_line(str(error))}"
            ) from None
    token = folder / "token"
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_TOKEN", None)  # It has priority over the file.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    _read_environment()
    with _on_loopback(), _without_helpers(dashboard, verbose), _word("starting Ray"):
        for left in reversed(range(STARTS)):
            try:
                context = ray.init(
                    address="local",
                    num_cpus=available_cores(),
                    include_dashboard=dashboard,
                    dashboard_host="127.0.0.1",
                    # A subfolder, since Ray makes it accessible to everybody.
                    _temp_dir=str(folder / str(left)),
                    **_printing(verbose),
                )
                break
            except Exception as error:  # Ray's fixed time-out of 30 s has no class
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
            f"address {address}: the cluster requires token authentication: set RAY_AUTH_MODE=token"
            " here and where the cluster's nodes start, with one token for all in ~/.ray/auth_token"
            " or RAY_AUTH_TOKEN_PATH, or ask for insecure"
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
            raise RunError(f"address {address}: the cluster denied access: {access.detail}")
        if access.state == "none":
            raise RunError(f"address {address}: no Ray cluster can be joined: {access.detail}")
        _read_environment()
        package = str(Path(__file__).parents[1])
        try:
            ray.init(
                address=access.detail,
                # For nodes without an installation of skipsearch.
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
    """Reload Ray's settings: it keeps those of its import, and the first token it sees."""
    _raylet.Config.initialize("")
    # In this order: while the settings require a token, there must be one.
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Restrict all servers to the loopback interface.

    Otherwise Ray's servers listen on all interfaces, and it accepts no other address for this
    machine. Ray has this switch for systems without support of clusters, and reads it at import.
    """
    with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", False):
        yield


@contextlib.contextmanager
def _without_helpers(dashboard: bool, verbose: bool) -> Iterator[None]:
    """Prevent the start of processes that a local search does not need.

    - The server of the dashboard. Ray starts it even without the dashboard, for usage statistics,
      and it queries the metadata services of three clouds for its location even if the statistics
      are disabled. Ray continues as if its start had failed.
    - The autoscaler, which starts and stops machines of a cloud.
    - The log monitor, which sends the output of workers to the driver.
    """
    with contextlib.ExitStack() as stack:
        if not dashboard:
            no_server = _replaced(services, "start_api_server", lambda *_, **__: (None, None))
            stack.enter_context(no_server)
            stack.enter_context(_replaced(Node, "start_monitor", lambda _: None))
        if not verbose:
            stack.enter_context(_replaced(Node, "start_log_monitor", lambda _: None))
        yield


@contextlib.contextmanager
def waiting_processes() -> Iterator[None]:
    """Run trials in worker processes that Ray has started in advance.

    Tune sets environment variables for each trial, for which Ray would start two Python processes,
    one after the other, instead. Trials do not need these variables; see ``front_end.Stays``.
    """
    with (
        _replaced(class_cache, "DEFAULT_ENV_VARS", {}),
        _replaced(class_cache, "ENV_VARS_TO_PROPAGATE", ()),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of Ray during a ``with`` statement."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _check_reachable(address: str) -> None:
    """Raise an error at once for an address without a server."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            pass
    except (OSError, UnicodeError) as error:  # UnicodeError: not a host name
        raise RunError(f"address {address}: no answer: {one_line(str(error))}") from None


def _check_running(resources: Resources) -> None:
    """Raise an error for options that do not apply to a Ray that is already running."""
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
    """Show a message on a terminal during a step that takes a few seconds."""
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
    """Set environment variables that the user has not set, and restore all afterwards."""
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
