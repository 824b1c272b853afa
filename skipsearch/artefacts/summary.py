"""The card of an export as plain values: the content of ``card.json``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skipsearch.artefacts.card import Card
from skipsearch.cost import cost
from skipsearch.data.pictures import rule_of
from skipsearch.design import Design
from skipsearch.errors import ExportError
from skipsearch.plan import ImageSize
from skipsearch.task import REGRESSION, tasks_with


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file of an export.

    Attributes:
        file: Name of the file.
        bytes: Size of the file.
        difference: Largest absolute difference of its outputs from the module's; None if it
            cannot be run.
    """

    file: str
    bytes: int
    difference: float | None


def describe_input(
    card: Card, in_channels: int, image_size: ImageSize, classes: int, least_side: int | None
) -> dict[str, Any]:
    """Return the input format of a network, the rule for pictures, and the names of its outputs.

    Returns:
        ``input``: channels; type of the pixels; image_size in pixels, and least_side of program
        and ONNX or None if image_size is fixed there; mean, std; sigma of the noise or None;
        whether the images were resized for training; the rule for pictures in words.
        ``class_names``: names of classes or labels, empty for images and for regression.
        ``target_names``, ``target_mean`` and ``target_std``: of regression alone.

    Raises:
        ExportError: If the number of given means, deviations or class names is wrong.
    """
    of_outputs = ("class_names", "target_mean", "target_std")
    numbers = {"mean": in_channels, "std": in_channels} | dict.fromkeys(of_outputs, classes)
    for name, number in numbers.items():
        given = len(getattr(card, name))
        if given not in (0, number):
            raise ExportError(f"card: {name}: {given} are given, and {number} are needed")
    names = list(card.class_names or map(str, range(classes)))
    is_regression = card.task.name == REGRESSION.name
    targets = {
        "target_names": names,
        "target_mean": list(card.target_mean),
        "target_std": list(card.target_std),
    }
    return {
        "input": {
            "channels": in_channels,
            "pixels": card.pixels,
            "image_size": image_size,
            "least_side": least_side,
            "mean": list(card.mean),
            "std": list(card.std),
            "sigma": card.sigma or None,
            "resized": card.resized,
            "pictures": rule_of(
                card.pixels,
                in_channels,
                per_pixel=card.task.per_pixel,
                resized=card.resized,
            ),
        },
        "class_names": [] if card.task.restores or is_regression else names,
        **(targets if is_regression else {}),
    }


def summarise(
    card: Card,
    design: Design,
    artefacts: Sequence[Artefact],
    *,
    in_channels: int,
    image_size: ImageSize,
    classes: int,
    least_side: int | None,
    precision: str,
    tolerance: float,
    written_with: Mapping[str, str],
) -> dict[str, Any]:
    """Return the content of ``card.json`` as plain values.

    Args:
        card: Information from the caller.
        design: Design of the network.
        artefacts: Files and their agreement with the module.
        in_channels: Number of channels of the images.
        image_size: Height and width of the images in pixels.
        classes: Number of outputs: classes, labels or targets.
        least_side: Least height and width of program and ONNX; None if they are fixed.
        precision: Precision of the weights, and of the programs.
        tolerance: Largest allowed difference, relative to the largest output.
        written_with: Versions of the libraries that wrote the files.
    """
    known, metric = cost(design, in_channels, image_size, classes), card.task.metric
    figures = {
        split: {
            metric.name: metric.value(measured.score),
            "images": measured.images,
            "groups": measured.groups,
            "interval_95": list(map(_known, metric.values(measured.interval))),
            "seeds": 1,
            "baseline": None if measured.baseline is None else metric.value(measured.baseline),
            "further": {label: _known(value) for label, value in measured.figures.items()},
            card.task.outputs: {
                name: {label: _known(value) for label, value in of_class.items()}
                for name, of_class in measured.classes.items()
            },
        }
        for split, measured in card.measured().items()
    }
    return {
        "task": card.task.name,
        "metric": metric.name,
        "name": card.name or design.id,
        "note": card.note,
        "design": {"id": design.id, **design.to_dict()},
        **describe_input(card, in_channels, image_size, classes, least_side),
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
            "folds": card.folds,
            metric.validation: (
                None if card.search_score is None else metric.value(card.search_score)
            ),
            "confirmations": list(map(metric.value, card.confirmations)),
            "confirmed": bool(card.confirmations),
            "confirmed_interval": (
                list(metric.values(card.confirmed_interval)) if card.confirmed_interval else []
            ),
            "chance_of_best": card.chance_of_best,
            "leaders": card.leaders,
        },
        "training": {
            "data": card.data,
            "splits": card.trained_on,
            "images": card.train_images,
            "seed": card.seed,
            "loss": _loss(card),
            "recipe": _recipe(card),
            "device": card.device,
            "versions": dict(card.versions),
        },
        "figures": figures,
        "artefacts": [dataclasses.asdict(artefact) for artefact in artefacts],
        "precision": precision,
        "tolerance": tolerance,
        "written_with": dict(written_with),
    }


def _recipe(card: Card) -> dict[str, Any] | None:
    """Return the fields of the recipe that have an effect on the task; None if it is unknown."""
    if card.recipe is None:
        return None
    values = card.recipe.to_dict()
    values["class_weights"] = card.task.weights_word(card.recipe.class_weights)
    return {name: value for name, value in values.items() if card.task.name in tasks_with(name)}


def _loss(card: Card) -> str | None:
    """Return the name of the loss of the training; None if the recipe is unknown."""
    return None if card.recipe is None else card.task.loss or card.recipe.loss


def _known(value: float) -> float | None:
    """Return a number; None, which JSON can hold, for NaN."""
    return None if math.isnan(value) else value
