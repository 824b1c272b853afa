"""The Ray of a session, the real one: who can reach it, what it leaves, which clusters are joined.

Where a Ray runs it runs in a process of its own, as Ray keeps what it has read; starts are shared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import HANG, wait_for

import skipsearch
from skipsearch.errors import RunError
from skipsearch.searching import folder, probe
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.folder import PREFIX, session_folder
from skipsearch.searching.options import Resources

PACKAGE = Path(skipsearch.__file__).parent
TOKEN = "c0ffee" * 8
TOKEN_SETTINGS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")
# A GPU that a test claims is none of those that conftest.py hides.
HIDDEN = (*TOKEN_SETTINGS, "CUDA_VISIBLE_DEVICES")
needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")

# Runs line by line what it is sent, and answers with what ``answer`` is called with.
PYTHON = """
import json, sys
def answer(fact): print("answer", json.dumps(fact), flush=True)
for line in sys.stdin: exec(json.loads(line))
"""


class Process:
    """A Python that runs what it is told, step by step."""

    def __init__(self, **environment: str) -> None:
        self.output: list[str] = []
        self._python = subprocess.Popen(
            [sys.executable, "-c", PYTHON],
            env={k: v for k, v in os.environ.items() if k not in HIDDEN} | environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._python.pid

    def tell(self, code: str) -> None:
        """Let it run some code, and do not wait."""
        assert self._python.stdin is not None
        self._python.stdin.write(json.dumps(code) + "\n")
        self._python.stdin.flush()

    def ask(self, code: str) -> Any:
        """Let it run some code, and return what it answers."""
        self.tell(code)
        return self.heard()

    def heard(self) -> Any:
        """Return its next answer."""
        assert self._python.stdout is not None
        for line in self._python.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
            self.output.append(line)
        raise AssertionError("".join(self.output))

    def end(self) -> None:
        """Let it go on to its end."""
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        if self._python.stdout.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._python.stdin.close()
        try:
            self._python.wait(timeout=HANG)
        finally:
            self._python.kill()
            self.output += self._python.stdout
            self._python.stdout.close()
            self._python.wait()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._python.kill()
        self.end()


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
    found: set[int] = set()
    more = {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in more} - found
    return found


def listens_at(pids: Iterable[int]) -> set[str]:
    """The addresses that some processes listen at, without ports."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(file))
    addresses = set()
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = (raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                addresses.add(socket.inet_ntop(kind, b"".join(words)))
    return addresses


LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

OWN = """
import os, signal
import ray
from ray._common.usage.usage_lib import usage_stats_enabled
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.options import Resources
from skipsearch.searching.probe import probe
def now():
    return dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
before = now()
def connect_without(token):
    kept = os.environ.pop("RAY_AUTH_TOKEN_PATH")
    os.environ["RAY_AUTH_TOKEN"] = token
    try: return probe(ray.get_runtime_context().gcs_address)[0]
    finally:
        os.environ["RAY_AUTH_TOKEN_PATH"] = kept
        del os.environ["RAY_AUTH_TOKEN"]
session = ray_session(Resources(DASHBOARD))
share = session.__enter__()
ray.get(ray.remote(lambda: 1).remote())
answer(str(share.folder))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def own(home: Path) -> Iterator[tuple[Process, Path]]:
    """A Ray of its own, for a user whose settings are for another one."""
    process = Process(
        PYTHONPATH=str(PACKAGE.parent),
        HOME=str(home),
        RAY_AUTH_MODE="disabled",
        RAY_AUTH_TOKEN="another",
    )
    try:
        yield process, Path(process.ask(OWN.replace("DASHBOARD", "")))
    finally:
        process.kill()


@needs_proc
def test_nothing_listens_beyond_this_machine(own: tuple[Process, Path]) -> None:
    addresses = listens_at(family(own[0].pid))
    assert addresses
    assert addresses <= LOOPBACK


def test_who_has_not_the_token_does_not_get_in(own: tuple[Process, Path]) -> None:
    assert own[0].ask("answer(probe(ray.get_runtime_context().gcs_address)[0])") == "granted"
    assert own[0].ask("answer(connect_without('another'))") == "denied"


@needs_proc
def test_the_token_is_nobody_elses_to_read(own: tuple[Process, Path], home: Path) -> None:
    session = own[1]
    assert stat.S_IMODE(session.stat().st_mode) == 0o700
    assert stat.S_IMODE((session / "token").stat().st_mode) == 0o600
    token = (session / "token").read_bytes()
    assert len(token) == 64
    for pid in family(own[0].pid):
        assert token not in Path(f"/proc/{pid}/cmdline").read_bytes()
    texts = [path for path in session.rglob("*") if path.is_file()]
    assert [path.name for path in texts if token in path.read_bytes()] == ["token"]
    assert not (home / ".ray").exists()


@needs_proc
def test_no_telemetry_is_sent(own: tuple[Process, Path]) -> None:
    assert own[0].ask("answer(usage_stats_enabled())") is False
    # Of Ray's servers one reports usage, and looks for a cloud even where it must not.
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in family(own[0].pid)]
    assert any("gcs_server" in command for command in commands)
    assert not any("dashboard.py" in command for command in commands)


# Ends the session of the tests above.
@needs_proc
def test_an_orderly_end_leaves_no_trace(own: tuple[Process, Path]) -> None:
    process, session = own
    others = family(process.pid) - {process.pid}
    assert len(others) > 4
    assert process.ask("session.__exit__(None, None, None); answer(now() == before)")
    assert not session.exists()
    wait_for(lambda: not any(map(runs, others)))
    assert listens_at({process.pid}) == set()
    # And another one, with a token of its own.
    again = "with ray_session(Resources()): answer(ray.get(ray.remote(lambda: 5).remote()))"
    assert process.ask(again) == 5
    process.end()
    assert process.output == []


@pytest.mark.parametrize(("blocked", "said"), [("1", "started"), ("01", "did not start in 2")])
def test_ray_gets_a_second_start(blocked: str, said: str) -> None:
    # A file stands where Ray makes its folder: the start fails as one that takes too long.
    program = f"""
import tempfile
from pathlib import Path
import ray
from skipsearch.errors import RunError
from skipsearch.searching.cluster import _start
with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    for name in {blocked!r}:
        Path(folder, name).touch()
    try:
        _start(Path(folder), dashboard=False, verbose=False)
        print("started", ray.is_initialized())
        ray.shutdown()
    except RunError as error:
        print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=True)
    assert said in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_dashboard_that_is_not_installed_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "ROOT", tmp_path)
    if importlib.util.find_spec("aiohttp_cors"):
        pytest.skip("ray[default] is installed")
    with pytest.raises(RunError, match=r"dashboard: needs pip install 'ray\[default\]'"):
        ray_session(Resources(dashboard=True)).__enter__()
    assert list(tmp_path.iterdir()) == []


@needs_proc
def test_a_dashboard_shows_itself_to_this_machine_alone() -> None:
    pytest.importorskip("aiohttp_cors", reason="ray[default] is not installed")
    process = Process(PYTHONPATH=str(PACKAGE.parent))
    try:
        session = process.ask(OWN.replace("DASHBOARD", "dashboard=True"))
        assert listens_at(family(process.pid)) <= LOOPBACK
        process.tell("session.__exit__(None, None, None)")
        process.end()
        (line,) = process.output
        assert line.startswith("dashboard: http://127.0.0.1:")
        assert line.endswith(f", its token: {session}/token\n")
    finally:
        process.kill()


@needs_proc
def test_what_a_killed_driver_left_goes_with_the_next_start() -> None:
    process = Process(PYTHONPATH=str(PACKAGE.parent))
    try:
        session = Path(process.ask(OWN.replace("DASHBOARD", "")))
        process.tell("ray.get(ray.remote(lambda: __import__('signal').pause()).remote())")
        everything = family(process.pid)
        with session_folder():
            assert (session / "token").exists()  # Its driver lives.
    finally:
        process.kill()
    with session_folder():
        assert not session.exists()
        # Ray's servers end with the driver, but not before it.
        wait_for(lambda: not any(map(runs, everything)))


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty: dead, and not waited for
    return False


def test_only_our_own_folders_without_a_driver_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "ROOT", tmp_path)
    (tmp_path / f"{PREFIX}dead" / "r").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "skipsearch-other").mkdir()
    for name in ("old", "young"):  # of drivers that had not locked them
        (tmp_path / f".{PREFIX}{name}").mkdir()
    os.utime(tmp_path / f".{PREFIX}old", (0, 0))
    stays = {"elsewhere", f"{PREFIX}link", f"{PREFIX}file", "skipsearch-other", f".{PREFIX}young"}
    if os.getuid() == 0:
        (tmp_path / f"{PREFIX}theirs").mkdir()
        os.chown(tmp_path / f"{PREFIX}theirs", 12345, 12345)
        stays.add(f"{PREFIX}theirs")
    with session_folder() as first, session_folder() as second:
        assert {path.name for path in tmp_path.iterdir()} == stays | {first.name, second.name}
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_a_lock_is_not_inherited_by_a_process_that_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "ROOT", tmp_path)
    code = """
import os, subprocess, sys, pathlib
from skipsearch.searching import folder
folder.ROOT = pathlib.Path(sys.argv[1])
session = folder.session_folder()
session.__enter__()
child = subprocess.Popen(["sleep", "infinity"])
print(child.pid, flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        child = int(driver.stdout.readline())
        driver.wait()
        try:
            assert len(list(tmp_path.iterdir())) == 1
            with session_folder() as mine:
                assert list(tmp_path.iterdir()) == [mine]
        finally:
            os.kill(child, 9)


CLUSTER = """
import os, ray
from ray.cluster_utils import Cluster
head = dict(num_cpus=1, num_gpus=GPUS, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=head)
cluster.add_node(num_cpus=2)
answer(cluster.address)
"""


@contextlib.contextmanager
def cluster(gpus: int, **environment: str) -> Iterator[Process]:
    """Start a cluster of two nodes that know nothing of skipsearch; the head claims some GPUs."""
    scratch = tempfile.mkdtemp(prefix="ss-test-", dir="/tmp")  # short, for Ray's sockets
    process = Process(RAY_TMPDIR=scratch, PYTHONPATH="", **environment)
    process.tell(CLUSTER.replace("GPUS", str(gpus)))
    try:
        yield process
        process.tell("cluster.shutdown()")
        process.end()
    finally:
        process.kill()
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of two clusters: one behind a token, and one with a GPU, open to everybody."""
    token = tmp_path_factory.mktemp("clusters") / "token"
    token.write_text(TOKEN)
    guarded = cluster(0, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    with guarded as first, cluster(1, RAY_AUTH_MODE="disabled") as second:
        yield {"guarded": first.heard(), "open": second.heard(), "token": str(token)}


JOIN = """
import os, time
import ray
from pathlib import Path
from skipsearch.errors import RunError
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.options import Resources
def where(meet=None, others=0):
    import skipsearch
    package = os.path.dirname(skipsearch.__file__)
    if meet:  # All run at once, so that they need all nodes.
        (Path(meet) / str(os.getpid())).touch()
        while len(list(Path(meet).iterdir())) <= others:
            time.sleep(0.05)
    shipped = [name for _, folders, files in os.walk(package) for name in folders + files]
    return ray.get_runtime_context().get_node_id(), package, "old.pyc" in shipped
def refusal(**resources):
    try: ray_session(Resources(**resources)).__enter__()
    except RunError as error: return str(error)
"""


def test_trials_run_on_all_nodes_of_a_cluster_that_is_joined(
    clusters: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "skipsearch"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "searching" / "__pycache__").mkdir()
    (copy / "searching" / "__pycache__" / "old.pyc").write_bytes(b"old")
    meet = tmp_path / "meet"
    meet.mkdir()
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "images.npy", np.random.default_rng(0).integers(0, 256, (60, 4, 4), "uint8"))
    np.save(arrays / "labels.npy", np.arange(60) % 2)
    joins = f"""
from skipsearch.data import load_data
from skipsearch.searching.driver import describe_copies
with ray_session(Resources(address={clusters["guarded"]!r})) as allocation:
    answer([allocation.at_once, allocation.memory])
    answer(ray.get([ray.remote(where).remote({str(meet)!r}, 2) for _ in range(3)]))
    gone = ray.nodes()[0] | dict(Alive=False)
    answer(describe_copies(load_data({str(arrays)!r}, in_memory=False), [*ray.nodes(), gone]))
answer(ray.is_initialized())
"""
    process = Process(
        PYTHONPATH=str(tmp_path), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=clusters["token"]
    )
    try:
        at_once, memory = process.ask(JOIN + joins)
        ran = process.heard()
        assert process.heard() == (
            f"data: read from {arrays} during training; each of 2 nodes that lacks the file makes"
            f" its own copy from {arrays}"
        )
        assert process.heard() is False
        process.end()
    finally:
        process.kill()
    assert at_once == 1 + 2
    assert memory == 1 / 2  # of the larger node's
    nodes, packages, caches = map(set, zip(*ran, strict=True))
    assert len(nodes) == 2
    assert all("py_modules" in package for package in packages)
    assert caches == {False}
    assert process.output == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("guarded", {}, r"the cluster requires token authentication: set RAY_AUTH_MODE"),
        (
            "guarded",
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"},
            r"denied access: Authentication token is missing or incorrect",
        ),
        (
            "guarded",
            {"RAY_AUTH_MODE": "token"},
            r"denied access: no token in RAY_AUTH_TOKEN_PATH or",
        ),
        (
            "guarded",
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere"},
            r"denied access: RAY_AUTH_TOKEN_PATH is set but file cannot be opened .* /nowhere",
        ),
        (
            "open",
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN},
            r"everybody who reaches that cluster may run code on it: start its nodes with",
        ),
    ],
)
def test_a_cluster_is_not_joined_without_its_token(
    clusters: dict[str, str],
    name: str,
    settings: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for setting in TOKEN_SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    with pytest.raises(RunError, match=message) as caught:
        ray_session(Resources(address=clusters[name])).__enter__()
    assert "\n" not in str(caught.value)
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")


def test_insecure_joins_an_open_cluster_and_a_ray_that_runs_is_not_mistaken_for_another(
    clusters: dict[str, str],
) -> None:
    address = clusters["open"]
    port = address.rpartition(":")[2]
    steps = f"""
with ray_session(Resources(address={address!r}, insecure=True)) as allocation:
    answer(ray.get(ray.remote(where).remote())[1])
    answer(refusal(address="127.0.0.1:1"))
    answer(refusal(dashboard=True))
    answer(refusal(cpus_per_trial=99))
    answer(refusal(cpus_per_trial=2, gpus_per_trial=1))
    for address in (None, "auto", {address!r}, "localhost:{port}"):
        with ray_session(Resources(address=address)) as same:
            answer([same.at_once, allocation.at_once, same.folder])
    answer(ray.get(ray.remote(where).remote())[1])
"""
    process = Process(PYTHONPATH=str(PACKAGE.parent))
    try:
        package = process.ask(JOIN + steps)
        assert "py_modules" in package
        assert process.heard() == (
            f"address 127.0.0.1:1: this process uses Ray at {address} already: ray.shutdown() first"
        )
        assert process.heard().startswith("dashboard: this process uses Ray already")
        assert process.heard() == "cpus-per-trial: 99 asked for, Ray has 2 on a node"
        assert process.heard().endswith("no node of Ray has 2 cpus and 1 gpus")
        assert [process.heard() for _ in range(4)] == [[1, 1, None]] * 4
        assert process.heard() == package
    finally:
        process.kill()


def test_an_address_where_nobody_or_something_else_answers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(probe, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RunError, match="no Ray cluster can be joined: no answer as of a Ray"):
            ray_session(Resources(address=address)).__enter__()
    with socket.socket() as taken:  # so that nobody else gets it, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match=f"address {address}: no answer"):
            ray_session(Resources(address=address)).__enter__()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 0}, "cpus-per-trial: 0 is not a number above 0"),
        ({"cpus_per_trial": float("nan")}, "cpus-per-trial: nan is not a number above 0"),
        ({"gpus_per_trial": 1.5}, "gpus-per-trial: 1.5 is neither a share from 0 to 1 nor whole"),
        ({"gpus_per_trial": float("nan")}, "gpus-per-trial: nan is neither"),
        ({"concurrency": 0}, "concurrency: 0 is not a positive whole number"),
        ({"concurrency": 1.5}, "concurrency: 1.5 is not a positive whole number"),
        ({"concurrency": True}, "concurrency: True is not a positive whole number"),
        (
            {"address": "ray://head:10001"},
            "address: 'ray://head:10001' is neither auto nor host:port",
        ),
        ({"address": "head"}, "address: 'head' is neither auto nor host:port"),
        ({"address": "local"}, "address: 'local' is neither auto nor host:port"),
        ({"address": "head:port"}, "address: 'head:port' is neither auto nor host:port"),
        ({"address": "auto", "dashboard": True}, "dashboard: has no effect with an address"),
        ({"insecure": True}, "insecure: has no effect without an address"),
    ],
)
def test_resources_that_make_no_sense_are_refused_before_ray_starts(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        Resources(**asked)
