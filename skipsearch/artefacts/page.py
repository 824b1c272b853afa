"""The card of an export as a Markdown page: ``card.md``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import starmap
from statistics import fmean, stdev
from typing import Any

from skipsearch.artefacts import program
from skipsearch.artefacts.sentences import allowed, extent, normalisation, resampling, shown
from skipsearch.data.pixels import full_scale_of
from skipsearch.errors import counted
from skipsearch.metric import FIGURES, Metric
from skipsearch.plan import Size
from skipsearch.task import MULTI_LABEL, REGRESSION, TASKS, Task

# What networks without plain logits of classes put out, by task
PUTS_OUT = {
    MULTI_LABEL.name: "logits, whose sigmoid is the probability of a label,",
    REGRESSION.name: "targets in their own units",
}


def render(summary: Mapping[str, Any]) -> str:
    """Return the page ``card.md`` from the values of ``summarise``."""
    task = TASKS[summary["task"]].judged_by(summary["metric"])
    metric = task.metric
    parts = [f"# {summary['name']}", summary["note"], *_what(summary, task)]
    if summary["search"]["run"] or summary["search"]["confirmations"]:
        parts += _found(summary["search"], metric)
    parts += _trained(summary["training"])
    parts += _figures(summary["figures"], task)
    parts += _files(summary)
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(summary: Mapping[str, Any], task: Task) -> list[str]:
    design, image = summary["design"], summary["input"]
    layouts = design["layout"] if isinstance(design["layout"], list) else [design["layout"]]
    fields = {name: shown(value) for name, value in design.items() if name not in ("id", "layout")}
    channels, size, outputs = image["channels"], Size.of(image["image_size"]), summary["classes"]
    sides = f"{size.height}, {size.width}"
    purpose = f"for {outputs} {task.output if outputs == 1 else task.outputs}"
    if task.per_pixel:
        purpose = "that removes noise" if task.restores else f"for {outputs} classes of pixels"
    put_out, noise = PUTS_OUT.get(task.name, "logits"), ""
    if task.restores:
        put_out = "restored images, normalised like the input,"
        if sigma := image["sigma"]:
            noise = f" Their noise has a standard deviation of {sigma:g} grey levels of 0..255."
    if task.per_pixel:
        sides = "H, W"
    any_size = f", for any H and W; training images had {size}" if task.per_pixel else ""
    shape = f"(N, {outputs}, {sides})" if task.per_pixel else f"(N, {outputs})"
    entering = normalisation(image["mean"], image["std"], image["pixels"])
    standardised = ""
    if task.name == REGRESSION.name:
        standardised = (
            f" Training standardised them, with mean {shown(summary['target_mean'])} and standard"
            f" deviation {shown(summary['target_std'])}; the last layer undoes that."
        )
    names = _named(summary["class_names"] or summary.get("target_names", []))
    classes = f"{task.outputs.capitalize()}, in the order of the outputs: {names}.{standardised}"
    if task.classifies or task.per_pixel:
        classes = f"Classes, in the order of the logits: {names}."
    return [
        "## What it is",
        f"A convolutional network {purpose}, design `{design['id']}`:",
        "\n".join(["```", *dict.fromkeys(layouts), "```"]),
        _anatomy(layouts),
        _table(("field", "value"), fields.items()),
        _table(
            ("cost of one image", ""),
            [
                ("parameters", f"{summary['cost']['params']:,}"),
                ("multiply-adds", f"{summary['cost']['macs']:,}"),
                ("activations", f"{summary['cost']['activation_bytes']:,} bytes in float32"),
            ],
        ),
        f"Input: float32 images (N, {channels}, {sides}). Output: {put_out}"
        f" {shape}{any_size}. {entering}{noise}".rstrip(),
        "" if task.restores else classes,
    ]


def _named(class_names: list[str]) -> str:
    return shown(class_names) if len(class_names) <= 100 else "as card.json lists them"


def _anatomy(layouts: Sequence[str]) -> str:
    """Explain the part of the notation that these layouts use."""
    parts = []
    if any("+" in layout for layout in layouts):
        parts.append('The residual branch is left of "+", where the shortcut joins.')
    if any(layout.partition("+")[2] for layout in layouts):
        parts.append('Operations right of "+" act on the joined signal.')
    if any("+" not in layout for layout in layouts):
        parts.append('A layout without "+" is a plain block without a shortcut.')
    return " ".join(parts)


def _found(search: Mapping[str, Any], metric: Metric) -> list[str]:
    known = {
        "run": search["run"],
        "space": search["space"],
        "data": search["data"],
        "trials": search["trials"],
        "designs among them": search["designs"],
        "epochs of a trial": search["epochs"],
        "search seed": search["seed"],
        "folds": search["folds"],
        f"validation {metric.title} there": metric.text(search[metric.validation]),
    }
    scores, repeat = search["confirmations"], "seed" if search["folds"] is None else "fold"
    if not scores:
        several = f" of {search['trials']} trainings" if search["trials"] else ""
        verdict = (
            f"**Unconfirmed.** It is the best{several} by noisy draws, few {repeat}s each, and"
            " the best of many noisy draws looks better than it is. Train the leading designs"
            f" again, with new {repeat}s, before you rely on their order."
        )
    else:
        spread = f", standard deviation {metric.text(stdev(scores))}" if scores[1:] else ""
        verdict = (
            f"Confirmed: trained again with new {repeat}s its validation {metric.title} was"
            f" {metric.text(fmean(scores))} on average{spread},"
            f" {metric.span((min(scores), max(scores)))}"
            f" (n = {counted(len(scores), repeat)})."
        )
        if search["confirmed_interval"]:
            interval = metric.span(search["confirmed_interval"])
            verdict += f" The 95 % interval of the mean is {interval}."
        if search["chance_of_best"] is not None and search["leaders"]:
            verdict += (
                f" It is the best of the {search['leaders']} designs that were compared so with a"
                f" chance of {search['chance_of_best']:.2f}."
            )
    return ["## How it was found", _known(known), verdict]


def _trained(training: Mapping[str, Any]) -> list[str]:
    recipe = training["recipe"] or {}
    known = {
        "data": training["data"],
        "splits": training["splits"] if training["data"] else "",
        "images": training["images"],
        "seed": training["seed"],
        "loss": training["loss"],
        **recipe,
        "device": training["device"],
        "versions": ", ".join(f"{name} {v}" for name, v in training["versions"].items()),
    }
    table = _known(known)
    return ["## How it was trained", table] if table else []


def _figures(figures: Mapping[str, Any], task: Task) -> list[str]:
    if not figures:
        return []
    metric, rows = task.metric, []
    for split, figure in figures.items():
        low, high = (math.nan if end is None else end for end in figure["interval_95"])
        score, images = metric.text(figure[metric.name]), f"{figure['images']:,}"
        baseline = metric.text(figure["baseline"])
        rows.append((split, score, images, metric.span((low, high)), "1", baseline))
    return [
        "## Its figures",
        _table(("split", metric.title, "images", "95 % interval", "seeds", "baseline"), rows),
        f"The interval says how well the images, finite in number, settle the {metric.title} of"
        f" these weights; another seed gives other weights and another {metric.title}."
        f" The baseline learns nothing: it is {task.baseline}. They are of the network in float32;"
        " trainings of the search may have been evaluated in bfloat16.",
        *(
            f"{split.capitalize()}: {extent(figure['images'], groups)}{resampling(groups)}."
            for split, figure in figures.items()
            if (groups := figure["groups"]) is not None
        ),
        *(part for split, figure in figures.items() for part in _further(split, figure, task)),
    ]


def _further(split: str, figure: Mapping[str, Any], task: Task) -> list[str]:
    """Return the further figures of a split, those of classes, labels or targets as a table."""
    parts = []
    if figure["further"]:
        named = (
            f"{name.replace('_', ' ')} {_figure(name, value)}"
            for name, value in figure["further"].items()
        )
        parts.append(f"Further figures, {split}: {', '.join(named)}.")
    if by_name := figure[task.outputs]:
        rows = [
            (label, *starmap(_figure, zip(by_name, values, strict=True)))
            for label, *values in zip(
                next(iter(by_name.values())),
                *(of_class.values() for of_class in by_name.values()),
                strict=True,
            )
        ]
        parts.append(_table((f"{task.output}, {split}", *by_name), rows))
    return parts


def _figure(name: str, value: float | None) -> str:
    return "undefined" if value is None else FIGURES[name].text(value)


def _files(summary: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            f"`{item['file']}`",
            f"{item['bytes']:,}",
            "" if item["difference"] is None else f"{item['difference']:.2g}",
        )
        for item in summary["artefacts"]
    ]
    image = summary["input"]
    written = ", ".join(f"{name} {v}" for name, v in summary["written_with"].items())
    files = {item["file"] for item in summary["artefacts"]}
    channels, size = image["channels"], Size.of(image["image_size"])
    weights = [
        "from safetensors.torch import load_file",
        "from model import Network",
        "",
        "network = Network()",
        'network.load_state_dict(load_file("model.safetensors"))',
        "network.eval()",
        *_entering(image, "torch.tensor", "pixels.float()"),
        f"{program.output_of(TASKS[summary['task']])} = network(images)",
    ]
    if image["mean"]:
        weights.insert(0, "import torch")
    if "model.py" not in files:
        weights[1] = "import skipsearch as ss"
        weights[3] = (
            'network = ss.build(ss.Design.load("design.yaml"),'
            f" in_channels={channels}, classes={summary['classes']})"
        )
    task, least = TASKS[summary["task"]], image["least_side"]
    many, sides = f"any number of {size} images", f"{size.height}, {size.width}"
    if least is not None:
        many, sides = f"any number of images, of {least} or more pixels a side", "H, W"
    odd_too = "" if least is None else ", and on one of another, odd, size"
    uses = "What the network says of pictures, each prepared as its training images were:"
    if task.per_pixel:
        made = "Restored pictures" if task.restores else "Masks of pictures, as palette PNG"
        uses = f"{made}, each of its picture's own size:"
    output = program.output_of(task)
    is_regression = task.name == REGRESSION.name
    unit = ", in target units" if is_regression else ""
    parts = [
        "## Its files",
        _table(("file", "bytes", f"largest absolute difference{unit}"), rows),
        f"Each was loaded back and run on batches of 1 and 5 images{odd_too}; its outputs may"
        f" differ from the module's by {allowed(summary['tolerance'], task)}. None needs pickle."
        f" Written with {written}.",
        _rounded(summary["precision"], output, is_regression),
        uses,
        "```sh\nskipsearch predict FOLDER IMAGE...\n```",
        "The weights, for images of any size:",
        _code(*weights),
    ]
    if "model.pt2" in files:
        parts += [
            f"The torch.export program, for {many}:",
            _code(
                "import torch",
                "",
                'network = torch.export.load("model.pt2").module()',
                *_entering(image, "torch.tensor", "pixels.float()"),
                f"{output} = network(images)  # float32, (N, {channels}, {sides})",
            ),
        ]
    if "model.onnx" in files:
        parts += [
            f"The ONNX file, for {many}:",
            _code(
                "import os",
                "",
                'os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which reads it',
                "import numpy",
                "import onnxruntime",
                "",
                'session = onnxruntime.InferenceSession("model.onnx")',
                *_entering(image, "numpy.float32", "numpy.float32(pixels)"),
                f'({output},) = session.run(["{output}"], {{"images": images}})'
                f"  # float32, (N, {channels}, {sides})",
            ),
        ]
    return parts


def _entering(image: Mapping[str, Any], array: str, pixels: str) -> list[str]:
    """Return the lines that normalise pixels, which the files expect; none if it is unknown.

    Args:
        image: What the network takes.
        array: Function that makes an array of a list.
        pixels: The pixels as floating-point numbers.
    """
    if not image["mean"]:
        return []
    scale = full_scale_of(image["pixels"])
    value = pixels if scale == 1 else f"{pixels} / {scale:g}"
    columns = ([[[number]] for number in image[name]] for name in ("mean", "std"))
    mean, std = (f"{array}({column})" for column in columns)
    return [
        f"mean = {mean}",
        f"std = {std}",
        f"images = ({value} - mean) / std  # pixels: (N, C, H, W), {image['pixels']}",
    ]


def _rounded(precision: str, output: str, is_regression: bool) -> str:
    """Describe what was rounded in the files of an export; empty in full precision."""
    if precision == "fp32":
        return ""
    last = " The last layer stays in float32." if is_regression else ""
    return (
        f"The weights are rounded to {precision}, and programs compute in it, from float32 images"
        f" to float32 {output}.{last} The differences include that; the figures are of the network"
        " before."
    )


def _code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _known(values: Mapping[str, Any]) -> str:
    """Return a table of the known values; empty if there are none."""
    rows = [(name, shown(value)) for name, value in values.items() if value not in (None, "")]
    return _table(("", ""), rows) if rows else ""


def _table(head: Sequence[str], rows: Any) -> str:
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
