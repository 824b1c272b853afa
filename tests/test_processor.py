"""What a worker does to its process, seen from inside such a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import HANG

from skipsearch.training import available_cores

PROGRAM = """
import torch
from skipsearch.training import tune_process
smallest = torch.full((8,), 1e-40)
assert (smallest * 0.5 > 0).all(), "denormals are there to begin with"
tune_process(1)
assert torch.get_num_threads() == 1
assert (smallest * 0.5 == 0).all()
"""


def test_a_tuned_process_has_its_threads_and_no_denormals() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=HANG)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("800000 100000", 8),
        ("350000 100000", 3),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("nonsense", 8),
        (None, 8),
    ],
)
def test_the_cores_are_those_of_affinity_and_cgroup(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert available_cores(tmp_path) == cores


def test_this_process_has_at_least_one_core() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
