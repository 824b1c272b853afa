"""Pass invalid values to every flag of every command, and count the outcomes.

    python scripts/fuzz_flags.py [--values N] [--seed S] [--run RUN]

Two outcomes are allowed: exit code 2 with one short line, which shows no password and leaves no
files behind, and exit code 0 if the command accepts the value. Commands and flags are read from the
parser, so that new ones are tested too. No search or training can start: each command line has a
second reason to be rejected, which is checked last, such as a cluster that may not be joined, a
device that does not exist, or missing data. The exit code is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from skipsearch.cli import main
from skipsearch.cli.parser import make_parser
from skipsearch.cli.words import EXIT_BAD_INPUT
from skipsearch.run.searching import search

SLOW = 2.0  # seconds above which a command line counts as slow
EXAMPLES = 3  # printed examples of each kind of fault
LONGEST_LINE = 1_100  # characters

SECRET = "s3cret"  # a password, which no message may show
VALUES = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "-h",
        "--help",
        "--out",
        "--nope",
        "0",
        "00",
        "+1",
        "1_000",
        "0x10",
    ),
    *(
        "1.5",
        "1e3",
        "1e400",
        "1e-320",
        "nan",
        "inf",
        "-inf",
        "9" * 30,
        "9" * 5_000,
        "\uff11\uff12",
        "²",
    ),
    *(
        "x" * 300,
        "x" * 10_000,
        "a b " * 3_000,
        "é",
        "🙂",
        "\n",
        "a\nb",
        "\r",
        "\t",
        "\x7f",
        "\x1b[31m",
    ),
    *(
        "\0",
        "a\0b",
        "\udcff",
        "x\udcff.yaml",
        "\ud800",
        "\u202e",
        "{}",
        "{0}",
        "%s",
        "%(prog)s",
        "%",
    ),
    *(
        "$HOME",
        "~",
        "~nobody-here/x",
        "..",
        "../..",
        "/",
        ".",
        "/dev/null",
        "/proc/self/mem",
        "*",
        "?",
    ),
    *(
        "true",
        "None",
        "null",
        "[]",
        "[1]",
        "{a: 1}",
        "1,2",
        ",",
        ",,",
        " , ",
        "params,params",
        "=",
        "=1",
    ),
    *(
        "a=b",
        "peak_lr=",
        "peak_lr=1=2",
        "peak_lr=[1]",
        "peak_lr: 1",
        "epochs=0",
        "=" * 5_000,
        "!!int x",
    ),
    *(
        "0s",
        "0.0h",
        "1d",
        "9" * 400 + "h",
        "-5m",
        "cpu:99",
        "cuda:99",
        "meta",
        "xpu",
        "conv99999 +",
        "+",
    ),
    *(
        "host:0",
        "host:999999999",
        "host:-1",
        "host:",
        ":1",
        "auto ",
        "a b:1",
        "[::1]",
        "[::1",
        "[::1]:0",
    ),
    *(
        "x" * 70 + ":1",
        "x" * 300 + ":1",
        "http://host",
        "foo://",
        "://",
        "sqlite:///x",
        "SQLITE:///x",
    ),
    f"postgresql://user:{SECRET}@[127.0.0.1/d",
    f"postgresql://user:{SECRET}@127.0.0.1:port/d",
    f"postgresql://user:{SECRET}@127.0.0.1:99999999/d",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/d",
    f"postgresql+nope://user:{SECRET}@127.0.0.1:1/d?password={SECRET}",
    f"mysql://user:a/b@c:{SECRET}@127.0.0.1/d",
    f"redis://:{SECRET}@127.0.0.1",
    f"ray://user:{SECRET}@127.0.0.1:1",
    f"https://user:{SECRET} with blanks@127.0.0.1/{'x' * 10_000}",
    f"{'x' * 2_000}://user:{'y' * 2_000}{SECRET}{'z' * 2_000}@127.0.0.1",
)
GOOD_STARTS = (
    *(
        "validation_accuracy,params",
        "peak_lr=0.1",
        "tensorboard",
        "source,onnx",
        "20m",
        "0.25",
        "3",
    ),
    *("runs/new", "localhost:6379", "sqlite:///study.db", "orders", "layout", "digits.npz", "best"),
)


def command_lines(rng: random.Random, folder: Path, run: Path) -> Iterator[list[str]]:
    """Yield a command line with an invalid value for each flag of each command.

    Args:
        rng: Random generator.
        folder: Folder for the files named in command lines.
        run: Run folder, which is only read.
    """
    missing, file = folder / "missing.npz", folder / "file"
    file.write_text("no folder")
    space = folder / "space.yaml"
    space.write_text("base: {widths: [4], depths: [1]}\naxes: {layout: [conv3 +, conv3-bn +]}\n")
    new, cluster = ["--out", str(folder / "new")], ["--address", "localhost:1"]
    verbs = {
        "show": ["conv3 +"],
        "check": [str(space)],
        "train": ["conv3 +", "--epochs", "1", "--data", str(missing)],
        "search": [str(space), "--trials", "2", "--epochs", "2", *new, *cluster],
        "rank": [str(run), "--csv", str(folder)],
        "pareto": [str(run), "--csv", str(folder)],
        "export": [str(run), "--device", "nope", "--out", str(file / "x")],
        "predict": [str(missing), str(missing)],
        "explain": [str(run), "best", "--device", "nope", "--csv", str(folder)],
        "degradation": [str(space), "--epochs", "2", *new, *cluster],
        "effects": [str(run), "--csv", str(folder)],
        "confirm": [str(run), *cluster],
        "report": [str(run), "--out", str(file / "x")],
        "compare": [str(run), str(run)],
    }
    subparsers = next(
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for verb, parser in subparsers.choices.items():
        words = verbs[verb]
        places = 0
        for action in parser._actions:
            value = bad_value(rng)
            if action.option_strings and action.nargs != 0:
                flag = action.option_strings[0]
                given = [f"{flag}={value}"] if rng.random() < 0.5 else [flag, value]
                yield [verb, *words, *given]
            elif not action.option_strings:
                yield [verb, *words[:places], value, *words[places + 1 :]]
                places += 1


def run_command(words: Sequence[str]) -> tuple[int | str, str, str]:
    """Run a command line in this process.

    Returns:
        Exit code, standard output and standard error.
    """
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code: int | str | None = main(words)
        except SystemExit as ended:
            code = ended.code
    return code or 0, out.getvalue(), err.getvalue()


def fault(words: Sequence[str], folder: Path) -> str:
    """Run a command line that must be rejected, or only print.

    Args:
        words: Command line.
        folder: Working folder, in which a rejected command leaves nothing behind.

    Returns:
        Description of the fault; empty if there is none.
    """
    before = sorted(folder.rglob("*"))
    try:
        code, out, err = run_command(words)
    except Exception as error:
        return f"{type(error).__name__}: {traceback.format_exc(limit=-3)}"
    if SECRET in out + err:
        return f"a password is shown: {err or out}"
    if code == 0:
        return ""
    if code != EXIT_BAD_INPUT:
        return f"exit code {code}: {err}"
    if not err.startswith("skipsearch: error: ") or err.count("\n") != 1:
        return f"not one line: {err}"
    if len(err) > LONGEST_LINE:
        return f"a long line: {err}"
    left = set(folder.rglob("*")) - set(before)
    return f"left behind: {sorted(map(str, left))}" if left else ""


def run_all(values: int, seed: int, folder: Path, run: Path) -> dict[str, list[str]]:
    """Pass invalid values to every flag; print a table, and return the faults by kind."""
    os.environ.pop("RAY_AUTH_MODE", None)  # With it, a search might join a cluster.
    os.chdir(folder)
    faults: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    slow, slowest = 0, 0.0
    for number in range(values):
        for words in command_lines(random.Random(f"{seed} {number}"), folder, run):
            start = time.perf_counter()
            wrong = fault(words, folder)
            seconds = time.perf_counter() - start
            counts[words[0]] += 1
            slow += seconds > SLOW
            slowest = max(slowest, seconds)
            if wrong:
                kind = f"{words[0]}: {wrong.partition(':')[0]}"
                if kind not in faults:  # at once, since a long run may be interrupted
                    print(f"{kind}, such as {words!a:.3000}", file=sys.stderr, flush=True)
                faults[kind].append(f"{words!a}: {wrong}")
    for verb, count in sorted(counts.items()):
        print(f"{count:7,}  {verb}")
    print(f"{slow:7,}  slower than {SLOW:g} s; the slowest took {slowest:.1f} s")
    return faults


def bad_value(rng: random.Random) -> str:
    """Draw a value that hardly any flag accepts."""
    if rng.random() < 0.7:
        return rng.choice(VALUES)
    # A changed URL may no longer be a URL with a password.
    text = rng.choice([text for text in (*VALUES, *GOOD_STARTS) if SECRET not in text])[:200]
    for _ in range(rng.randint(1, 3)):
        i = rng.randint(0, len(text))
        odd = rng.choice(("", "/", ":", "@", "=", ",", "-", "[", chr(rng.randrange(0x250))))
        text = text[:i] + odd + text[i + rng.randint(0, 2) :]
    return text


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--values", type=int, default=200, help="bad values for each flag")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--run", type=Path, help="a run folder (default: one is made)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        there = options.run or search("quickstart", trials=2, epochs=1, out=f"{scratch}/run").path
        found = run_all(options.values, options.seed, Path(scratch).resolve(), there.resolve())
    for kind, examples in found.items():
        print(f"\n{len(examples):,} x {kind}, such as")
        for example in examples[:EXAMPLES]:
            print(f"  {example[:3_000]}")
    sys.exit(1 if found else 0)
