"""The Optuna storage of a study: opened, made quick on SQLite, and shared by several drivers."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from skipsearch.errors import RunError, hide_passwords, shown_value

DRIVER = "driver:"  # begins the study's attributes that say when a driver was last alive
BEAT_SECONDS = 15.0
TRIES_TO_MAKE = 10
DEAD_SECONDS = 120.0  # without a beat; clocks of several machines may differ by less than that


def open_storage(url: str, quick: bool = False) -> RDBStorage:
    """Open a storage, and make it where it is missing.

    Args:
        url: As Optuna takes it, such as ``sqlite:///runs/NAME/study.db`` or
            ``postgresql+psycopg://USER@HOST/DATABASE``.
        quick: Whether SQLite is to write ahead, until ``close_storage``: a commit takes a fifth of
            the time. A killed process loses nothing, a machine without power its last moments.

    Raises:
        RunError: If it cannot be opened; the message shows no password.
    """
    try:
        storage = _opened(url)
        if quick and storage.engine.name == "sqlite":
            event.listen(storage.engine, "connect", _write_ahead)
            storage.engine.dispose()  # connections made before
    except Exception as error:  # SQLAlchemy's own errors depend on the driver behind the URL.
        cause = str(error).partition("\n")[0]
        raise RunError(f"the storage {shown(url)} cannot be opened: {cause}") from None
    return storage


def _opened(url: str) -> RDBStorage:
    for _ in range(TRIES_TO_MAKE):
        try:
            return RDBStorage(url)
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # Of several drivers that find an empty database one makes its tables first.
            if isinstance(error, OperationalError) and "already exists" not in str(error):
                raise
            time.sleep(random.uniform(0.2, 1.0))
    return RDBStorage(url)


def _write_ahead(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def close_storage(storage: RDBStorage) -> None:
    """Close all connections, and leave SQLite as one plain file, which can be read and copied."""
    storage.remove_session()
    storage.engine.dispose()
    url = storage.engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        # While a reader looks on, the file stays as it is, and that is well too.
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(url.database)) as connection,
        ):
            connection.execute("PRAGMA journal_mode=DELETE")


def file_stamp(url: str) -> tuple[int, ...]:
    """Return numbers that change when SQLite's files do; none for a database server."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # It is no URL at all: whoever opens it will find out.
        return ()
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return ()
    stamp: list[int] = []
    for file in (parsed.database, f"{parsed.database}-wal"):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(file)
            stamp += (found.st_ino, found.st_size, found.st_mtime_ns)
    return tuple(stamp)


def shown(url: str) -> str:
    """Return a storage's URL for a message: a password in it is hidden."""
    try:
        return hide_passwords(make_url(url).render_as_string(hide_password=True))
    except (SQLAlchemyError, ValueError):  # It is no URL at all: whoever asked will find out.
        return shown_value(url)


def without_password(url: str) -> str:
    """Return a storage's URL as it may be written to a file.

    A database's own means supply the password then, such as ``PGPASSWORD`` or ``~/.pgpass``.

    Raises:
        RunError: If it is no URL.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # ValueError: a port or a bracket is wrong
        raise RunError(
            f"storage: {shown_value(url)} is no URL such as postgresql+psycopg://USER@HOST/NAME"
        ) from None
    public = parsed._replace(password=None).difference_update_query(["password"])
    return public.render_as_string()


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Keep Optuna from telling that a study was made or found."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _is_known_dead(driver: str) -> bool:
    """Whether a driver ran on this machine and does not any more."""
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

    Attributes:
        driver: This driver's id.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.driver = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._study = study
        self._ended = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._beat_on, name="presence", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        self._study.set_user_attr(DRIVER + self.driver, time.time())

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(Exception):  # the next beat may get through
                self._beat()

    def alive(self) -> set[str]:
        """Return the drivers that were alive a moment ago, this one among them."""
        now = time.time()
        drivers = {
            name.removeprefix(DRIVER)
            for name, beat in self._study.user_attrs.items()
            if name.startswith(DRIVER) and now - beat < DEAD_SECONDS
        }
        return {driver for driver in drivers if not _is_known_dead(driver)}

    def end(self) -> None:
        """Say goodbye, so that nobody waits for this driver."""
        self._ended.set()
        self._thread.join()
        self._study.set_user_attr(DRIVER + self.driver, 0.0)
