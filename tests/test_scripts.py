"""The scripts name what is there."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from skipsearch.data import Split

SCRIPTS = Path(__file__).parent.parent / "scripts"


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything that is imported from the package."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("skipsearch"):
                yield from ((module, alias.name) for alias in node.names)
            case ast.Attribute(value=ast.Name(id="ss"), attr=name):
                yield "skipsearch", name


@pytest.mark.parametrize("script", sorted(SCRIPTS.rglob("*.py")), ids=lambda path: path.name)
def test_what_a_script_imports_is_there(script: Path) -> None:
    for module, name in imported(script.read_text()):
        found = import_module(module)
        is_package = hasattr(found, "__path__")
        there = hasattr(found, name) or (is_package and find_spec(f"{module}.{name}"))
        assert there, f"{module} has no {name}"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a script."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module


def test_every_row_of_a_gpus_table_is_measured(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As far as the CPU goes: each contender takes its first steps.
    benchmark = script("benchmark_training")
    data = benchmark.random_data()
    few = Split(data.train.images[:256], data.train.labels[:256])
    monkeypatch.setattr(benchmark, "random_data", lambda: replace(data, train=few))
    monkeypatch.setattr(benchmark, "CORES", 1)
    monkeypatch.setattr(benchmark, "tune_process", lambda threads: None)  # of this process
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    contenders = benchmark.gpu_contenders(benchmark.small(4))
    assert len(contenders) == 13
    for contender in contenders:
        steps = contender.steps
        arguments = ["cpu" if each == "cuda" else each for each in steps.args]
        training = steps.func(*arguments, **steps.keywords)
        for images in (next(training), next(training)):
            assert images > 0, contender.name
            assert images % 128 == 0, contender.name
        training.close()


def test_a_profile_finds_all_groups_of_a_step(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, profile = script("benchmark_training"), script("benchmark_profile")
    monkeypatch.setattr(profile, "STEPS", 3)
    monkeypatch.setattr(profile, "ROUNDS", 3)
    data = training.random_data()
    few = Split(data.train.images[:64], data.train.labels[:64])
    data = replace(data, train=few, validation=few)
    trainer = training.trained(
        training.small(4), data, trainer=training.WithoutGraph, precision="float32", batch=8
    )
    text = profile.profile(trainer, "cpu")
    rows = [line.strip("| ").split("|") for line in text.splitlines() if "%" in line]
    spent = {group.strip(): float(milliseconds) for group, milliseconds, _ in rows}
    for group in ("data", "optimiser", "convolution, forward", "convolution, backward"):
        assert spent[group] > 0, text
    assert "3 rounds of 3 steps: a step takes" in profile.host_time(trainer)


def test_a_table_grows_row_by_row_until_its_time_is_up(
    script: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    turns = script("benchmark_tables")
    order: list[str] = []
    now = [0.0]

    def measure(contender: Any, index: int) -> float:
        order.append(contender.name)
        now[0] += 60.0
        if contender.name == "b":
            raise RuntimeError("it did not start")
        return 100.0 + index

    monkeypatch.setattr(turns, "_images_a_second", measure)
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: now[0]))
    contenders = [turns.Contender(name, iter) for name in "abc"]
    tables = [
        turns.speed_table("abc", rounds, [("/ a", "a")]).splitlines()[2:]
        for rounds in turns.take_turns(contenders, 9, minutes=4.5)
    ]
    assert order == list("abccb")  # every second round goes from the last to the first
    assert len(tables) == 5
    assert [row.split("|")[2].strip() for row in tables[0]] == ["100", "-", "-"]
    assert [row.split("|")[2].strip() for row in tables[2]] == ["100", "-", "102"]
    assert [row.split("|")[3].split()[0] for row in tables[-1]] == ["1.00", "-", "1.02"]
    assert "round 1 of 9: b: failed: it did not start" in capsys.readouterr().err
