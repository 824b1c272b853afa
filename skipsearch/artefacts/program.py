"""A module as a ``torch.export`` program: traced with dynamic sizes, written, and read back."""

from __future__ import annotations

import copy
import io
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from skipsearch.design import Design
from skipsearch.errors import ExportError
from skipsearch.plan import MapHead, Size
from skipsearch.task import DENOISING, REGRESSION, Task

INPUT, LOGITS = "images", "logits"
OUTPUTS = {DENOISING.name: "restored", REGRESSION.name: "targets"}  # of tasks without logits
AXES = {0: "batch", 2: "height", 3: "width"}  # axes that may be dynamic
TRACED = Size(1025, 1031)  # so large that no level of a network has one pixel


def output_of(task: Task) -> str:
    """Return the name of the output of a network."""
    return OUTPUTS.get(task.name, LOGITS)


class InFloat32(nn.Module):
    """A layer in float32, whatever the precision of its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Cast, and compute."""
        outputs: Tensor = self.layer(x.float())
        return outputs


class InPrecision(nn.Module):
    """A network that computes in half precision, from float32 images to float32 logits.

    Args:
        network: Network, which is rounded to the precision in place.
        dtype: Precision: ``torch.float16`` or ``torch.bfloat16``.
        exact: Name of a layer that stays in float32; None to round all.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, exact: str | None = None) -> None:
        super().__init__()
        layer = None if exact is None else copy.deepcopy(network.get_submodule(exact))
        self.network = network.to(dtype)
        if exact is not None and layer is not None:
            self.network.set_submodule(exact, InFloat32(layer))
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Cast, compute and cast back."""
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.float()


def least_side(design: Design, size: Size) -> int | None:
    """Return the least height and width, in pixels, of the images of a program.

    Args:
        design: Design of the network.
        size: Height and width of the images of its data set.

    Returns:
        Number of pixels with which every level of the network has more than one, since
        torch.export treats a size of 1 as a constant. None if program and ONNX only take images of
        ``size``: if the network is for whole images, or if ``size`` is smaller.
    """
    if not isinstance(design.plan().head, MapHead):
        return None
    least = 2**design.halvings + 1
    return least if min(size) >= least else None


def trace(model: nn.Module, channels: int, size: Size | None) -> ExportedProgram:
    """Trace a module for any number of images.

    Args:
        model: Module from images to logits, in evaluation mode.
        channels: Number of channels of the images.
        size: Height and width of the images; None for any from ``least_side`` on.
    """
    assert not model.training
    images = torch.zeros(2, channels, *(size or TRACED))  # two: torch.export fixes a size of 1
    axes: dict[int, Any] = {0: torch.export.Dim(AXES[0], min=1)}
    if size is None:
        axes |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    with quiet():
        program = torch.export.export(model, (images,), dynamic_shapes=(axes,))
    for node in program.graph.nodes:
        # Paths on the exporting machine mean nothing on others.
        node.meta.pop("stack_trace", None)
    # torch.export.save pickles the example inputs, and nothing else of such a program.
    # Without them, the archive has an empty record instead.
    program.example_inputs = None
    return program


def dynamic_axes(program: ExportedProgram) -> dict[int, str]:
    """Return the names of the dynamic axes of a program's images."""
    shape = _images(program).shape
    return {axis: name for axis, name in AXES.items() if isinstance(shape[axis], torch.SymInt)}


def _images(program: ExportedProgram) -> Any:
    """Return the traced images, whose dynamic sizes are symbols."""
    (name,) = program.graph_signature.user_inputs
    return next(node.meta["val"] for node in program.graph.nodes if node.name == name)


def save(program: ExportedProgram, path: Path) -> None:
    """Write a program as a ``.pt2`` archive: JSON and raw weights.

    Raises:
        ExportError: If this version of torch puts a pickle into the archive.
    """
    with quiet():
        torch.export.save(program, path)
    if members := pickled_members(path.read_bytes()):
        raise ExportError(
            f"{path.name}: torch {torch.__version__} pickles {members[0]!r}, and nothing that is"
            " exported may need pickle to load"
        )


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Read a program back as a function from images to logits."""
    with quiet():
        module: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of torch.export and torch.onnx about torch itself.

    In torch 2.9 and some later versions, copying a program warns (FutureWarning, from copyreg) that
    torch's own LeafSpec is deprecated, and torch 2.11 warns that torch.export.load reads weights
    from a read-only buffer; users of torch cannot fix either.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*treespec.* is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        yield


def pickled_members(content: bytes, name: str = "") -> list[str]:
    """Return the names of pickles in a file: the file itself, or members of its zip archive.

    Nothing is unpickled. A record counts as a pickle if all of it parses as one of protocol 2 or
    later, which raw weights or text do not.

    Args:
        content: Bytes of the file.
        name: Name of the file.
    """
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.namelist()
            return [
                found
                for member in members
                for found in pickled_members(archive.read(member), f"{name}/{member}".lstrip("/"))
            ]
    if content[:1] != b"\x80" or content[-1:] != b".":
        return []
    try:
        *_, (last, _, position) = pickletools.genops(content)
    except ValueError:
        return []
    assert position is not None
    return [name] if last.name == "STOP" and position == len(content) - 1 else []
