"""Export of a traced program to ONNX, and loading in ONNX Runtime; only this file uses them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from skipsearch.artefacts.program import INPUT, LOGITS, dynamic_axes, quiet
from skipsearch.errors import ExportError, one_line

# torch translates to opset 18 and converts from there to any other. Opset 18 avoids errors of a
# conversion, and every ONNX Runtime since 1.14 (2023) supports it.
OPSET = 18
NEEDED = ("onnx", "onnxscript", "onnxruntime")

# protobuf limits a file to 2 GiB; the graph itself needs some of it.
LARGEST_FILE = 2**31 - 2**26


def require() -> None:
    """Check that the libraries are installed.

    Raises:
        ExportError: If one cannot be imported; the message explains their installation.
    """
    for name in NEEDED:
        try:
            _import(name)
        except ImportError as problem:
            raise ExportError(
                f"format 'onnx' needs {name}, which cannot be imported ({one_line(str(problem))});"
                " pip install 'skipsearch[export]'"
            ) from None


def _import(name: str) -> Any:
    """Import a library; ONNX Runtime without telemetry, whose switch it reads at import.

    With telemetry, 1.32 writes an identifier to the home folder and reports to Microsoft.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module(name)


def save(
    program: ExportedProgram,
    path: Path,
    metadata: Mapping[str, Any] | None = None,
    output: str = LOGITS,
) -> None:
    """Write a program as ONNX: one file, or from 2 GiB on with weights in a second file.

    Args:
        program: Program from images (N, C, H, W) to logits.
        path: Path of the file.
        metadata: Plain values that are stored in it under their names: texts unchanged, the
            others as JSON.
        output: Name of the output.
    """
    import onnx

    with quiet():
        translated = torch.onnx.export(
            program,
            input_names=[INPUT],
            output_names=[output],
            opset_version=OPSET,
            dynamic_shapes=(dynamic_axes(program),),
            dynamo=True,
            verbose=False,
        )
    assert translated is not None
    for name, value in (metadata or {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        translated.model.metadata_props[name] = text
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > LARGEST_FILE:
        translated.save(str(path), external_data=True)
    else:
        model = translated.model_proto
        graph = model.graph
        for part in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            del part.metadata_props[:]
        for node in graph.node:
            # Every node repeats its line of the traced program, which viewers show in full.
            del node.metadata_props[:]
        onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load an ONNX file in ONNX Runtime as a function from images to logits on the CPU."""
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # only errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return run
