"""Kill a search at random moments, run the same command again, and count the losses.

SIGKILL is sent to the driver, a worker, a node (its raylet), or everything at once: while Ray
starts, while workers start, during training and at the end. The study is read after each kill.
Finally, the command runs to its end. Nothing may then be lost, trained twice, or left behind.

    python scripts/torture_search.py --seed 0 --out scripts/README.md

Phase ``own``: the search starts its own Ray, and the driver ends with the only node. Phase
``cluster``: a head without CPUs and two nodes on this machine, protected by a token; a killed node
is replaced by a new one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil
from benchmark_tables import circumstances, table, write_section

from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, Trial
from skipsearch.run import Run
from skipsearch.searching.attributes import (
    ATTEMPTS,
    Queued,
    continued_by,
    is_interrupted,
    is_training,
    key_of,
    seed_of,
)
from skipsearch.searching.folder import PREFIX, ROOT
from skipsearch.searching.searcher import WORKER_DEATHS
from skipsearch.searching.storage import open_storage, quiet_optuna
from skipsearch.space import Space

SPACE = """
name: torture
base: {widths: [24, 48], depths: [1, 1]}
recipe: {batch_size: 64}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +, conv3-relu]
  merge: [add, cat]
  shortcut: [proj, omit]
  recipe.peak_lr: [0.003, 0.03, 0.1, 0.3]
"""
PAUSES = (0.2, 8.0)  # seconds between kills
PATIENCE = 900.0  # seconds after which waiting counts as a hang
GONE = 300.0  # seconds for other processes to end after a kill
DRIVER, WORKER, NODE, EVERYTHING = "driver", "worker", "node", "everything"
VICTIMS = (DRIVER, WORKER, NODE, EVERYTHING)
MOMENTS = ("while Ray starts", "while workers start", "during training", "at the end")

# A cluster; each line on its standard input requests another node.
SERVE = """
import sys
from ray.cluster_utils import Cluster
head = {"num_cpus": 0, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
for line in sys.stdin:
    cluster.add_node(num_cpus=1)
    print("address", cluster.address, flush=True)
cluster.shutdown()
"""


def session_of(process: psutil.Process) -> int:
    """Return the operating system's session of a process; 0 if the process has ended."""
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def processes(sessions: set[int]) -> list[psutil.Process]:
    """Return the running processes of some sessions of the operating system."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if session_of(process) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(victims: Sequence[psutil.Process]) -> None:
    """Send SIGKILL to processes."""
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def is_worker(process: psutil.Process) -> bool:
    """Return whether a process of Ray trains, or stores the checkpoints of a cluster."""
    with contextlib.suppress(psutil.Error):
        title = "".join(process.cmdline()[:1])
        return title.startswith("ray::") and ("Trainable" in title or "Folder" in title)
    return False


def is_node(process: psutil.Process, head: bool = False) -> bool:
    """Return whether a process is the raylet of the head, or of another node."""
    with contextlib.suppress(psutil.Error):
        return process.name() == "raylet" and head == ("--head" in process.cmdline())
    return False


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until a condition holds, and return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)  # one check of all processes and the study takes a tenth of it
    return True


class Cluster:
    """A head without CPUs and two nodes, in a separate session of the operating system.

    Args:
        folder: Folder for the token.
    """

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("c0ffee" * 8)
        self.settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        # A short path, for Ray's sockets.
        self._scratch = tempfile.mkdtemp(prefix="ss-torture-", dir="/tmp")
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env={**os.environ, **self.settings, "RAY_TMPDIR": self._scratch},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.session = self._process.pid
        self.add_node()
        self.add_node()

    def add_node(self) -> None:
        """Add a node with one CPU."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("address "):
                self.address = line.split()[1]
                return
        raise RuntimeError("the cluster did not start")

    def end(self) -> None:
        """Shut the cluster down, if it is still running."""
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=GONE)
        kill(processes({self.session}))
        self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


@dataclass
class Search:
    """One search, whose command can be run repeatedly.

    Attributes:
        folder: Folder of the space, the run and the log.
        trials: Number of requested trials.
        epochs: Number of epochs of each trial.
        on_cluster: Whether it joins a cluster.
        words: Further arguments of the command.
        sessions: Sessions of the operating system with our processes.
        folders: Folders of the Ray sessions of our drivers.
    """

    folder: Path
    trials: int
    epochs: int
    on_cluster: bool
    words: Sequence[str] = ()
    sessions: set[int] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        (self.folder / "space.yaml").write_text(SPACE)
        self.cluster: Cluster | None = None
        self.known = 0.0  # recorded epochs at the start of the driver, see ``epochs_of``
        self.had_workers = False  # since that start
        self.was_at_risk = False

    @property
    def run(self) -> Path:
        """Path of the run folder."""
        return self.folder / "run"

    def start(self) -> None:
        """Run the command; first start a cluster if one is needed and there is none."""
        words = ["--trials", str(self.trials), "--epochs", str(self.epochs), "--out", "run"]
        words += self.words
        environment = dict(os.environ)
        if self.on_cluster:
            if self.cluster is None:
                self.cluster = Cluster(self.folder)
                self.sessions.add(self.cluster.session)
            words += ["--address", self.cluster.address]
            environment |= self.cluster.settings
        self.known, self.had_workers = epochs_of(self.snapshot()), False
        self.was_at_risk = is_at_risk(self.run, attempts=ATTEMPTS - 1)
        with (self.folder / "log").open("a") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "skipsearch", "search", "space.yaml", *words],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.add(self.driver.pid)

    def has_ended(self) -> bool:
        """Return whether the driver has ended."""
        return self.driver.poll() is not None

    def all(self) -> list[psutil.Process]:
        """Return all our running processes."""
        found = processes(self.sessions)
        # The id of an ended session may be reused by another.
        self.sessions &= {*map(session_of, found), self.driver.pid}
        return found

    def nodes(self) -> list[psutil.Process]:
        """Return the raylets of the nodes that train."""
        return [each for each in self.all() if is_node(each, head=not self.on_cluster)]

    def snapshot(self) -> list[Trial]:
        """Return the recorded trials; do not call this while a driver may be creating the study."""
        if not (self.run / "study.db").exists():
            return []
        return Run.open(self.run).trials()

    def moment(self) -> str:
        """Return the current phase of the search, one of ``MOMENTS``."""
        self.had_workers = self.had_workers or any(map(is_worker, self.all()))
        if not self.had_workers:
            return MOMENTS[0]
        now = self.snapshot()
        if self.is_done(now):
            return MOMENTS[3]
        return MOMENTS[2] if epochs_of(now) != self.known else MOMENTS[1]

    def is_done(self, trials: Sequence[Trial]) -> bool:
        """Return whether all requested trials have ended."""
        return sum(map(has_ended, trials)) >= self.trials

    def is_at_risk(self) -> bool:
        """Return whether a training would be abandoned, by design, if the driver died now."""
        if self.moment() == MOMENTS[0]:
            return self.was_at_risk  # It cannot have changed yet.
        return is_at_risk(self.run, attempts=ATTEMPTS)

    def strike(self, victim: str, rng: random.Random) -> None:
        """Kill a victim; a node is replaced by a new one, a killed driver has ended on return."""
        self.see()
        ours = self.all()
        if victim == WORKER:
            kill([rng.choice([process for process in ours if is_worker(process)])])
        elif victim == NODE:
            kill([rng.choice(self.nodes())])
            if self.cluster is not None:
                time.sleep(rng.uniform(*PAUSES))
                self.cluster.add_node()
            elif not wait_for(self.has_ended):  # The driver's own node: nothing can continue.
                raise RuntimeError("the driver outlives its node")
        else:
            self.driver.kill()
            if victim == EVERYTHING:
                kill(ours)
                self.end_cluster()
            self.driver.wait()

    def end_cluster(self) -> None:
        """End the cluster, if there is one."""
        if self.cluster is not None:
            self.cluster.end()
            self.cluster = None

    def see(self) -> None:
        """Record the folder of the driver's Ray session, which it holds open."""
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{self.driver.pid}/fd").iterdir():
                target = os.readlink(file)
                if target.startswith(f"{ROOT}/{PREFIX}") and target.count("/") == 2:
                    self.folders.add(Path(target))

    def end(self) -> None:
        """End everything, whatever has happened."""
        self.end_cluster()
        kill(self.all())
        self.driver.wait()


def raw(run: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the unprocessed trials of the Optuna study."""
    if not (run / "study.db").exists():
        return []
    storage = open_storage(f"sqlite:///{run}/study.db")
    try:
        (study,) = optuna.get_all_study_names(storage) or [None]
        if study is None:
            return []
        with quiet_optuna():
            return optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def is_at_risk(run: Path, attempts: int) -> bool:
    """Return whether an unfinished training had so many attempts without completing an epoch."""
    trials = raw(run)
    continued = set(map(continued_by, trials))
    at_work = [
        Queued.from_attributes(trial.user_attrs)
        for trial in trials
        if trial.number not in continued
        and (not trial.state.is_finished() or is_interrupted(trial))
    ]
    return any(
        each.attempt >= attempts and len(each.curve) <= each.epochs_before for each in at_work
    )


def files_left(run: Path) -> int:
    """Count the files in a run folder that an undisturbed search would not leave."""
    left = {path for path in run.rglob("*") if path.is_file()}
    left -= {run / name for name in ("run.yaml", "study.db", ".lock")}
    for path in left:
        say(f"left: {path}")
    return len(left)


def has_ended(trial: Trial) -> bool:
    """Return whether a training has ended and will not be resumed."""
    return trial.state in (COMPLETE, PRUNED) or (
        trial.state == FAIL and trial.reason != INTERRUPTED
    )


def epochs_of(trials: Sequence[Trial]) -> float:
    """Return a number that changes with every recorded epoch."""
    return sum(epoch.seconds for trial in trials for epoch in trial.curve)


def identity(trial: Trial) -> tuple[str, str, int]:
    """Return the identity of a training, which must be unique."""
    return trial.design.id, trial.recipe.id, trial.seed


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        victim: Victim of the kill, one of ``VICTIMS``.
        moment: Phase of the search, one of ``MOMENTS``.
    """

    victim: str
    moment: str


def torture(search: Search, kills: int, rng: random.Random) -> tuple[list[Kill], list[list[Trial]]]:
    """Kill a search the given number of times, or until it has ended; then let it finish.

    Returns:
        Kills, and the recorded trials after each of them.

    Raises:
        RuntimeError: If the search hangs.
    """
    done: list[Kill] = []
    snapshots: list[list[Trial]] = []
    deaths = 0  # of workers under one driver; more than WORKER_DEATHS end a training, by design
    fresh = True
    search.start()
    while len(done) < kills:
        last = len(done) == kills - 1
        if last:
            wait(search, MOMENTS[3:])
            time.sleep(rng.uniform(0, 1))
        else:
            # With a new driver, the pause starts with it, with its workers or with its first epoch.
            since = MOMENTS[rng.randrange(3) if fresh else 2 :]
            wait(search, since)
            time.sleep(rng.uniform(*PAUSES))
            until(search, lambda: not search.is_at_risk())
        if search.has_ended():
            break
        moment = search.moment()
        may_die = deaths < WORKER_DEATHS or not search.on_cluster
        possible = {
            DRIVER: True,
            WORKER: deaths < WORKER_DEATHS and any(map(is_worker, search.all())),
            NODE: may_die and bool(search.nodes()),
            EVERYTHING: True,
        }
        victim = rng.choice([each for each in VICTIMS if possible[each]])
        search.strike(victim, rng)
        say(f"{len(done) + 1:3} {victim:10} {moment}")
        done.append(Kill(victim, moment))
        fresh = search.has_ended()
        # While a driver starts, only it may read the study that it creates.
        if fresh or moment != MOMENTS[0]:
            snapshots.append(search.snapshot())
        deaths = 0 if fresh else deaths + 1
        if fresh:
            search.start()
    if search.has_ended():
        search.start()
    until(search, lambda: False)
    if search.driver.returncode:
        raise RuntimeError(f"the search ended with status {search.driver.returncode}")
    return done, snapshots


def until(search: Search, what: Callable[[], bool]) -> None:
    """Wait until a condition holds or the driver has ended."""

    def came() -> bool:
        search.see()
        return search.has_ended() or what()

    if not wait_for(came):
        raise RuntimeError("the search hangs")


def wait(search: Search, moments: Sequence[str]) -> None:
    """Wait until the search is in one of some phases, or the driver has ended."""
    until(search, lambda: search.moment() in moments)


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def count(
    search: Search, snapshots: Sequence[Sequence[Trial]], end: Sequence[Trial], left: int
) -> dict[str, int]:
    """Return the counts that must be 0, and some further ones."""
    final = {identity(trial): trial for trial in end}
    trials = raw(search.run)
    trainings = [trial for trial in trials if is_training(trial)]
    resuming = [trial for trial in trainings if continued_by(trial) is not None]
    continued = Counter(map(continued_by, resuming))
    begun = Counter(
        (key_of(trial), seed_of(trial)) for trial in trainings if continued_by(trial) is None
    )
    lost_epochs, again = set(), set()
    for snapshot in snapshots:
        for trial in snapshot:
            now = final.get(identity(trial))
            there = {epoch.epoch: epoch for epoch in now.curve} if now else {}
            for epoch in trial.curve:
                other = there.get(epoch.epoch)
                if other is None or other.validation_score != epoch.validation_score:
                    lost_epochs.add((identity(trial), epoch.epoch))
                elif other.seconds != epoch.seconds:
                    again.add((identity(trial), epoch.epoch, epoch.seconds))
    finished = [trial for snapshot in snapshots for trial in snapshot if has_ended(trial)]
    changed = {identity(trial) for trial in finished if final.get(identity(trial)) != trial}
    wait_for(lambda: not search.all(), GONE)
    return {
        "trials lost": max(0, search.trials - sum(map(has_ended, end))) + len(changed),
        "recorded epochs lost": len(lost_epochs),
        "trials repeated": len(end)
        - len(final)
        + sum(begun.values())
        - len(begun)
        + sum(continued.values())
        - len(continued),
        "trials too many": max(0, len(end) - search.trials),
        "trials that failed": sum(trial.state == FAIL for trial in end),
        "zombies: trials RUNNING or WAITING": sum(not t.state.is_finished() for t in trials),
        "zombies: processes": len(search.all()),
        "zombies: folders of sessions": sum(folder.exists() for folder in search.folders),
        "zombies: files": left,
        "recorded epochs trained again": len(again),
    }


def phase(name: str, kills: int, trials: int, epochs: int, seed: int) -> dict[str, int]:
    """Torture one search, and return its counts."""
    say(f"{name}, seed {seed}:")
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        folder = Path(scratch)
        search = Search(folder, trials, epochs, on_cluster=name == "cluster")
        try:
            start = time.monotonic()
            done, snapshots = torture(search, kills, random.Random(seed))
            seconds = time.monotonic() - start
            search.end_cluster()
            left = files_left(search.run)
            end = Run.open(search.run).trials()
            counts = count(search, snapshots, end, left)
            for trial in end:
                if trial.state == FAIL:
                    say(f"trial {trial.number}: {trial.reason}")
        except RuntimeError:
            say((folder / "log").read_text())
            raise
        finally:
            search.end()
    by_victim = Counter(each.victim for each in done)
    by_moment = Counter(each.moment for each in done)
    return {
        "kills": len(done),
        **{f"of {'a ' * (v in (WORKER, NODE))}{v}": by_victim[v] for v in VICTIMS},
        **{moment: by_moment[moment] for moment in MOMENTS},
        "trials asked for": trials,
        "trials at the end": len(end),
        **counts,
        "epochs in the end": sum(len(trial.curve) for trial in end),
        "seconds": round(seconds),
    }


def is_clean(counts: dict[str, int]) -> bool:
    """Return whether nothing was lost, repeated or left behind."""
    zero = [n for n in counts if n.startswith(("trials lost", "recorded epochs lost", "zombies"))]
    zero += ["trials repeated", "trials too many", "trials that failed"]
    return not any(counts[name] for name in zero)


def main() -> None:
    """Torture the searches of the requested phases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--phase", choices=["own", "cluster", "both"], default="both")
    parser.add_argument("--kills", type=int, default=20, help="of each phase (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=81)
    parser.add_argument("--out", type=Path, help="write the table into a section of this file")
    asked = parser.parse_args()
    size = len({candidate.key for candidate in Space.from_yaml(SPACE).candidates()})
    if asked.trials > size:
        parser.error(f"--trials: the space holds {size} trainings only")
    names = ["own", "cluster"] if asked.phase == "both" else [asked.phase]
    counts = {
        name: phase(name, asked.kills, asked.trials, asked.epochs, asked.seed) for name in names
    }
    rows = [[row, *(f"{counts[name][row]}" for name in names)] for row in counts[names[0]]]
    text = table(["", *names], rows)
    print(text)
    if asked.out:
        section = f"torture, {asked.phase}, seed {asked.seed}"
        write_section(asked.out, section, f"{circumstances('cpu')}\n\n{text}")
    sys.exit(0 if all(map(is_clean, counts.values())) else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    main()
