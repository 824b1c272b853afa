"""Weights of an export: written with the names in its source, read without running the source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import ExportError, reason
from skipsearch.ids import is_meant
from skipsearch.models import build


def write_weights(
    network: nn.Module,
    path: Path,
    design: Design,
    names: Sequence[str],
    dtype: torch.dtype,
    exact: str | None = None,
) -> None:
    """Write the state of a network under other names, entry by entry.

    The header contains the design's id and the order of the names, which safetensors does not keep.

    Args:
        network: Network of the design.
        path: Path of the file.
        design: Design of the network.
        names: Name of each entry of the state, in its order.
        dtype: Data type that floating-point entries are rounded to.
        exact: Name of a layer of the network whose entries are not rounded; None to round all.
    """
    state = {}
    for name, (entry, value) in zip(names, network.state_dict().items(), strict=True):
        is_rounded = value.is_floating_point() and entry.rpartition(".")[0] != exact
        state[name] = (value.to(dtype) if is_rounded else value).contiguous()
    header = {"format": "pt", "design": design.id, "order": json.dumps(list(names))}
    # save_file would write a file that only its owner can read.
    path.write_bytes(to_safetensors(state, metadata=header))


def read_network(path: Path, design: Design, in_channels: int, classes: int) -> nn.Module:
    """Build a design and load its weights from a file, as float32.

    Args:
        path: File from ``write_weights``.
        design: Design of the network.
        in_channels: Number of channels of the images.
        classes: Number of classes.

    Returns:
        Network in evaluation mode on the CPU.

    Raises:
        ExportError: If the file cannot be read, or belongs to another network.
    """
    header, weights = _read(path)
    if not is_meant(design.id, header.get("design", "")):
        raise ExportError(
            f"{path}: weights of design {header.get('design')}, and not of {design.id}"
        )
    try:
        order = json.loads(header.get("order", ""))
        state = [weights.pop(name) for name in order]
    except (ValueError, TypeError, KeyError):
        state = []
    with torch.device("meta"):
        network = build(design, in_channels, classes)
    expected = network.state_dict()
    if weights or [value.shape for value in state] != [v.shape for v in expected.values()]:
        raise ExportError(f"{path}: its names and shapes are not those of the design's state")
    # Copied to new memory, since operations round differently on tensors in a mapped file.
    network.to_empty(device="cpu").load_state_dict(dict(zip(expected, state, strict=True)))
    return network.requires_grad_(False).eval()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, weights
    except (OSError, SafetensorError) as problem:
        raise ExportError(f"{path}: cannot be read ({reason(problem)})") from None
