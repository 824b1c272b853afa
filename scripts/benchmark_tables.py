"""What the benchmarks share: contenders that take turns, tables of ratios, sections of a file."""

import json
import math
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from statistics import median

import torch

from skipsearch.training import available_cores

CORES = available_cores()

Round = dict[str, float]  # images a second of each contender
Ratio = tuple[str, Sequence[str]]  # a column's heading, and whose best speed it divides by


@dataclass(frozen=True)
class Contender:
    """One row of a table.

    Attributes:
        name: The row.
        steps: Prepares a process of its own, trains, and yields how many images it has trained on
            since the last yield.
        processes: How many processes do so side by side; their speeds are added.
        environment: Variables that its processes are started with.
    """

    name: str
    steps: Callable[[], Iterator[int]]
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def take_turns(
    contenders: Sequence[Contender], rounds: int, minutes: float = math.inf
) -> Iterator[list[Round]]:
    """Measure every contender once a round; every second round goes from the last to the first.

    Args:
        contenders: What is measured; one that fails is left out of its round.
        rounds: How often.
        minutes: After which no other contender begins.

    Yields:
        All that is known, after each contender.
    """
    end = time.monotonic() + 60 * minutes
    results: list[Round] = []
    for number in range(rounds):
        results.append({})
        for index in range(len(contenders))[:: -1 if number % 2 else 1]:
            contender = contenders[index]
            if time.monotonic() > end:
                return
            try:
                speed = _images_a_second(contender, index)
                results[-1][contender.name] = speed
                told = f"{speed:.0f} images/s"
            except (RuntimeError, ValueError) as error:
                told = f"failed: {error}"
            where = f"round {number + 1} of {rounds}: {contender.name}"
            print(f"{where}: {told}", file=sys.stderr, flush=True)
            yield results


def _images_a_second(contender: Contender, index: int) -> float:
    """Run this very command once more for each process; they begin together when all are warm."""
    running = [
        subprocess.Popen(
            [sys.executable, *sys.argv, "--work", str(index)],
            env=environ | contender.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(contender.processes)
    ]
    try:
        for one in running:
            assert one.stdout is not None
            if one.stdout.readline() != "ready\n":
                raise RuntimeError("it did not start")
        for one in running:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        return sum(float(one.communicate()[0]) for one in running)
    finally:
        for one in running:
            one.kill()
            one.wait()


def work(contender: Contender, device: str, seconds: float) -> None:
    """Be one process of a contender: warm up, wait for the word, count images."""
    steps = contender.steps()
    start, warm = time.perf_counter(), 0
    while warm < 2 or time.perf_counter() - start < 1:
        next(steps)
        warm += 1
    synchronise(device)
    print("ready", flush=True)
    sys.stdin.readline()
    start, seen = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        seen += next(steps)
    synchronise(device)
    print(json.dumps(seen / (time.perf_counter() - start)), flush=True)


def synchronise(device: str) -> None:
    """Wait until a GPU has done all that was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def speed_table(names: Sequence[str], rounds: Sequence[Round], ratios: Sequence[Ratio]) -> str:
    """Return images a second and ratios: medians over the rounds, and the range of each ratio.

    A ratio is taken within a round, so that a busy machine disturbs both of its sides alike. What
    is not known yet is shown as a dash.
    """
    rows = []
    for name in names:
        speeds = [one[name] for one in rounds if name in one]
        row = [name, f"{median(speeds):,.0f}" if speeds else "-"]
        for _, bases in ratios:
            whole = [one for one in rounds if {name, *bases} <= one.keys()]
            values = [one[name] / max(one[base] for base in bases) for one in whole]
            row.append(
                f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"
            )
        rows.append(row)
    return table(["", "images/s", *(heading for heading, _ in ratios)], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in markdown that can be read as it stands."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in (header, rule, *rows)
    )


def circumstances(device: str) -> str:
    """Return when, on what and by which command something is measured."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    gpu = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    command = shlex.join(["python", f"scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return f"{now}; {gpu}{_processor()}, {CORES} cores; torch {torch.__version__}\n\n    {command}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def write_section(file: Path, name: str, body: str) -> None:
    """Replace what stands between the marks of a section in a file, or append the section."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = file.read_text() if file.exists() else ""
    if begin in text:
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
    else:
        before, after = f"{text}\n### {name}\n\n", "\n"
    file.write_text(f"{before}{begin}\n{body}\n{end}{after}")
