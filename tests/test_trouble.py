"""What goes wrong in a search becomes a record; the search goes on, or stops with one clear line.

Every failure here is real: a design that diverges, one that is too slow, workers that are killed, a
disk that is full. Memory that runs out is in test_memory.py, a driver that is killed in
test_search.py and test_torture.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

import skipsearch as ss
from skipsearch.errors import RunError
from skipsearch.record import COMPLETE, FAIL, PRUNED
from skipsearch.run import Run
from skipsearch.searching.cluster import Resources, ray_session
from skipsearch.searching.disk import forecast, is_disk_full

CALM = """
name: calm
base: {widths: [8, 16], depths: [1, 1]}
recipe: {batch_size: 64}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
  shortcut: [proj, omit]
"""
SKIPSEARCH = (sys.executable, "-m", "skipsearch")


@pytest.fixture(scope="module", autouse=True)
def _one_ray() -> Any:
    """Start Ray once for all searches of this file that run in this process."""
    with ray_session(Resources()):
        yield


def test_too_many_failures_in_a_row_stop_the_search_with_a_diagnosis(tmp_path: Path) -> None:
    wild = ss.Space.from_yaml(
        "name: wild\nbase: {widths: [8], depths: [1], shortcut: omit}\naxes:\n"
        "  layout: [conv3-relu-conv3 +, conv3-relu +]\n"
        "  recipe.peak_lr: {low: 1.0e+5, high: 9.0e+5, step: 1.0e+5}\n"
    )
    asked: dict[str, Any] = {"trials": 9, "epochs": 2, "out": tmp_path / "run"}
    with pytest.raises(RunError, match="3 trials in a row failed") as caught:
        ss.search(wild, concurrency=1, max_failures=3, **asked)
    assert "the loss became" in str(caught.value)
    failed = Run.open(tmp_path / "run").trials()
    assert [trial.state for trial in failed] == [FAIL] * 3
    # Nothing is lost: the same command with another limit goes on.
    done = ss.search(wild, max_failures=99, **asked).trials()
    assert done[:3] == failed
    assert [trial.state for trial in done] == [FAIL] * 9


def test_a_trial_that_takes_too_long_fails_and_the_search_goes_on(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(
        "name: slow\nbase: {layout: conv3-bn-relu-conv3-bn + relu, depths: [1]}\naxes:\n"
        "  widths: [[4], [512]]\n"
    )
    run = ss.search(
        space, trials=2, epochs=2, out=tmp_path / "run", scheduler="none", trial_timeout=3
    )
    by_width = {trial.design.widths[0]: trial for trial in run.trials()}
    assert by_width[4].state == COMPLETE
    assert by_width[512].state == FAIL
    assert by_width[512].reason.startswith("it took longer than 3 s, for 0 of 2 epochs")
    assert list((run.path / "checkpoints").iterdir()) == []


def test_a_worker_that_hangs_beyond_the_time_out_is_ended(tmp_path: Path) -> None:
    # What it hangs in is no step of ours: reading a checkpoint that never comes.
    os.mkfifo(tmp_path / "c.pt")
    design = ss.Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    task = {
        "design": design.to_dict(),
        "recipe": ss.Recipe(epochs=1).to_dict(),
        "seed": 0,
        "checkpoint": "c.pt",
        "memory_share": 1.0,
        "deterministic": False,
        "timeout": 0.1,
        "latency_batch": None,
        "threads": 1,
    }
    program = f"""
        import json
        from skipsearch.data import load_data
        from skipsearch.searching import worker
        from skipsearch.training import Folder
        worker.HANG_SECONDS = 2.0
        trial = worker.DesignTrainable.__new__(worker.DesignTrainable)
        trial._data, trial._store = load_data("digits").without_test(), Folder({str(tmp_path)!r})
        trial._compiling, trial._versions = None, "{{}}"
        task = {task!r}
        trial._begin({{"task": json.dumps(task | {{"checkpoint": "a.pt", "timeout": None}})}})
        assert "failed" not in trial.step()  # libraries
        trial._begin({{"task": json.dumps(task)}})
        trial.step()
        print("it came back")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Timeout" in done.stderr  # and the traceback tells where it hung
    assert "checkpoint.py" in done.stderr


def test_stopped_trials_are_audited(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(CALM + "  recipe.peak_lr: [0.3, 0.001, 0.0001]\n")
    stopping = ss.EarlyStopping(audit=1.0)  # none is stopped, and all that should be are marked
    run = ss.search(
        space, trials=12, epochs=3, out=tmp_path / "run", scheduler=stopping, sampler="random"
    )
    trials = run.trials()
    assert [trial.state for trial in trials] == [COMPLETE] * 12
    marked = [trial for trial in trials if trial.stopped_at]
    assert {trial.stopped_at for trial in marked} == {1}
    assert 4 <= len(marked) <= 10


def test_several_objectives_end_to_end(tmp_path: Path) -> None:
    objectives = ("validation_accuracy", "latency", "params")
    run = ss.search(
        ss.Space.from_yaml(CALM), trials=4, epochs=1, out=tmp_path / "run", objectives=objectives
    )
    assert all(trial.latency is not None and trial.latency > 0 for trial in run.trials())
    front = run.pareto()
    assert {"validation_accuracy", "latency", "params"} <= set(front.columns)
    assert 1 <= len(front) <= 4
    assert list(run.pareto(["validation_accuracy", "params"]).params) == sorted(
        run.pareto(["validation_accuracy", "params"]).params
    )


def test_the_seed_makes_the_sequence_of_designs_reproducible(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(CALM + "  recipe.peak_lr: {low: 0.01, high: 0.5, log: true}\n")
    sequences = [
        [
            (trial.design.id, trial.recipe.peak_lr, trial.state, len(trial.curve))
            for trial in ss.search(
                space, trials=trials, epochs=3, out=tmp_path / name, seed=seed, concurrency=1
            ).trials()
        ]
        for name, seed, trials in (("a", 3, 14), ("b", 3, 14), ("c", 4, 3))
    ]
    assert sequences[0] == sequences[1]
    assert sequences[0][:3] != sequences[2]
    assert {state for _, _, state, _ in sequences[0]} == {COMPLETE, PRUNED}


# --- killed --------------------------------------------------------------------------------------


def wait_for(what: Any, seconds: float = 120) -> Any:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
    return found


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a search of two long trainings in a process of its own."""
    (folder / "calm.yaml").write_text(CALM)
    command = [*SKIPSEARCH, "search", "calm.yaml", "--trials", "2", "--epochs", "40"]
    return subprocess.Popen(
        [*command, "--scheduler", "none", "--out", "run", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers(driver: int) -> list[psutil.Process]:
    """Find the processes of Ray that train for a driver."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())
            if title.startswith("ray::") and "Trainable" in title:
                found.append(process)
    return found


def test_a_worker_that_is_killed_loses_one_epoch_at_most(tmp_path: Path) -> None:
    with start(tmp_path) as search:
        checkpoints = tmp_path / "run" / "checkpoints"
        # Not of both: on a busy machine one may end before the other begins.
        wait_for(lambda: list(checkpoints.glob("*.pt")))
        victim = workers(search.pid)[0]
        victim.kill()
        output, _ = search.communicate(timeout=120)
    assert search.returncode == 0, output
    trials = Run.open(tmp_path / "run").trials()
    assert [(trial.state, len(trial.curve)) for trial in trials] == [(COMPLETE, 40)] * 2
    study = optuna.load_study(study_name="calm", storage=f"sqlite:///{tmp_path}/run/study.db")
    assert len(study.trials) == 2  # the trial itself went on: no copy was queued


def test_a_training_whose_workers_die_three_times_fails_with_that_reason(tmp_path: Path) -> None:
    with start(tmp_path) as search:
        deaths = 0
        first: set[int] = set()
        while deaths < 6 and search.poll() is None:
            for process in workers(search.pid):
                if process.pid not in first:
                    first.add(process.pid)
                    process.kill()
                    deaths += 1
            time.sleep(0.05)
        output, _ = search.communicate(timeout=120)
    trials = Run.open(tmp_path / "run").trials()
    assert search.returncode == 0, output
    assert [trial.state for trial in trials] == [FAIL] * 2
    assert {trial.reason for trial in trials} == {"its worker process died 3 times"}


def test_a_second_driver_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with start(tmp_path) as search:
        wait_for(lambda: (tmp_path / "run" / "study.db").exists())
        with start(tmp_path) as second:
            output, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert output == "skipsearch: error: run: another search is writing to this run folder\n"
        search.send_signal(signal.SIGTERM)
        output, _ = search.communicate(timeout=60)
    assert search.returncode == 130, output


# --- the disk ------------------------------------------------------------------------------------


def test_a_forecast_tells_what_will_be_written(tmp_path: Path) -> None:
    space = ss.Space.from_yaml(CALM)
    words = forecast(tmp_path, space, 100, 9, 2)
    assert words.startswith("disk: checkpoints of about ")
    assert words.endswith(" free")
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
def test_a_full_disk_stops_the_search_and_the_same_command_goes_on(tmp_path: Path) -> None:
    # A file system of its own that fills up while the search trains, and has room later.
    (tmp_path / "calm.yaml").write_text(CALM)
    script = f"""
        mount -t tmpfs -o size=2m none /mnt
        cd {tmp_path}
        search() {{
            {sys.executable} -m skipsearch search calm.yaml --trials 4 --epochs 20 \\
                --scheduler none --out /mnt/run
        }}
        search & first=$!
        until ls /mnt/run/checkpoints/*.pt; do sleep 0.05; done > /dev/null 2>&1
        cat /dev/zero > /mnt/ballast 2> /dev/null
        wait $first && exit 9
        rm /mnt/ballast
        search || exit 8
        cp -r /mnt/run {tmp_path}/run
    """
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": "/tmp"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("skipsearch: error: ") == 1
    assert "the disk is full, so the search has stopped" in done.stderr
    assert "Traceback" not in done.stderr
    trials = Run.open(tmp_path / "run").trials()
    assert [(trial.state, len(trial.curve)) for trial in trials] == [(COMPLETE, 20)] * 4
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
