"""Environment of a training: device, precision and versions; part of every record."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from skipsearch.errors import TrainingError, unknown_word
from skipsearch.recipe import Recipe

LIBRARIES = ("skipsearch", "torch", "torchvision", "optuna", "ray")


def device_name(device: torch.device) -> str:
    """Return the name of a device, such as ``cuda (NVIDIA A100)`` or ``cpu (1 thread)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def default_device() -> str:
    """Return ``cuda`` if such a device exists, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def is_lost(device: torch.device) -> bool:
    """Return whether this process can no longer use a GPU.

    After an illegal memory access or a failed assertion on the device, every call to it fails
    until the process ends.
    """
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """Return the data type of convolutions and matrix products; None for float32.

    Raises:
        TrainingError: If bfloat16 is requested on a device that does not support it.
    """
    with current(device):
        match recipe.precision:
            case "float32":
                return None
            case "bfloat16":
                if device.type == "cuda" and not torch.cuda.is_bf16_supported():
                    name = device_name(device)
                    raise TrainingError(f"precision bfloat16: {name} does not compute in it")
                return torch.bfloat16
            case "auto":
                return torch.bfloat16 if _computes_bfloat16(device) else None
            case _:
                raise unknown_word("precision", recipe.precision)


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Without these instructions bfloat16 is emulated and slower than float32.
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def numerics_key(device: torch.device, dtype: torch.dtype | None) -> str:
    """Return the settings that determine the last bits, besides design, recipe and seed.

    Args:
        device: Device of the training; for the CPU the key includes the number of threads.
        dtype: Data type of convolutions and matrix products; None for float32.
    """
    precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if dtype is None and device.type == "cuda":
        shortened = [name for name, setting in _may_be_tf32() if setting.fp32_precision == "tf32"]
        precision += f" with TF32 {' and '.join(shortened)}" * bool(shortened)
    return f"{device_name(device)}, {precision}, channels_last, torch {torch.__version__}"


def _may_be_tf32() -> list[tuple[str, Any]]:
    """Return the float32 operations that a GPU may compute in TF32, each with its setting."""
    backends: Any = torch.backends
    return [("convolutions", backends.cudnn.conv), ("products", backends.cuda.matmul)]


@contextlib.contextmanager
def kernels(device: torch.device, deterministic: bool, tune: bool = True) -> Iterator[None]:
    """Choose the kernels of a GPU: the fastest ones by trial, or deterministic ones.

    Precision stays as the user of the library has set it.

    Args:
        device: Device; nothing is chosen on the CPU.
        deterministic: Whether an operation without a deterministic kernel is an error.
        tune: Whether cuDNN tries its kernels on each new shape and keeps the fastest.
    """
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it once, at the first matrix product of the process, deterministic or not.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    switch = deterministic and not torch.are_deterministic_algorithms_enabled()
    cudnn.benchmark = tune and not deterministic
    cudnn.deterministic = deterministic
    if switch:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        if switch:
            torch.use_deterministic_algorithms(False)
        cudnn.benchmark, cudnn.deterministic = before


def current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Make a GPU the current one for streams, events and captures; do nothing on the CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Replace the default generator of a GPU by another one for all operations.

    The default generator itself stays unchanged. A CUDA graph keeps the seed in memory that
    belongs to the generator: with a generator per training, no graph reads the seed of another.

    Args:
        generator: Generator on the GPU; None to keep the default one.
    """
    if generator is None:
        yield
        return
    default = torch.cuda.default_generators[generator.device.index]
    before = default.graphsafe_get_state()
    default.graphsafe_set_state(generator)
    try:
        yield
    finally:
        default.graphsafe_set_state(before)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that affect a result."""
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"  # skipsearch itself, if it was copied to a node and not installed
