"""How many threads a training gets, and what the command line sets before torch is loaded."""

import os
import subprocess
import sys

import pytest
import torch

import skipsearch as ss
from skipsearch import openmp
from skipsearch.training import fitting_threads

SMALL = ss.Design(layout="conv3-bn-relu-conv3-bn + relu", depths=(1,), widths=(8,))
LARGE = ss.classic("resnet-20").design


@pytest.fixture
def digits() -> ss.Data:
    return ss.load_data("digits")


@pytest.mark.parametrize(
    ("design", "batch_size", "networks", "available", "threads"),
    [
        (SMALL, 32, 1, 8, 1),
        (LARGE, 128, 1, 1, 1),
        (LARGE, 128, 1, 8, 1),  # 8 x 8 pixels: 15 million multiply-adds a layer
        (LARGE, 256, 1, 8, 2),
        (LARGE, 128, 8, 16, 8),
        (LARGE, 128, 8, 4, 4),
    ],
)
def test_a_training_gets_the_threads_that_it_keeps_busy(
    digits: ss.Data,
    design: ss.Design,
    batch_size: int,
    networks: int,
    available: int,
    threads: int,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(available)
    try:
        with fitting_threads(design, digits, ss.Recipe(batch_size=batch_size), networks):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == available
    finally:
        torch.set_num_threads(before)


PROGRAM = """
import os, sys
from skipsearch.cli import main
sys.argv = ["skipsearch", "show", "conv3-bn-relu"]
main()
print("SPINS", os.environ["GOMP_SPINCOUNT"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "spins"), [(None, openmp.SETTINGS["GOMP_SPINCOUNT"]), ("7", "7")]
)
def test_the_command_line_caps_spinning_before_torch_is_loaded(
    given: str | None, spins: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if given is not None:
        environment["GOMP_SPINCOUNT"] = given
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"SPINS {spins} False"
