"""Device memory: the need of a training, the free memory, and out-of-memory errors."""

from __future__ import annotations

import math

import torch

from skipsearch.cost import FLOAT32_BYTES
from skipsearch.data import Data
from skipsearch.data.device import free_gpu_memory
from skipsearch.design import Design
from skipsearch.holding import held_bytes
from skipsearch.plan import Size
from skipsearch.ram import available_ram
from skipsearch.recipe import Recipe
from skipsearch.training.environment import autocast_dtype

# Growth of a process on the CPU, as a multiple of what PyTorch allocates in it: 0.9 to 1.5 for 13
# networks (scripts/benchmark_memory.py).
HEAP_GROWTH = 1.5

# Most libraries have no separate exception for exhausted memory. These are messages of the CPU's
# allocator, of C++ as PyTorch repeats it, of oneDNN without room for a kernel's code, of Python
# without room for a thread's stack, and of CUDA, Triton, cuBLAS and cuDNN, which do not use
# PyTorch's allocator. Those of the second group can also mean that a library or a kernel is
# missing: then smaller parts fail with them as well.
WORDS = (
    "can't allocate memory",
    "bad_alloc",
    "can't start new thread",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    # The second group
    "could not create a primitive",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
)


def bytes_an_image(design: Design, data: Data, recipe: Recipe) -> int:
    """Return the bytes that training holds for each image at the peak of a step.

    Args:
        design: Design to train.
        data: Data set of the training.
        recipe: Recipe of the training, for its loss and precision.
    """
    dtype = autocast_dtype(recipe, data.train.images.device)
    return held_bytes(
        design.plan(data.in_channels),
        Size.of(data.image_size),
        data.outputs,
        data.task,
        recipe.loss,
        dtype.itemsize if dtype else FLOAT32_BYTES,
    )


def foreseen_parts(each: int, batch_size: int, free: float) -> int:
    """Return the number of parts, a power of two, that a batch must be divided into to fit.

    Args:
        each: Number of bytes for each image.
        batch_size: Number of images.
        free: Number of free bytes.
    """
    parts = 2 ** math.ceil(math.log2(max(1.0, each * batch_size / max(free, 1.0))))
    return int(min(parts, 2 ** int(math.log2(batch_size))))


def free_memory(device: torch.device) -> float:
    """Return the free bytes of a device, for what PyTorch allocates; infinity if unknown.

    On the CPU, a process grows by ``HEAP_GROWTH`` times what PyTorch allocates.

    Memory that PyTorch caches on a GPU is released first. The rest of its unused memory belongs to
    recorded graphs and is not available to others.
    """
    if device.type == "cuda":
        return free_gpu_memory(device)
    if device.type == "cpu":
        return available_ram() / HEAP_GROWTH
    return math.inf


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words.lower() in said for words in WORDS)
