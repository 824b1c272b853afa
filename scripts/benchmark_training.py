"""How fast a trial trains, against the ordinary way, which is written out below.

    python scripts/benchmark_training.py [--rounds 5] [--seconds 6] [--design resnet-20]

Every contender runs in processes of its own, on the same random images of 3 x 32 x 32, batch 128,
crops and flips. The contenders take turns; each figure is the median over the rounds, each ratio
the median of the ratios within a round, so that a busy machine disturbs all of them alike.

The ordinary loop is a Dataset of PIL images with torchvision's transforms, a DataLoader (with 0
workers, and with as many as there are cores), float32 and SGD, as in the usual tutorials. The other
rows are skipsearch's Trainer as a search runs it, one process of one thread on each core, and the
same with one switch taken away.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import skipsearch as ss
from skipsearch.data import Split, normalise
from skipsearch.training import Trainer
from skipsearch.training.processor import available_cores, tune_process

IMAGES, CLASSES, BATCH, SIDE = 8192, 10, 128, 32
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CORES = available_cores()


def random_images() -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,); speed does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, torch.randint(CLASSES, (IMAGES,), generator=generator)


# --- the ordinary way ---------------------------------------------------------------------------


class PilImages(torch.utils.data.Dataset):
    """Images as files would give them: one PIL image at a time, transformed one at a time."""

    def __init__(self) -> None:
        from PIL import Image
        from torchvision import transforms

        images, self.labels = random_images()
        self.images = [Image.fromarray(image.numpy()) for image in images.permute(0, 2, 3, 1)]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIDE, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def ordinary(design: ss.Design, workers: int) -> Iterator[int]:
    """Train in the ordinary way; yields the images of each step."""
    loader = torch.utils.data.DataLoader(
        PilImages(), BATCH, shuffle=True, drop_last=True, num_workers=workers
    )
    model = ss.build(design, classes=CLASSES).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            yield len(labels)


# --- ours ---------------------------------------------------------------------------------------


class WithoutChannelsLast(Trainer):
    """The Trainer with tensors in the usual order of memory."""

    def __init__(self, model: nn.Module, data: ss.Data, recipe: ss.Recipe) -> None:
        super().__init__(model, data, recipe)
        self.model.to(memory_format=torch.contiguous_format)

    def _inputs(self, images: Tensor) -> Tensor:
        return normalise(images, self.data.mean, self.data.std, torch.float32)


class WithoutFusedSgd(Trainer):
    """The Trainer with the plain SGD of PyTorch."""

    def __init__(self, model: nn.Module, data: ss.Data, recipe: ss.Recipe) -> None:
        super().__init__(model, data, recipe)
        for group in self._optimizer.param_groups:
            group["fused"] = False


def ours(design: ss.Design, trainer: Callable[..., Trainer], precision: str) -> Iterator[int]:
    """Train as a trial of a search does; yields the images of each epoch of 8 steps."""
    images, labels = random_images()
    split = Split(images[: 8 * BATCH], labels[: 8 * BATCH])
    data = ss.Data(
        name="random",
        train=split,
        validation=Split(images[:1], labels[:1]),
        test=None,
        class_names=tuple(map(str, range(CLASSES))),
        mean=MEAN,
        std=STD,
        split_seed=0,
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        source="random",
        fingerprint="0" * 16,
    )
    recipe = ss.Recipe(batch_size=BATCH, peak_lr=0.1, epochs=1_000_000, precision=precision)
    one = trainer(ss.build(design, classes=CLASSES), data, recipe)
    while True:
        one.run_epoch()
        yield 8 * BATCH


# --- the contenders ------------------------------------------------------------------------------

# How many processes, and what each of them does.
CONTENDERS: dict[str, tuple[int, str]] = {
    "ordinary loop, 0 workers": (1, "ordinary-0"),
    f"ordinary loop, {CORES} workers": (1, f"ordinary-{CORES}"),
    f"{CORES} ordinary loops side by side": (CORES, "ordinary-0"),
    "ours, one process of all threads": (1, "ours-all"),
    f"ours, {CORES} processes of one thread": (CORES, "ours"),
    "  without bfloat16": (CORES, "float32"),
    "  without channels_last": (CORES, "contiguous"),
    "  without fused SGD": (CORES, "unfused"),
    "  without malloc thresholds and flushed denormals": (CORES, "untuned"),
}


def steps_of(kind: str, design: ss.Design) -> Iterator[int]:
    """Prepare this process, and train."""
    if kind.startswith("ordinary"):
        return ordinary(design, int(kind.partition("-")[2]))
    if kind == "untuned":
        torch.set_num_threads(1)
    else:
        tune_process(CORES if kind == "ours-all" else 1)
    trainers = {"contiguous": WithoutChannelsLast, "unfused": WithoutFusedSgd}
    precision = "float32" if kind == "float32" else "auto"
    return ours(design, trainers.get(kind, Trainer), precision)


def work(kind: str, design: ss.Design, seconds: float) -> None:
    """Be one process of a contender: warm up, wait for the word, count images."""
    steps = steps_of(kind, design)
    for _ in range(2):
        next(steps)
    print("ready", flush=True)
    sys.stdin.readline()
    start, seen = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        seen += next(steps)
    print(json.dumps(seen / (time.perf_counter() - start)), flush=True)


def images_a_second(processes: int, kind: str, design: str, seconds: float) -> float:
    """Run a contender once; the processes begin together, and their figures are added."""
    command = [sys.executable, __file__, "--work", kind, "--design", design]
    command += ["--seconds", str(seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n", f"{kind} did not start"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    return sum(float(one.communicate()[0]) for one in running)


def main() -> None:
    """Print one row a contender: images a second, and the ratio to the ordinary loop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--design", default="resnet-20", help="a classic")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, ss.classic(options.design).design, options.seconds)
        return
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        rounds.append(
            {
                name: images_a_second(*how, options.design, options.seconds)
                for name, how in CONTENDERS.items()
            }
        )
    names = list(CONTENDERS)
    print(f"{options.design}, {CORES} cores, torch {torch.__version__}")
    print(f"{'':<52} images/s   / ordinary   / {CORES} ordinary")
    for name in names:
        best = [one[name] / max(one[names[0]], one[names[1]]) for one in rounds]
        beside = [one[name] / one[names[2]] for one in rounds]
        speed = median(one[name] for one in rounds)
        print(f"{name:<52} {speed:8.0f} {median(best):12.2f} {median(beside):12.2f}")


if __name__ == "__main__":
    main()
