"""Several seeds of one design as one packed network: searches with the real Ray, on digits."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from ray import cloudpickle
from test_logs import events
from waiting import HANG, recorded_epochs, wait_for

import skipsearch as ss
from skipsearch.cli import main
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY
from skipsearch.record import COMPLETE, FAIL, PRUNED, Environment, Epoch, Trial
from skipsearch.run import Run
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.driver import run_trials
from skipsearch.searching.job import Job
from skipsearch.searching.logs import loggers
from skipsearch.searching.messages import Member, Report, Request
from skipsearch.searching.options import Limits, Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.progress import Progress
from skipsearch.searching.searcher import StudySearcher
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.searching.study import SearchStudy
from skipsearch.searching.worker import DesignTrainable
from skipsearch.training import Folder, packs

EPOCHS, SEEDS = 3, 5
SPACE = """
name: pair
base: {widths: [4, 8], depths: [1, 1], shortcut: pad}
recipe: {batch_size: 64, peak_lr: 0.05}
axes:
  layout: [conv3-bn-relu-conv3-bn-relu, conv3-bn-relu-conv3-bn + relu]
"""
LONG = 120  # epochs, of two steps each


@pytest.fixture(scope="module", autouse=True)
def allocation() -> Iterator[Any]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it
    with ray_session(Resources()) as allocation:
        yield allocation


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All of a space with all seeds, as ``degradation`` trains it."""
    return degradation(tmp_path_factory.mktemp("whole"), SPACE, EPOCHS, SEEDS)


def degradation(folder: Path, space: str, epochs: int, seeds: int) -> Run:
    (folder / "space.yaml").write_text(space)
    words = ["--epochs", str(epochs), "--seeds", str(seeds), "--out", str(folder / "run")]
    words += ["--concurrency", "1"]
    assert main(["degradation", str(folder / "space.yaml"), *words]) == 0
    return Run.open(folder / "run")


def curves(trials: list[Trial]) -> dict[tuple[str, int], list[Epoch]]:
    """All that is recorded of each training, but how long it took."""
    return {(trial.key, trial.seed): timeless(trial.curve) for trial in trials}


def timeless(curve: Any) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in curve]


def test_a_search_records_of_each_seed_what_a_pack_of_them_learns(run: Run) -> None:
    trials = run.trials()
    assert [trial.seed for trial in trials] == 2 * list(range(SEEDS))
    assert {trial.state for trial in trials} == {COMPLETE}
    assert all(trial.numerics.endswith(f", pack of {SEEDS}") for trial in trials)
    assert list((run.path / "checkpoints").iterdir()) == []
    data, first = ss.load_data("digits").without_test(), trials[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models = [ss.build(first.design, 1, 10, seed) for seed in range(SEEDS)]
        epochs = list(ss.train_several(models, data, first.recipe, packed=True))
    finally:
        torch.set_num_threads(threads)
    expected = [timeless(curve) for curve in zip(*epochs, strict=True)]
    assert [timeless(trial.curve) for trial in trials[:SEEDS]] == expected


class Spoils(DesignTrainable):
    """A worker in which the networks of some seeds always answer with the first class."""

    seeds: Collection[int] = (1, 2)
    bias = 1000.0

    def setup(self, config: dict[str, Any], data: Any, store: Any) -> None:
        from skipsearch.searching import job

        seeds, bias = self.seeds, self.bias

        def build(design: ss.Design, in_channels: int, classes: int, seed: int) -> Any:
            model = ss.build(design, in_channels, classes, seed)
            if seed in seeds:
                with torch.no_grad():
                    model.classifier.bias[0] = bias
            return model

        job.build = build  # type: ignore[assignment]
        super().setup(config, data, store)


class Breaks(Spoils):
    """A worker in which the network of seed 1 diverges."""

    seeds = (1,)
    bias = float("nan")


class BreaksAll(Breaks):
    """A worker in which every network diverges."""

    seeds = range(SEEDS)


@contextlib.contextmanager
def again(run: Run, folder: Path) -> Iterator[tuple[SearchStudy, Callable[..., Any]]]:
    """A study of a run's space, and what searches it with workers of another kind."""
    data = ss.load_data("digits").without_test()
    recipe = run.config.recipe
    plan = Plan(space=run.space, recipe=recipe, trials=2 * SEEDS, sampler="grid", seeds=SEEDS)
    study = SearchStudy(folder / "study.db", "pair", plan, packs=lambda *which: packs(data, *which))
    none = EarlyStopping(rule="none")
    with contextlib.closing(study):
        yield study, partial(run_trials, study, data, folder / "checkpoints", stopping=none)


def test_a_seed_that_is_stopped_early_leaves_the_others_as_they_are(
    run: Run, allocation: Any, tmp_path: Path
) -> None:
    stopping = EarlyStopping(grace=1, audit=0.5)
    one = allocation._replace(at_once=1)
    with again(run, tmp_path) as (study, search):
        logs = loggers(["tensorboard"], tmp_path, ACCURACY)
        search(allocation=one, stopping=stopping, worker=Spoils, callbacks=logs)
        trials = study.trials()
    whole, stopper = curves(run.trials()), EarlyStopper(stopping, EPOCHS)
    for trial in trials:
        if trial.seed not in Spoils.seeds:
            # Bit by bit what it was without stopping, in a run of its own.
            curve = whole[trial.key, trial.seed]
            assert timeless(trial.curve) == curve[: len(trial.curve)]
        # What is compared at the first rung is compared in the order of the seeds.
        falls = stopper.stops(trial.number, [trial.curve[0].validation_score])
        audited = falls and stopping.is_audited(trial.number, 0)
        assert trial.state == (PRUNED if falls and not audited else COMPLETE)
        assert len(trial.curve) == (1 if trial.state == PRUNED else EPOCHS)
        assert trial.stopped_at == audited
        log = tmp_path / "tensorboard" / f"{trial.key}-{trial.seed}"
        assert {event.step for event in events(log)} - {0} == set(range(1, len(trial.curve) + 1))
    # Those after the first that know one class alone.
    assert [trial.state for trial in trials[:3]] == [COMPLETE, PRUNED, COMPLETE]
    assert [trial.stopped_at for trial in trials[:3]] == [0, 0, 1]


def test_a_seed_that_diverges_fails_alone(run: Run, allocation: Any, tmp_path: Path) -> None:
    with again(run, tmp_path) as (study, search):
        search(allocation=allocation._replace(at_once=1), worker=Breaks)
        trials, whole = study.trials(), curves(run.trials())
    assert len(trials) == 2 * SEEDS
    for trial in trials:
        if trial.seed == 1:
            assert (trial.state, trial.curve) == (FAIL, ())
            assert "the loss became nan in epoch 1 of 3" in trial.reason
        else:
            assert trial.state == COMPLETE
            assert timeless(trial.curve) == whole[trial.key, trial.seed]


def test_a_pack_in_which_all_diverge_is_one_failure(
    run: Run, allocation: Any, tmp_path: Path
) -> None:
    one = allocation._replace(at_once=1)
    with again(run, tmp_path) as (study, search):
        with pytest.raises(RunError, match="2 trials in a row failed"):
            search(allocation=one, worker=BreaksAll, limits=Limits(max_failures=2))
        assert [trial.state for trial in study.trials()] == 2 * SEEDS * [FAIL]


def test_new_seeds_of_a_confirmation_are_packed(run: Run) -> None:
    found = ss.confirm(run, top=2, seeds=2, resources=Resources(concurrency=1))
    assert len(found.trainings) == 4
    assert all(trial.numerics.endswith(", pack of 2") for trial in found.trainings)
    assert [len(found.scores(leader)) for leader in found.leaders] == [2, 2]


def test_a_pack_that_is_killed_resumes_with_the_same_bits(tmp_path: Path) -> None:
    images = f"batch_size: 64, images: {2 * 64 * LONG}"
    space = SPACE.replace("batch_size: 64", images).replace("conv3-bn-relu-conv3-bn-relu, ", "")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    (killed / "space.yaml").write_text(space)
    command = [sys.executable, "-m", "skipsearch", "degradation", "space.yaml", "--epochs"]
    command += [str(LONG), "--seeds", "3", "--out", "run"]
    process = subprocess.Popen(command, cwd=killed, start_new_session=True)

    def begun() -> bool:
        # Where this process pauses, the search may have come to its end: all holds then too.
        assert process.poll() in (None, 0)
        epochs = recorded_epochs(killed / "run")
        return len(epochs) == 3 and min(epochs) > 1

    try:
        wait_for(begun)
    finally:
        process.kill()
        process.wait(timeout=HANG)
    left = Run.open(killed / "run").trials()
    assert len(left) == 3
    assert all(len(trial.curve) > 1 for trial in left)
    after = degradation(killed, space, LONG, 3).trials()
    # It went on from the checkpoint: what was recorded has the times of the first session.
    for trial, earlier in zip(after, left, strict=True):
        assert trial.curve[: len(earlier.curve)] == earlier.curve
    assert curves(after) == curves(degradation(whole, space, LONG, 3).trials())


def test_what_a_killed_driver_had_ended_keeps_its_place_in_the_pack(tmp_path: Path) -> None:
    # What a driver does, without Ray: one seed is stopped and recorded, then the driver is gone.
    data = ss.load_data("digits").without_test()
    recipe = ss.Recipe(epochs=EPOCHS, batch_size=256)
    space = ss.Space.from_yaml(SPACE.replace("recipe: {batch_size: 64, peak_lr: 0.05}\n", ""))
    plan = Plan(space=space, recipe=recipe, trials=6, sampler="grid", seeds=3)
    where = Environment(device="cpu")

    def opened() -> SearchStudy:
        return SearchStudy(
            tmp_path / "study.db", "pair", plan, packs=lambda *which: packs(data, *which)
        )

    first = opened()
    proposal = first.ask()
    assert proposal is not None
    proposals = [proposal, *first.rest_of_pack(proposal)]
    assert [(each.number, each.seed, each.pack) for each in proposals] == [
        (seed, seed, (0, 1, 2)) for seed in range(3)
    ]
    design = proposal.candidate.design
    request = Request(design=design, recipe=recipe, seeds=proposal.pack, checkpoint="c.pt")
    job = Job(request, data, Folder(tmp_path))
    for each, member in zip(proposals, job.step().members, strict=True):
        first.report(each.number, member.curve, where)
    first.finish(1, PRUNED)
    job.step()  # the checkpoint is an epoch ahead of the study
    job.close()

    second = opened()
    again = second.ask()
    assert again is not None
    both = [again, *second.rest_of_pack(again)]
    assert [(each.seed, each.pack) for each in both] == [(0, (0, 1, 2)), (2, (0, 1, 2))]
    later = Job(request, data, Folder(tmp_path))
    later.step()
    members = later.step().members
    for each in both:
        second.report(each.number, members[each.seed].curve, where)
        second.finish(each.number, COMPLETE)
    trials = {trial.seed: trial for trial in second.trials()}
    assert [len(trials[seed].curve) for seed in range(3)] == [EPOCHS, 1, EPOCHS]

    models = [ss.build(again.candidate.design, 1, 10, seed) for seed in range(3)]
    whole = zip(*ss.train_several(models, data, recipe, packed=True), strict=True)
    for seed, curve in enumerate(whole):
        assert timeless(trials[seed].curve) == timeless(curve)[: len(trials[seed].curve)]
    # The next design is another pack.
    other = second.ask()
    assert other is not None
    assert other.candidate.key != again.candidate.key
    assert len(second.rest_of_pack(other)) == 2
    assert second.ask() is None
    first.close()
    second.close()


def test_what_another_driver_left_of_a_pack_that_is_trained_here_joins_it(tmp_path: Path) -> None:
    storage, space = optuna.storages.InMemoryStorage(), ss.Space.from_yaml(SPACE)
    recipe = ss.Recipe(epochs=1)
    plan = Plan(space=space, recipe=recipe, trials=3, sampler="grid", seeds=3)

    def opened() -> SearchStudy:
        return SearchStudy(storage, "pair", plan, {}, lambda _, __, seeds: [seeds])

    here = opened()
    values = next(space.candidates()).values
    here.request([(values, seed) for seed in range(3)])
    other = opened()
    lost = other.ask()
    assert lost is not None
    assert lost.seed == 0
    searcher = StudySearcher(
        here,
        Folder(tmp_path),
        (),
        at_once=2,
        engines=1,
        request=Request,
        stopping=EarlyStopping(rule="none"),
        cost_bounds=(),
        limits=Limits(),
        progress=Progress(3, (), ACCURACY),
    )
    request = Request.from_config(searcher.suggest("a"))
    assert (request.seeds, request.recorded) == ((0, 1, 2), (1, 2))
    other.close()
    opened().close()  # a third driver, which queues what the other has left
    assert searcher.suggest("b") == searcher.FINISHED
    member = Member((Epoch(1, 0.1, 1.0, 0.5, 1.0, 0.5, 0.25),))
    report = Report(members=3 * (member,), done=True, device="cpu")
    searcher.on_trial_complete("a", report.to_result())
    assert searcher.crash is None
    assert {trial.seed: trial.state for trial in here.trials()} == dict.fromkeys(range(3), COMPLETE)
    assert not searcher.unfinished
    here.close()
