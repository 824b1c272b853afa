"""Requirements of Ray on this process and this machine, which are checked before Ray starts.

Otherwise Ray would end with a traceback, or wait for minutes.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from skipsearch.errors import RunError, shown_value

ANSWER_SECONDS = 5.0  # for a connection within this machine


def import_problem() -> str:
    """Return the reason why Ray cannot be imported; empty if it can be."""
    if sys.flags.optimize > 1:
        return "python -OO: Ray cannot run without docstrings: use python -O, or neither"
    try:
        Path.home()
    except RuntimeError:
        return "there is no home folder, which Ray needs: set HOME, such as HOME=/tmp"
    return ""


def check_machine() -> None:
    """Check that Ray can start on this machine.

    Raises:
        RunError: If the loopback interface does not work, or a path is not UTF-8.
    """
    check_utf8("working directory", os.getcwd())
    for path in sys.path:
        check_utf8("sys.path", path)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), ANSWER_SECONDS).close()
    except OSError as error:
        raise RunError(
            f"there is no loopback interface, over which Ray works: 127.0.0.1: {error.strerror};"
            " bring it up, such as by 'ip link set lo up'"
        ) from None


def check_utf8(name: str, path: str | Path) -> None:
    """Check that a path can be written to a text file.

    Args:
        name: Name for the message.
        path: Path; a relative one is checked together with the working directory.

    Raises:
        RunError: If it is not UTF-8.
    """
    try:
        str(Path(path).absolute()).encode()
    except UnicodeEncodeError:
        raise RunError(
            f"{name}: the path {shown_value(str(path))} is not UTF-8: rename the folder or the file"
        ) from None
