"""Main memory of this machine: how much of it is available."""

from __future__ import annotations

import math
from pathlib import Path


def available_ram(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> float:
    """Return the bytes of main memory that can be had.

    This is what the kernel calls available, or less where the cgroup (version 2) sets a limit;
    infinite where neither can be read.

    Args:
        meminfo: The kernel's file.
        cgroup: Folder of the cgroup.
    """
    available = math.inf
    try:
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024.0
        limit = (cgroup / "memory.max").read_text()
        used = (cgroup / "memory.current").read_text()
        return min(available, float(limit) - float(used))
    except (OSError, ValueError, KeyError):  # a limit of "max" is no number
        return available
