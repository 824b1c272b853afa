"""Add or concatenate, at an equal number of parameters and at equal multiply-adds?

    python scripts/make_subset.py cifar10 cifar16.npz --images 4000 --validation 2000 --pool 2
    python scripts/make_subset.py fashion-mnist f.npz --images 4000 --validation 2000 --pool 2
    python scripts/studies/merges.py cifar16.npz f.npz --out runs/merges

Residual networks (He et al. 2016, arXiv:1603.05027) add the shortcut, and dense ones (Huang et al.
2017, arXiv:1608.06993) concatenate it. A block of equal width then has another number of
parameters; so both are trained at several widths and depths, and compared at equal cost by the
model of the space (``effects`` with ``controlled``). Run the command again to resume.

The answer is that of one data set if the interval of the difference excludes 0. It holds for both
costs and all data sets only if it excludes 0 in the same direction in each.
"""

import argparse
from pathlib import Path

import skipsearch as ss
from skipsearch.analysis import answers

SPACE = """
name: add-or-concatenate
base: {layout: bn-relu-conv3-bn-relu-conv3 +, stem_width: 8, shortcut: pad}
axes:
  merge: [add, cat]
  widths: [[8, 16, 32], [12, 24, 48], [16, 32, 64]]   # with cat: growth rates
  depths: [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
"""
COSTS = ("params", "macs")


def main() -> None:
    """Train all designs on each data set, and print the differences at equal cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", help=".npz files, or names of data sets")
    parser.add_argument("--data-root", help="folder of torchvision's files")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    runs = []
    for name in options.data:
        run = ss.search(
            ss.Space.from_yaml(SPACE),
            name,
            data_root=options.data_root,
            sampler="grid",
            scheduler="none",
            seeds=options.seeds,
            epochs=options.epochs,
            out=options.out / Path(name).stem,
        )
        if run.outcome is None or run.outcome.interrupted:
            return
        runs.append(run)
    for run in runs:
        print(f"{run.config.data.name}: {len(run.trials())} trainings")
        metric = run.config.task.metric
        print("  at equal width:", *answers(run.effects("merge"), metric), sep="\n    ")
        for cost in COSTS:
            found = run.effects("merge", controlled=cost)
            print(f"  at equal {cost}:", *answers(found, metric, controlled=cost), sep="\n    ")
    if len(runs) > 1:
        print("agreement of the data sets:", ss.compare(runs).to_string(), sep="\n")


if __name__ == "__main__":
    main()
