"""A module as a ``torch.export`` program: traced with a dynamic batch, written, and read back."""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from skipsearch.errors import ExportError

INPUT, OUTPUT, BATCH = "images", "logits", "batch"


class InPrecision(nn.Module):
    """A network that computes in half precision, from float32 images to float32 logits.

    Args:
        network: Network, which is rounded to the precision in place.
        dtype: Precision: ``torch.float16`` or ``torch.bfloat16``.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Cast, compute and cast back."""
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.float()


def trace(model: nn.Module, images: Tensor) -> ExportedProgram:
    """Trace a module for any number of images of one size.

    Args:
        model: Module from images to logits, in evaluation mode.
        images: Images (N, C, H, W) with N of at least 2: torch.export treats 1 as a constant.
    """
    assert not model.training
    assert len(images) > 1
    batch = torch.export.Dim(BATCH, min=1)
    with quiet():
        program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        # Paths on the exporting machine mean nothing on others.
        node.meta.pop("stack_trace", None)
    # torch.export.save pickles the example inputs, and nothing else of such a program.
    # Without them the archive has an empty record in their place.
    program.example_inputs = None
    return program


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
