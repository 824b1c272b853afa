"""The Optuna storage of a study: a SQLite file, or a database server that several drivers share."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from skipsearch.errors import (
    DamagedError,
    RunError,
    SkipSearchError,
    hide_passwords,
    one_line,
    reason,
    shown_value,
)

# Storage of a study: the path of its SQLite file, or a URL for Optuna. A path is never converted
# to a URL: Optuna and SQLAlchemy would interpret %, ?, { and } in it.
Place = str | Path
Database = Engine  # an open database

TRIES_TO_MAKE = 10
FILE_URL = "sqlite:///study.db"  # gives the kind of database; ``_connector`` opens the file
LONGEST_PATH = 504  # bytes: SQLite's 512 minus the longest suffix that it appends
# Errors from reading a damaged value.
WRONG_CONTENT = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
# SQLite's errors if a file is readable, but would need an update without write permission.
CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def open_storage(place: Place, quick: bool = False) -> RDBStorage:
    """Open a storage for writing, and create it if it is missing.

    Args:
        place: File, or URL such as ``postgresql+psycopg://USER@HOST/DATABASE``.
        quick: Whether SQLite uses write-ahead logging until ``close_storage``, so that a commit
            takes a fifth of the time. If the process is killed, nothing is lost; after a power
            failure, the last changes may be lost.

    Raises:
        RunError: If it cannot be opened; the message shows no password.
    """
    try:
        storage = _opened(place)
        if quick and storage.engine.name == "sqlite":
            event.listen(storage.engine, "connect", _write_ahead)
            storage.engine.dispose()  # earlier connections
    except Exception as error:  # SQLAlchemy's errors depend on the driver of the URL.
        raise unreadable(place, error) from None
    return storage


def _opened(place: Place) -> RDBStorage:
    for _ in range(TRIES_TO_MAKE):
        try:
            return _storage(place)
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # If several drivers find an empty database, one of them creates its tables first.
            if isinstance(error, OperationalError) and "already exists" not in str(error):
                raise
            time.sleep(random.uniform(0.2, 1.0))
    return _storage(place)


def _storage(place: Place) -> RDBStorage:
    if isinstance(place, str):
        return RDBStorage(place)
    return RDBStorage(FILE_URL, engine_kwargs={"creator": _connector(place, "rwc")})


def _connector(file: Path, mode: str) -> Callable[[], sqlite3.Connection]:
    """Return a function that opens a connection to a file; SQLite gets the URI unchanged."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)


def _write_ahead(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def close_storage(storage: RDBStorage) -> None:
    """Close all connections, and leave SQLite as a single file, which can be read and copied."""
    storage.remove_session()
    storage.engine.dispose()
    if storage.engine.name == "sqlite":
        # While another process reads the file, its mode cannot be changed, which does no harm.
        with contextlib.suppress(SQLAlchemyError), storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        storage.engine.dispose()


@contextlib.contextmanager
def reading(place: Place) -> Iterator[Database]:
    """Open an existing storage for reading.

    The log that a killed driver left beside a SQLite file is merged into it if the file is
    writable, and otherwise into a copy: no record is lost.

    Args:
        place: File or URL as for ``open_storage``.

    Raises:
        RunError: If it cannot be opened; the message shows no password.
    """
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(place, str):
                engine = create_engine(make_url(place), poolclass=NullPool)
            else:
                engine = _engine(place)
                if not _is_readable(engine):
                    scratch = stack.enter_context(TemporaryDirectory(prefix="skipsearch-"))
                    engine = _engine(_copied(place, Path(scratch)))
            engine.connect().close()
        except Exception as error:  # SQLAlchemy's errors depend on the driver of the URL.
            raise unreadable(place, error) from None
        try:
            yield engine
        finally:
            engine.dispose()


def _engine(file: Path) -> Engine:
    return create_engine(FILE_URL, creator=_connector(file, "rw"), poolclass=NullPool)


def _is_readable(engine: Engine) -> bool:
    """Return whether SQLite can read a file in place."""
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError as error:
        # The low byte is the kind of error; the others give details.
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in CANNOT_WRITE:
            return False
        raise
    return True


def _copied(file: Path, folder: Path) -> Path:
    for suffix in ("", "-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{file}{suffix}", folder / f"study.db{suffix}")
    return folder / "study.db"


@contextlib.contextmanager
def damage_named(place: Place) -> Iterator[None]:
    """Mention the storage in every error from reading its content.

    Args:
        place: File or URL as for ``open_storage``.

    Raises:
        RunError: If the content is damaged.
    """
    try:
        yield
    except RunError:
        raise
    except (SQLAlchemyError, SkipSearchError, *WRONG_CONTENT) as error:
        raise unreadable(place, error) from None


def unreadable(place: Place, error: Exception) -> RunError:
    """Return the error of a storage that cannot be opened or read; it shows no password."""
    if isinstance(error, SQLAlchemyError):
        cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
    else:
        # Messages about designs may list every field; here the beginning suffices.
        cause = one_line(str(error)) if isinstance(error, SkipSearchError) else reason(error)
    if isinstance(place, str):
        return RunError(f"the storage {shown(place)} cannot be opened: {hide_passwords(cause)}")
    return DamagedError(f"{place} cannot be read: {cause}")


def file_stamp(place: Place) -> tuple[int, ...]:
    """Return numbers that change with SQLite's files; none for a URL."""
    if isinstance(place, str):
        return ()
    stamp: list[int] = []
    for file in (place, f"{place}-wal"):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(file)
            stamp += (found.st_ino, found.st_size, found.st_mtime_ns)
    return tuple(stamp)


def shown(place: Place) -> str:
    """Return the file or URL of a storage for a message; a password in a URL is hidden."""
    if isinstance(place, Path):
        return str(place)
    try:
        return hide_passwords(make_url(place).render_as_string(hide_password=True))
    except (SQLAlchemyError, ValueError):  # It is not a URL, which the caller will report.
        return shown_value(place)


def without_password(url: str) -> str:
    """Return the URL of a storage without its password, so that it can be written to a file.

    The password must then be given in another way, such as ``PGPASSWORD`` or ``~/.pgpass``.

    Raises:
        RunError: If it is not a URL.
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
def quiet_optuna() -> Iterator[None]:
    """Prevent Optuna from logging that a study was created or found."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
