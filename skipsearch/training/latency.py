"""Latency of the inference of a network on a batch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from torch import nn

from skipsearch.errors import TrainingError
from skipsearch.plan import ImageSize, check_count, check_image_size
from skipsearch.recipe import Recipe
from skipsearch.training.environment import autocast_dtype, current, kernels, numerics_key

WARM_UP = 3  # uncounted passes, in which kernels are chosen and memory is allocated
LEAST_REPEATS, MOST_REPEATS = 10, 200
LEAST_SECONDS = 0.2  # total time of counted passes, unless MOST_REPEATS is reached earlier


@dataclass(frozen=True, slots=True)
class Latency:
    """Duration of one forward pass of a batch in evaluation mode.

    Attributes:
        seconds: Median over the repeats.
        spread: Interquartile range as a share of the median. It shows what disturbed some of the
            passes, not what slowed down all of them.
        repeats: Number of measured passes.
        batch_size: Number of images in a pass.
        numerics: Device, precision, memory layout and torch; only latencies with equal values are
            comparable.
    """

    seconds: float
    spread: float
    repeats: int
    batch_size: int
    numerics: str


def latency(
    model: nn.Module,
    batch_size: int,
    in_channels: int,
    image_size: ImageSize,
    device: str | torch.device,
    precision: str = "auto",
) -> Latency:
    """Measure the forward pass of a batch in evaluation mode.

    The pass runs as in training, in channels_last and, if the device supports it, in bfloat16 (with
    weights converted once), but neither compiled nor recorded: for small networks on a GPU it
    measures how fast their operations are launched. It runs on a copy: the model with its mode,
    batch statistics and device stays unchanged, and so does the random state.

    Args:
        model: Network on images (N, in_channels, H, W).
        batch_size: Number of images N.
        in_channels: Number of channels of the images.
        image_size: Side of square images in pixels, or height and width.
        device: Device, with all threads of torch; nothing else should run there.
        precision: Precision as in ``Recipe``: ``auto``, ``float32`` or ``bfloat16``.

    Raises:
        TrainingError: If a size is not a positive integer, or the device does not support the
            precision.
        RecipeError: If the precision is unknown.
    """
    for name, value in (("batch_size", batch_size), ("in_channels", in_channels)):
        check_count(name, value, TrainingError)
    size = check_image_size(image_size, TrainingError)
    device = torch.device(device)
    dtype = autocast_dtype(Recipe(precision=precision), device)
    # Drawn from a separate generator: the global one stays unchanged.
    shape = (batch_size, in_channels, *size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    images = images.to(device, memory_format=torch.channels_last)
    copied = copy.deepcopy(model).eval()
    copied.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward() -> None:
        copied(images)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()

    with (
        current(device),
        torch.inference_mode(),
        kernels(device, deterministic=False),
        torch.autocast(device.type, dtype, enabled=dtype is not None),
    ):
        if device.type == "cuda":
            torch.cuda.synchronize()  # exclude work that others have requested
        times = measure(forward)
    return summarise(times, batch_size, numerics_key(device, dtype))


def measure(forward: Callable[[], None]) -> list[float]:
    """Return the seconds of repeated calls, after some uncounted ones.

    Args:
        forward: Function that returns when its work is complete, also on a GPU.
    """
    for _ in range(WARM_UP):
        forward()
    times: list[float] = []
    while len(times) < LEAST_REPEATS or (len(times) < MOST_REPEATS and sum(times) < LEAST_SECONDS):
        start = time.perf_counter()
        forward()
        times.append(time.perf_counter() - start)
    return times


def summarise(times: list[float], batch_size: int, numerics: str) -> Latency:
    """Summarise measured passes: one disturbed pass changes neither median nor spread."""
    middle = median(times)
    low, _, high = quantiles(times, n=4)
    return Latency(middle, (high - low) / middle, len(times), batch_size, numerics)
