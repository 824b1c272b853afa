"""Ready spaces are known by name in every folder; a path is a path."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import skipsearch as ss
from skipsearch.classics import CLASSICS
from skipsearch.cli import main
from skipsearch.errors import SpaceError
from skipsearch.ready import is_name, ready_names, ready_path

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_file_of_the_repository_is_a_ready_space() -> None:
    assert ready_names() == [path.stem for path in FILES]
    assert [ready_path(name) for name in ready_names()] == FILES
    assert not {name.lower() for name in ready_names()} & CLASSICS.keys()
    assert all(map(is_name, ready_names()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_name_stands_for_the_file(path: Path) -> None:
    assert ss.Space.load(path.stem) == ss.Space.load(path)


def test_the_verbs_take_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "orders"]) == 0
    assert capsys.readouterr().out.startswith("orders: every value parses; 90 points")
    assert main(["show", "orders"]) == 0
    assert "axis   layout" in capsys.readouterr().out
    assert main(["degradation", "skips", "--out", "run"]) == 2
    err = capsys.readouterr().err
    assert "give --epochs (the run folder of that name is ./skips)" in err
    # As far as the cores: the space is read.
    words = ["search", "quickstart", "--trials", "1", "--epochs", "1", "--out", "run"]
    assert main([*words, "--cpus-per-trial", "4096"]) == 2
    assert "cpus-per-trial: 4096 asked for" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize("verb", ["check", "show", "search"])
def test_an_unknown_name_is_refused_with_the_nearest(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--trials", "1", "--epochs", "1", "--out", "run"] if verb == "search" else []
    assert main([verb, "quikstart", *more]) == 2
    err = capsys.readouterr().err
    assert "did you mean 'quickstart'?" in err
    # Beside the published networks, which show draws, the list is cut.
    assert ("free_orders, he2016" in err) == (verb != "show")
    assert err.count("\n") == 1


def test_a_path_is_never_taken_for_a_name() -> None:
    text = "name: mine\naxes: {layout: [conv3 +, conv3-bn +]}\n"
    for file in ("orders", "orders.yaml", "mine"):
        Path(file).write_text(text)
    assert ss.Space.load("orders").name == "orders"  # a name is one whatever lies here
    for path in ("./orders", "orders.yaml", Path("orders"), Path("mine").absolute()):
        assert ss.Space.load(path).name == "mine"
    with pytest.raises(SpaceError, match=r"'mine' is not one of .* such as mine\.yaml or \./mine"):
        ss.Space.load("mine")


def test_the_wheel_takes_the_ready_spaces_along() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    assert wheel["only-include"] == ["skipsearch", "search_spaces"]
    assert wheel["sources"] == {"search_spaces": "skipsearch/search_spaces"}
    dockerfile = (ROOT / "scripts" / "cluster" / "Dockerfile").read_text()
    assert all(f"COPY {name} " in dockerfile for name in wheel["only-include"])
