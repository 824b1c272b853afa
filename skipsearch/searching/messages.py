"""What passes between driver and workers: a request to train, and a report of each epoch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from skipsearch.design import Design
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch

REQUEST, REPORT = "request", "report"  # keys of Tune's configuration of a trial, and of its result
ENDED = "ended"  # of its result: a set of places, filled by the driver


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a worker is to train: one design, with one seed or with those of a pack.

    Attributes:
        design: What to build.
        recipe: How to train it.
        seeds: Those of the networks, in the order of their places.
        recorded: Seeds whose trainings the driver records; the others are computed beside them.
        checkpoint: Name of its checkpoint in the store.
        threads: Number of CPU threads.
        memory_fraction: Fraction of the device's free memory that it may count on.
        deterministic: Whether a GPU must give the same bits again.
        timeout: Seconds of each training; None for as long as it takes.
        latency_batch: Number of images whose latency is measured; None where it is not.
        engine: Number of the engine that trains it; None for a worker of its own.
    """

    design: Design
    recipe: Recipe
    seeds: tuple[int, ...]
    recorded: tuple[int, ...] = ()
    checkpoint: str
    threads: int = 1
    memory_fraction: float = 1.0
    deterministic: bool = False
    timeout: float | None = None
    latency_batch: int | None = None
    engine: int | None = None

    def to_config(self) -> dict[str, str]:
        """Return Tune's configuration of a trial.

        It is one text: Tune flattens and copies a nested one, and puts it into folder names.
        """
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        plain = {"design": self.design.to_dict(), "recipe": self.recipe.to_dict()}
        return {REQUEST: json.dumps(values | plain)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read Tune's configuration of a trial."""
        values = json.loads(config[REQUEST])
        values["design"] = Design.from_dict(values["design"])
        values["recipe"] = Recipe.from_dict(values["recipe"])
        return cls(**values | {name: tuple(values[name]) for name in ("seeds", "recorded")})


@dataclass(frozen=True)
class Member:
    """What became of one training of a request so far.

    Attributes:
        curve: Its epochs.
        failure: How it failed; empty where it did not.
    """

    curve: tuple[Epoch, ...] = ()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker answers after an epoch.

    Attributes:
        members: What became of each training, by its place in the pack.
        done: Whether nothing is left to train.
        device: What it ran on.
        numerics: What decides its last bits.
        versions: Versions of Python and the libraries.
        warning: Why it trains slower than it could; empty where it does not.
        latency: Seconds for a batch; None where it was not measured.
        disk_full: The error of a full disk; empty where there was none.
        device_lost: Whether no call to the device succeeds any more; what is not done is then tried
            in another process.
    """

    members: tuple[Member, ...]
    done: bool
    device: str
    numerics: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""
    latency: float | None = None
    disk_full: str = ""
    device_lost: bool = False

    @property
    def failure(self) -> str:
        """How the first training failed; empty where it did not."""
        return self.members[0].failure

    @property
    def epoch(self) -> int:
        """The number of epochs that have been trained."""
        return max(len(each.curve) for each in self.members)

    def to_result(self) -> dict[str, Any]:
        """Return Tune's result of an epoch."""
        return {REPORT: self, "done": self.done, ENDED: set()}
