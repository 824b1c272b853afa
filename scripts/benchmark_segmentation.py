"""Compare the training speed of a U-Net with that of the ordinary loop of tutorials.

    python scripts/benchmark_segmentation.py CAMVID [--image-size 120x160] [--out scripts/README.md]

The images and masks are read from a folder. Each contender runs in a separate process and trains
the same network with the same batch size. They take turns, epoch by epoch: one pass over the
training images, then loss and mean IoU of the validation images. Ratios are taken within a round,
and their interval is a bootstrap over rounds. Wall-clock seconds mean little if the machine has
other work. CPU seconds, which include those of the loader's workers, are more reliable; on a quiet
machine with all cores busy, both give the same ratios.

- The ordinary loop is a Dataset of PIL images and masks that are read, resized and flipped one by
  one with torchvision's transforms, a DataLoader, float32 and Adam, with 0 and 2 workers.
- Ours is skipsearch's Trainer, which reads the folder once before the first epoch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from benchmark_tables import CORES, circumstances, table, write_section
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

import skipsearch as ss
from skipsearch.data import Split
from skipsearch.openmp import SETTINGS
from skipsearch.training import Trainer, tune_process

IGNORED = 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # statistics of ImageNet
RESAMPLES = 10_000
WORKERS = (0, 2)
OURS = "ours"


def design_of(widths: Sequence[int]) -> ss.Design:
    """Return a U-Net with the widths of its encoder."""
    return ss.Design(
        layout="conv3-bn-relu-conv3-bn-relu",
        depths=(1,) * len(widths),
        widths=tuple(widths),
        ups=len(widths) - 1,
        down="maxpool",
        stem="none",
        head="map",
        links=("mirror",),
        link_merge="cat",
    )


# --- the ordinary loop ----------------------------------------------------------------------------


class Folder(Dataset[tuple[Tensor, Tensor]]):
    """Images and masks of a folder, one pair at a time."""

    def __init__(self, root: Path, size: tuple[int, int], every: int, flip: bool) -> None:
        self.images = sorted((root / "images").iterdir())[::every]
        self.masks = sorted((root / "masks").iterdir())[::every]
        self.size, self.flip = size, flip
        self.normalise = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self.images[index]).convert("RGB")
        mask = Image.open(self.masks[index])
        image = TF.resize(image, self.size)
        mask = TF.resize(mask, self.size, InterpolationMode.NEAREST)
        if self.flip and random.random() < 0.5:
            image, mask = TF.hflip(image), TF.hflip(mask)
        return self.normalise(image), TF.pil_to_tensor(mask)[0].long()


def ordinary(
    root: Path, size: tuple[int, int], every: int, widths: Sequence[int], batch: int, workers: int
) -> Iterator[float]:
    """Train with the loop of tutorials, and yield the mean IoU of each epoch."""
    train = Folder(root / "train", size, every, flip=True)
    validation = Folder(root / "val", size, every, flip=False)
    classes = len(ss.load_data(root, image_size=size).class_names)
    loader = partial(
        DataLoader[tuple[Tensor, Tensor]],
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    training_loader = loader(train, shuffle=True, drop_last=True)
    validation_loader = loader(validation)
    model = ss.build(design_of(widths), 3, classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)
    while True:
        model.train()
        for images, masks in training_loader:
            optimizer.zero_grad()
            loss = loss_function(model(images), masks)
            loss.backward()
            optimizer.step()
        model.eval()
        confusion = torch.zeros(classes, classes)
        with torch.no_grad():
            for images, masks in validation_loader:
                logits = model(images)
                F.cross_entropy(logits, masks, ignore_index=IGNORED)
                counted = masks != IGNORED
                cells = classes * masks[counted] + logits.argmax(1)[counted]
                confusion += cells.bincount(minlength=classes**2).view(classes, classes)
        both = confusion.diagonal()
        yield (both / (confusion.sum(0) + confusion.sum(1) - both)).nanmean().item()


# --- ours -----------------------------------------------------------------------------------------


def ours(
    root: Path,
    size: tuple[int, int],
    every: int,
    widths: Sequence[int],
    batch: int,
    precision: str = "auto",
) -> Iterator[float]:
    """Train as ``skipsearch train`` does, and yield the mean IoU of each epoch."""
    data = ss.load_data(root, image_size=size).without_test()
    train, validation = (
        Split(each.images[::every], each.labels[::every]) for each in (data.train, data.validation)
    )
    data = replace(data, train=train, validation=validation)
    recipe = ss.Recipe(
        batch_size=batch, peak_lr=0.1, epochs=1000, flip=True, crop=0, precision=precision
    )
    trainer = Trainer(ss.build(design_of(widths), data.in_channels, data.outputs), data, recipe)
    while True:
        yield trainer.run_epoch().validation_score


# --- turns ----------------------------------------------------------------------------------------

Make = partial[Iterator[float]]


class Spent(NamedTuple):
    """Wall-clock seconds and CPU seconds of an epoch."""

    clock: float
    cores: float

    @classmethod
    def so_far(cls) -> Spent:
        """Return the time spent so far by this process and the workers of its loader."""
        pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
        ticks = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # in user and kernel mode: proc(5)
        return cls(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"))


Round = dict[str, Spent]


def serve(make: Make, threads: int, pipe: Connection) -> None:
    """Train one epoch for each request, and send back the time it took."""
    tune_process(threads) if make.func is ours else torch.set_num_threads(threads)
    epochs = make()
    next(epochs)
    while pipe.recv():
        before = Spent.so_far()
        next(epochs)
        after = Spent.so_far()
        pipe.send(Spent(after.clock - before.clock, after.cores - before.cores))


def take_turns(contenders: dict[str, Make], threads: int, rounds: int) -> Iterator[Round]:
    """Yield the time of an epoch of each contender, by round, after a warm-up round."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    os.environ |= SETTINGS  # else spinning threads lose the cores to other work
    for name, make in contenders.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(make, threads, theirs)))
        processes[-1].start()
    try:
        for number in range(rounds + 1):
            results = {}
            for name in list(pipes)[:: -1 if number % 2 else 1]:
                pipes[name].send(True)
                results[name] = pipes[name].recv()
                print(f"round {number}: {name}: {results[name]}", file=sys.stderr, flush=True)
            if number:
                yield {name: results[name] for name in contenders}
    finally:
        for pipe in pipes.values():
            pipe.send(False)
        for process in processes:
            process.join()


def interval(ratios: Sequence[float]) -> str:
    """Return the median of ratios, with its 95 % bootstrap interval over rounds."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = medians[RESAMPLES // 40], medians[-RESAMPLES // 40]
    return f"{median(ratios):.2f} ({low:.2f} to {high:.2f})"


def speeds(rounds: Sequence[Round]) -> str:
    """Return the table: seconds per epoch, and the speedup over the best ordinary loop."""
    loops = [name for name in rounds[0] if not name.startswith(OURS)]
    rows = []
    for name in rounds[0]:
        row = [name]
        for kind in range(2):
            ratios = [min(each[loop][kind] for loop in loops) / each[name][kind] for each in rounds]
            row += [f"{median(each[name][kind] for each in rounds):.1f}", interval(ratios)]
        rows.append(row)
    fast = "times as fast as the best loop (95 %)"
    return table(["", "s an epoch", fast, "s of the cores", fast], rows)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with train and val, images and masks")
    parser.add_argument("--image-size", default="120x160", metavar="HxW")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--every", type=int, default=1, help="use every n-th image of a split")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--float32", action="store_true", help="a row of ours in float32")
    parser.add_argument("--out", type=Path, help="a file in markdown: replace the section there")
    options = parser.parse_args()
    height, width = map(int, options.image_size.split("x"))
    how = (options.data, (height, width), options.every, options.widths, options.batch)
    contenders: dict[str, Make] = {
        f"ordinary loop, {workers} workers": partial(ordinary, *how, workers) for workers in WORKERS
    }
    contenders[OURS] = partial(ours, *how)
    if options.float32:
        contenders[f"{OURS}, in float32"] = partial(ours, *how, "float32")
    rounds: list[Round] = []
    for results in take_turns(contenders, options.threads, options.rounds):
        rounds.append(results)
        note = (
            f"Epochs of a U-Net of widths {options.widths} at {options.image_size}, batches of"
            f" {options.batch}, an evaluation after each, with 1 of {options.every} images of each"
            f" split; {len(rounds)} rounds, {options.threads} threads; load of the machine"
            f" {os.getloadavg()[0]:.0f}."
        )
        body = "\n\n".join([circumstances("cpu"), note, speeds(rounds)])
        if options.out:
            write_section(options.out, f"segmentation, {options.image_size}", body)
    print(body)


if __name__ == "__main__":
    main()
