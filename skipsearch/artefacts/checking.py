"""Comparison of the artefacts of an export, loaded from disk, with the exported module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from skipsearch.artefacts import DESIGN, FORMATS, WEIGHTS, onnx, program
from skipsearch.artefacts.units import Standard
from skipsearch.artefacts.weights import read_network
from skipsearch.design import Design
from skipsearch.errors import ExportError
from skipsearch.plan import ImageSize, Size

BATCHES = (1, 5)  # two sizes that differ from the traced example

# Largest difference from the module's logits, relative to the largest of them: float32 has a
# relative rounding error of 6e-8. Another order of sums, and batch norms folded into convolutions,
# gave at most 2e-6 here, over a hundred random designs and networks of up to 1001 layers; source,
# weights and torch.export program agree to the last bit. 1e-4 allows for other processors, and a
# wrong weight, operation or epsilon is far above it. fp16 rounds to 5e-4 and bf16 to 4e-3: they
# gave 2e-3 and 2e-2 over a hundred designs, and bf16 3e-2 for 1001 layers (where fp16 overflowed,
# which raises an error).
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 1e-1}

Run = Callable[[Tensor], Tensor]


def check_artefacts(
    folder: str | Path,
    model: nn.Module,
    *,
    in_channels: int,
    image_size: ImageSize,
    classes: int,
    tolerance: float = TOLERANCES["fp32"],
    standard: Standard | None = None,
) -> dict[str, float]:
    """Load every artefact of a folder and compare its outputs with the module's.

    The images are random with a fixed seed, in batches of 1 and 5; a network with a value for
    each pixel also gets one image of another, odd size.

    Args:
        folder: Folder from ``write_artefacts``.
        model: Module, which stays unchanged.
        in_channels: Number of channels of the images.
        image_size: Height and width in pixels.
        classes: Number of classes.
        tolerance: Largest allowed difference, relative to the largest output.
        standard: Scale of the targets of a regression, on which differences are judged; None to
            judge the outputs as they are.

    Returns:
        Largest absolute difference of the outputs, by file.

    Raises:
        ExportError: If an artefact cannot be loaded or differs by more; the message names the
            artefact, the difference and the tolerance.
    """
    folder, standard = Path(folder), standard or Standard()
    network = copy.deepcopy(model).to("cpu", torch.float32).eval()
    size = Size.of(image_size)
    batches = [random_images(n, in_channels, size) for n in BATCHES]
    if program.least_side(Design.load(folder / DESIGN), size) is not None:
        batches.append(random_images(1, in_channels, odd(size)))
    with named("the module", f"cannot be run on {size} images"), torch.no_grad():
        expected = [network(images) for images in batches]
    largest = max(map(standard.largest, expected))
    if not torch.tensor(largest).isfinite():
        raise ExportError("the module's own outputs are not finite: there is nothing to export")
    loaders: dict[str, Callable[[], Run]] = {
        WEIGHTS: lambda: read_network(
            folder / WEIGHTS, Design.load(folder / DESIGN), in_channels, classes
        ),
        FORMATS["source"]: lambda: _load_source(folder),
        FORMATS["program"]: lambda: program.load(folder / FORMATS["program"]),
        FORMATS["onnx"]: lambda: onnx.load(folder / FORMATS["onnx"]),
    }
    differences = {}
    for name, load in loaders.items():
        if not (folder / name).exists():
            continue
        with named(name, "cannot be loaded back and run"), torch.no_grad():
            run = load()
            found = [run(images) for images in batches]
        shapes = [tuple(logits.shape) for logits in found]
        if shapes != [tuple(logits.shape) for logits in expected]:
            raise ExportError(f"{name}: gives outputs of shapes {shapes}, and the module others")
        if not all(logits.isfinite().all() for logits in found):
            raise ExportError(f"{name}: its outputs are not finite, and the module's are")
        pairs = list(zip(found, expected, strict=True))
        off, allowed = max(standard.difference(*pair) for pair in pairs), tolerance * largest
        if off > allowed:
            raise ExportError(
                f"{name}: its outputs differ from the module's by up to {off:.3g}, and"
                f" {allowed:.3g} is allowed (tolerance {tolerance:g} x largest output"
                f" {largest:.3g})"
            )
        differences[name] = max((a - b).abs().max().item() for a, b in pairs)
    return differences


def odd(size: Size) -> Size:
    """Return another, somewhat larger, height and width, both of which are odd."""
    return Size(size.height // 2 * 2 + 3, size.width // 2 * 2 + 5)


def random_images(n: int, channels: int, size: Size) -> Tensor:
    """Return n random images distributed like normalised ones: mean 0, deviation 1."""
    return torch.randn(n, channels, *size, generator=torch.Generator().manual_seed(n))


@contextmanager
def named(artefact: str, failure: str) -> Iterator[None]:
    """Convert errors of other libraries to a one-line error that names the artefact."""
    try:
        yield
    except (ExportError, OSError):
        raise
    except Exception as problem:
        reason = shorten(str(problem) or type(problem).__name__, 200)
        raise ExportError(f"{artefact}: {failure}: {reason}") from problem


def execute(path: Path) -> dict[str, Any]:
    """Run a Python file as an import does, but without writing bytecode."""
    names: dict[str, Any] = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return names


def _load_source(folder: Path) -> Run:
    names = execute(folder / FORMATS["source"])
    network: nn.Module = names["Network"]()
    network.load_state_dict(load_file(folder / WEIGHTS))
    count = sum(parameter.numel() for parameter in network.parameters())
    if count != names["PARAMETERS"]:
        raise ExportError(
            f"{FORMATS['source']}: has {count} parameters and says {names['PARAMETERS']}"
        )
    return network.eval()
