"""How long a network takes for a batch when it is used, not trained."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from torch import nn

from skipsearch.errors import TrainingError
from skipsearch.recipe import Recipe
from skipsearch.training.environment import autocast_dtype, current, kernels, numerics_key

WARM_UP = 3  # passes that are not counted: kernels are chosen, memory is asked for
LEAST_REPEATS, MOST_REPEATS = 10, 200
LEAST_SECONDS = 0.2  # of counted passes, unless MOST_REPEATS are done before


@dataclass(frozen=True, slots=True)
class Latency:
    """The time of one forward pass of a batch in evaluation mode.

    Attributes:
        seconds: Median over the repeats.
        spread: Their interquartile range as a share of the median. It shows what disturbed some
            of the passes, not what slowed down all of them.
        repeats: Passes that were measured.
        batch_size: Images a pass.
        numerics: Device, precision, memory layout, and torch: latencies compare where it agrees.
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
    image_size: int,
    device: str | torch.device,
    precision: str = "auto",
) -> Latency:
    """Measure one forward pass of a batch in evaluation mode.

    Computed as in training, in channels_last and, where the device can, in bfloat16 (weights are
    converted once), but neither compiled nor recorded: of small networks on a GPU it measures how
    fast their operations are launched. A copy is measured: the model, its mode, batch statistics
    and device, and the random state stay as they are.

    Args:
        model: From images (N, in_channels, H, W) to anything.
        batch_size: N.
        in_channels: Channels of the images.
        image_size: H and W, in pixels.
        device: Where to measure, with as many threads as torch has; nothing else should run there.
        precision: As in ``Recipe``: ``auto``, ``float32`` or ``bfloat16``.

    Raises:
        TrainingError: If a size is not a positive whole number, or the device does not compute in
            the precision.
        RecipeError: If the precision is unknown.
    """
    for name, value in (
        ("batch_size", batch_size),
        ("in_channels", in_channels),
        ("image_size", image_size),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise TrainingError(f"{name}: {value!r} is not a positive whole number")
    device = torch.device(device)
    dtype = autocast_dtype(Recipe(precision=precision), device)
    # Drawn by a generator of their own: the global one stays as it is.
    shape = (batch_size, in_channels, image_size, image_size)
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
            torch.cuda.synchronize()  # what others have asked for must not be measured
        times = measure(forward)
    return summarise(times, batch_size, numerics_key(device, dtype))


def measure(forward: Callable[[], None]) -> list[float]:
    """Return the seconds of repeated calls, after some that do not count.

    Args:
        forward: Returns when its work is done, on a GPU as well.
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
    """Return what measured passes show: one that was disturbed moves neither median nor spread."""
    middle = median(times)
    low, _, high = quantiles(times, n=4)
    return Latency(middle, (high - low) / middle, len(times), batch_size, numerics)
