"""Device memory: what a training will want, what there is, and when it ran out."""

from __future__ import annotations

import math

import torch

from skipsearch.ram import available_ram

FLOAT32_BYTES = 4

# Most libraries have no exception of their own for it. These are the words of the CPU's allocator,
# of C++ as PyTorch repeats it, of oneDNN where a kernel's code finds no room, of Python where a
# thread's stack finds none, and of CUDA, Triton, cuBLAS and cuDNN, which ask for memory beside
# PyTorch's allocator. Those of the second group are also said where a library or a kernel is
# missing: smaller parts then fail with them too.
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
    """Return into how many parts a batch must be divided to fit; a power of two.

    What all operations write is a little more than training holds: some results are freed at once.

    Args:
        activation_bytes: Of one image in float32, as ``cost`` counts them.
        batch_size: Images.
        dtype: What activations are held in; None for float32.
        free: Bytes that may be used.
    """
    share = (dtype.itemsize if dtype else FLOAT32_BYTES) / FLOAT32_BYTES
    wanted = activation_bytes * share * batch_size
    parts = 2 ** math.ceil(math.log2(max(1.0, wanted / max(free, 1.0))))
    return int(min(parts, 2 ** int(math.log2(batch_size))))


def free_memory(device: torch.device) -> float:
    """Return the bytes of a device that nobody uses; infinite where that cannot be told.

    What PyTorch keeps on a GPU for later is given back first: the rest of what it holds without
    using it belongs to recorded graphs, and nobody else may have it.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu":
        return available_ram()
    return math.inf


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words.lower() in said for words in WORDS)
