"""A search end to end, with the real Ray, the real Optuna and real training on digits."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState
from torch import Tensor
from waiting import HANG, recorded_epochs, wait_for

import skipsearch as ss
from skipsearch.cli import main
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING
from skipsearch.run import Run, exporting
from skipsearch.searching.cluster import Allocation, ray_session
from skipsearch.searching.driver import run_trials
from skipsearch.searching.folder import PREFIX, ROOT
from skipsearch.searching.options import Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.training import Trainer

EPOCHS = 9  # rungs 1, 3, 9
TRIALS = 14
LONG = 60  # epochs, for a search to be interrupted in
SPACE = """
name: tiny
base: {widths: [8, 16], depths: [1, 1]}
recipe: {batch_size: 64}
axes:
  layout:
    - conv3-bn-relu-conv3-bn + relu
    - bn-relu-conv3-bn-relu-conv3 +
    - conv3-relu                            # without a norm: slow to learn
  merge: [add, cat]
  shortcut: [proj, omit]
  recipe.peak_lr: [0.003, 0.1, 0.3]
"""


@pytest.fixture(scope="module", autouse=True)
def left() -> Iterator[Path]:
    """Start Ray once for all searches of this process; what a killed one left lies in its way."""
    session = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOT))
    with ray_session(Resources()):
        yield session


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("search")
    (folder / "tiny.yaml").write_text(SPACE)
    asked = {"trials": TRIALS, "epochs": EPOCHS, "out": folder / "run", "seed": 0}
    return ss.search(folder / "tiny.yaml", sampler="tpe", scheduler="asha", **asked)


@pytest.fixture(scope="module")
def study(run: Run) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{run.path}/study.db")


def test_as_many_designs_are_trained_as_were_asked_for(run: Run) -> None:
    assert run.outcome is not None
    assert not run.outcome.interrupted
    assert not run.outcome.exhausted
    assert len(run.trials()) == TRIALS
    keys = [f"{trial.design.id}-{trial.recipe.id}" for trial in run.trials()]
    assert len(set(keys)) == TRIALS


def test_no_unfinished_value_is_among_the_complete(run: Run, study: optuna.Study) -> None:
    states = {trial.state for trial in study.trials}
    assert {TrialState.COMPLETE, TrialState.PRUNED} <= states
    assert TrialState.RUNNING not in states
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
        assert trial.value == trial.intermediate_values[EPOCHS]
    for trial in study.get_trials(states=(TrialState.PRUNED,)):
        if "rejected" not in trial.user_attrs:
            assert max(trial.intermediate_values) in (1, 3)


def test_asha_stopped_only_what_was_below_the_best_third_of_its_rung(run: Run) -> None:
    complete = [trial for trial in run.trials() if trial.state == COMPLETE]
    pruned = [trial for trial in run.trials() if trial.state == PRUNED]
    assert complete
    assert pruned
    for trial in pruned:
        rung = len(trial.curve)
        better = [
            other
            for other in run.trials()
            if len(other.curve) > rung
            and other.curve[rung - 1].validation_score > trial.curve[-1].validation_score
        ]
        assert better, f"trial {trial.number} was stopped at epoch {rung} though none was better"


def test_the_records_say_what_ran_where(run: Run) -> None:
    for trial in run.trials():
        assert trial.device == "cpu (1 thread)" or trial.device.startswith("cuda")
        assert trial.versions["torch"] == torch.__version__.partition("+")[0]
        assert trial.seconds > 0
        assert trial.params == ss.cost(trial.design, 1, 8, 10).params


def test_a_worker_trains_what_the_plain_api_trains(run: Run) -> None:
    trial = next(trial for trial in run.trials() if trial.state == COMPLETE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = ss.load_data("digits")
        model = ss.build(trial.design, data.in_channels, data.classes, seed=trial.seed)
        curve = list(ss.train(model, data, trial.recipe, trial.seed))
    finally:
        torch.set_num_threads(threads)
    mine = [(epoch.train_loss, epoch.validation_score) for epoch in curve]
    assert mine == [(epoch.train_loss, epoch.validation_score) for epoch in trial.curve]


class CallsAgain:
    """A recorder whose replay is a real call."""

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        return partial(function, value)


def test_a_card_says_how_steps_were_computed_in_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a GPU, where they are recorded after the first ones.
    monkeypatch.setattr(exporting, "Trainer", partial(Trainer, recorder=CallsAgain()))
    ss.export(run, out=tmp_path / "winner", formats=(), device="cpu")
    assert ", graph |" in (tmp_path / "winner" / "card.md").read_text()


def test_nothing_is_left_behind(run: Run) -> None:
    assert list((run.path / "checkpoints").iterdir()) == []
    assert {path.name for path in run.path.iterdir()} <= {
        "run.yaml", "study.db", "checkpoints", ".lock", "report", "export"
    }  # fmt: skip


def test_what_a_driver_killed_at_the_very_end_left_goes_with_the_same_call(
    run: Run, left: Path
) -> None:
    assert not left.exists()
    checkpoints = run.path / "checkpoints"
    first = run.trials()[0]
    goes = [f"{first.design.id}-{first.recipe.id}-{first.seed}.pt", ".half.pt.part"]
    for name in [*goes, "of-a-training-that-goes-on.pt"]:
        (checkpoints / name).touch()
    ss.search(run.path.parent / "tiny.yaml", trials=TRIALS, epochs=EPOCHS, out=run.path, seed=0)
    (stays,) = checkpoints.iterdir()
    assert stays.name == "of-a-training-that-goes-on.pt"
    stays.unlink()


def test_the_same_call_again_does_nothing_and_more_trials_continue(run: Run) -> None:
    space = run.path.parent / "tiny.yaml"
    before = run.trials()
    # A run that is older than a field of the recipe.
    asked = (run.path / "run.yaml").read_text()
    assert "  images: null\n" in asked
    (run.path / "run.yaml").write_text(asked.replace("  images: null\n", ""))
    again = ss.search(space, trials=TRIALS, epochs=EPOCHS, out=run.path, seed=0)
    assert again.trials() == before
    more = ss.search(space, trials=TRIALS + 2, epochs=EPOCHS, out=run.path, seed=0)
    assert more.trials()[:TRIALS] == before
    assert len(more.trials()) == TRIALS + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "recipe.epochs is 9 there, 3 was asked for"),
        ({"seed": 1}, "seed is 0 there, 1 was asked for"),
        ({"scheduler": "none"}, "scheduler is 'asha' there, 'none' was asked for"),
        ({"recipe": ss.Recipe(weight_decay=0.1)}, "recipe.weight_decay is 0.0005 there, 0.1"),
        ({"image_size": 16}, "data.resized_to is None there, 16"),
    ],
)
def test_another_search_is_not_mixed_into_the_folder(
    run: Run, change: dict[str, object], message: str
) -> None:
    before = (run.path / "run.yaml").read_bytes()
    asked: dict[str, object] = {"trials": 99, "epochs": EPOCHS, "out": run.path, "seed": 0}
    with pytest.raises(RunError, match="holds another search") as caught:
        ss.search(run.path.parent / "tiny.yaml", **(asked | change))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert (run.path / "run.yaml").read_bytes() == before


def test_a_search_that_cannot_start_leaves_the_run_as_it_was(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run.path / "run.yaml").read_bytes(), (run.path / "study.db").read_bytes()
    words = [
        "search",
        str(run.path.parent / "tiny.yaml"),
        "--trials",
        "99",
        "--epochs",
        str(EPOCHS),
    ]
    assert main([*words, "--out", str(run.path), "--cpus-per-trial", "4096"]) == 2
    assert "cpus-per-trial: 4096 asked for, Ray has" in capsys.readouterr().err
    assert ((run.path / "run.yaml").read_bytes(), (run.path / "study.db").read_bytes()) == before


def test_rank_orders_by_rung_first(run: Run) -> None:
    table = run.rank()
    assert list(table.index) == list(range(1, len(table) + 1))
    assert table.epochs.is_monotonic_decreasing
    for _, rung in table.groupby("epochs"):
        assert rung.validation_accuracy.is_monotonic_decreasing
    best = table.iloc[0]
    assert best.state == COMPLETE
    assert best.low < best.validation_accuracy < best.high
    assert run.trial("best").design.id == best.design
    assert run.trial(str(best.design)[:6]).design.id == best.design
    assert isinstance(table, pd.DataFrame)


def test_optuna_dashboard_reads_the_study(run: Run) -> None:
    # What the dashboard does: it opens the storage by its URL and lists studies and trials.
    storage = optuna.storages.get_storage(f"sqlite:///{run.path}/study.db")
    (summary,) = optuna.get_all_study_summaries(storage)
    assert summary.study_name == "tiny"
    assert summary.direction == optuna.study.StudyDirection.MAXIMIZE
    assert summary.best_trial is not None
    # Several designs may share the best value.
    assert summary.best_trial.value == run.rank().validation_accuracy.iloc[0]


def test_a_design_that_diverges_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(
        "name: wild\nbase: {widths: [8], depths: [1]}\naxes:\n"
        "  layout: [conv3-relu-conv3 +, conv3-bn-relu-conv3-bn + relu]\n"
        "  recipe.peak_lr: [0.05, 1.0e+5]\n"
    )
    asked: dict[str, Any] = {"epochs": 2, "out": tmp_path / "run", "scheduler": "none"}
    asked["resources"] = Resources(concurrency=1)
    run = ss.search(space, trials=4, **asked)
    by_rate = {True: [], False: []}  # type: ignore[var-annotated]
    for trial in run.trials():
        by_rate[trial.recipe.peak_lr > 1].append(trial)
    diverged = [trial for trial in by_rate[True] if trial.state == FAIL]
    assert diverged
    for trial in diverged:
        assert "the loss became" in trial.reason
        assert "epoch 1 of 2 (peak_lr 100000)" in trial.reason
    assert [trial.state for trial in by_rate[False]] == [COMPLETE, COMPLETE]
    # The space is finite: asking for more ends early and says so.
    more = ss.search(space, trials=9, **asked)
    assert more.outcome is not None
    assert more.outcome.exhausted
    assert len(more.trials()) == 4


def test_an_engine_trains_what_a_worker_of_its_own_trains(run: Run, tmp_path: Path) -> None:
    # As on a GPU that several trials share, but on the CPU: two engines, two trials at once.
    url = f"sqlite:///{tmp_path}/study.db"
    recipe = run.config.recipe
    plan = Plan(space=run.space, recipe=recipe, trials=8, sampler="tpe")  # many of the same
    study = SearchStudy(url, "tiny", plan)
    data = ss.load_data("digits").without_test()
    allocation = Allocation({"cpu": 0.5, "gpu": 0.0}, at_once=4, memory=0.5, engines=(2, 0.0))
    stopping = EarlyStopping(audit=0)
    checkpoints = tmp_path / "checkpoints"
    outcome = run_trials(study, data, checkpoints, allocation=allocation, stopping=stopping)
    assert not outcome.interrupted
    trials = study.trials()
    assert [trial.state in (COMPLETE, PRUNED) for trial in trials] == [True] * 8
    assert list((tmp_path / "checkpoints").iterdir()) == []
    known = {(trial.design.id, trial.recipe.id): trial.curve for trial in run.trials()}
    both = 0
    for trial in trials:
        curve = known.get((trial.design.id, trial.recipe.id), ())
        for mine, other in zip(trial.curve, curve, strict=False):
            assert mine.train_loss == other.train_loss
            both += 1
    assert both > 8


def interrupt(words: list[str], folder: Path, number: signal.Signals, begun: int) -> str:
    """Start a search, signal it once so many trainings have got on, and return what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skipsearch", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    known = recorded_epochs(folder / "run")

    def got_on() -> bool:
        assert process.poll() is None, "it ended by itself"
        now = recorded_epochs(folder / "run")[
            len(known) :
        ]  # A training that goes on has a new row in the study.
        return sum(map(bool, now)) >= begun

    try:
        wait_for(got_on)
        if not known:  # Meanwhile nobody else may search into the folder.
            other = [*words[:1], str(folder / "tiny.yaml"), "--out", str(folder / "run")]
            with contextlib.redirect_stderr(io.StringIO()) as said:
                assert main([*other, "--trials", "2", "--epochs", str(LONG)]) == 2
            assert said.getvalue().endswith("/run: another search is writing to this run folder\n")
            assert said.getvalue().count("\n") == 1
        if number == signal.SIGINT:  # A terminal sends Ctrl-C to the whole group.
            os.killpg(process.pid, number)
        else:  # A scheduler ends the process that it started.
            os.kill(process.pid, number)
        output, _ = process.communicate(timeout=HANG)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (-number if number == signal.SIGKILL else 130), output
    return output


def assert_kept(before: list[ss.Trial], after: list[ss.Trial]) -> None:
    """Every epoch that was recorded is there with its time, so that it was not trained again."""
    found = {(trial.key, trial.seed): trial.curve for trial in after}
    assert len(found) == len(after)
    for trial in before:
        assert found[trial.key, trial.seed][: len(trial.curve)] == trial.curve


def test_an_interrupted_search_resumes_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    words = ["search", "tiny.yaml", "--trials", "2", "--epochs", str(LONG), "--out", "run"]
    words += ["--scheduler", "none"]
    before: list[ss.Trial] = []
    # Not SIGKILL at the end: the next command ends what it leaves of Ray. Both trainings have begun
    # before SIGKILL; elsewhere one worker does, which takes seconds to start.
    for number, at_once in ((signal.SIGINT, 1), (signal.SIGKILL, 2), (signal.SIGTERM, 1)):
        command = [*words, "--concurrency", str(at_once)]
        output = interrupt(command, tmp_path, number, begun=at_once)
        assert "Traceback" not in output
        left = Run.open(tmp_path / "run").trials()
        # One may have ended before the other began.
        unfinished = [trial for trial in left if trial.state != COMPLETE]
        assert unfinished
        if number == signal.SIGKILL:  # No last word: the trials stand as they stood.
            assert {trial.state for trial in unfinished} <= {RUNNING, FAIL}
        else:
            assert "run the same command again to resume" in output
            assert {trial.reason for trial in unfinished} == {"interrupted"}
        begun = [trial for trial in left if trial.curve]
        assert len(begun) == 2 if number == signal.SIGKILL else begun
        # Epochs that were recorded before were not trained again.
        assert_kept(before, left)
        before = left

    monkeypatch.chdir(tmp_path)
    assert main([*words, "--concurrency", "1"]) == 0
    finished = Run.open(tmp_path / "run").trials()
    assert [(trial.state, len(trial.curve)) for trial in finished] == [(COMPLETE, LONG)] * 2
    assert_kept(before, finished)
