"""Compare our search with combinations of other libraries, replayed on a table of trainings.

    python scripts/benchmark_search.py [--repeats 10] [--epochs 1000] [--out FILE]
    python scripts/benchmark_search.py --systems ours "Tune as it comes" --epochs 100
    python scripts/benchmark_search.py --overhead 0 1000 10000     # only that of the driver

The table is that of ``train_table.py``; the systems are defined in ``benchmark_systems.py``. They
search the same finite space with the same budget, counted in epochs. In one repeat, each design has
the same curve for all systems, drawn among those of its seeds. Systems take turns, and each search
runs in a separate process. All figures refer to the epochs within the budget: the mean over the
repeats, half of its 95 % interval (Student), and the ratio of the mean to that of ours.

*Trained again*: share of the epochs that a trial of the search had trained before (the same epoch
of the same network with the same recipe). *Full trainings*: trials that reached the last epoch.
*Regret*: difference between the best design of the table and the one that the system returns, both
by their mean over all seeds, in points of accuracy. The returned design is the one with the best
value at the full budget; for Tune, it is that of ``get_best_result()``, which compares the last
value of each trial. *Overhead*: time from the first epoch to the end of the search, divided by its
trials, since epochs take no time; and median time from the end of a trial's last epoch to the first
epoch of the next trial in the same process. *Start*: time from the call to the first epoch.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median

from benchmark_overhead import overhead
from benchmark_samplers import Setting, interval, trainings
from benchmark_systems import SYSTEMS, Replay, Trained, replay
from benchmark_tables import circumstances, table, write_section

DEFAULT = [name for name in SYSTEMS if name != "Tune as it comes"]
SHOWN = (100, 300, 1000)  # epochs after which the regret is shown

Figures = Mapping[str, float]


def figures(name: str, setting: Setting, done: Replay) -> Figures:
    """Return the figures of one replay."""
    full = trainings(setting).epochs
    spent = done.epochs[: done.budget]
    check(name, done)
    ended = [each for each in spent if each.epoch == full]
    trials = len({each.trial for each in spent})
    per_thousand = 1000 / len(spent)
    distinct = len({(each.key, each.epoch) for each in spent})
    result = {
        "epochs trained": len(spent),
        "trials begun": trials,
        "trained again, % of epochs": 100 * (1 - distinct / len(spent)),
        "full trainings per 1,000 epochs": len(ended) * per_thousand,
        "... of distinct designs": len({each.key for each in ended}) * per_thousand,
    }
    for count in SHOWN:
        if count <= done.budget:
            result[f"regret after {count:,} epochs"] = regret(name, setting, spent[:count])
    began = done.epochs[0].began
    all_trials = len({each.trial for each in done.epochs})
    result["overhead, ms a trial"] = 1e3 * (done.returned - began) / all_trials
    result["... end to next start, ms"] = 1e3 * turnaround(done.epochs)
    result["start, s"] = began - done.asked
    return result


def picked(name: str, epochs: Sequence[Trained]) -> Trained:
    """Return the last epoch of the trial that a system returns to its user."""
    last = {each.trial: each for each in epochs}.values()
    if SYSTEMS[name].judges_any_epoch:
        return max(last, key=lambda each: each.value)
    return max(last, key=lambda each: (each.epoch, each.value))


def check(name: str, done: Replay) -> None:
    """Check that the value of the picked trial is the one that the system itself reports."""
    value = picked(name, done.epochs).value
    assert abs(value - done.best) < 1e-9, f"{name} reports {done.best}, not {value}"


def regret(name: str, setting: Setting, epochs: Sequence[Trained]) -> float:
    """Return the regret after these epochs, in points of accuracy."""
    truth = trainings(setting).truth
    return 100 * (max(truth.values()) - truth[picked(name, epochs).key])


def turnaround(epochs: Sequence[Trained]) -> float:
    """Return the median seconds from the end of a trial to the next start in its process."""
    last: dict[int, Trained] = {}
    seconds = []
    for each in epochs:
        before = last.get(each.process)
        if before is not None and before.trial != each.trial:
            seconds.append(each.began - before.ended)
        last[each.process] = each
    # There is no such time if each trial has a separate process.
    return median(seconds) if seconds else float("nan")


def in_own_process(name: str, budget: int, seed: int) -> Replay:
    """Run this command again in a new process for one search."""
    command = [sys.executable, *sys.argv, "--work", name, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    values = json.loads(done.stdout.splitlines()[-1])
    values["epochs"] = [Trained(*each) for each in values["epochs"]]
    return Replay(**values)


def cell(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the mean with its interval, and the ratio of the mean to that of ours."""
    if any(value != value for value in values):
        return ""
    text = interval(values)
    if values is base or not mean(base):
        return text
    return f"{text} ({mean(values) / mean(base):.2f})"


def main() -> None:
    """Replay the systems, or measure the overhead, and print a table."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Replay searches on a table of trainings.")
    parser.add_argument("--space", default=str(here.parent / "search_spaces/digits_table.yaml"))
    parser.add_argument("--table", type=Path, default=here / "tables/digits.csv")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=1000, help="of one search")
    parser.add_argument("--repeats", type=int, default=10, help="2 or more")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=DEFAULT)
    parser.add_argument(
        "--overhead", nargs="+", type=int, metavar="TRIALS", help="measure the driver at so many"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = Setting(options.space, options.table, options.data, 0, 0, "asha", False)

    if options.work:
        name, seed = options.work
        print(json.dumps(asdict(replay(name, setting, options.epochs, int(seed)))))
        return
    if options.overhead:
        name, body = "overhead of the driver, cpu", overhead(options.overhead)
    else:
        name, body = f"search, {options.epochs} epochs", compare(setting, options)
    body = f"{circumstances('cpu')}\n\n{body}"
    print(body)
    if options.out:
        write_section(options.out, name, body)


def compare(setting: Setting, options: argparse.Namespace) -> str:
    """Replay the systems in turns, and return the table."""
    results: dict[str, list[Figures]] = {name: [] for name in options.systems}
    for repeat in range(options.repeats):
        for name in options.systems[:: -1 if repeat % 2 else 1]:
            done = in_own_process(name, options.epochs, repeat)
            results[name].append(figures(name, setting, done))
            shown = ", ".join(f"{what} {value:.4g}" for what, value in results[name][-1].items())
            print(f"{repeat + 1} of {options.repeats}: {name}: {shown}", file=sys.stderr)
    base = options.systems[0]
    rows = []
    for what in results[base][0]:
        columns = {name: [each[what] for each in results[name]] for name in options.systems}
        rows.append([what, *(cell(values, columns[base]) for values in columns.values())])
    return f"Means of {options.repeats} repeats.\n\n{table(['', *options.systems], rows)}"


if __name__ == "__main__":
    main()
