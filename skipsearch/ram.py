"""Available main memory of this machine."""

from __future__ import annotations

import math
from pathlib import Path


def available_ram(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> float:
    """Return the available main memory in bytes.

    This is the kernel's "available" memory, or less if the cgroup (version 2) sets a limit; it is
    infinite if neither can be read.

    Args:
        meminfo: File of the kernel.
        cgroup: Folder of the cgroup.
    """
    available = math.inf
    try:
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024.0
        limit = (cgroup / "memory.max").read_text()
        used = (cgroup / "memory.current").read_text()
        return min(available, float(limit) - float(used))
    except (OSError, ValueError, KeyError):  # a limit of "max" is not a number
        return available
