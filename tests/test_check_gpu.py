"""The script that checks a GPU, as far as its logic goes on the CPU."""

import contextlib
import os
import shutil
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import gpu
import pytest
import torch

from skipsearch.training import recorded

SCRIPTS = Path(__file__).parents[1] / "scripts"


def check_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "check_gpu.py"), "--device", "cpu", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_line_is_in_the_file_as_well(tmp_path: Path) -> None:
    out = tmp_path / "lines.txt"
    done = check_gpu("--only", "resume,failures", "--out", str(out))
    assert done.returncode == 0, done.stdout
    assert out.read_text() == done.stdout
    assert "ok   a training goes on with the same bits" in done.stdout
    assert "skip out of memory in evaluation: needs a GPU" in done.stdout
    assert done.stdout.endswith("all hold\n")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(recorded, "OLDEST_TORCH", recorded.OLDEST_TORCH)  # which they change
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module("gpu_checks")


def test_every_check_holds_as_far_as_it_goes_without_a_gpu(
    checks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.CHECKS.keys() == import_module("check_gpu").SECONDS.keys()
    failed = {section for section in checks.CHECKS if checks.run_checks(section, "cpu")}
    printed = capsys.readouterr().out
    assert not failed, printed
    assert printed.count("\nok ") >= 17


def test_a_section_without_time_fails_and_says_so() -> None:
    done = check_gpu("--only", "resume", "--minutes", "0")
    assert done.returncode == 1
    assert "FAIL section resume: no time is left" in done.stdout


def test_a_check_that_fails_shows_its_traceback_and_costs_no_other(
    checks: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def it_divides(device: object) -> str:
        return f"{1 // 0}"

    def it_holds(device: object) -> str:
        return "a detail"

    monkeypatch.setitem(checks.CHECKS, "bits", [it_divides, it_holds])
    assert checks.run_checks("bits", "cpu") == 1
    printed = capsys.readouterr().out
    assert "FAIL it divides" in printed
    assert "ZeroDivisionError" in printed
    assert "ok   it holds" in printed
    assert printed.rstrip().endswith(": a detail")


@pytest.mark.parametrize("fails", [False, True])
def test_the_mode_in_which_waiting_is_an_error_ends_with_its_check(
    checks: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    # PyTorch warns of the mode when it is on already; here warnings are errors.
    modes: list[str] = []

    def set_mode(mode: str) -> None:
        modes.append(mode)
        if mode == "error":
            warnings.warn("it is a prototype", stacklevel=2)
            if fails:
                raise RuntimeError("no such mode")

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    for never_waits in (gpu.never_waits, checks.never_waits):
        modes.clear()
        with contextlib.suppress(RuntimeError), never_waits():
            assert modes == ["error"]
            raise RuntimeError("it waits")
        assert modes == ["error", "default"]


WHERE = """
import os, pytest
@pytest.mark.gpu
def test_where():
    print("RAN", *(os.environ[name] for name in ("PYTEST_XDIST_WORKER", "CUDA_VISIBLE_DEVICES")))
"""


def test_tests_that_need_a_gpu_share_one_process_that_sees_it(tmp_path: Path) -> None:
    # Each process would hold memory of it. Of ordinary tests, these two files take two.
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    for name in ("test_one.py", "test_other.py"):
        (tmp_path / name).write_text(WHERE)
    words = ["-m", "gpu", "-n", "auto", "--dist", "loadfile", "-rP", "-c", os.devnull]
    environment = {"CUDA_VISIBLE_DEVICES": "7", "PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout
    ran = [line for line in done.stdout.splitlines() if line.startswith("RAN")]
    assert ran == ["RAN gw0 7"] * 2


def test_the_ordinary_suite_sees_no_gpu(request: pytest.FixtureRequest) -> None:
    asked = request.config.option.markexpr
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == "" or "gpu" in asked
