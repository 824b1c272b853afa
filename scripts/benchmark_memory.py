"""Compare the predicted memory of a training with the measured one.

    python scripts/benchmark_memory.py [--out scripts/README.md]

Each row is one training step in a separate process, after weights and libraries are loaded. Two
values are measured: the peak of PyTorch's own allocations (by its profiler), which is the predicted
quantity, and the growth of the process (VmHWM, Linux), which also includes buffers of kernels and
gaps in the heap. The old forecast is the size of all outputs of operations, in the data type of
the convolutions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from benchmark_tables import circumstances, table, write_section

import skipsearch as ss
from skipsearch.data import Split
from skipsearch.task import CLASSIFICATION, DENOISING, SEGMENTATION, Task
from skipsearch.training import Trainer, bytes_an_image, tune_process
from skipsearch.training.environment import autocast_dtype

CLASSES = 11
MB = 1e6


def unet(**changes: object) -> ss.Design:
    """Return the U-Net of 2015 with a quarter of its widths and changed fields."""
    return ss.classic("unet-2015").design.replace(widths=(16, 32, 64, 128, 256), **changes)


def narrow(name: str, divisor: int) -> ss.Design:
    """Return a classic with narrower stages."""
    design = ss.classic(name).design
    widths = tuple(width // divisor for width in design.widths)
    return design.replace(widths=widths, stem_width=design.stem_width // divisor)


class Case(NamedTuple):
    """One training."""

    name: str
    make: Callable[[], ss.Design]
    task: Task
    batch: int
    size: tuple[int, int]
    loss: str = "cross-entropy"
    precision: str = "float32"


SEG = SEGMENTATION
CASES = (
    Case("U-Net", unet, SEG, 16, (96, 128)),
    Case("U-Net, dice", unet, SEG, 8, (160, 192), "dice"),
    Case("U-Net, both losses", unet, SEG, 8, (160, 192), "both"),
    Case("U-Net, bfloat16", unet, SEG, 16, (96, 128), precision="bfloat16"),
    Case("U-Net, both losses, bfloat16", unet, SEG, 8, (160, 192), "both", "bfloat16"),
    Case("U-Net of ResNet-18", lambda: narrow("unet-resnet-18", 2), SEG, 16, (160, 192)),
    Case("UNet++", lambda: unet(links=("nested",)), SEG, 8, (96, 128)),
    Case("attention links", lambda: unet(link_merge="attention"), SEG, 16, (96, 128)),
    Case("RED-Net", lambda: narrow("red-net", 2), DENOISING, 16, (96, 128)),
    Case(
        "RED-Net, bfloat16", lambda: narrow("red-net", 2), DENOISING, 16, (96, 128), "", "bfloat16"
    ),
    Case("ResNet-20", lambda: narrow("resnet-20", 1), CLASSIFICATION, 128, (32, 32)),
    Case("ResNet-18", lambda: narrow("resnet-18", 2), CLASSIFICATION, 32, (96, 96)),
    Case("DenseNet-BC-100", lambda: narrow("densenet-bc-100", 1), CLASSIFICATION, 16, (32, 32)),
)


def data_of(case: Case, images: int, size: tuple[int, int]) -> ss.Data:
    """Return random images and targets."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, *size), dtype=torch.uint8, generator=draw)
    labels = torch.randint(CLASSES, (images,), generator=draw)
    if case.task is SEGMENTATION:
        shape = (images, *size)
        labels = torch.randint(CLASSES, shape, generator=draw).to(torch.uint8)
    split = Split(pixels, labels)
    return ss.Data(
        name="random",
        train=split,
        validation=split,
        test=None,
        class_names=tuple(map(str, range(CLASSES))),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        split_seed=0,
        origin="",
        fingerprint="0" * 16,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        task=case.task,
        sigma=25.0 if case.task is DENOISING else 0.0,
    )


def status(name: str) -> int:
    """Return a memory size of this process in bytes, see proc(5)."""
    lines = Path("/proc/self/status").read_text()
    return 1024 * int(lines.partition(f"{name}:")[2].split()[0])


def measure(case: Case) -> dict[str, float]:
    """Train a step, and return the predicted and the measured bytes."""
    tune_process(1)
    design = case.make()

    def training(data: ss.Data) -> Trainer:
        recipe = ss.Recipe(batch_size=len(data.train), precision=case.precision)
        if case.task is SEGMENTATION:
            recipe = recipe.replace(loss=case.loss)
        model = ss.build(design, data.in_channels, data.outputs)
        trainer = Trainer(model, data, recipe)
        trainer.model.train()
        return trainer

    training(data_of(case, 2, (32, 32))).run_step(0)  # to load libraries
    data = data_of(case, case.batch, case.size)
    trainer = training(data)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    trainer.run_step(0)
    grew = status("VmHWM") - before
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True) as profiler:
        trainer.run_step(1)
    events = profiler.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    dtype = autocast_dtype(trainer.recipe, trainer.device) or torch.float32
    written = ss.cost(design, 3, case.size, data.outputs).activation_bytes
    return {
        "foreseen": case.batch * bytes_an_image(design, data, trainer.recipe),
        "allocated": peak,
        "grew": grew,
        "old": case.batch * written * dtype.itemsize / 4,
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)  # the case to measure
    parser.add_argument("--out", type=Path, help="a file in markdown: replace the section there")
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measure(CASES[options.case])))
        return
    rows = []
    for number, case in enumerate(CASES):
        command = [sys.executable, *sys.argv, "--case", str(number)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        shape = f"{case.batch} x {case.size[0]} x {case.size[1]}"
        shown = [f"{found[name] / MB:.0f}" for name in ("foreseen", "allocated", "grew", "old")]
        ratios = [f"{found[name] / found['allocated']:.2f}" for name in ("foreseen", "grew", "old")]
        rows.append([case.name, shape, *shown, *ratios])
        print(rows[-1], file=sys.stderr, flush=True)
    header = ["MB", "batch", "foreseen", "allocated", "process grew", "old forecast"]
    header += ["foreseen / allocated", "grew / allocated", "old / allocated"]
    body = f"{circumstances('cpu')}\n\n{table(header, rows)}"
    print(body)
    if options.out:
        write_section(options.out, "memory, foreseen and measured", body)


if __name__ == "__main__":
    main()
