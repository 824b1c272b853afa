"""Epoch and Trial: records of the training of one design with one seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

from skipsearch.design import Design
from skipsearch.recipe import Recipe

COMPLETE = "COMPLETE"  # trained to the full budget
PRUNED = "PRUNED"  # stopped early, with a value for every epoch reached
FAIL = "FAIL"  # ended by NaN, lack of memory, or an exception: see the reason
RUNNING = "RUNNING"
SCORE = "validation_score"  # of any task: the value by which trainings are compared
ASK_BEST = "best"  # the goal of a search that compares no axes
LATENCY = "latency"  # the only cost that is measured
COSTS = ("params", "macs", "activation_bytes", LATENCY)  # of a design, to be minimised
STATES = (COMPLETE, PRUNED, FAIL, RUNNING)
DIVERGED = "the loss became"  # start of the reason of a FAIL whose loss is no longer finite
INTERRUPTED = "interrupted"  # reason of a FAIL that resumes when the search is run again


def has_diverged(reason: str) -> bool:
    """Return whether the reason of a FAIL is a loss that is no longer finite."""
    return DIVERGED in reason


@dataclass(frozen=True, slots=True)
class Epoch:
    """The results of one epoch of training.

    Attributes:
        epoch: Number of the epoch, from 1.
        learning_rate: Learning rate at the last step.
        train_loss: Mean loss over the epoch's steps, in training mode.
        train_score: Score by the task's metric, such as the accuracy, on the training images, in
            training mode; minus the value if the metric is an error, see ``Metric``.
        validation_loss: Mean loss over the validation split.
        validation_score: Score on the validation split.
        seconds: Wall time of the epoch, evaluation included.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_score: float
    validation_loss: float
    validation_score: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in EPOCH_FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build an epoch from plain values."""
        if "validation_accuracy" in values:  # an older run, without other metrics
            values = {
                **values,
                "train_score": values["train_accuracy"],
                "validation_score": values["validation_accuracy"],
            }
        return cls(*EPOCH_VALUES(values))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The score of one network on a split of the data.

    Attributes:
        score: Score by the task's metric, such as the accuracy; see ``Metric``.
        images: Number of images.
        interval: 95 % interval of the score due to the number of images, or of their groups; NaN
            if unknown.
        baseline: Score of the trivial baseline on the same images; None if unknown.
        figures: Further figures over all images, by name.
        classes: Further figures of each class, by name.
        groups: Number of groups of the images; None if every image is its own group.
    """

    score: float
    images: int
    interval: tuple[float, float] = (math.nan, math.nan)
    baseline: float | None = None
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    groups: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment of a training.

    Attributes:
        device: Name of the device.
        numerics: Settings that determine the last bits: device, precision, threads, layout, torch.
        versions: Versions of Python and the libraries.
    """

    device: str = ""
    numerics: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "device": self.device,
            "numerics": self.numerics,
            "versions": dict(self.versions),
        }


PACK_OF = ", pack of "  # before the pack size, at the end of a packed training's numerics
EPOCH_FIELDS = tuple(field.name for field in dataclasses.fields(Epoch))
EPOCH_VALUES = itemgetter(*EPOCH_FIELDS)  # fast, since a study has many epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of one design with one seed: finished, stopped, failed, or running.

    Attributes:
        number: Number in the study.
        design: Design of the network.
        recipe: Recipe of the training.
        seed: Seed of initial weights, data order and augmentation.
        state: COMPLETE, PRUNED, FAIL or RUNNING.
        reason: Reason of a failure, else an empty string.
        curve: Epochs from the first.
        params: Number of trainable parameters.
        macs: Multiply-adds for one image.
        activation_bytes: Bytes written by the operations of one forward pass of one image, in
            float32; 0 if not counted.
        latency: Seconds for one forward pass of a batch in evaluation mode; None if not measured.
        device: Name of the device.
        versions: Versions of Python and the libraries.
        numerics: Settings that determine the last bits: device, precision, threads, layout, torch.
        stopped_at: Epoch after which early stopping would have ended the trial if it had not
            continued as an audit; 0 for none.
    """

    number: int
    design: Design
    recipe: Recipe
    seed: int
    state: str
    reason: str
    curve: tuple[Epoch, ...]
    params: int
    macs: int
    activation_bytes: int = 0
    latency: float | None = None
    device: str
    versions: Mapping[str, str]
    numerics: str = ""
    stopped_at: int = 0

    @property
    def numerics_alone(self) -> str:
        """The numerics without the size of the pack, which follows from the design and seeds."""
        return self.numerics.partition(PACK_OF)[0]

    @property
    def key(self) -> str:
        """The ids of design and recipe, as ``DESIGN-RECIPE``: equal for all seeds."""
        return f"{self.design.id}-{self.recipe.id}"

    @property
    def seconds(self) -> float:
        """Duration of the training in seconds."""
        return sum(epoch.seconds for epoch in self.curve)
