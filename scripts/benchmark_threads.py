"""Compare training with one thread and with all threads, on a quiet and on a busy machine.

    python scripts/benchmark_threads.py [--rounds 3] [--seconds 2] [--out scripts/README.md]

Each row is a network of another size, given by the multiply-adds of a layer in one step, from which
the number of threads is chosen (`fitting_threads`). Speeds are relative to one thread under the
same load: with all threads; with the number of threads of `skipsearch train`; and with all threads
and the default spinning of the OpenMP runtime. The load is one busy loop per core. Contenders take
turns in separate processes; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from benchmark_tables import (
    CORES,
    Contender,
    Round,
    circumstances,
    table,
    take_turns,
    work,
    write_section,
)
from random_images import CHANNELS, CLASSES, random_data

import skipsearch as ss
from skipsearch.openmp import SETTINGS
from skipsearch.training import Trainer, fitting_threads, tune_process
from skipsearch.training.threads import work_a_layer

IMAGES = 512
ONE, ALL, OURS, SPINNING = "one thread", "all threads", "ours", "all threads, default spinning"


@dataclass(frozen=True)
class Size:
    """A network and its batch.

    Attributes:
        image_size: Height and width of the images, in pixels.
        depths: Number of blocks of each stage.
        widths: Number of channels of each stage.
        batch: Number of images in a step.
    """

    image_size: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    batch: int

    @property
    def design(self) -> ss.Design:
        """Design of the network, with original residual blocks."""
        return ss.Design(
            layout="conv3-bn-relu-conv3-bn + relu",
            depths=self.depths,
            widths=self.widths,
            stem_width=self.widths[0],
        )


SIZES = (
    Size(8, (1, 1), (8, 16), 32),
    Size(8, (1, 1, 1), (16, 32, 64), 32),
    Size(8, (3, 3, 3), (16, 32, 64), 128),
    Size(16, (1, 1, 1), (16, 32, 64), 64),
    Size(16, (1, 1, 1), (16, 32, 64), 128),
    Size(32, (3, 3, 3), (16, 32, 64), 128),
)


def steps(size: Size, threads: int, fitting: bool) -> Iterator[int]:
    """Train, and yield the number of images of each step."""
    tune_process(threads)
    data, recipe = (
        random_data(IMAGES, size.image_size),
        ss.Recipe(batch_size=size.batch, epochs=1_000_000),
    )
    trainer = Trainer(ss.build(size.design, CHANNELS, CLASSES, seed=0), data, recipe)
    trainer.model.train()
    if fitting:
        with fitting_threads(size.design, data, recipe):
            threads = torch.get_num_threads()
        torch.set_num_threads(threads)
    number = 0
    while True:
        trainer.run_step(number)
        number += 1
        yield size.batch


def contenders() -> list[Contender]:
    """Return a contender for each size and way, named by both."""
    ways = {
        ONE: (1, False, SETTINGS),
        ALL: (CORES, False, SETTINGS),
        OURS: (CORES, True, SETTINGS),
        SPINNING: (CORES, False, {}),
    }
    return [
        Contender(f"{number} {way}", partial(steps, size, threads, fitting), environment=settings)
        for number, size in enumerate(SIZES)
        for way, (threads, fitting, settings) in ways.items()
    ]


def _loop() -> None:
    while True:
        pass


@contextmanager
def busy_loops() -> Iterator[None]:
    """Keep all cores busy within the context."""
    loops = [multiprocessing.Process(target=_loop, daemon=True) for _ in range(CORES)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.terminate()
            loop.join()


def ratio(rounds: Sequence[Round], number: int, way: str) -> str:
    """Return the speed of a way relative to one thread: median, least and greatest."""
    ratios = [one[f"{number} {way}"] / one[f"{number} {ONE}"] for one in rounds]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each contender in a round")
    parser.add_argument("--out", type=Path, help="a file whose section is replaced")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(contenders()[options.work], "cpu", options.seconds)
        return
    *_, quiet = take_turns(contenders(), options.rounds)
    with busy_loops():
        *_, loaded = take_turns(contenders(), options.rounds)
    rows = []
    for number, size in enumerate(SIZES):
        data = random_data(IMAGES, size.image_size)
        recipe = ss.Recipe(batch_size=size.batch)
        torch.set_num_threads(CORES)
        with fitting_threads(size.design, data, recipe):
            threads = torch.get_num_threads()
        rows.append(
            [
                f"{work_a_layer(size.design, data, recipe) / 1e6:.1f}",
                str(threads),
                *(ratio(quiet, number, way) for way in (ALL, OURS)),
                *(ratio(loaded, number, way) for way in (ALL, OURS, SPINNING)),
            ]
        )
    header = ["million MACs a layer and step", "threads", "quiet: all", "quiet: ours"]
    header += ["loaded: all", "loaded: ours", "loaded: all, default spinning"]
    body = f"{circumstances('cpu')}\n\n{table(header, rows)}"
    print(body)
    if options.out is not None:
        write_section(options.out, "threads, cpu", body)


if __name__ == "__main__":
    main()
