"""Probe of the access to a Ray cluster, before joining it.

Anyone who can reach a cluster without token authentication can run code on all its nodes, and a
token that is sent there is disclosed: first we probe without one. This runs as a separate program,
because Ray caches what it has read about tokens, waits for many minutes if another server answers,
and writes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

PATIENCE = 30.0  # seconds in total; a cluster answers within milliseconds


class Access(NamedTuple):
    """Answer of a cluster.

    Attributes:
        state: ``open`` to everybody, ``granted`` (it requires a token, and accepts the local one),
            ``denied`` (it requires a token, and rejects the local one, if any), or ``none``.
        detail: Address as ``host:port``, or the error.
    """

    state: str
    detail: str


def probe(address: str) -> Access:
    """Query a cluster with the tokens and settings of this environment.

    Args:
        address: Address as ``host:port``, or ``auto`` for the cluster on this machine.
    """
    command = [sys.executable, "-P", __file__, address]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process.
        )
    except subprocess.TimeoutExpired:
        return Access("none", "no answer as of a Ray cluster")
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        return Access("none", lines[-1] if lines else f"exit status {error.returncode}")
    return Access(*json.loads(done.stdout.splitlines()[-1]))


def _probe(address: str) -> Access:
    mode = os.environ.pop("RAY_AUTH_MODE", "disabled")
    # Read by Ray at import.
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
        # Checked first: Ray ends the process if it has to send a token and finds none.
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
