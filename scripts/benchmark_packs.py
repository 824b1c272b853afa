"""Compare the speed of packs of several seeds with that of single seeds, in steps and searches.

    python scripts/benchmark_packs.py [--rounds 8] [--out scripts/README.md]
    python scripts/benchmark_packs.py --searches [--rounds 3] [--out scripts/README.md]

The first table is the basis of the rule that decides which seeds are packed (`training.packs`). It
shows a step of each size of network, alone and in packs of 2 to 8, on one thread. Sizes are sorted
by the multiply-adds of a layer in one step. The second table shows the whole duration of the
command that trains all designs of a space with all seeds, with and without packs. All contenders
take turns; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from benchmark_tables import circumstances, table, write_section
from random_images import CHANNELS, CLASSES, random_data

import skipsearch as ss
from skipsearch.training import PackTrainer, Trainer, packs, several, tune_process
from skipsearch.training.threads import work_a_layer

IMAGES = 512
ORDINARY = "conv3-bn-relu-conv3-bn + relu"
PACKS = (2, 3, 5, 8)
STEPS = 2  # steps of each contender in a round
SPACE, EPOCHS, SEEDS = "degradation", 9, 3
WITH, WITHOUT = "with packs", "each seed alone"


@dataclass(frozen=True)
class Size:
    """A network and its batch.

    Attributes:
        image_size: Height and width of the images, in pixels.
        width: Number of channels of the first of three stages; the others have twice and four
            times as many.
        batch: Number of images in a step.
        layout: Order of operations in each block.
        bottleneck_ratio: Bottleneck ratio of the design.
    """

    image_size: int
    width: int
    batch: int
    layout: str = ORDINARY
    bottleneck_ratio: float = 1.0

    @property
    def design(self) -> ss.Design:
        """Design of the network, with one block per stage."""
        return ss.Design(
            layout=self.layout,
            depths=(1, 1, 1),
            widths=(self.width, 2 * self.width, 4 * self.width),
            stem_width=16,
            bottleneck_ratio=self.bottleneck_ratio,
        )


SIZES = (
    Size(8, 8, 32),
    Size(8, 8, 64),
    Size(8, 16, 32),
    Size(8, 8, 128),
    Size(16, 8, 32),
    Size(8, 16, 64),
    Size(8, 32, 32),
    Size(16, 16, 32),
    Size(8, 16, 128),
    Size(16, 8, 128),
    Size(8, 32, 128),
    Size(16, 16, 128),
    Size(32, 8, 128),
    Size(8, 16, 64, "dw7-ln-conv1-gelu-conv1-scale +", 4.0),
)


def steps(size: Size, precision: str, rounds: int) -> list[str]:
    """Return the row of a size: the time of a step alone, and the speedups of packs."""
    data, recipe = (
        random_data(IMAGES, size.image_size),
        ss.Recipe(batch_size=size.batch, epochs=10**6, precision=precision),
    )
    numbers = (1, *PACKS)
    trainings = {}
    for number in numbers:
        models = [ss.build(size.design, CHANNELS, CLASSES, seed) for seed in range(number)]
        alone = number == 1
        trainings[number] = (
            Trainer(models[0], data, recipe)
            if alone
            else PackTrainer(models, data, recipe, range(number))
        )
        trainings[number].model.train()
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(rounds + 1):
        for number, training in trainings.items():
            taken = []
            for step in range(STEPS):
                start = time.perf_counter()
                training.run_step(turn * STEPS + step)
                taken.append(time.perf_counter() - start)
            seconds[number] += [min(taken)] * bool(turn)  # the first round is a warm-up
    ratios = (
        [number * one / pack for one, pack in zip(seconds[1], seconds[number], strict=True)]
        for number in PACKS
    )
    packed = len(packs(data, size.design, recipe, range(3))) == 1
    layout = "" if size.layout == ORDINARY else ", depthwise"
    return [
        f"{size.image_size} x {size.image_size}, width {size.width}, batch {size.batch}{layout}",
        f"{work_a_layer(size.design, data, recipe) / 1e6:.1f}",
        f"{1000 * median(seconds[1]):.1f}",
        *(f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in ratios),
        "yes" if packed else "no",
    ]


def step_tables(rounds: int) -> str:
    """Measure the steps in each precision that the processor supports."""
    tune_process(1)
    parts = []
    header = ["network", "million MACs a layer and step", "ms a step alone"]
    header += [*(f"pack of {number}" for number in PACKS), "packed"]
    bfloat16 = torch.cpu._is_avx512_bf16_supported()
    for precision in ("bfloat16", "float32") if bfloat16 else ("float32",):
        rows = []
        for size in SIZES:
            rows.append(steps(size, precision, rounds))
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
        parts += [f"In {precision}, times as fast as alone:", table(header, rows)]
    return "\n\n".join(parts)


def whole(way: str) -> float:
    """Run the command in a separate process, and return its duration in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--work", way, "--folder", folder]
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start


def command(folder: str) -> list[str]:
    """Return the arguments of the timed command."""
    out = ["--out", folder + "/run"]
    return ["degradation", SPACE, "--epochs", str(EPOCHS), "--seeds", str(SEEDS), *out]


def search_table(rounds: int) -> str:
    """Time the command with and without packs, and return the table."""
    seconds: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for turn in range(rounds):
        for way in (WITH, WITHOUT)[:: -1 if turn % 2 else 1]:
            seconds[way].append(whole(way))
            print(f"round {turn + 1}: {way}: {seconds[way][-1]:.1f} s", file=sys.stderr, flush=True)
    ratios = [a / b for a, b in zip(seconds[WITHOUT], seconds[WITH], strict=True)]
    rows = [[way, f"{median(seconds[way]):.1f}"] for way in (WITHOUT, WITH)]
    return (
        f"`skipsearch {' '.join(command('...'))}`, {rounds} rounds: {median(ratios):.2f} times as"
        f" fast with packs ({min(ratios):.2f} to {max(ratios):.2f}).\n\n"
        f"{table(['', 's'], rows)}"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searches", action="store_true", help="time whole searches")
    parser.add_argument("--rounds", type=int, help="default: 8 of steps, 3 of searches")
    parser.add_argument("--out", type=Path, help="a file whose section is replaced")
    parser.add_argument("--work", choices=(WITH, WITHOUT), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.work is not None:
        if options.work == WITHOUT:
            several.WORK_A_THREAD = 0  # no network is small enough
        from skipsearch.cli import main as skipsearch

        raise SystemExit(skipsearch(command(options.folder)))
    if options.searches:
        body, section = search_table(options.rounds or 3), "whole searches with packs, cpu"
    else:
        body, section = step_tables(options.rounds or 8), "steps of packs, cpu"
    body = f"{circumstances('cpu')}\n\n{body}"
    print(body)
    if options.out is not None:
        write_section(options.out, section, body)


if __name__ == "__main__":
    main()
