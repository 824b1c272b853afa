"""A short run of the fuzzer: nothing but one clear error, whatever is read."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "fuzz_inputs.py"


@pytest.mark.parametrize(("what", "cases"), [("yaml", 150), ("values", 200), ("layouts", 300)])
def test_mutants_are_accepted_or_refused_in_one_line(what: str, cases: int) -> None:
    # The deadline of a case is for hangs alone: a busy machine may take its time.
    words = ["--what", what, "--cases", str(cases), "--seed", "7", "--deadline", "120"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted" in done.stdout
    assert "Error" in done.stdout
