"""Time ranking and reporting of a run with thousands of trainings.

A search of one training creates a run folder. Its study is then replaced by one with the given
number of synthetic trainings of distinct designs. Each command is timed as a whole, including the
start of the process, in turns with the alternative without skipsearch: an unranked table of the
same study by Optuna.
Run: python scripts/benchmark_report.py
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmark_overhead import EPOCHS, SPACE, fill
from benchmark_tables import circumstances, table, write_section

import skipsearch as ss

TABLE = (
    "import optuna, sys\n"
    "optuna.load_study(study_name=None, storage=f'sqlite:///{sys.argv[1]}/study.db')"
    ".trials_dataframe().to_csv(f'{sys.argv[1]}/trials.csv')"
)


def commands(run: Path) -> dict[str, list[str]]:
    """Return the timed commands by name."""
    ours = [sys.executable, "-m", "skipsearch"]
    return {
        "rank": [*ours, "rank", str(run)],
        "effects": [*ours, "effects", str(run)],
        "report": [*ours, "report", str(run)],
        "Optuna's table": [sys.executable, "-c", TABLE, str(run)],
    }


def seconds(command: list[str]) -> float:
    """Run a command, and return its duration in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table into this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        ss.search(SPACE, trials=1, epochs=EPOCHS, out=root / "run", sampler="random")
        fill(root, options.sizes)
        for size in sorted(options.sizes):
            shutil.copy(root / str(size) / "study.db", root / "run")
            todo = commands(root / "run")
            rounds = [
                {each: seconds(todo[each]) for each in list(todo)[:: -1 if number % 2 else 1]}
                for number in range(options.rounds)
            ]
            ratios = [one["rank"] / one["Optuna's table"] for one in rounds]
            times = [median(one[each] for one in rounds) for each in todo]
            spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append([f"{size:,}", *(f"{each:.1f}" for each in times), spread])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    text = (
        f"Seconds from the shell and back, for a run of so many trainings of distinct designs;"
        f" medians of {options.rounds} rounds."
    )
    body = (
        f"{circumstances('cpu')}\n\n{text}\n\n{table(['trainings', *todo, 'rank / Optuna'], rows)}"
    )
    if options.out:
        write_section(options.out, "ranking and reporting, cpu", body)
    else:
        print(body)


if __name__ == "__main__":
    main()
