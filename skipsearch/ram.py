"""Available main memory of this machine."""

from __future__ import annotations

import math
import resource
from pathlib import Path


def available_ram(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> float:
    """Return the available main memory in bytes.

    This is the kernel's "available" memory, or less if the cgroup (version 2) or the limits of this
    process (``ulimit -v`` and ``-d``) leave less; it is infinite if none of them can be read. Pages
    of files that the cgroup has read count as available, since the kernel drops them if necessary.

    Args:
        meminfo: File of the kernel.
        cgroup: Folder of the cgroup.
    """
    available = _within_limits()
    try:
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = min(available, int(lines["MemAvailable"].split()[0]) * 1024.0)
        limit = (cgroup / "memory.max").read_text()
        used = float((cgroup / "memory.current").read_text())
        return min(available, float(limit) - used + _pages_of_files(cgroup / "memory.stat"))
    except (OSError, ValueError, KeyError):  # a limit of "max" is not a number
        return available


def _pages_of_files(stat: Path) -> float:
    """Return the number of bytes of files that a cgroup has read and that can be dropped."""
    try:
        lines = dict(line.split() for line in stat.read_text().splitlines())
        return float(lines["active_file"]) + float(lines["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0.0


def _within_limits() -> float:
    """Return the number of bytes that the limits of this process leave."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return math.inf
    used = {resource.RLIMIT_AS: pages[0], resource.RLIMIT_DATA: pages[5]}
    left = math.inf
    for kind, number in used.items():
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            left = min(left, float(limit) - int(number) * resource.getpagesize())
    return max(left, 0.0)
