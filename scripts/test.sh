#!/usr/bin/env bash
# All that must hold before a change lands. Sets up its own virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "Installing into .venv (PyTorch and Ray are large: a minute or more) ..."
"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
unset PYTHONDONTWRITEBYTECODE    # otherwise each of some 200 processes would compile the package
.venv/bin/pytest "$@"
