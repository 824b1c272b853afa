"""Check skipsearch on the GPU of this machine, within eight minutes by default.

    python scripts/check_gpu.py [--minutes 8] [--out FILE] [--only bits,streams] [--device cuda]

Each section is a process with a separate time limit, so that a hang or crash does not affect the
others. Each line is printed, and written into the file, as soon as it is known. The exit code is 0
if nothing failed, else 1. Checks that need ray or optuna are skipped if these are missing; with
``--device cpu``, checks that need a GPU are skipped. Graphs are tested with every version of torch,
even those too old for skipsearch to record steps by default. The searches are an exception: they
train as for users.
"""

import argparse
import faulthandler
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

SECONDS = {  # time limit of each section; the most valuable come first
    "bits": 70,
    "streams": 90,
    "failures": 60,
    "designs": 90,
    "waits": 40,
    "resume": 40,
    "memory": 90,
    "harm": 90,
    "speed": 80,
    "search": 150,
}


class Report:
    """Lines on the standard output and in a file, each written before the next check starts.

    Args:
        file: File to append to; None for the standard output alone.
    """

    def __init__(self, file: Path | None) -> None:
        self.failed = 0
        self._file: TextIO | None = file.open("a") if file else None

    def line(self, text: str) -> None:
        """Write a line."""
        print(text, flush=True)
        if self._file:
            self._file.write(text + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def run_section(name: str, device: str, seconds: float, report: Report) -> None:
    """Run a section in a separate process, and write its output to the report."""
    report.line(f"== {name} (at most {seconds:.0f} s)")
    start = time.monotonic()
    arguments = ["--section", name, "--device", device, "--seconds", str(seconds)]
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        report.line(line.rstrip("\n"))
    code = process.wait()
    timer.cancel()
    took = time.monotonic() - start
    if code:
        report.failed += 1
        late = " (out of time)" if took >= seconds else ""
        report.line(f"FAIL section {name}: exit code {code}{late}")
    report.line(f"== {name}: {took:.1f} s")


def main() -> int:
    """Run the sections, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of all sections together")
    parser.add_argument("--out", type=Path, help="a file that the lines are written to as well")
    parser.add_argument("--only", help=f"some of {','.join(SECONDS)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--section", choices=SECONDS, help=argparse.SUPPRESS)  # the section to run
    parser.add_argument("--seconds", type=float, default=600.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        faulthandler.enable()
        faulthandler.dump_traceback_later(max(1.0, options.seconds - 2.0), exit=True)
        from gpu_checks import run_checks

        return int(run_checks(options.section, options.device) > 0)
    names = options.only.split(",") if options.only else list(SECONDS)
    if unknown := set(names) - SECONDS.keys():
        parser.error(f"--only: {', '.join(sorted(unknown))}: not among {', '.join(SECONDS)}")
    end = time.monotonic() + 60 * options.minutes
    report = Report(options.out)
    for name in names:
        left = end - time.monotonic()
        if left < 5:
            report.failed += 1
            report.line(f"FAIL section {name}: no time is left")
            continue
        limit = SECONDS[name] if options.device == "cuda" else left
        run_section(name, options.device, min(limit, left), report)
    report.line(f"{report.failed} of {len(names)} sections failed" if report.failed else "all hold")
    return int(report.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
