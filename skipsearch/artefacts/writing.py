"""Writing of the folder of an export; each artefact is then loaded from disk and compared."""

from __future__ import annotations

import copy
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from skipsearch.artefacts import CARD, CARD_VALUES, DESIGN, FORMATS, WEIGHTS, onnx, program
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.checking import TOLERANCES, check_artefacts, execute, named
from skipsearch.artefacts.page import render
from skipsearch.artefacts.source import source
from skipsearch.artefacts.summary import Artefact, describe_input, summarise
from skipsearch.artefacts.units import Standard
from skipsearch.artefacts.weights import write_weights
from skipsearch.design import Design
from skipsearch.errors import ExportError, not_one_of
from skipsearch.models import build
from skipsearch.plan import ImageSize, Size
from skipsearch.task import REGRESSION

OURS = {DESIGN, WEIGHTS, CARD, CARD_VALUES, *FORMATS.values(), "model.onnx.data"}

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Layers that stay in float32: offset and scale of targets do not fit into half precision.
EXACT = {REGRESSION.name: "classifier"}


def write_artefacts(
    model: nn.Module,
    design: Design,
    out: str | Path,
    *,
    in_channels: int,
    image_size: ImageSize,
    classes: int,
    formats: Sequence[str] = tuple(FORMATS),
    precision: str = "fp32",
    tolerance: float | None = None,
    card: Card | str = "",
) -> dict[str, float]:
    """Write a trained module as a folder of artefacts, each compared with it after loading.

    The folder is written atomically: it is written next to ``out`` and moved there after all
    checks have passed. An earlier export in ``out`` is replaced.

    Args:
        model: Trained module from ``build(design, in_channels, classes)``, which stays unchanged.
        design: Design of the module.
        out: Output folder: new, empty, or an earlier export.
        in_channels: Number of channels of the images.
        image_size: Height and width in pixels. They are fixed in program and ONNX, except for a
            network with a value for each pixel; see ``least_side``.
        classes: Number of outputs: classes, labels or targets.
        formats: Any of ``source`` (model.py), ``program`` (model.pt2), ``onnx`` (model.onnx).
            Weights, design and card are always written. The weights have the names in
            model.py, or without it those of the library's module.
        precision: ``fp32``; ``fp16`` or ``bf16`` to round the weights and to run programs in it,
            from float32 images to float32 logits. model.py computes in float32 for any precision
            of the weights. The last layer of a regression stays in float32. ONNX does not support
            ``bf16``: ONNX Runtime has no convolution for it on the CPU, where the file is checked.
        tolerance: Largest allowed difference from the module in float32, relative to the largest
            output; that of the precision in ``TOLERANCES`` if None.
        card: Information about the network, or just a note.

    Returns:
        Largest absolute difference of the outputs, by file.

    Raises:
        ExportError: If a format or precision is unknown, they are incompatible, or libraries are
            missing; if ``out`` has other content, the card does not match the network, the
            module does not match the design, or an artefact differs from it.
        DesignError: If a size is not a positive integer.
    """
    formats = check_request(out, formats, precision)
    out = Path(out).resolve()
    card = Card(note=card) if isinstance(card, str) else card
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    least = program.least_side(design, Size.of(image_size))
    described = describe_input(card, in_channels, image_size, classes, least)
    text = source(design, in_channels, classes, image_size=image_size, card=card)
    network = copy.deepcopy(model).to("cpu", torch.float32).requires_grad_(False).eval()
    network = network.to(memory_format=torch.contiguous_format)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        (part / DESIGN).write_text(design.to_yaml(), encoding="utf-8")
        if "source" in formats:
            (part / FORMATS["source"]).write_text(text, encoding="utf-8")
        names = _names(network, part, design, in_channels, classes)
        dtype, exact = PRECISIONS[precision], EXACT.get(card.task.name)
        write_weights(network, part / WEIGHTS, design, names, dtype, exact)
        if "program" in formats or "onnx" in formats:
            metadata = {
                "design": design.id,
                "precision": precision,
                **described["input"],
                **{name: names for name, names in described.items() if name != "input"},
            }
            size = Size.of(image_size) if least is None else None
            with named("the module", "torch.export cannot trace it"):
                traced = _trace(network, in_channels, size, dtype, exact)
            _write_programs(traced, part, formats, program.output_of(card.task), metadata)
        differences = check_artefacts(
            part,
            network,
            in_channels=in_channels,
            image_size=image_size,
            classes=classes,
            tolerance=tolerance,
            standard=Standard(card.target_mean, card.target_std),
        )
        summary = summarise(
            card,
            design,
            _artefacts(part, differences),
            in_channels=in_channels,
            image_size=image_size,
            classes=classes,
            least_side=least,
            precision=precision,
            tolerance=tolerance,
            written_with=_versions(formats),
        )
        (part / CARD_VALUES).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        (part / CARD).write_text(render(summary), encoding="utf-8")
        _move(part, out)
    except OSError as problem:
        raise ExportError(f"{out}: cannot be written: {problem.strerror or problem}") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return differences


def check_request(
    out: str | Path, formats: Sequence[str], precision: str = "fp32"
) -> tuple[str, ...]:
    """Check a request before hours of training.

    Args:
        out: Output folder.
        formats: Requested formats.
        precision: Requested precision.

    Returns:
        Formats without duplicates.

    Raises:
        ExportError: If a format or precision is unknown, they are incompatible, libraries are
            missing, or ``out`` has other content than an earlier export.
    """
    formats = tuple(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    for word in formats:
        if word not in FORMATS:
            raise ExportError(f"format {not_one_of(word, FORMATS)}")
    if precision not in PRECISIONS:
        raise ExportError(f"precision {not_one_of(precision, PRECISIONS)}")
    if "onnx" in formats:
        if precision == "bf16":
            raise ExportError(
                "precision bf16: ONNX Runtime has no bf16 convolution on the CPU to check 'onnx'"
                " with; leave it out of the formats, or take fp16"
            )
        onnx.require()
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out}: is a file; an export is a folder")
    held = {path.name for path in out.iterdir()} - {"__pycache__"} if out.exists() else set()
    if held and not (held <= OURS and {DESIGN, CARD} <= held):
        foreign = min(held - OURS or held)
        raise ExportError(
            f"{out}: holds {foreign!r} and is no earlier export; an export needs a new or an empty"
            " folder"
        )
    return formats


def _names(
    network: nn.Module, folder: Path, design: Design, in_channels: int, classes: int
) -> list[str]:
    """Return the names of a network's state entries in the loading module, by position."""
    with torch.device("meta"):
        template = _template(folder, design, in_channels, classes)
    state, names = network.state_dict(), template.state_dict()
    shapes = [tuple(tensor.shape) for tensor in state.values()]
    if shapes != [tuple(tensor.shape) for tensor in names.values()]:
        raise ExportError(
            f"the module is not of design {design.id}: the {len(state)} entries of its state have"
            f" other shapes than the design's {len(names)}"
        )
    return list(names)


def _trace(
    network: nn.Module, channels: int, size: Size | None, dtype: torch.dtype, exact: str | None
) -> ExportedProgram:
    if dtype != torch.float32:
        network = program.InPrecision(copy.deepcopy(network), dtype, exact).eval()
    return program.trace(network, channels, size)


def _write_programs(
    traced: ExportedProgram,
    folder: Path,
    formats: Sequence[str],
    output: str,
    metadata: Mapping[str, Any],
) -> None:
    if "program" in formats:
        with named(FORMATS["program"], "cannot be written"):
            program.save(traced, folder / FORMATS["program"])
    if "onnx" in formats:
        with named(FORMATS["onnx"], "cannot be written"):
            onnx.save(traced, folder / FORMATS["onnx"], metadata, output)


def _artefacts(folder: Path, differences: dict[str, float]) -> list[Artefact]:
    return [
        Artefact(path.name, path.stat().st_size, differences.get(path.name))
        for path in sorted(folder.iterdir())
    ]


def _versions(formats: Sequence[str]) -> dict[str, str]:
    """Return the versions of the libraries that write and check the files."""
    known = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("skipsearch", "safetensors", *(onnx.NEEDED if "onnx" in formats else ())):
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue  # A checkout on the path that is not installed.
    return known


def _move(part: Path, out: Path) -> None:
    """Replace the old folder by the new one, and restore it if that fails."""
    if not out.exists():
        part.rename(out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    out.rename(old)
    try:
        part.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _template(folder: Path, design: Design, in_channels: int, classes: int) -> nn.Module:
    """Return a module with the names of the weights."""
    path = folder / FORMATS["source"]
    if path.exists():
        return execute(path)["Network"]()  # type: ignore[no-any-return]
    return build(design, in_channels, classes)
