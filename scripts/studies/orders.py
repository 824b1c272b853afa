"""Which order of operations, and which shortcut? He et al. 2016, arXiv:1603.05027, scaled down.

    python scripts/studies/orders.py layout cifar10.npz --out runs/layout
    python scripts/studies/orders.py shortcut cifar10.npz --out runs/shortcut

The five orders of Table 2, or four shortcuts of Table 1 (and two combinations of them), in a
network of 20 layers instead of 110, each with several seeds. Run the command again to resume. At
the end it prints the effect of each level with its interval, and Kendall's tau between the measured
and the published errors, with a bootstrap interval over seeds.

An order of two levels counts as found if the interval of their difference excludes 0 in the
direction of the paper, and as reversed if it excludes 0 in the other one; otherwise it is a tie at
this size.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import kendalltau

import skipsearch as ss
from skipsearch.analysis import answers

RESAMPLES = 2000
RECIPE = """
recipe:
  batch_size: 128
  peak_lr: 0.1
  weight_decay: 1e-4
  decay_norm_and_bias: true
  nesterov: false
"""
SPACES = {
    "layout": """
name: he2016-table-2
base: {widths: [16, 32, 64], depths: [3, 3, 3], merge: add, shortcut: pad}
axes:
  layout:
    - conv3-bn-relu-conv3-bn + relu
    - conv3-bn-relu-conv3 + bn-relu
    - conv3-bn-relu-conv3-bn-relu +
    - relu-conv3-bn-relu-conv3-bn +
    - bn-relu-conv3-bn-relu-conv3 +
""",
    "shortcut": """
name: he2016-table-1
base:
  layout: conv3-bn-relu-conv3-bn + relu
  widths: [16, 32, 64]
  depths: [3, 3, 3]
  gate_bias: -6
axes:
  merge: [add, gate, shortcut-gate]
  shortcut: [pad, proj-all]
""",
}
# Test errors of ResNet-110 on CIFAR-10 in percent, medians of five seeds.
PUBLISHED = {
    "layout": {
        ("conv3-bn-relu-conv3-bn + relu",): 6.61,
        ("conv3-bn-relu-conv3 + bn-relu",): 8.17,
        ("conv3-bn-relu-conv3-bn-relu +",): 7.84,
        ("relu-conv3-bn-relu-conv3-bn +",): 6.71,
        ("bn-relu-conv3-bn-relu-conv3 +",): 6.37,
    },
    "shortcut": {
        ("add", "pad"): 6.61,
        ("gate", "pad"): 8.70,
        ("shortcut-gate", "pad"): 6.91,
        ("add", "proj-all"): 12.22,
    },
}
FIELDS = {"layout": ("layout",), "shortcut": ("merge", "shortcut")}

Errors = Mapping[tuple[str, ...], Sequence[float]]


def errors_of(run: ss.Run, fields: Sequence[str]) -> Errors:
    """Return the validation errors of all seeds, by the levels of a design.

    Args:
        run: Run in which all trainings have finished.
        fields: Fields of the design that the space varies.
    """
    errors: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for trial in run.trials():
        if trial.state == "COMPLETE":
            levels = tuple(getattr(trial.design, field) for field in fields)
            errors[levels].append(1 - trial.curve[-1].validation_score)
    return errors


def agreement(
    errors: Errors, published: Mapping[tuple[str, ...], float]
) -> tuple[float, float, float]:
    """Return Kendall's tau with the published errors, and its 95 % bootstrap interval over seeds.

    Args:
        errors: Errors of all seeds, by levels.
        published: Published error of each combination of levels.
    """
    rng = np.random.default_rng(0)
    levels = [each for each in published if each in errors]
    theirs = [published[each] for each in levels]

    def tau(means: Sequence[float]) -> float:
        return float(kendalltau(means, theirs).statistic)

    drawn = [
        tau([float(np.mean(rng.choice(errors[each], len(errors[each])))) for each in levels])
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return tau([float(np.mean(errors[each])) for each in levels]), float(low), float(high)


def main() -> None:
    """Train all designs with all seeds, and compare them with the paper."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question", choices=SPACES)
    parser.add_argument("data", help="CIFAR-10: an .npz file, or cifar10")
    parser.add_argument("--data-root", help="folder of torchvision's files")
    parser.add_argument("--out", required=True, help="run folder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--crop", type=int, default=4, help="pixels of padding, 2 for 16 x 16")
    options = parser.parse_args()

    run = ss.search(
        ss.Space.from_yaml(SPACES[options.question] + RECIPE),
        options.data,
        data_root=options.data_root,
        sampler="grid",
        scheduler="none",
        seeds=options.seeds,
        epochs=options.epochs,
        recipe=ss.Recipe(crop=options.crop, flip=True),
        out=options.out,
    )
    if run.outcome is None or run.outcome.interrupted:
        return
    print(*answers(run.effects(), run.config.task.metric), "", sep="\n")
    published = PUBLISHED[options.question]
    errors = errors_of(run, FIELDS[options.question])
    print("error (mean of n seeds), published error of ResNet-110, levels:")
    for levels, seeds in sorted(errors.items(), key=lambda item: np.mean(item[1])):
        known = f"{published[levels]:.2f} %" if levels in published else "-"
        print(f"{100 * np.mean(seeds):6.2f} % ({len(seeds)})  {known:>8}  {', '.join(levels)}")
    tau, low, high = agreement(errors, published)
    print(f"Kendall's tau with the published errors: {tau:.2f} (95 %: {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
