"""A search that SIGKILL hits, at any moment and in any part: it ends as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EPOCHS = 40
SPACE = """
name: nodes
base: {widths: [8, 16], depths: [1, 1]}
recipe: {batch_size: 64}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
  shortcut: [proj, omit]
"""


def test_nothing_is_lost_repeated_or_left_whatever_is_killed() -> None:
    script = ROOT / "scripts" / "torture_search.py"
    words = ["--phase", "own", "--kills", "4", "--trials", "8", "--epochs", "9", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 + 4  # as many kills as were asked for
