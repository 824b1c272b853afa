"""What goes wrong in a search becomes a record; the search goes on, or stops with one clear line.

Every failure here is real: a design that diverges, one that is too slow, workers that are killed, a
disk that is full. Memory that runs out is in test_memory.py, a driver that is killed in
test_search.py and test_torture.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import ray
from ray import cloudpickle
from ray.exceptions import RayActorError
from waiting import HANG, wait_for

import skipsearch as ss
from skipsearch.cli import main
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.record import COMPLETE, FAIL, PRUNED, Trial
from skipsearch.run import Run
from skipsearch.searching import driver, worker
from skipsearch.searching.cluster import Allocation, ray_session
from skipsearch.searching.disk import forecast, is_disk_full
from skipsearch.searching.driver import run_trials
from skipsearch.searching.front_end import FrontEnd
from skipsearch.searching.job import Job
from skipsearch.searching.messages import REPORT, Request
from skipsearch.searching.options import Limits, Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.searcher import WORKER_DEATHS
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.searching.study import SearchStudy
from skipsearch.training import Folder

CALM = """
name: calm
base: {widths: [4, 8], depths: [1, 1]}
recipe: {batch_size: 256}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
  shortcut: [proj, omit]
"""

WILD = """
name: wild
base: {widths: [8], depths: [1], shortcut: omit}
axes:
  layout: [conv3-relu-conv3 +, conv3-relu +]
  recipe.peak_lr: {low: 1.0e+5, high: 9.0e+5, step: 1.0e+5}
"""

ONE = Resources(concurrency=1)


@pytest.fixture(scope="module", autouse=True)
def allocation() -> Iterator[Allocation]:
    """Start Ray once for all searches of this file that run in this process."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it
    with ray_session(Resources()) as allocation:
        yield allocation


def test_a_search_needs_no_more_than_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ss.search(ss.Space.from_yaml(CALM), recipe=ss.Recipe(epochs=1))
    assert run.path == Path("runs/calm")
    assert (run.config.trials, run.config.recipe.epochs, run.config.sampler) == (60, 1, "surrogate")
    assert run.outcome is not None
    assert run.outcome.exhausted
    assert {trial.state for trial in run.trials()} == {COMPLETE}


def test_a_search_of_which_all_trainings_fail_says_why_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wild.yaml").write_text(WILD)
    words = ["search", str(tmp_path / "wild.yaml"), "--trials", "2", "--epochs", "1"]
    assert main([*words, "--concurrency", "1", "--out", str(tmp_path / "run")]) == 1
    out = capsys.readouterr().out
    assert "2 trainings failed: the loss became" in out
    assert "No training has finished." in out
    page = Run.open(tmp_path / "run").report().read_text()
    assert "No training has reached an epoch" in page
    assert "nan %" not in page
    assert "nan%" not in page


def test_too_many_failures_in_a_row_stop_the_search_with_a_diagnosis(tmp_path: Path) -> None:
    wild = ss.Space.from_yaml(WILD)
    asked: dict[str, Any] = {"trials": 9, "epochs": 2, "out": tmp_path / "run"}
    asked["resources"] = ONE
    with pytest.raises(RunError, match="3 trials in a row failed") as caught:
        ss.search(wild, limits=Limits(max_failures=3, trial_timeout=1e-6), **asked)
    late = "it took longer than 1e-06 s, for 0 of 2 epochs"
    assert f"3 of them: {late}" in str(caught.value)
    failed = Run.open(tmp_path / "run").trials()
    assert [trial.state for trial in failed] == [FAIL] * 3
    assert all(trial.reason.startswith(late) for trial in failed)
    # Nothing is lost: the same command with other limits goes on.
    limits = Limits(max_failures=99, trial_timeout=HANG)
    done = ss.search(wild, limits=limits, **asked).trials()
    assert done[:3] == failed
    assert [trial.state for trial in done] == [FAIL] * 9
    assert all("the loss became" in trial.reason for trial in done[3:])


def test_what_a_training_took_before_counts_towards_its_time_out(tmp_path: Path) -> None:
    design = ss.Design(layout="conv3-bn-relu", depths=(1,), widths=(8,))
    recipe = ss.Recipe(epochs=2, batch_size=64, images=128)
    request = Request(design=design, recipe=recipe, seeds=(0,), checkpoint="c.pt", timeout=HANG)
    data, store = ss.load_data("digits").without_test(), Folder(tmp_path)
    first = Job(request, data, store)
    seconds = first.step().members[0].curve[-1].seconds
    first.close()
    # Another worker goes on from the checkpoint, and has this much left.
    report = Job(dataclasses.replace(request, timeout=seconds), data, store).step()
    assert report.failure.endswith("for 1 of 2 epochs")


def test_a_worker_that_hangs_beyond_the_time_out_is_ended(tmp_path: Path) -> None:
    # What it hangs in is no step of ours: reading a checkpoint that never comes.
    os.mkfifo(tmp_path / "c.pt")
    design = ss.Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    hangs = Request(
        design=design, recipe=ss.Recipe(epochs=1), seeds=(0,), checkpoint="c.pt", timeout=0.0
    )
    works = dataclasses.replace(hangs, checkpoint="a.pt", timeout=None)
    program = f"""
        from skipsearch.data import load_data
        from skipsearch.searching import worker
        from skipsearch.training import Folder
        worker.HANG_SECONDS = 0.1
        trial = worker.DesignTrainable.__new__(worker.DesignTrainable)
        trial._data, trial._store = load_data("digits").without_test(), Folder({str(tmp_path)!r})
        trial._compiling, trial._versions = None, {{}}
        trial._watchdog, trial._device_lost = worker.Watchdog(), False
        trial._begin({works.to_config()!r})
        assert not trial.step()["report"].failure  # libraries
        trial._begin({hangs.to_config()!r})
        trial.step()
        print("it came back")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Timeout" in done.stderr  # and the traceback tells where it hung
    assert "checkpoint.py" in done.stderr


ASSERTED = "CUDA error: device-side assert triggered"


def losing(worker: Any) -> Any:
    """Make a kind of worker lose its device with every network of one layout.

    All that it trains is recorded with its process.
    """

    class Loses(worker):  # type: ignore[misc]
        def __init__(self, *args: Any, **how: Any) -> None:
            from skipsearch.searching import job
            from skipsearch.searching import worker as worker_file

            def build(design: ss.Design, in_channels: int, classes: int, seed: int) -> Any:
                if str(design.layout).endswith("+"):
                    job.is_lost = lambda device: True
                    raise RuntimeError(ASSERTED)
                return ss.build(design, in_channels, classes, seed)

            job.build = build  # type: ignore[assignment]
            worker_file.versions = lambda: {"process": str(os.getpid())}
            super().__init__(*args, **how)

    return Loses


def lost(tmp_path: Path, allocation: Allocation, **how: Any) -> list[Trial]:
    """Search with workers that lose their device with the second of three layouts."""
    layouts = ["conv3-bn-relu", "conv3-bn +", "conv3-bn + relu"]
    plan = Plan(
        space=ss.Space.from_yaml(
            f"base: {{widths: [4], depths: [1]}}\naxes: {{layout: {layouts}}}"
        ),
        recipe=ss.Recipe(epochs=3, batch_size=256),
        trials=99,
        sampler="grid",
        seed=4,  # an order in which the second layout comes neither first nor last
    )
    with contextlib.closing(SearchStudy(tmp_path / "study.db", "loses", plan)) as study:
        data = ss.load_data("digits").without_test()
        stopping = EarlyStopping(rule="none")
        folder = tmp_path / "checkpoints"
        run_trials(study, data, folder, allocation=allocation, stopping=stopping, **how)
        return study.trials()


def test_a_worker_whose_device_is_lost_makes_room_for_another(
    tmp_path: Path, allocation: Allocation
) -> None:
    trials = lost(tmp_path, allocation._replace(at_once=1), worker=losing(worker.DesignTrainable))
    assert len(trials) == 3
    for trial in trials:
        fails = str(trial.design.layout).endswith("+")
        assert trial.state == (FAIL if fails else COMPLETE), trial.reason
        died = f"its worker process died 3 times: RuntimeError: {ASSERTED}"
        assert trial.reason == died * fails
    assert len({trial.versions["process"] for trial in trials}) > 1


def test_a_training_that_loses_the_device_takes_no_neighbour_along(
    tmp_path: Path, allocation: Allocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "Engine", losing(worker.Engine))
    shared = allocation._replace(each={"cpu": 0.5, "gpu": 0.0}, at_once=2, engines=(1, 0.0))
    trials = lost(tmp_path, shared)
    assert len(trials) == 3
    # And when the search has ended, nothing holds the device.
    processes = {int(trial.versions["process"]) for trial in trials}
    wait_for(lambda: not any(map(psutil.pid_exists, processes)))
    for trial in trials:
        fails = str(trial.design.layout).endswith("+")
        assert trial.state == (FAIL if fails else COMPLETE), trial.reason
        assert trial.reason == f"RuntimeError: {ASSERTED}" * fails


class KeepsNothing:
    """A store that returns nothing: a training that starts again begins with its first epoch."""

    def read(self, name: str) -> bytes | None:
        return None

    def write(self, name: str, content: bytes) -> None:
        pass

    def remove(self, name: str) -> None:
        pass


def test_a_trial_that_tune_starts_twice_ends_nothing_of_the_other(allocation: Allocation) -> None:
    recipe = ss.Recipe(epochs=3, batch_size=256)
    design = ss.Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    request = Request(design=design, recipe=recipe, seeds=(0,), checkpoint="c.pt", engine=0)
    shipped = ray.put(ss.load_data("digits").without_test())
    shared = allocation._replace(at_once=2, engines=(1, 0.0))
    with driver._engines(shipped, KeepsNothing(), shared) as engines:
        spare, trains = (FrontEnd.__new__(FrontEnd) for _ in range(2))
        for front_end in (spare, trains):
            front_end.setup(request.to_config(), engines)

        def epochs() -> int:
            return len(trains.step()[REPORT].members[0].curve)

        assert epochs() == 1
        spare.cleanup()
        assert epochs() == 2
        trains.cleanup()
        assert epochs() == 1


def test_what_keeps_checkpoints_for_a_cluster_ends_with_its_search(
    tmp_path: Path, allocation: Allocation
) -> None:
    with driver._store(tmp_path, allocation._replace(spread=True)) as store:
        store.write("a.pt", b"content")
        assert store.read("a.pt") == b"content"

    def has_ended() -> bool:  # Ray kills without waiting
        try:
            store.read("a.pt")
        except RayActorError:
            return True
        return False

    wait_for(has_ended)
    assert (tmp_path / "a.pt").read_bytes() == b"content"


def test_stopped_trials_are_audited(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(CALM + "  recipe.peak_lr: [0.3, 0.001, 0.0001]\n")
    stopping = ss.EarlyStopping(audit=1.0)  # none is stopped, and all that should be are marked
    asked: dict[str, Any] = {"trials": 8, "epochs": 3, "scheduler": stopping, "sampler": "random"}
    asked["seed"] = 2  # high rates first: low ones are below them after an epoch
    # One after the other: the rule sees them in the order of their numbers.
    trials = ss.search(space, resources=ONE, out=tmp_path / "run", **asked).trials()
    assert [trial.state for trial in trials] == [COMPLETE] * 8
    stopper = EarlyStopper(stopping, 3)
    accuracies = [[epoch.validation_score for epoch in trial.curve] for trial in trials]
    first_stop = [
        next((n for n in (1, 2) if stopper.stops(trial.number, curve[:n])), 0)
        for trial, curve in zip(trials, accuracies, strict=True)
    ]
    assert [trial.stopped_at for trial in trials] == first_stop
    assert set(first_stop) == {0, 1}


def test_several_objectives_end_to_end(tmp_path: Path) -> None:
    objectives = ("validation_accuracy", "latency", "params")
    asked: dict[str, Any] = {"trials": 4, "epochs": 1, "resources": ONE, "out": tmp_path / "run"}
    run = ss.search(ss.Space.from_yaml(CALM), objectives=objectives, **asked)
    assert all(trial.latency is not None and trial.latency > 0 for trial in run.trials())
    front = run.pareto()
    assert {"validation_accuracy", "latency", "params"} <= set(front.columns)
    assert 1 <= len(front) <= 4
    assert list(run.pareto(["validation_accuracy", "params"]).params) == sorted(
        run.pareto(["validation_accuracy", "params"]).params
    )


def test_the_seed_makes_the_sequence_of_designs_reproducible(tmp_path: Path) -> None:
    short = CALM.replace("batch_size: 256", "batch_size: 64, images: 256")
    space = ss.Space.from_yaml(short + "  recipe.peak_lr: {low: 0.01, high: 0.5, log: true}\n")
    asked: dict[str, Any] = {"trials": 14, "epochs": 3, "scheduler": "asha", "resources": ONE}
    runs = [ss.search(space, out=tmp_path / name, seed=3, **asked) for name in "ab"]
    sequence, again = (
        [
            (trial.design.id, trial.recipe.peak_lr, trial.state, len(trial.curve))
            for trial in run.trials()
        ]
        for run in runs
    )
    assert sequence == again
    assert {state for _, _, state, _ in sequence} == {COMPLETE, PRUNED}
    config = runs[0].config
    plan = Plan(space=config.space, recipe=config.recipe, trials=3, sampler=config.sampler, seed=4)
    with contextlib.closing(SearchStudy(tmp_path / "study.db", "calm", plan)) as study:
        other = [proposal.candidate for _ in range(3) if (proposal := study.ask())]
    assert len(other) == 3
    assert [(each.design.id, each.recipe.peak_lr) for each in other] != [
        (design, rate) for design, rate, *_ in sequence[:3]
    ]


# --- killed --------------------------------------------------------------------------------------


def workers(driver: int, known: Container[int] = ()) -> list[psutil.Process]:
    """Find the processes of Ray that train for a driver, less some that are known."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())
            if title.startswith("ray::") and "Trainable" in title and process.pid not in known:
                found.append(process)
    return found


def test_a_worker_that_is_killed_loses_one_epoch_at_most(tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"

    def kill_worker() -> None:
        # Not of both: on a busy machine one may end before the other begins.
        wait_for(lambda: list(checkpoints.glob("*.pt")))
        workers(os.getpid())[0].kill()

    with ThreadPoolExecutor(1) as elsewhere:
        killing = elsewhere.submit(kill_worker)
        asked: dict[str, Any] = {"trials": 2, "epochs": 40, "out": tmp_path / "run"}
        trials = ss.search(ss.Space.from_yaml(CALM), scheduler="none", **asked).trials()
        killing.result()
    assert [(trial.state, len(trial.curve)) for trial in trials] == [(COMPLETE, 40)] * 2
    study = optuna.load_study(study_name="calm", storage=f"sqlite:///{tmp_path}/run/study.db")
    assert len(study.trials) == 2  # the trial itself went on: no copy was queued


def test_a_training_whose_workers_die_three_times_fails_with_that_reason(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"epochs": 1, "out": tmp_path / "run", "scheduler": "none"}
    asked |= {"resources": ONE, "limits": Limits(trial_timeout=HANG)}
    space = ss.Space.from_yaml(CALM)
    (first,) = ss.search(space, trials=1, **asked).trials()
    # The workers of another one hang in reading a checkpoint that never comes.
    victim = next(design for design in space.enumerate() if design.id != first.design.id)
    checkpoint = tmp_path / "run" / "checkpoints" / f"{victim.id}-{first.recipe.id}-0.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    os.mkfifo(checkpoint)

    known = {process.pid for process in workers(os.getpid())}  # of earlier searches

    def read_by_somebody() -> int | None:
        with contextlib.suppress(OSError):  # nobody reads as yet
            return os.open(checkpoint, os.O_WRONLY | os.O_NONBLOCK)
        return None

    def kill_workers() -> None:
        for _ in range(WORKER_DEATHS + 1):
            pipe = wait_for(read_by_somebody)
            (reader,) = workers(os.getpid(), known)
            reader.kill()
            wait_for(lambda: not reader.is_running())  # noqa: B023
            os.close(pipe)

    with ThreadPoolExecutor(1) as elsewhere:
        killing = elsewhere.submit(kill_workers)
        trials = ss.search(space, trials=4, **asked).trials()
        killing.result()
    (failed,) = (trial for trial in trials if trial.state == FAIL)
    assert failed.design.id == victim.id
    assert failed.reason == "its worker process died 3 times"
    assert {trial.state for trial in trials if trial != failed} == {COMPLETE}
    assert len(trials) == 4


# --- the disk ------------------------------------------------------------------------------------


def test_a_forecast_says_what_will_be_written(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(CALM)
    words = forecast(tmp_path, space, 100, 9, 2)
    assert words.startswith("disk: checkpoints of about ")
    assert words.endswith(" free")
    packed = forecast(tmp_path, space, 100, 9, 1, 2)  # a free byte more or less is no matter
    assert packed.partition(";")[0] == words.partition(";")[0]
    with pytest.raises(RunError, match="are free there"):
        forecast(tmp_path, space, 10**15, 9, 2)


def test_a_full_disk_is_recognised_through_all_layers() -> None:
    def write() -> None:
        try:
            Path("/dev/full").write_text("x")
        except OSError as error:
            raise RuntimeError("it could not be written") from error

    with pytest.raises(RuntimeError) as caught:
        write()
    assert is_disk_full(caught.value)
    assert not is_disk_full(RuntimeError("disk"))


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    mount = "mount -t tmpfs -o size=1m none /mnt"
    return (
        unshare is not None
        and not subprocess.run(
            [unshare, "-rm", "sh", "-c", mount], check=False, capture_output=True
        ).returncode
    )


@pytest.mark.skipif(not _may_mount(), reason="needs the right to mount a small file system")
def test_a_full_disk_stops_the_search_and_the_same_command_resumes(tmp_path: Path) -> None:
    # A file system of its own that fills up while the search trains, and has room later.
    (tmp_path / "calm.yaml").write_text(CALM)
    program = """
        import os, sys, threading
        from pathlib import Path
        from waiting import wait_for
        from skipsearch.cli import main
        from skipsearch.searching.cluster import ray_session
        from skipsearch.searching.options import Resources

        def fill():
            wait_for(lambda: list(Path("/mnt/run/checkpoints").glob("*.pt")))
            with open("/mnt/ballast", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass

        words = "search calm.yaml --trials 2 --epochs 9 --scheduler none --out /mnt/run"
        words += " --concurrency 1"
        filling = threading.Thread(target=fill)
        with ray_session(Resources()):
            filling.start()
            if main(words.split()) != 2:
                sys.exit("it did not stop")
            filling.join()
            os.remove("/mnt/ballast")
            sys.exit(main(words.split()))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    script = f"""
        mount -t tmpfs -o size=2m none /mnt
        cd {tmp_path}
        {sys.executable} program.py || exit 8
        cp -r /mnt/run {tmp_path}/run
    """
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": "/tmp", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("skipsearch: error: ") == 1
    assert "the disk is full, so the search has stopped" in done.stderr
    assert "Traceback" not in done.stderr
    trials = Run.open(tmp_path / "run").trials()
    assert [(trial.state, len(trial.curve)) for trial in trials] == [(COMPLETE, 9)] * 2
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
