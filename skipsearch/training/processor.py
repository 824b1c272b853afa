"""What a process that trains on the CPU does once, before its first tensor."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; what glibc takes at most
KEPT = 512 << 20  # bytes of free memory that stay with the process


def tune_process(threads: int) -> None:
    """Set a process of its own up for training on the CPU; for workers, not for a library's caller.

    Threads are limited; denormals are flushed to zero (they cost a hundred times a normal number
    and carry nothing); and freed memory stays with the process, since every step asks for the
    same blocks again and the kernel would have to clear their pages each time.

    Args:
        threads: Of each operation.
    """
    torch.set_flush_denormal(True)  # first: threads inherit it when they start
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: of its affinity and of its cgroup, at least 1.

    Args:
        cgroup: Where the cgroup of this process is mounted (version 2).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = "max", "1"
    share = (cores or 1) if quota == "max" else int(quota) // int(period)
    return max(1, min(cores or 1, share))
