"""Messages between driver and workers: a request to train, and a report of each epoch."""

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
ENDED = "ended"  # key of its result: a set of places, filled by the driver


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to train one design with one seed or with those of a pack.

    Attributes:
        design: Design to train.
        recipe: Recipe of the training.
        seeds: Seeds of the networks, in the order of their places.
        recorded: Seeds whose trainings the driver records; the others are only computed.
        checkpoint: Name of its checkpoint in the store.
        threads: Number of CPU threads.
        memory_fraction: Fraction of the device's free memory that it may use.
        deterministic: Whether a GPU must reproduce the same bits.
        timeout: Time limit of each training in seconds; None for no limit.
        latency_batch: Number of images whose latency is measured; None to skip it.
        engine: Number of the engine that trains it; None for a dedicated worker.
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

        It is a single text: Tune flattens and copies a nested one, and uses it in folder names.
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
    """State of one training of a request.

    Attributes:
        curve: Epochs so far.
        failure: Reason of its failure; empty if it did not fail.
    """

    curve: tuple[Epoch, ...] = ()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Report of a worker after an epoch.

    Attributes:
        members: State of each training, by place in the pack.
        done: Whether nothing is left to train.
        device: Name of its device.
        numerics: Settings that determine the last bits of its results.
        versions: Versions of Python and the libraries.
        warning: Reason why training is slower than possible; empty if it is not.
        latency: Seconds for a batch; None if it was not measured.
        disk_full: Error of a full disk; empty if there was none.
        device_lost: Whether all calls to the device fail; the remaining work is then retried in
            another process.
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
        """Reason of the first training's failure; empty if it did not fail."""
        return self.members[0].failure

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return max(len(each.curve) for each in self.members)

    def to_result(self) -> dict[str, Any]:
        """Return Tune's result of an epoch."""
        return {REPORT: self, "done": self.done, ENDED: set()}
