"""What every test file shares."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from math import ceil

import pytest
import torch
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, event

# How long an example takes says how busy the machine is.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")


# Files that take longest. They begin first, so that no core waits for one of them at the end.
SLOWEST = (
    *("trouble", "product_export", "torture", "search", "deepen", "study", "memory", "models"),
    *("samplers", "export", "diagram", "write_behind", "packed_searches", "run_folder"),
    *("product", "pack", "design", "public", "space", "reference_models", "report", "cluster"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first; the others, and the tests of a file, stay in their order."""
    place = {f"test_{name}": number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def _asks_for_gpu(config: pytest.Config) -> bool:
    asked = config.option.markexpr.split()
    return "gpu" in asked and "not" not in asked


def pytest_configure(config: pytest.Config) -> None:
    """Hide a GPU from all tests but those of ``-m gpu``, before anything has looked for one."""
    if not _asks_for_gpu(config):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # For the processes of xdist and those that tests start: threads of linear algebra wait for each
    # other, and on small matrices they take twice the time of one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Ray's workers give way to all else by default; here all else is tests that wait for workers.
    os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.hookimpl(optionalhook=True)  # there may be no xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processes of the tests.

    Tests that need a GPU share one process, since each would hold memory of it. Otherwise there are
    half again as many as cores: many tests wait for processes that they have started.
    """
    return 1 if _asks_for_gpu(config) else ceil(1.5 * len(os.sched_getaffinity(0)))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """On a busy machine, threads wait for each other far longer than small networks compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def no_wait_for_the_disk() -> Iterator[None]:
    """No test cuts the power, and what a killed process wrote is there without a wait as well."""

    def hurry(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.Error):  # a damaged file is told where it is read
                connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Start Ray once for all searches of a file."""
    from skipsearch.searching.cluster import ray_session
    from skipsearch.searching.options import Resources

    with ray_session(Resources()):
        yield
