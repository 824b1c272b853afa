"""What a training ran on: device, precision, versions; part of every record."""

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
    """Return the device in words, such as ``cuda (NVIDIA A100)`` or ``cpu (1 thread)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads > 1 else ''})"


def default_device() -> str:
    """Return ``cuda`` where there is such a device, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def is_lost(device: torch.device) -> bool:
    """Whether a GPU computes for this process no more.

    After an illegal access to memory, or an assertion that failed on the device, every call to it
    fails until the process ends.
    """
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """Return the type that convolutions and products are computed in; None for float32.

    Raises:
        TrainingError: If bfloat16 is asked for on a device that cannot.
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
        # Without the instructions bfloat16 is emulated and slower than float32.
        return bool(torch.cpu._is_avx512_bf16_supported())
    return False


def numerics_key(device: torch.device, dtype: torch.dtype | None) -> str:
    """Return, as one text, what decides the last bits of a training beside design, recipe and seed.

    Args:
        device: Where it trains; on the CPU its number of threads is part of the key.
        dtype: What convolutions and products are computed in; None for float32.
    """
    precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if dtype is None and device.type == "cuda":
        shortened = [name for name, setting in _may_be_tf32() if setting.fp32_precision == "tf32"]
        precision += f" with TF32 {' and '.join(shortened)}" * bool(shortened)
    return f"{device_name(device)}, {precision}, channels_last, torch {torch.__version__}"


def _may_be_tf32() -> list[tuple[str, Any]]:
    """What of a GPU's float32 may be computed with shorter numbers, and what says whether it is."""
    backends: Any = torch.backends
    return [("convolutions", backends.cudnn.conv), ("products", backends.cuda.matmul)]


@contextlib.contextmanager
def kernels(device: torch.device, deterministic: bool, tune: bool = True) -> Iterator[None]:
    """Choose how a GPU computes: with kernels found by trial, or with ones that repeat their bits.

    Precision is left as the caller of the library has set it.

    Args:
        device: On the CPU nothing needs to be chosen.
        deterministic: Whether an operation that has no deterministic kernel is an error.
        tune: Whether cuDNN tries its kernels on each new shape and keeps the fastest.
    """
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it once, at the process's first product, be that a deterministic one or not.
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
    """Make a GPU the one that streams, events and captures belong to; on the CPU do nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let operations that draw from a GPU's default generator draw from another one.

    The default generator itself is left as it is. A CUDA graph keeps the seed in memory that
    belongs to the generator: with one generator a training, no graph reads the seed of another.

    Args:
        generator: On the GPU; None changes nothing.
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
    """Return the versions of Python and of the libraries that shape a result."""
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"  # skipsearch itself, where it was shipped to a node and not installed
