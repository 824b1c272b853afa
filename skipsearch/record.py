"""Epoch and Trial: what happened to one design with one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

from skipsearch.design import Design
from skipsearch.recipe import Recipe

COMPLETE = "COMPLETE"  # trained to the full budget
PRUNED = "PRUNED"  # stopped early, with a value at every epoch that it reached
FAIL = "FAIL"  # ended by NaN, by lack of memory, or by an exception: see the reason
RUNNING = "RUNNING"
SCORE = "validation_score"  # of any task: what trainings are compared by
ASK_BEST = "best"  # what a search is asked for where it is asked about no axis
LATENCY = "latency"  # the cost that is measured
COSTS = ("params", "macs", "activation_bytes", LATENCY)  # of a design, to be kept small
STATES = (COMPLETE, PRUNED, FAIL, RUNNING)
DIVERGED = "the loss became"  # so begins the reason of a FAIL whose loss is no longer finite
INTERRUPTED = "interrupted"  # the reason of a FAIL that goes on when the search is run again


def has_diverged(reason: str) -> bool:
    """Whether the reason of a FAIL is that the loss is no longer finite."""
    return DIVERGED in reason


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training showed.

    Attributes:
        epoch: Number, from 1.
        learning_rate: At the last step.
        train_loss: Mean over the epoch's steps, in training mode.
        train_score: Score on the training images, in training mode: the metric of the task, such as
            the accuracy.
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
        if "validation_accuracy" in values:  # an older run, which knew no other scores
            values = {
                **values,
                "train_score": values["train_accuracy"],
                "validation_score": values["validation_accuracy"],
            }
        return cls(*EPOCH_VALUES(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a training runs.

    Attributes:
        device: Name of the device.
        numerics: What decides the last bits: device, precision, threads, layout, torch.
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


PACK_OF = ", pack of "  # at the end of the numerics of a training that was packed with others
EPOCH_FIELDS = tuple(field.name for field in dataclasses.fields(Epoch))
EPOCH_VALUES = itemgetter(*EPOCH_FIELDS)  # in their order: a study holds many epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of one design with one seed: finished, stopped, failed, or under way.

    Attributes:
        number: Its number in the study.
        design: What was trained.
        recipe: How.
        seed: Of initial weights, data order and augmentation.
        state: COMPLETE, PRUNED, FAIL or RUNNING.
        reason: Why it failed, else an empty text.
        curve: Its epochs, from the first.
        params: Trainable parameters.
        macs: Multiply-adds for one image.
        activation_bytes: Bytes that the operations of one forward pass of one image write, in
            float32; 0 where they were not counted.
        latency: Seconds for one forward pass of a batch in evaluation mode; None where it was not
            measured.
        device: What it ran on.
        versions: Of Python and the libraries.
        numerics: What decides its last bits: device, precision, threads, layout, torch.
        stopped_at: The epoch after which early stopping would have ended it, were it not trained
            on to see whether that was wrong; 0 for none.
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
        """Its numerics but for the size of its pack, which follows from the design and seeds."""
        return self.numerics.partition(PACK_OF)[0]

    @property
    def key(self) -> str:
        """What was trained, as ``DESIGN-RECIPE``: equal for all seeds."""
        return f"{self.design.id}-{self.recipe.id}"

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return sum(epoch.seconds for epoch in self.curve)
