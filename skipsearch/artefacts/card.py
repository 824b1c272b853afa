"""What is known of an exported network: plain values, and the page that is made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from skipsearch.cost import cost
from skipsearch.data.pictures import RULE
from skipsearch.design import Design
from skipsearch.errors import ExportError, counted
from skipsearch.recipe import Recipe
from skipsearch.task import CLASSIFICATION, TASKS, Metric, Scale, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How a network was found and trained, and its figures; what is not known is left out.

    Attributes:
        task: What the network was trained to do.
        name: What to call the network; the design's id unless given.
        note: A sentence or more of the author's own.
        data: Name of the data set.
        mean: Of each channel of the training images, in units of 0..1.
        std: Their deviation, likewise.
        class_names: One for each output; their numbers unless given.
        run: Name of the run that found the design.
        space: Name of the search space.
        trials: Trainings of the search, stopped and failed ones among them.
        designs: Different designs among them.
        search_epochs: Full budget of a trial.
        search_seed: Of the search.
        search_score: Validation score that the design was chosen by.
        confirmations: Validation scores of the design trained again with new seeds, one a
            seed; empty where nobody did.
        confirmed_interval: 95 % interval of their mean.
        chance_of_best: Chance that the design is the best of the leaders confirmed with it.
        leaders: Their number, this one among them.
        recipe: How these weights were trained.
        seed: Of this training.
        trained_on: The splits, ``train`` or ``train+validation``.
        train_images: Their number of images.
        validation_score: Score of these weights on the validation split.
        validation_images: Number of validation images.
        test_score: Score of these weights on the test split.
        test_images: Number of test images.
        device: What the training ran on.
        versions: Of Python and the libraries, there.

    Raises:
        ExportError: If a score is not possible or lacks its number of images.
    """

    task: Task = CLASSIFICATION
    name: str = ""
    note: str = ""
    data: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    run: str = ""
    space: str = ""
    trials: int | None = None
    designs: int | None = None
    search_epochs: int | None = None
    search_seed: int | None = None
    search_score: float | None = None
    confirmations: tuple[float, ...] = ()
    confirmed_interval: tuple[float, float] | None = None
    chance_of_best: float | None = None
    leaders: int | None = None
    recipe: Recipe | None = None
    seed: int | None = None
    trained_on: str = "train"
    train_images: int | None = None
    validation_score: float | None = None
    validation_images: int | None = None
    test_score: float | None = None
    test_images: int | None = None
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("search_score", "validation_score", "test_score"):
            self._check(name, getattr(self, name))
        for i, score in enumerate(self.confirmations):
            self._check(f"confirmations[{i}]", score)
        for split in ("validation", "test"):
            images = getattr(self, f"{split}_images")
            if getattr(self, f"{split}_score") is not None and (images is None or images < 1):
                raise ExportError(f"card: {split}_score needs {split}_images, not {images!r}")

    def _check(self, name: str, score: float | None) -> None:
        metric = self.task.metric
        if score is not None and not metric.worst <= score <= metric.best:
            raise ExportError(
                f"card: {name}: {score!r} is no {metric.title} from {metric.worst:g} to"
                f" {metric.best:g}"
            )

    def measured(self) -> dict[str, tuple[float, int, tuple[float, float]]]:
        """Return what is known of these weights: by split, score, images and 95 % interval."""
        splits = {
            "validation": (self.validation_score, self.validation_images),
            "test": (self.test_score, self.test_images),
        }
        return {
            split: (score, images, Scale(self.task.metric, images).interval(score))
            for split, (score, images) in splits.items()
            if score is not None and images is not None
        }


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of an export.

    Attributes:
        file: Its name.
        bytes: Its size.
        difference: Largest absolute difference of its logits from the module's; None where
            nothing in it can be run.
    """

    file: str
    bytes: int
    difference: float | None


def describe_input(card: Card, in_channels: int, image_size: int, classes: int) -> dict[str, Any]:
    """Say what the network takes, how a picture becomes that, and what its outputs are called.

    Returns:
        ``input``: channels, image_size in pixels, mean, std, and the rule for pictures in words;
        ``class_names``.

    Raises:
        ExportError: If mean, std or class names are given and their number is wrong.
    """
    for name, number in (("mean", in_channels), ("std", in_channels), ("class_names", classes)):
        given = len(getattr(card, name))
        if given not in (0, number):
            raise ExportError(f"card: {name}: {given} are given, and {number} are needed")
    return {
        "input": {
            "channels": in_channels,
            "image_size": image_size,
            "mean": list(card.mean),
            "std": list(card.std),
            "pictures": RULE,
        },
        "class_names": list(card.class_names or map(str, range(classes))),
    }


def facts(card: Card) -> dict[str, str]:
    """Name in a line each where a network comes from and how good it is, as far as known."""
    known = {
        "run": f"{card.run}, space {card.space}" if card.space else card.run,
        "data": card.data.partition(";")[0],  # its remarks are on the card
    }
    if card.recipe is not None:
        known["training"] = (
            f"{counted(card.recipe.epochs, 'epoch')} on {card.trained_on}, seed {card.seed}"
        )
    metric = card.task.metric
    for split, (score, images, interval) in card.measured().items():
        low, high = (metric.text(end) for end in interval)
        known[f"{split} {metric.title}"] = (
            f"{metric.text(score)} of {counted(images, 'image')} (95 % interval {low} to {high})"
        )
    return {name: text for name, text in known.items() if text}


def normalisation(mean: Sequence[float], std: Sequence[float]) -> str:
    """Say in a sentence how pixels become what the network takes; nothing where nobody knows."""
    if not mean:
        return ""
    return (
        "Pixels enter as (value / 255 - mean) / std in each channel, with mean"
        f" {_text(list(mean))} and std {_text(list(std))}."
    )


def summarise(
    card: Card,
    design: Design,
    artefacts: Sequence[Artefact],
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    precision: str,
    tolerance: float,
    written_with: Mapping[str, str],
) -> dict[str, Any]:
    """Gather all that the card says, as plain values: the content of ``card.json``.

    Args:
        card: What the caller knows.
        design: The network.
        artefacts: The files and how well they agree with the module.
        in_channels: Channels of the images.
        image_size: Height and width of the images, in pixels.
        classes: Outputs.
        precision: Of the weights, and of what programs compute in.
        tolerance: Largest difference that was allowed, relative to the largest logit.
        written_with: Versions of what wrote the files.
    """
    known, metric = cost(design, in_channels, image_size, classes), card.task.metric
    figures = {
        split: {metric.name: score, "images": images, "interval_95": list(interval), "seeds": 1}
        for split, (score, images, interval) in card.measured().items()
    }
    return {
        "task": card.task.name,
        "name": card.name or design.id,
        "note": card.note,
        "design": {"id": design.id, **design.to_dict()},
        **describe_input(card, in_channels, image_size, classes),
        "classes": classes,
        "cost": dataclasses.asdict(known),
        "search": {
            "run": card.run,
            "space": card.space,
            "data": card.data,
            "trials": card.trials,
            "designs": card.designs,
            "epochs": card.search_epochs,
            "seed": card.search_seed,
            metric.validation: card.search_score,
            "confirmations": list(card.confirmations),
            "confirmed": bool(card.confirmations),
            "confirmed_interval": list(card.confirmed_interval or ()),
            "chance_of_best": card.chance_of_best,
            "leaders": card.leaders,
        },
        "training": {
            "data": card.data,
            "splits": card.trained_on,
            "images": card.train_images,
            "seed": card.seed,
            "recipe": card.recipe.to_dict() if card.recipe else None,
            "device": card.device,
            "versions": dict(card.versions),
        },
        "figures": figures,
        "artefacts": [dataclasses.asdict(artefact) for artefact in artefacts],
        "precision": precision,
        "tolerance": tolerance,
        "written_with": dict(written_with),
    }


def render(summary: Mapping[str, Any]) -> str:
    """Draw the page ``card.md`` from the values of ``summarise``."""
    metric = TASKS[summary["task"]].metric
    parts = [f"# {summary['name']}", summary["note"], *_what(summary)]
    if summary["search"]["run"] or summary["search"]["confirmations"]:
        parts += _found(summary["search"], metric)
    parts += _trained(summary["training"])
    parts += _figures(summary["figures"], metric)
    parts += _files(summary)
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(summary: Mapping[str, Any]) -> list[str]:
    design, image = summary["design"], summary["input"]
    layouts = design["layout"] if isinstance(design["layout"], list) else [design["layout"]]
    fields = {name: _text(value) for name, value in design.items() if name not in ("id", "layout")}
    size, channels = image["image_size"], image["channels"]
    return [
        "## What it is",
        f"A convolutional network for {summary['classes']} classes, design `{design['id']}`:",
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
        f"Input: float32 images (N, {channels}, {size}, {size}). Output: logits"
        f" (N, {summary['classes']}). {normalisation(image['mean'], image['std'])}".rstrip(),
        f"Classes, in the order of the logits: {_named(summary['class_names'])}.",
    ]


def _named(class_names: list[str]) -> str:
    return _text(class_names) if len(class_names) <= 100 else "as card.json lists them"


def _anatomy(layouts: Sequence[str]) -> str:
    """Say how to read the notation, as far as these layouts make use of it."""
    parts = []
    if any("+" in layout for layout in layouts):
        parts.append('Left of "+" stands the residual branch, and the shortcut joins at "+".')
    if any(layout.partition("+")[2] for layout in layouts):
        parts.append('What stands right of "+" acts on the joined signal.')
    if any("+" not in layout for layout in layouts):
        parts.append('A layout without "+" is a plain block: nothing skips it.')
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
        f"validation {metric.title} there": metric.text(search[metric.validation]),
    }
    scores = search["confirmations"]
    if not scores:
        several = f" of {search['trials']} trainings" if search["trials"] else ""
        verdict = (
            f"**Unconfirmed.** It is the best{several} by noisy draws, one seed each, and the"
            " best of many noisy draws looks better than it is. Train the leading designs again,"
            " with new seeds, before you rely on their order."
        )
    else:
        spread = f", standard deviation {metric.text(stdev(scores))}" if scores[1:] else ""
        verdict = (
            f"Confirmed: trained again with new seeds its validation {metric.title} was"
            f" {metric.text(fmean(scores))} on average{spread},"
            f" {metric.text(min(scores))} to {metric.text(max(scores))}"
            f" (n = {counted(len(scores), 'seed')})."
        )
        if search["confirmed_interval"]:
            low, high = map(metric.text, search["confirmed_interval"])
            verdict += f" The 95 % interval of the mean is {low} to {high}."
        if search["chance_of_best"] is not None and search["leaders"]:
            verdict += (
                f" It is the best of the {search['leaders']} designs that were compared so with a"
                f" chance of {100 * search['chance_of_best']:.2f} %."
            )
    return ["## How it was found", _known(known), verdict]


def _trained(training: Mapping[str, Any]) -> list[str]:
    known = {
        "data": training["data"],
        "splits": training["splits"] if training["data"] else "",
        "images": training["images"],
        "seed": training["seed"],
        **(training["recipe"] or {}),
        "device": training["device"],
        "versions": ", ".join(f"{name} {v}" for name, v in training["versions"].items()),
    }
    table = _known(known)
    return ["## How it was trained", table] if table else []


def _figures(figures: Mapping[str, Any], metric: Metric) -> list[str]:
    if not figures:
        return []
    rows = []
    for split, figure in figures.items():
        interval = " to ".join(map(metric.text, figure["interval_95"]))
        score = metric.text(figure[metric.name])
        rows.append((split, score, f"{figure['images']:,}", interval, "1"))
    return [
        "## Its figures",
        _table(("split", metric.title, "images", "95 % interval", "seeds"), rows),
        f"The interval says how well the images, finite in number, settle the {metric.title} of"
        f" these weights; another seed gives other weights and another {metric.title}.",
    ]


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
    size, channels = image["image_size"], image["channels"]
    weights = [
        "from safetensors.torch import load_file",
        "from model import Network",
        "",
        "network = Network()",
        'network.load_state_dict(load_file("model.safetensors"))',
        "network.eval()",
    ]
    if "model.py" not in files:
        weights[1] = "import skipsearch as ss"
        weights[3] = (
            'network = ss.build(ss.Design.load("design.yaml"),'
            f" in_channels={channels}, classes={summary['classes']})"
        )
    parts = [
        "## Its files",
        _table(("file", "bytes", "largest absolute difference"), rows),
        f"Each was loaded back and run on batches of 1 and 5 images; its logits may differ from the"
        f" module's by {summary['tolerance']:g} of the largest logit. None needs pickle. Written"
        f" with {written}.",
        _rounded(summary["precision"]),
        "What the network says of pictures, each prepared as its training images were:",
        "```sh\nskipsearch predict FOLDER IMAGE...\n```",
        "The weights, for images of any size:",
        _code(*weights),
    ]
    if "model.pt2" in files:
        parts += [
            f"The torch.export program, for any number of {size} x {size} images:",
            _code("import torch", "", 'network = torch.export.load("model.pt2").module()'),
        ]
    if "model.onnx" in files:
        parts += [
            f"The ONNX file, for any number of {size} x {size} images:",
            _code(
                "import os",
                "",
                'os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which reads it',
                "import onnxruntime",
                "",
                'session = onnxruntime.InferenceSession("model.onnx")',
                '(logits,) = session.run(["logits"], {"images": images})'
                f"  # float32, (N, {channels}, {size}, {size})",
            ),
        ]
    return parts


def _rounded(precision: str) -> str:
    """Say what was rounded in the files of an export; nothing in full precision."""
    if precision == "fp32":
        return ""
    return (
        f"The weights are rounded to {precision}, and programs compute in it, from float32 images"
        " to float32 logits. The differences include that; the figures are of the network before."
    )


def _code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _known(values: Mapping[str, Any]) -> str:
    """Draw a table of what is known; nothing where nothing is."""
    rows = [(name, _text(value)) for name, value in values.items() if value not in (None, "")]
    return _table(("", ""), rows) if rows else ""


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
