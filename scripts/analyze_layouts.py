"""Compare the levels of one axis of a run, at equal fidelity.

    python scripts/analyze_layouts.py runs/orders layout

Every training of a search reaches the first rung, so all of them are compared there, and the
selection by early stopping does not bias the result. The interval is Student's for the mean over
trainings. If the intervals of two levels overlap, this run does not distinguish them.
"""

import argparse

import pandas as pd

import skipsearch as ss
from skipsearch.analysis import interval, level


def level_means(run: ss.Run, axis: str) -> pd.DataFrame:
    """Return mean validation accuracy, interval and n for each level of an axis."""
    rung = run.config.rungs[0]
    scale = run.config.scale
    values: dict[str, list[float]] = {}
    for trial in run.trials():
        if len(trial.curve) >= rung:
            values.setdefault(str(level(trial, axis)), []).append(
                trial.curve[rung - 1].validation_score
            )
    rows = [
        (name, sum(seen) / len(seen), *interval(seen, scale), len(seen))
        for name, seen in values.items()
    ]
    table = pd.DataFrame(rows, columns=[axis, "validation_accuracy", "low", "high", "n"])
    return table.sort_values("validation_accuracy", ascending=False).set_index(axis)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare the levels of one axis of a run.")
    parser.add_argument("run", help="the run folder")
    parser.add_argument("axis", nargs="?", default="layout")
    options = parser.parse_args()
    run = ss.Run.open(options.run)
    print(f"after {run.config.rungs[0]} of {run.config.recipe.epochs} epochs:")
    print(level_means(run, options.axis).to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
