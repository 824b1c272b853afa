"""Compare training on images in a memory-mapped file with training on images in memory.

    python scripts/benchmark_mapped.py [--limit 256] [--times 5] [--rounds 5] [--steps 60]

The images are several times as large as the memory that a process may allocate (RLIMIT_DATA, set
after its imports). In each round three processes take turns: images in memory, without the limit; a
mapped file, with the limit, that is in the page cache; and the same after the file has been dropped
from the page cache. All train the same steps on the same batches, of which no image is read twice.
Ratios are taken within a round; the interval is that of Student's t over the rounds. Images per
second of processor time hardly depend on other processes, but leave out waiting for the disk. The
page cache itself is not limited: RLIMIT_DATA counts what the process allocates, where a cgroup
would count the cached pages as well, and drop them if necessary.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
from scipy import stats

import skipsearch as ss
from skipsearch.data import Data, Split
from skipsearch.data.mapped import Mapped
from skipsearch.data.npy_headers import array_in
from skipsearch.training import Trainer, tune_process
from skipsearch.training.interleaving import finish

CLASSES, CHANNELS = 10, 3
RESIDENT, WARM, COLD = "in memory", "file in the page cache", "file not in the page cache"
WARM_UP = 3  # steps before the clock starts
MIB = 2**20


def main() -> None:
    """Run the rounds, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=256, help="memory limit in MiB (default 256)")
    parser.add_argument("--times", type=float, default=5, help="images / limit (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default 5)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a run (default 60)")
    parser.add_argument("--batch", type=int, default=32, help="batch size (default 32)")
    parser.add_argument("--side", type=int, default=64, help="side of an image (default 64)")
    parser.add_argument("--width", type=int, default=16, help="width of the stem (default 16)")
    parser.add_argument("--folder", default=None, help="folder of the file (default: temporary)")
    parser.add_argument("--measure", choices=(RESIDENT, WARM, COLD), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "images.npy")
        write(path, options)
        compare(path, options)


def write(path: Path, options: argparse.Namespace) -> None:
    """Write random images, some MiB at a time."""
    size = CHANNELS * options.side**2
    number = int(options.times * options.limit * MIB / size)
    if number < options.batch * (options.steps + WARM_UP):
        raise SystemExit(f"{number:,} images are fewer than those of {options.steps} steps")
    images = np.lib.format.open_memmap(
        path, "w+", np.uint8, (number, CHANNELS, options.side, options.side)
    )
    rng = np.random.default_rng(0)
    for start in range(0, number, 1_000):
        part = images[start : start + 1_000]
        part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    images.flush()
    print(
        f"{number:,} images of {CHANNELS} x {options.side} x {options.side},"
        f" {path.stat().st_size / MIB:,.0f} MiB: {options.times:g} times the limit of"
        f" {options.limit} MiB"
    )


def compare(path: Path, options: argparse.Namespace) -> None:
    """Run the rounds and print the table."""
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        kinds = [RESIDENT, WARM, COLD]
        order = kinds[number % 3 :] + kinds[: number % 3]
        rounds.append({kind: in_a_process(kind, path) for kind in order})
        print({kind: round(each["speed"]) for kind, each in rounds[-1].items()}, flush=True)
    losses = {each["loss"] for of_round in rounds for each in of_round.values()}
    print("the same losses, bit by bit" if len(losses) == 1 else f"DIFFERENT LOSSES: {losses}")
    print("| images | images/s (median) | ratio (95 % interval) | in CPU time | growth, MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind in (RESIDENT, WARM, COLD):
        speeds = [of_round[kind]["speed"] for of_round in rounds]
        ratios, of_processor = (
            [of_round[kind][what] / of_round[RESIDENT][what] for of_round in rounds]
            for what in ("speed", "processor")
        )
        growth = max(of_round[kind]["growth"] for of_round in rounds)
        cells = [f"{median(speeds):,.0f}", interval(ratios), interval(of_processor)]
        print(f"| {kind} | {' | '.join(cells)} | {growth:,.0f} |")


def interval(ratios: list[float]) -> str:
    """Return mean and interval of ratios as text."""
    mean = fmean(ratios)
    if len(ratios) < 2 or stdev(ratios) == 0:
        return f"{mean:.2f}"
    half = stats.t.ppf(0.975, len(ratios) - 1) * stdev(ratios) / sqrt(len(ratios))
    return f"{mean:.2f} ({mean - half:.2f} to {mean + half:.2f})"


def in_a_process(kind: str, path: Path) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(path), "--measure", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return the speed of the steps in images a second, and the growth of the process in MiB."""
    tune_process(1)
    path = Path(options.folder)
    before = private()
    if options.measure != RESIDENT:
        limit = before + options.limit * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    prepare(path, cached=options.measure != COLD)
    trainer = Trainer(network(options), made(path, options), recipe(options))
    for number in range(WARM_UP):
        finish(trainer._read_ahead(number))
        trainer.run_step(number)
    start, busy = time.perf_counter(), time.process_time()
    for number in range(WARM_UP, WARM_UP + options.steps):
        finish(trainer._read_ahead(number))
        trainer.run_step(number)
    loss = float(trainer._step.loss_sum)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return {
        "speed": options.steps * options.batch / seconds,
        "processor": options.steps * options.batch / busy,
        "growth": (private() - before) / MIB,
        "loss": loss,
    }


def prepare(path: Path, *, cached: bool) -> None:
    """Bring a file into the page cache, or drop it from there."""
    with path.open("rb") as stream:
        if cached:
            while stream.read(MIB):
                pass
        else:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def private() -> int:
    """Return the memory that counts for the limit, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def made(path: Path, options: argparse.Namespace) -> Data:
    """Return the data set, mapped or in memory."""
    file = array_in(path)
    assert file is not None
    images = Mapped((file,))
    labels = torch.arange(len(images)) % CLASSES
    train = Split(images, labels)
    if options.measure == RESIDENT:
        train = Split(images[:], labels)
    few = torch.arange(options.batch)
    blank = torch.zeros(options.batch, *images.shape[1:], dtype=torch.uint8)
    return Data(
        name="random",
        train=train,
        validation=Split(blank, few % CLASSES),
        test=None,
        class_names=tuple(map(str, range(CLASSES))),
        mean=(0.5,) * CHANNELS,
        std=(0.3,) * CHANNELS,
        split_seed=0,
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        origin="random",
        fingerprint="0" * 16,
    )


def network(options: argparse.Namespace) -> Any:
    """Return a small residual network, quick enough that reading matters."""
    widths = (options.width, 2 * options.width, 4 * options.width)
    design = ss.Design(
        layout="bn-relu-conv3-bn-relu-conv3 +",
        depths=(1, 1, 1),
        widths=widths,
        stem_width=options.width,
    )
    return ss.build(design, in_channels=CHANNELS, classes=CLASSES)


def recipe(options: argparse.Namespace) -> ss.Recipe:
    """Return the recipe."""
    return ss.Recipe(epochs=1, batch_size=options.batch)


if __name__ == "__main__":
    main()
