"""Device memory: the need of a training, the free memory, and the detection of exhaustion."""

from __future__ import annotations

import math

import torch

from skipsearch.ram import available_ram

FLOAT32_BYTES = 4

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


def foreseen_parts(
    activation_bytes: int, batch_size: int, dtype: torch.dtype | None, free: float
) -> int:
    """Return the number of parts, a power of two, that a batch must be divided into to fit.

    The outputs of all operations are slightly more than training keeps: some are freed at once.

    Args:
        activation_bytes: Bytes of the activations of one image in float32, as in ``cost``.
        batch_size: Number of images.
        dtype: Data type of the activations; None for float32.
        free: Number of free bytes.
    """
    share = (dtype.itemsize if dtype else FLOAT32_BYTES) / FLOAT32_BYTES
    wanted = activation_bytes * share * batch_size
    parts = 2 ** math.ceil(math.log2(max(1.0, wanted / max(free, 1.0))))
    return int(min(parts, 2 ** int(math.log2(batch_size))))


def free_memory(device: torch.device) -> float:
    """Return the free bytes of a device; infinity if unknown.

    Memory that PyTorch caches on a GPU is released first: the rest of its unused memory belongs to
    recorded graphs and is not available to others.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu":
        return available_ram()
    return math.inf


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words.lower() in said for words in WORDS)
