#!/usr/bin/env bash
# The main job on the embedded digits: search, rank, confirm, report, export. Sets up its own virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "Installing into .venv (PyTorch and Ray are large: a minute or more) ..."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[export]'
run=${1:-runs/quickstart}
.venv/bin/skipsearch search quickstart --ask layout,merge,depths --margin 0.01 \
    --trials 120 --seeds 3 --epochs 8 --out "$run"
.venv/bin/skipsearch rank "$run"
.venv/bin/skipsearch confirm "$run" --top 3 --seeds 3
.venv/bin/skipsearch report "$run"
.venv/bin/skipsearch export "$run" --design best
