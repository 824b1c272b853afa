"""Profile of a training step by operation, and its time beyond the network's own operations."""

import re
import time
from collections import Counter
from collections.abc import Callable
from statistics import median, quantiles

import torch
from benchmark_tables import synchronise, table
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, record_function

from skipsearch.training import Trainer

STEPS = 20
ROUNDS = 60  # rounds of --host, in which both kinds of step take turns
REST = "rest"
# Groups by pattern of the operation's name. The first match counts, in the outermost operation.
GROUPS = {
    r"^take a batch$": "data",
    r"^update parameters$": "optimiser",
    r"ConvolutionBackward": "convolution, backward",
    r"^aten::conv2d$": "convolution, forward",
    r"BatchNormBackward|^aten::batch_norm$": "batch norm",
    r"(?i)relu|gelu|silu|hardtanh": "activation",
    r"^aten::add_?$": "addition",
    r"SliceBackward|ConstantPadNdBackward|^aten::(slice|pad)$": "shortcut's slices and padding",
}


def profile(trainer: Trainer, device: str) -> str:
    """Return a table of the time of each group of operations in training steps."""
    examples, optimizer = trainer._step.examples, trainer._optimizer
    take_batch, update = examples.augmented, optimizer.step

    def marked_batch(draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with record_function("take a batch"):
            return take_batch(draws)

    def marked_update() -> None:
        with record_function("update parameters"):
            update()

    examples.augmented, optimizer.step = marked_batch, marked_update
    turns = trainer.all_steps()
    for _ in range(5):
        next(turns)
    synchronise(device)
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        start = time.perf_counter()
        for _ in range(STEPS):
            next(turns)
        synchronise(device)
        whole = 1e6 * (time.perf_counter() - start)  # microseconds, as the profiler counts
    spent: Counter[str] = Counter(dict.fromkeys(GROUPS.values(), 0.0))
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CPU:
            spent[group_of(event)] += own_time(event, device)
    spent[REST] = whole - sum(spent.values()) + spent[REST]
    rows = [
        [group, f"{time / STEPS / 1000:.2f}", f"{100 * time / whole:.0f} %"]
        for group, time in spent.items()
    ]
    note = f"{STEPS} steps of {whole / STEPS / 1000:.1f} ms under the profiler, which slows them."
    if device == "cuda":
        note += (
            " Kernels count for the operation that launches them; the rest is mostly the wait for"
            " launches, which a CUDA graph saves."
        )
    return f"{note}\n\n{table(['', 'ms a step', 'share'], rows)}"


def own_time(event: FunctionEvent, device: str) -> float:
    """Return the time of an operation itself, or of its kernels on a GPU, in microseconds."""
    if device == "cpu":
        return float(event.self_cpu_time_total)
    # A range named by us may appear again among its own kernels.
    return float(sum(one.duration for one in event.kernels if one.name != event.name))


def group_of(event: FunctionEvent) -> str:
    """Return the group of an operation, by its own name and those around it."""
    around = event.cpu_parent
    if event.name == "aten::add_" and around is not None and "evaluate_function" in around.name:
        return "addition"  # of gradients by autograd, where the paths of a block split
    group = REST
    operation: FunctionEvent | None = event
    while operation is not None:
        found = (GROUPS[pattern] for pattern in GROUPS if re.search(pattern, operation.name))
        group = next(found, group)
        operation = operation.cpu_parent
    return group


def host_time(trainer: Trainer) -> str:
    """Return the time of a step beyond that of the network's own operations.

    The network's own step is the loop of PyTorch's tutorials on a prepared batch: forward, loss,
    backward and optimizer update of the same network, in the same data types.
    """
    step = trainer._step
    inputs, labels = step.examples.augmented(trainer._batches[0])
    trainer.model.train()

    def own(number: int) -> None:
        trainer._optimizer.zero_grad()
        logits = step.forward(inputs)
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        trainer._optimizer.step()

    def milliseconds(run: Callable[[int], None]) -> float:
        start = time.perf_counter()
        for number in range(STEPS):
            run(number)
        return 1e3 * (time.perf_counter() - start) / STEPS

    for run in (trainer.run_step, own):  # the first steps allocate memory and choose kernels
        milliseconds(run)
    pairs = [(milliseconds(trainer.run_step), milliseconds(own)) for _ in range(ROUNDS)]
    beyond = [whole - inner for whole, inner in pairs]
    quarter, middle, three_quarters = quantiles(beyond, n=4)
    return (
        f"{ROUNDS} rounds of {STEPS} steps: a step takes {median(w for w, _ in pairs):.3f} ms, the"
        f" network's own {median(i for _, i in pairs):.3f} ms; beyond it {middle:.3f} ms"
        f" (quartiles {quarter:.3f} to {three_quarters:.3f})."
    )
