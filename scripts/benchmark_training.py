"""Compare the training speed of a trial with that of an ordinary training loop.

    python scripts/benchmark_training.py [--design resnet-20] [--device cpu] [--out FILE]
    python scripts/benchmark_training.py --packs       # many small networks at once
    python scripts/benchmark_training.py --accuracy    # accuracy against the ordinary loop
    python scripts/benchmark_training.py --profile     # time of a step by operation
    python scripts/benchmark_training.py --start       # from a trial's start to its first step

Every contender runs in separate processes, on the same random images of 3 x 32 x 32, batch 128,
crops and flips. The contenders take turns. Each speed is the median over the rounds, each ratio the
median of the ratios within a round, followed by the least and the greatest of them.

- The ordinary loop is a Dataset of PIL images with torchvision's transforms, a DataLoader, float32
  and SGD, as in torchvision's reference and the usual tutorials; with 0, 2 and all workers. The
  base of the ratios is the best of these in each round.
- The strong loop is what a good engineer writes by hand: images in memory, augmentation of whole
  batches, channels_last, bfloat16.
- Ours is skipsearch's Trainer as a search runs it, and variants with one changed setting.
- The floor is only the network's convolutions: no other operations and no data loading.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import random_images
import torch
from benchmark_accuracy import accuracy
from benchmark_profile import host_time, profile
from benchmark_tables import (
    CORES,
    Contender,
    Ratio,
    circumstances,
    speed_table,
    take_turns,
    work,
    write_section,
)
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

import skipsearch as ss
from skipsearch.data import Split
from skipsearch.training import Trainer, default_device, tune_process
from skipsearch.training.environment import autocast_dtype, kernels
from skipsearch.training.recorded import CudaGraphs, Recorded

BATCH = 128
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}  # PyTorch's own switch

# --- the data -------------------------------------------------------------------------------------


def random_data() -> ss.Data:
    """Return 8,192 images of 3 x 32 x 32 and 10 classes, with the augmentation of CIFAR-10."""
    data = random_images.random_data(8192, 32)
    one = Split(data.train.images[:1], data.train.labels[:1])
    return replace(data, validation=one, augmentation={"crop": 4, "flip": True, "cutout": 0})


def digits() -> ss.Data:
    """Return the digits with a single validation image, since only training is timed."""
    data = ss.load_data("digits")
    return replace(data, validation=Split(data.validation.images[:1], data.validation.labels[:1]))


# --- the ordinary loop ----------------------------------------------------------------------------


class PilImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """PIL images, as read from files, which are transformed one at a time."""

    def __init__(self, data: ss.Data) -> None:
        arrays = data.train.images.permute(0, 2, 3, 1).squeeze(3).numpy()
        self.images = [Image.fromarray(array) for array in arrays]
        self.labels = data.train.labels.tolist()
        crop, flip = data.augmentation["crop"], data.augmentation["flip"]
        self.transform = transforms.Compose(
            [
                *([transforms.RandomCrop(data.image_size, padding=crop)] if crop else []),
                *([transforms.RandomHorizontalFlip()] if flip else []),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def ordinary(
    design: ss.Design,
    load: Callable[[], ss.Data],
    device: str,
    *,
    workers: int = 0,
    threads: int = CORES,
    batch: int = BATCH,
) -> Iterator[int]:
    """Train with the ordinary loop, and yield the number of images of each step."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    data = load()
    loader = torch.utils.data.DataLoader(
        PilImages(data),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device == "cuda",
    )
    model = ss.build(design, data.in_channels, data.classes).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    while True:
        for images, labels in loader:
            images = images.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            yield len(labels)


# --- the strong loop ------------------------------------------------------------------------------


def strong(design: ss.Design, load: Callable[[], ss.Data], device: str) -> Iterator[int]:
    """Train with a fast loop in plain PyTorch, and yield the number of images of each step."""
    torch.set_num_threads(CORES)
    torch.backends.cudnn.benchmark = True
    data = load().to(device)
    crop, pixels = data.augmentation["crop"], torch.arange(data.image_size, device=device)
    padded = F.pad(data.train.images, (crop, crop, crop, crop))
    mean = 255 * torch.tensor(data.mean, device=device).view(3, 1, 1)
    std = 255 * torch.tensor(data.std, device=device).view(3, 1, 1)
    model = ss.build(design, data.in_channels, data.classes).train()
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    dtype = autocast_dtype(ss.Recipe(), torch.device(device))  # None if bfloat16 is emulated
    while True:
        for index in torch.randperm(len(padded), device=device).split(BATCH):
            # Crop and flip at once by indexing rows and columns; the channels come last.
            top, left = torch.randint(2 * crop + 1, (2, len(index), 1), device=device)
            flipped = torch.rand(len(index), 1, device=device) < 0.5
            rows, columns = top + pixels, left + torch.where(flipped, pixels.flip(0), pixels)
            images = padded[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
            images = (images.permute(0, 3, 1, 2) - mean) / std
            optimizer.zero_grad()
            with torch.autocast(device, dtype, enabled=dtype is not None):
                logits = model(images)
            loss = F.cross_entropy(logits.float(), data.train.labels[index])
            loss.backward()
            optimizer.step()
            yield len(index)


# --- ours -----------------------------------------------------------------------------------------


class WithoutChannelsLast(Trainer):
    """Trainer with tensors in the default memory format."""

    def __init__(self, model: nn.Module, data: ss.Data, recipe: ss.Recipe) -> None:
        super().__init__(model, data, recipe)
        self.model.to(memory_format=torch.contiguous_format)
        # Images arrive in channels_last; the time to convert them back is included.
        self.model.register_forward_pre_hook(lambda module, inputs: inputs[0].contiguous())


class WithFusedSgd(Trainer):
    """Trainer with PyTorch's fused SGD."""

    def __init__(self, model: nn.Module, data: ss.Data, recipe: ss.Recipe) -> None:
        super().__init__(model, data, recipe)
        self._optimizer.fused = True


class WithoutGraph(Trainer):
    """Trainer that runs real steps instead of replaying a CUDA graph."""

    def __init__(self, model: nn.Module, data: ss.Data, recipe: ss.Recipe) -> None:
        super().__init__(model, data, recipe, recorder=CallsAgain())


class CallsAgain:
    """A recorder whose replay is a real call."""

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        """Call the function."""
        function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        """Return a function that calls it again."""
        return partial(function, value)


def trained(
    design: ss.Design,
    data: ss.Data,
    *,
    trainer: Callable[..., Trainer] = Trainer,
    precision: str = "auto",
    batch: int = BATCH,
    seed: int = 0,
) -> Trainer:
    """Return a trainer whose budget is never reached."""
    recipe = ss.Recipe(batch_size=batch, peak_lr=0.1, epochs=1_000_000, precision=precision)
    return trainer(ss.build(design, data.in_channels, data.classes, seed=seed), data, recipe)


def ours(
    design: ss.Design,
    load: Callable[[], ss.Data],
    device: str,
    *,
    threads: int = 1,
    tuned: bool = True,
    **how: Any,
) -> Iterator[int]:
    """Train as a trial of a search, and yield the number of images of each short epoch."""
    if tuned:
        tune_process(threads)
    else:
        torch.set_num_threads(threads)
    data = load().to(device)
    if device == "cpu":  # on which the time is read after each epoch
        images = 8 * BATCH
        data = replace(data, train=Split(data.train.images[:images], data.train.labels[:images]))
    one = trained(design, data, **how)
    while True:
        one.run_epoch()
        yield len(data.train)


def streams(
    design: ss.Design, load: Callable[[], ss.Data], device: str, count: int
) -> Iterator[int]:
    """Train several networks at once in one process, each on a separate stream."""
    from skipsearch.training.streams import Streams

    tune_process(1)
    data = load().to(device)
    together = Streams(torch.device(device))
    slots = [together.take_slot() for _ in range(count)]
    trainings = [
        slot.call(partial(trained, design, data, seed=seed)) for seed, slot in enumerate(slots)
    ]
    with ThreadPoolExecutor(count) as pool:
        while True:
            list(pool.map(lambda slot, one: slot.run(one.all_steps()), slots, trainings))
            yield count * len(data.train)


# --- the floor ------------------------------------------------------------------------------------


def convolutions(design: ss.Design, load: Callable[[], ss.Data], device: str) -> Iterator[int]:
    """Compute only a network's convolutions, forward and backward, and yield numbers of images.

    Each has its own prepared input and gradient, with the shapes in the network, in channels_last
    and the fastest precision. On a GPU they are replayed as one CUDA graph.
    """
    tune_process(1)
    data = load().to(device)
    model = ss.build(design, data.in_channels, data.classes).to(device)
    dtype = autocast_dtype(ss.Recipe(), torch.device(device)) or torch.float32
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def prepared(like: Tensor) -> Tensor:
        values = torch.rand(like.shape, device=device, dtype=dtype)
        return values.contiguous(memory_format=torch.channels_last)

    def prepare(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        wanted = bool(calls)  # the gradient of the images is not needed
        calls.append((module, prepared(inputs[0]).requires_grad_(wanted), prepared(output)))

    hooks = [
        module.register_forward_hook(prepare)
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model(data.train.images[:BATCH].float())
    for hook in hooks:
        hook.remove()
    model.to(dtype=dtype, memory_format=torch.channels_last)

    def step(_: Tensor) -> None:
        with kernels(torch.device(device), deterministic=False):
            for module, inputs, gradient in calls:
                wanted = [inputs, module.weight] if inputs.requires_grad else [module.weight]
                torch.autograd.grad(module(inputs), wanted, gradient)

    run = Recorded(step, CudaGraphs(data.train.images.device)) if device == "cuda" else step
    while True:
        run(torch.zeros(1, device=device))
        yield BATCH


# --- many small networks --------------------------------------------------------------------------

PACK = 8


def small(width: int) -> ss.Design:
    """Return a design that leaves most of a device idle."""
    return ss.Design(
        layout="conv3-bn-relu-conv3-bn + relu",
        depths=(1, 1, 1),
        widths=(width, 2 * width, 4 * width),
        stem_width=width,
    )


def one_after_another(design: ss.Design, batch: int, device: str) -> Iterator[int]:
    """Train networks in turns of one epoch, and yield the number of images of each epoch."""
    tune_process(1)
    data = digits().to(device)
    for one in cycle([trained(design, data, batch=batch, seed=seed) for seed in range(PACK)]):
        one.run_epoch()
        yield len(data.train) // batch * batch


def packed(design: ss.Design, batch: int, device: str) -> Iterator[int]:
    """Train the same networks as a pack, and yield images times networks of each epoch."""
    from skipsearch.training import PackTrainer

    tune_process(1)
    data = digits().to(device)
    seeds = range(PACK)
    models = [ss.build(design, data.in_channels, data.classes, seed=seed) for seed in seeds]
    recipe = ss.Recipe(batch_size=batch, peak_lr=0.1, epochs=1_000_000)
    pack = PackTrainer(models, data, recipe, seeds)
    while True:
        pack.run_epochs()
        yield PACK * (len(data.train) // batch * batch)


# --- the start of a trial -------------------------------------------------------------------------


def started(design: ss.Design, device: str) -> str:
    """Start trials one after another in one process, as a worker does, and time their starts."""
    tune_process(1)
    data = random_data().to(device)
    seconds = []
    for seed in range(6):
        begin = time.perf_counter()
        one = trained(design, data, trainer=WithoutGraph, seed=seed)
        _wait(device)
        ready = time.perf_counter()
        one.run_step(0)
        _wait(device)
        seconds.append((ready - begin, time.perf_counter() - ready))
    network, step = (1000 * median(column) for column in zip(*seconds[1:], strict=True))
    return (
        "Medians of 5 trials on a warm process, in milliseconds.\n\n"
        "| from its start to its first step | its first step |\n| ---: | ---: |\n"
        f"| {network:.0f} | {step:.0f} |"
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# --- the contenders -------------------------------------------------------------------------------

Group = tuple[list[Contender], list[Ratio]]  # rows of a table, and its columns of ratios


def training(design: ss.Design, device: str, environment: bool) -> Group:
    """Return the table of one design."""
    loops = [
        Contender(
            f"ordinary loop, {workers} workers",
            partial(ordinary, design, random_data, device, workers=workers),
        )
        for workers in sorted({0, 2, CORES})
    ]
    others = gpu_contenders(design) if device == "cuda" else cpu_contenders(design, environment)
    ratios = [
        ("/ best ordinary loop", [loop.name for loop in loops]),
        ("/ loops side by side", [others[0].name]),
        ("/ floor", [others[-1].name]),
    ]
    return loops + others, ratios


def cpu_contenders(design: ss.Design, environment: bool) -> list[Contender]:
    """Return the rows of the CPU table, from parallel ordinary loops to the floor."""

    def row(name: str, **how: Any) -> Contender:
        return Contender(name, partial(ours, design, random_data, "cpu", **how), CORES)

    beside = partial(ordinary, design, random_data, "cpu")
    apart = partial(ordinary, design, random_data, "cpu", threads=1)
    alone = partial(ours, design, random_data, "cpu", threads=CORES)
    best = row(f"ours, {CORES} processes of one thread")
    huge = replace(best, name="ours, with huge pages", environment=HUGE_PAGES)
    floor = partial(convolutions, design, random_data, "cpu")
    return [
        Contender(f"{CORES} ordinary loops side by side, default threads", beside, CORES),
        Contender(f"{CORES} ordinary loops side by side, one thread each", apart, CORES),
        Contender("strong loop, all threads", partial(strong, design, random_data, "cpu")),
        Contender("ours, one process of all threads", alone),
        best,
        row("ours, without bfloat16", precision="float32"),
        row("ours, without channels_last", trainer=WithoutChannelsLast),
        row("ours, with fused SGD", trainer=WithFusedSgd),
        row("ours, without malloc thresholds and flushed denormals", tuned=False),
        *([huge] if environment else []),
        Contender(f"floor: convolutions alone, {CORES} processes", floor, CORES),
    ]


def gpu_contenders(design: ss.Design) -> list[Contender]:
    """Return the rows of the GPU table, from parallel ordinary loops to the floor."""

    def row(name: str, processes: int = 1, **how: Any) -> Contender:
        return Contender(name, partial(ours, design, random_data, "cuda", **how), processes)

    workers = CORES // 4
    beside = partial(ordinary, design, random_data, "cuda", workers=workers, threads=1)
    return [
        Contender(f"4 ordinary loops side by side, {workers} workers each", beside, 4),
        Contender("strong loop", partial(strong, design, random_data, "cuda")),
        row("ours, one process"),
        row("ours, without CUDA graph", trainer=WithoutGraph),
        row("ours, without bfloat16", precision="float32"),
        row("ours, without channels_last", trainer=WithoutChannelsLast),
        *(row(f"ours, {processes} processes", processes) for processes in (2, 3, 4)),
        *(
            Contender(
                f"ours, {count} streams of one process",
                partial(streams, design, random_data, "cuda", count),
            )
            for count in (2, 4, 8)
        ),
        Contender("floor: convolutions alone", partial(convolutions, design, random_data, "cuda")),
    ]


def packs(width: int, batch: int, device: str) -> Group:
    """Return the table of small networks of one width and batch size."""
    design, processes = small(width), CORES if device == "cpu" else 1
    contenders = [
        Contender(f"{name}, width {width}, batch {batch}", steps, processes)
        for name, steps in {
            "ordinary loop": partial(ordinary, design, digits, device, threads=1, batch=batch),
            f"{PACK} trainings in steps, ours": partial(one_after_another, design, batch, device),
            f"pack of {PACK}, ours": partial(packed, design, batch, device),
        }.items()
    ]
    loop, in_turns, _ = contenders
    return contenders, [("/ ordinary loop", [loop.name]), ("/ in steps", [in_turns.name])]


# --- the command line -----------------------------------------------------------------------------


def measured(title: str, groups: list[Group], options: argparse.Namespace) -> None:
    """Measure the contenders in turns, and write the tables of all groups after each of them."""
    contenders = [contender for group, _ in groups for contender in group]
    if options.work is not None:  # this process is one of the contenders
        work(contenders[options.work], options.device, options.seconds)
        return
    body = ""
    for rounds in take_turns(contenders, options.rounds, options.minutes):
        tables = [
            speed_table([contender.name for contender in group], rounds, ratios)
            for group, ratios in groups
        ]
        note = (
            f"Medians of {len(rounds)} rounds of {options.seconds:g} s;"
            " in brackets the least and the greatest ratio."
        )
        body = "\n\n".join([circumstances(options.device), note, *tables])
        if options.out:
            write_section(options.out, title, body)
    print(f"{title}\n\n{body}")


def main() -> None:
    """Print the requested measurement, and write it into a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--packs", action="store_true", help="many small networks at once")
    mode.add_argument("--accuracy", action="store_true", help="against the ordinary way")
    mode.add_argument("--profile", action="store_true", help="where the time of a step goes")
    mode.add_argument("--host", action="store_true", help="what a step takes beyond its network")
    mode.add_argument("--start", action="store_true", help="from a trial's start to its first step")
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default_device())
    parser.add_argument("--design", help="a classic; default resnet-20, --accuracy a small one")
    parser.add_argument("--rounds", type=int, help="default 5, on a GPU 1")
    parser.add_argument("--seconds", type=float, help="of a contender in a round; default 6, GPU 4")
    parser.add_argument("--minutes", type=float, help="of all; default without end, on a GPU 6")
    parser.add_argument("--environment", action="store_true", help="a row with huge pages (CPU)")
    parser.add_argument("--data", default="digits", help="of --accuracy")
    parser.add_argument("--data-root", help="of --accuracy")
    parser.add_argument("--epochs", type=int, default=10, help="of --accuracy")
    parser.add_argument("--out", type=Path, help="a file in markdown: replace the section there")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)  # the contender to run
    options = parser.parse_args()

    device = options.device
    on_gpu = device == "cuda"
    options.rounds = options.rounds or (1 if on_gpu else 5)
    options.seconds = options.seconds or (4.0 if on_gpu else 6.0)
    options.minutes = options.minutes or (6.0 if on_gpu else math.inf)
    name = options.design or ("small" if options.accuracy else "resnet-20")
    design = small(16) if name == "small" else ss.classic(name).design
    if options.packs:
        title = f"packs, {device}"
        groups = [packs(width, batch, device) for width in (16, 8) for batch in (128, 32)]
        measured(title, groups, options)
        return
    elif options.accuracy:
        title = f"accuracy, {name}, {options.data}, {device}"
        data = ss.load_data(options.data, root=options.data_root, device=device)
        body = accuracy(design, data, options.epochs)
    elif options.profile:
        title = f"profile, {name}, {device}"
        tune_process(1)
        body = profile(trained(design, random_data().to(device), trainer=WithoutGraph), device)
    elif options.host:
        title = f"host time, {device}"
        tune_process(1)
        smallest = ss.Design(layout="conv3-relu", depths=(1,), widths=(8,), stem_width=8)
        data = ss.load_data("digits").without_test().to(device)
        model = ss.build(smallest, data.in_channels, data.classes)
        body = host_time(Trainer(model, data, ss.Recipe(batch_size=32)))
    elif options.start:
        title = f"start, {name}, {device}"
        body = started(design, device)
    else:
        title = f"training, {name}, {device}"
        measured(title, [training(design, device, options.environment)], options)
        return
    body = f"{circumstances(device)}\n\n{body}"
    print(f"{title}\n\n{body}")
    if options.out:
        write_section(options.out, title, body)


if __name__ == "__main__":
    main()
