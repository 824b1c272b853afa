"""Setup of a process that trains on the CPU, once before its first tensor."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; the maximum of glibc
KEPT = 512 << 20  # bytes of free memory that stay with the process


def tune_process(threads: int) -> None:
    """Set up a dedicated process, such as a worker, for training on the CPU.

    Limits the threads; flushes denormals to zero (they cost a hundred times as much as a normal
    number and do not matter); and keeps freed memory in the process, since every step allocates
    the same blocks again and the kernel would have to clear their pages each time.

    Args:
        threads: Number of threads of each operation.
    """
    torch.set_flush_denormal(True)  # first: threads inherit it at their start
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores that affinity and cgroup allow this process, at least 1.

    Args:
        cgroup: Mount point of the cgroup (version 2) of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = "max", "1"
    share = (cores or 1) if quota == "max" else int(quota) // int(period)
    return max(1, min(cores or 1, share))
