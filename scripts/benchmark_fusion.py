"""Time training on the CPU with a compiled network, whose pointwise operations are fused.

    python scripts/benchmark_fusion.py --out scripts/README.md

Two trainers of the same network take turns on one thread. One of them is compiled by inductor's
CPU backend, which needs a C++ compiler. Ratios are taken within each round.
"""

import argparse
import time
from pathlib import Path
from statistics import median, quantiles

from benchmark_tables import circumstances, table, write_section
from random_images import random_data

import skipsearch as ss
from skipsearch.training import Trainer, tune_process

ROUNDS = 15
DESIGNS = {
    "resnet-20, 32 x 32, batch 128": (ss.classic("resnet-20").design, 32, 128, 4),
    "2 x 2 blocks of 16 and 32, 8 x 8, batch 32": (
        ss.Design(layout="conv3-bn-relu-conv3-bn + relu", depths=(2, 2), widths=(16, 32)),
        8,
        32,
        40,
    ),
}


def main() -> None:
    """Measure each design."""
    parser = argparse.ArgumentParser(description="Measure what compiling saves on the CPU.")
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = parser.parse_args()
    tune_process(1)
    rows = []
    for name, (design, size, batch, steps) in DESIGNS.items():
        data = random_data(1024, size)
        recipe = ss.Recipe(batch_size=batch, precision="float32")
        plain, compiled = (Trainer(ss.build(design, 3, 10), data, recipe) for _ in range(2))
        for trainer in (plain, compiled):
            trainer.model.train()
            trainer.run_step(0)
        start = time.perf_counter()
        compiled._step.compile()
        compiled.run_step(1)
        seconds = time.perf_counter() - start
        assert compiled._step.failure is None, compiled._step.failure
        ratios = [timed(plain, steps) / timed(compiled, steps) for _ in range(ROUNDS)]
        low, _, high = quantiles(ratios, n=4)
        rows.append([name, f"{seconds:.0f}", f"{median(ratios):.3f}", f"{low:.3f} to {high:.3f}"])
    head = ["network", "compiling, s", "times as fast", "quartiles"]
    body = f"{circumstances('cpu')}\n\n{ROUNDS} rounds.\n\n{table(head, rows)}"
    print(body)
    if options.out:
        write_section(options.out, "fusing on the CPU", body)


def timed(trainer: Trainer, steps: int) -> float:
    """Return the time of some steps in seconds."""
    start = time.perf_counter()
    for number in range(steps):
        trainer.run_step(number)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
