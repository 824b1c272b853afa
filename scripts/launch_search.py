r"""Launch a search from Python and print its leaders, or submit it to a running Ray cluster.

    python scripts/launch_search.py search_spaces/orders.yaml runs/orders --trials 30 --epochs 27

If interrupted, run it again to resume the search. On a machine of a cluster, add ``--address
auto``. From elsewhere, submit it to the cluster's dashboard; it continues there when you leave:

    python scripts/launch_search.py search_spaces/orders.yaml /runs/orders --trials 30 --epochs 27 \
        --submit http://127.0.0.1:8265

The run folder and the folder of the data are then on the cluster's head node. The space and this
package are submitted. Dependencies must be installed there, or are installed with ``--install``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import skipsearch as ss
from skipsearch.errors import RunError, SkipSearchError

# Options that are passed on to `skipsearch search` unchanged.
HANDED_ON = ("data", "data_root", "trials", "epochs", "gpus_per_trial")


def main(arguments: Sequence[str] | None = None) -> int:
    """Search and rank, or submit the search; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.submit is None:
            return search(options)
        check(options)
    except SkipSearchError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), options.space)
        return subprocess.run(submission(options, folder), check=False).returncode


def search(options: argparse.Namespace) -> int:
    """Search on this machine, or on the cluster that it is part of."""
    asked = {name: getattr(options, name) for name in ("data", "data_root", "trials", "epochs")}
    resources = ss.Resources(address=options.address, gpus_per_trial=options.gpus_per_trial)
    run = ss.search(options.space, out=options.out, resources=resources, **asked)
    print(run.rank().head(10).to_string())
    return 0


def check(options: argparse.Namespace) -> None:
    """Reject before submission what would fail on the cluster."""
    ss.Space.load(options.space)
    check_folders(options)
    if find_spec("aiohttp") is None:
        raise RunError("--submit needs Ray's client of jobs: pip install 'ray[default]'")


def check_folders(options: argparse.Namespace) -> None:
    """Reject folders inside the working folder of a job, which Ray removes."""
    for name in ("out", "data_root"):
        path = getattr(options, name)
        if path is not None and not PurePosixPath(path).is_absolute():
            raise RunError(f"{name}: {path} is a folder of the head node, and must begin with /")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Launch a search and print its leaders.")
    parser.add_argument("space", help="a file of search_spaces/")
    parser.add_argument("out", help="the run folder")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--gpus-per-trial", type=float)
    parser.add_argument("--address")
    parser.add_argument("--submit", metavar="URL", help="of the dashboard: http://HEAD:8265")
    parser.add_argument("--no-wait", action="store_true", help="submit, and do not follow it")
    parser.add_argument("--install", action="store_true", help="submit with all dependencies")
    return parser


def fill(folder: Path, space: str) -> None:
    """Copy the space and this package to the future working folder of the search.

    The package is not passed as Ray's ``py_modules``: the search itself passes it to its workers
    that way, and Ray rejects a job that sets what its submission has set.
    """
    shutil.copy(space, folder)
    package = Path(ss.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    # From this, Python gets the version of a package that is not installed.
    known = folder / f"skipsearch-{version('skipsearch')}.dist-info"
    known.mkdir()
    known.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: skipsearch\nVersion: {version('skipsearch')}\n"
    )


def submission(options: argparse.Namespace, folder: str) -> list[str]:
    """Return the command that submits a search.

    Args:
        options: Options of the command line.
        folder: Folder filled by ``fill``.
    """
    environment: dict[str, object] = {"working_dir": folder}
    if options.install:
        needed = requires("skipsearch") or []
        environment["pip"] = [each for each in needed if "extra ==" not in each]
    search = ["python", "-m", "skipsearch", "search", Path(options.space).name]
    search += ["--out", options.out, "--address", "auto"]
    for name in HANDED_ON:
        value = getattr(options, name)
        if value is not None:
            search += [f"--{name.replace('_', '-')}", str(value)]
    return [
        *(str(Path(sys.executable).with_name("ray")), "job", "submit"),
        *("--address", options.submit),
        *("--runtime-env-json", json.dumps(environment)),
        *(["--no-wait"] if options.no_wait else []),
        *("--", *search),  # Ray quotes them
    ]


if __name__ == "__main__":
    sys.exit(main())
