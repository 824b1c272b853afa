"""A search that SIGKILL hits, at any moment and in any part: it ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from skipsearch.record import COMPLETE
from skipsearch.run import Run

SCRIPTS = Path(__file__).parents[1] / "scripts"
pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def torture() -> Iterator[Any]:
    """The script, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("torture_search")


def test_nothing_is_lost_repeated_or_left_whatever_is_killed() -> None:
    words = ["--phase", "own", "--kills", "3", "--trials", "8", "--epochs", "9", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "torture_search.py", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def is_idle(process: psutil.Process) -> bool:
    """Whether a process makes no use of the processor for a moment."""
    before = process.cpu_times()
    time.sleep(0.2)
    return process.cpu_times() == before


def test_a_search_outlives_a_node_and_the_keeper_of_its_checkpoints(
    torture: Any, tmp_path: Path
) -> None:
    epochs, trials = 30, 3
    words = ("--scheduler", "none")
    search = torture.Search(tmp_path, trials, epochs, on_cluster=True, words=words)
    checkpoints = search.run / "checkpoints"

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in checkpoints.glob("*.pt")}

    def of_ours(what: str) -> list[psutil.Process]:
        return [
            each for each in search.all() if torture.is_worker(each) and what in each.cmdline()[0]
        ]

    try:
        search.start()
        assert torture.wait_for(lambda: len(files()) == 2), (tmp_path / "log").read_text()
        # Both nodes train; the driver's, which has no CPU, keeps all checkpoints.
        workers = of_ours("Trainable")
        nodes = search.nodes()
        assert {each.ppid() for each in workers} == {each.pid for each in nodes}
        (keeper,) = of_ours("Folder")
        assert "--head" in keeper.parent().cmdline()
        os.kill(keeper.pid, signal.SIGSTOP)
        assert torture.wait_for(lambda: keeper.status() == psutil.STATUS_STOPPED)
        before = files()
        # Both come to a checkpoint and wait, since nobody else writes it.
        assert torture.wait_for(lambda: all(map(is_idle, workers)))
        assert files() == before
        os.kill(keeper.pid, signal.SIGCONT)

        taken = search.snapshot()
        keeper.kill()
        nodes[0].kill()
        assert torture.wait_for(lambda: not workers[0].is_running() or not workers[1].is_running())
        search.cluster.add_node()
        assert torture.wait_for(search.has_ended)
        assert search.driver.returncode == 0, (tmp_path / "log").read_text()
        left = torture.files_left(search.run)
    finally:
        search.end()
    end = Run.open(search.run).trials()
    assert [(trial.state, len(trial.curve)) for trial in end] == [(COMPLETE, epochs)] * trials
    counts = torture.count(search, [taken], end, left)
    assert torture.is_clean(counts), counts
    # It would have been seen.
    (epoch, *_), first = end[0].curve, end[0]
    other = dataclasses.replace(epoch, validation_score=epoch.validation_score / 2)
    for changed in ((other, *first.curve[1:]), (*first.curve, other)):
        snapshot = [dataclasses.replace(first, curve=changed)]
        assert not torture.is_clean(torture.count(search, [snapshot], end, left))
    assert not torture.is_clean(torture.count(search, [], end[1:], left))
    assert not torture.is_clean(torture.count(search, [], [*end, first], left))
