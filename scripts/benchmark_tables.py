"""Shared parts of the benchmarks: contenders in turns, tables of ratios, sections of a file."""

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

Round = dict[str, float]  # images per second of each contender
Ratio = tuple[str, Sequence[str]]  # heading, and the contenders whose best speed is the base


@dataclass(frozen=True)
class Contender:
    """One row of a table.

    Attributes:
        name: Name of the row.
        steps: Generator function, run in a separate process, that trains and yields the number of
            images since the last yield.
        processes: Number of parallel processes; their speeds are added.
        environment: Environment variables of its processes.
    """

    name: str
    steps: Callable[[], Iterator[int]]
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def take_turns(
    contenders: Sequence[Contender], rounds: int, minutes: float = math.inf
) -> Iterator[list[Round]]:
    """Measure every contender once per round; every second round is in reverse order.

    Args:
        contenders: Contenders to measure; one that fails is left out of the round.
        rounds: Number of rounds.
        minutes: Time after which no further contender starts.

    Yields:
        All results so far, after each contender.
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
    """Run this command again for each process; they start together after the warm-up."""
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
    """Run one process of a contender: warm up, wait for the start signal, count images."""
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
    """Wait until a GPU has finished all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def speed_table(names: Sequence[str], rounds: Sequence[Round], ratios: Sequence[Ratio]) -> str:
    """Return images per second and ratios: medians over the rounds, and the range of each ratio.

    Ratios are taken within a round, so that other work on the machine affects both sides alike.
    Missing values are shown as a dash.
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
    """Return a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in (header, rule, *rows)
    )


def circumstances(device: str) -> str:
    """Return the time, the machine and the command of a measurement."""
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
    """Replace the content between the marks of a section in a file, or append the section."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = file.read_text() if file.exists() else ""
    if begin in text:
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
    else:
        before, after = f"{text}\n### {name}\n\n", "\n"
    file.write_text(f"{before}{begin}\n{body}\n{end}{after}")
