"""The examples run as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from skipsearch.record import COMPLETE
from skipsearch.run import Run

EXAMPLES = sorted((Path(__file__).parent.parent / "scripts" / "examples").glob("*.py"))


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example))
    (run,) = (tmp_path / "runs").iterdir()
    assert {trial.state for trial in Run.open(run).trials()} == {COMPLETE}
    assert capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_cells(example: Path) -> None:
    cells = example.read_text().split("\n# %%")
    assert len(cells) > 6
    kinds = [cell.startswith(" [markdown]") for cell in cells[1:]]
    assert kinds == [True, False] * (len(kinds) // 2)  # each explained before its code
