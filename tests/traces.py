"""Runs programs in an empty home and an empty network: what they leave and whom they call.

The network is a namespace of its own in which every address lies behind the loopback interface, so
that each packet for another machine is seen there, whichever library sends it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

NAMESERVER = "192.0.2.53"  # an address for documentation: nobody has it
# Where libraries look for a home, and switches that would hide what they do by default.
SETTINGS = ("XDG_", "MPLCONFIGDIR", "RAY_", "ORT_", "MLFLOW_", "HF_")


class Traces(NamedTuple):
    """What was seen of a program.

    Attributes:
        done: How it ended, with its output.
        left: Files and folders below its home.
        sent: Addresses beyond this machine that it sent something to, name servers among them;
            None where this machine does not allow to look.
    """

    done: subprocess.CompletedProcess[str]
    left: set[str]
    sent: set[str] | None


def watched(command: Sequence[str], home: Path, cwd: Path | None = None) -> Traces:
    """Run a program whose home is an empty folder, and which no setting of this process reaches."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    seen = home.parent / f"{home.name}.seen"
    home.mkdir()
    words = [sys.executable, __file__, str(seen), *command] if may_watch() else command
    done = subprocess.run(
        [*(NAMESPACE if may_watch() else ()), *words],
        cwd=cwd,
        env={**kept, "HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    left = {str(path.relative_to(home)) for path in home.rglob("*")}
    return Traces(done, left, set(json.loads(seen.read_text())) if may_watch() else None)


NAMESPACE = ("unshare", "--map-root-user", "--net", "--mount")


@cache
def may_watch() -> bool:
    """Whether this user may make namespaces."""
    if shutil.which("unshare") is None:
        return False
    try_it = [*NAMESPACE, sys.executable, __file__, os.devnull, "true"]
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


# --- inside the namespace ------------------------------------------------------------------------

SIOCSIFFLAGS, SIOCADDRT = 0x8914, 0x890B  # of ioctl(2), linux/sockios.h
IFF_UP, RTF_UP = 1, 1
SO_ATTACH_FILTER = 26
ETH_P_IP = 0x0800


def _send_everything_to_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
        anywhere = struct.pack("HH4s8x", socket.AF_INET, 0, bytes(4))
        device = ctypes.create_string_buffer(b"lo")
        # struct rtentry of linux/route.h: destination, gateway, mask, flags, ..., device, ...
        route = struct.pack(
            "L16s16s16sHhLPhPLLH",
            *(0, anywhere, anywhere, anywhere, RTF_UP, 0, 0, 0, 0),
            *(ctypes.addressof(device), 0, 0, 0),
        )
        fcntl.ioctl(control, SIOCADDRT, route)


def _ask_a_nameserver_elsewhere(scratch: Path) -> None:
    """One at a loopback address would hide what it is asked."""
    scratch.write_text(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", scratch, "/etc/resolv.conf"], check=True)
    scratch.unlink()


def _listen() -> socket.socket:
    """Collect IPv4 packets for other machines; those for 127.0.0.0/8 would fill its buffer."""
    program = [
        (0x30, 0, 0, 16),  # load a byte: the first of the destination
        (0x15, 0, 1, 127),
        (0x06, 0, 0, 0),  # it is 127: drop the packet
        (0x06, 0, 0, 64),  # else keep its head
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    filter_ = struct.pack("HP", len(program), ctypes.addressof(code))
    ear.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
    ear.setblocking(False)
    return ear


def _heard(ear: socket.socket) -> set[str]:
    found = set()
    while True:
        try:
            packet = ear.recv(64)
        except BlockingIOError:
            return found
        protocol = {6: "tcp", 17: "udp"}.get(packet[9], str(packet[9]))
        (port,) = struct.unpack("!H", packet[4 * (packet[0] & 15) + 2 :][:2])
        found.add(f"{protocol} {socket.inet_ntoa(packet[16:20])}:{port}")


def _ipv6_attempts() -> int:
    """Count what the kernel found no way for; there is none beyond this machine."""
    counts = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(counts["Ip6OutNoRoutes"])


def _main(seen: Path, command: Sequence[str]) -> int:
    _send_everything_to_loopback()
    if command != ["true"]:
        _ask_a_nameserver_elsewhere(seen)
    with _listen() as ear:
        status = subprocess.run(command, check=False).returncode
        found = _heard(ear) | ({"ipv6"} if _ipv6_attempts() else set())
    seen.write_text(json.dumps(sorted(found)))
    return status


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2:]))
