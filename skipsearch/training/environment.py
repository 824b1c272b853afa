"""What a training ran on: device, precision, versions; part of every record."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

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


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """Return the type that convolutions and products are computed in; None for float32.

    Raises:
        TrainingError: If bfloat16 is asked for on a device that cannot.
    """
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
    return f"{device_name(device)}, {precision}, channels_last, torch {torch.__version__}"


@contextlib.contextmanager
def kernels(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Let cuDNN choose its kernels by trial, or allow only those that give the same bits again.

    Args:
        device: On the CPU nothing needs to be chosen.
        deterministic: Whether an operation that has no such kernel is an error.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=not deterministic, deterministic=deterministic
    ):
        torch.use_deterministic_algorithms(deterministic or before)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a result."""
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"  # skipsearch itself, where it was shipped to a node and not installed
