"""How the access of a Ray cluster stands, asked before it is joined.

Whoever reaches a cluster without token authentication runs code on all its nodes, and a token that
is sent there is a token given away: first we probe without one. This runs as a program of its own,
because Ray keeps what it has read about tokens, waits for many minutes where something else
answers, and writes to standard error on the way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

PATIENCE = 30.0  # seconds in all; a cluster answers within milliseconds


class Access(NamedTuple):
    """How a cluster answered.

    Attributes:
        state: ``open`` to everybody, ``granted`` (it wants a token, and takes the one found here),
            ``denied`` (it wants a token, and not the one found here, if any), or ``none``.
        detail: The address as ``host:port``, or what went wrong.
    """

    state: str
    detail: str


def probe(address: str) -> Access:
    """Ask a cluster, by the tokens and settings of this environment.

    Args:
        address: As ``host:port``, or ``auto`` for the one on this machine.
    """
    command = [sys.executable, "-P", __file__, address]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            text=True,
            start_new_session=True,  # Ctrl-C is for us.
        )
    except subprocess.TimeoutExpired:
        return Access("none", "no answer as of a Ray cluster")
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        return Access("none", lines[-1] if lines else f"exit status {error.returncode}")
    return Access(*json.loads(done.stdout.splitlines()[-1]))


def _probe(address: str) -> Access:
    mode = os.environ.pop("RAY_AUTH_MODE", "disabled")
    # Read by Ray when it is imported.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_py_gcs_connect_timeout_s": "5"}
    from ray import _raylet
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray.exceptions import AuthenticationError, RpcError

    try:
        if address == "auto":
            address = canonicalize_bootstrap_address_or_die(address)
        _raylet.GcsClient(address=address)
    except AuthenticationError:
        pass
    except (ConnectionError, ValueError) as error:
        return Access("none", str(error).partition("\n")[0])
    except RpcError:
        return Access("none", "no answer as of a Ray cluster")
    else:
        return Access("open", address)
    if mode != "token":
        return Access("denied", "RAY_AUTH_MODE=token is not set here")
    try:
        # Asked first: Ray ends the process where it is to send a token and finds none.
        if not _raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
            return Access("denied", "no token in RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token here")
        os.environ["RAY_AUTH_MODE"] = mode
        _raylet.Config.initialize("")
        _raylet.GcsClient(address=address)
    except AuthenticationError as error:
        return Access("denied", error.message.removeprefix("RPC error: InvalidAuthToken: "))
    return Access("granted", address)


if __name__ == "__main__":
    print(json.dumps(_probe(sys.argv[1])))
