"""Device memory: what a training will want, what there is, and when it ran out."""

from __future__ import annotations

import math

import torch

from skipsearch.ram import available_ram

FLOAT32_BYTES = 4

# The CPU's libraries have no exception of their own for it. These are the words of its allocator,
# of oneDNN where a kernel's code finds no room, and of Python where a thread's stack finds none.
# The second is also said of kernels that do not exist: smaller parts then fail with it too.
CPU_WORDS = ("can't allocate memory", "could not create a primitive", "can't start new thread")


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
    """Return the bytes of a device that nobody uses; infinite where that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + held)
    if device.type == "cpu":
        return available_ram()
    return math.inf


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)
