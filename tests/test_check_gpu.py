"""The script that checks a GPU, as far as its logic goes on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_section_without_time_fails_and_says_so() -> None:
    done = check_gpu("--only", "resume", "--minutes", "0")
    assert done.returncode == 1
    assert "FAIL section resume: no time is left" in done.stdout


def test_a_check_that_fails_shows_its_traceback_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    import gpu_checks

    from skipsearch.training import recorded

    monkeypatch.setattr(recorded, "OLDEST_TORCH", recorded.OLDEST_TORCH)  # which it changes

    def it_divides(device: object) -> str:
        return f"{1 // 0}"

    def it_holds(device: object) -> str:
        return "a detail"

    monkeypatch.setitem(gpu_checks.CHECKS, "bits", [it_divides, it_holds])
    assert gpu_checks.run_checks("bits", "cpu") == 1
    printed = capsys.readouterr().out
    assert "FAIL it divides" in printed
    assert "ZeroDivisionError" in printed
    assert "ok   it holds" in printed
    assert printed.rstrip().endswith(": a detail")


def test_the_ordinary_suite_sees_no_gpu(request: pytest.FixtureRequest) -> None:
    asked = request.config.option.markexpr
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == "" or "gpu" in asked
