"""Attributes of a study's trials: only this module defines their names and formats.

A trial of the study is one of
  a training      COMPLETE at the full budget, PRUNED when stopped early, FAIL with its reason
  a rejection     PRUNED without a value: a proposal that was known, or violated a constraint;
                  the sampler learns from it, and the next trial replaces it
  an interruption FAIL without a reason; a later trial resumes it
Attributes that are not named here are those of Optuna and other tools.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from optuna.trial import FrozenTrial, TrialState

from skipsearch.canonical import ID_RULES
from skipsearch.cost import Cost
from skipsearch.design import Design
from skipsearch.recipe import Recipe
from skipsearch.record import Environment, Epoch
from skipsearch.searching.reading import Recorded

AnyTrial = FrozenTrial | Recorded
Attributes = Mapping[str, Any]  # of a trial, as in Optuna

ATTEMPTS = 3  # drivers that may die in one epoch of a training before it counts as failed
# Attributes of an ended training that a running study needs.
KEPT_IN_MEMORY = ("key", "seed", "rejected", "continues", "reason")


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Information about a trial before it is accepted.

    Attributes:
        seed: Seed of the training; None for the first seed of the study.
        pack: Seeds that are trained as one packed network, including its own; empty or only its own
            if it is trained alone.
        continues: Number of the interrupted trial that it resumes; None for a new training.
        curve: Recorded epochs.
        stopped_at: Epoch of an overruled stop, as in ``Trial``.
        latency: Seconds for a batch; None if it was not measured.
        attempt: Number of the attempt at the epoch after ``epochs_before``, from 1.
        epochs_before: Number of epochs that were recorded before this attempt.
    """

    seed: int | None = None
    pack: tuple[int, ...] = ()
    continues: int | None = None
    curve: tuple[Epoch, ...] = ()
    stopped_at: int = 0
    latency: float | None = None
    attempt: int = 1
    epochs_before: int = 0

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the trial; unknown values are omitted."""
        resumes = self.continues is not None
        return _known(
            continues=self.continues,
            curve=[epoch.to_dict() for epoch in self.curve] or None,
            seed=self.seed,
            pack=list(self.pack) if len(self.pack) > 1 else None,
            stopped_at=self.stopped_at or None,
            latency=self.latency,
            attempt=self.attempt if resumes else None,
            epochs_before=self.epochs_before if resumes else None,
        )

    @classmethod
    def from_attributes(cls, attributes: Attributes) -> Self:
        """Read the attributes of a trial."""
        return cls(**_queued(attributes))


@dataclass(frozen=True, kw_only=True)
class Training(Queued):
    """Information about a trial that was accepted for training.

    Attributes:
        seed: Seed of initial weights, data order and augmentation.
        design: Design to train.
        recipe: Recipe of the training.
        costs: Costs of the design.
        driver: Name of its driver, if several share the study.
        environment: Environment of the training; None before its first epoch.
        reason: Reason of its failure; None if it did not fail.
        orderly: Whether the training did not cause its interruption.
    """

    seed: int
    design: Design
    recipe: Recipe
    costs: Cost
    driver: str | None = None
    environment: Environment | None = None
    reason: str | None = None
    orderly: bool = False

    @property
    def key(self) -> str:
        """Key of design and recipe, equal for all seeds, see ``Candidate.key``."""
        return f"{self.design.id}-{self.recipe.id}"

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the trial; unknown values are omitted."""
        environment = self.environment
        return {
            "design": self.design.to_dict(),
            "recipe": self.recipe.to_dict(),
            "costs": dataclasses.asdict(self.costs),
            "id_rules": ID_RULES,  # rules that the key is based on
            **super().to_attributes(),
            **_known(driver=self.driver),
            "key": self.key,
            **_known(
                environment=None if environment is None else environment.to_dict(),
                reason=self.reason,
                orderly=self.orderly or None,
            ),
        }

    @classmethod
    def from_attributes(cls, attributes: Attributes) -> Self:
        """Read the attributes of a trial of any version.

        Raises:
            LookupError: If the trial was never accepted.
        """
        design = Design.from_dict(attributes["design"])
        if attributes.get("id_rules") == ID_RULES:
            # Already computed by its driver; nothing else here would take as long.
            vars(design)["id"] = attributes["key"].partition("-")[0]
        return cls(
            **_queued(attributes) | {"seed": attributes["seed"]},
            design=design,
            recipe=Recipe.from_dict(attributes["recipe"]),
            costs=_costs(attributes),
            driver=attributes.get("driver"),
            environment=_environment(attributes),
            reason=attributes.get("reason"),
            orderly=attributes.get("orderly", False),
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that is not trained.

    Attributes:
        rejected: Reason of the rejection.
    """

    rejected: str

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the trial."""
        return {"rejected": self.rejected}


def is_training(trial: AnyTrial) -> bool:
    """Return whether a trial was accepted for training, and not rejected later."""
    return "key" in trial.user_attrs and "rejected" not in trial.user_attrs


def key_of(trial: AnyTrial) -> str:
    """Return ``Training.key`` of a training of any version."""
    attributes = trial.user_attrs
    if attributes.get("id_rules") == ID_RULES:
        return str(attributes["key"])
    return _key(json.dumps(attributes["design"]), json.dumps(attributes["recipe"]))


@lru_cache(maxsize=8192)
def _key(design: str, recipe: str) -> str:
    design_id = Design.from_dict(json.loads(design)).id
    return f"{design_id}-{Recipe.from_dict(json.loads(recipe)).id}"


def seed_of(trial: AnyTrial) -> int:
    """Return the seed of a training."""
    seed: int = trial.user_attrs["seed"]
    return seed


def continued_by(trial: AnyTrial) -> int | None:
    """Return the number of the interrupted trial that a trial resumes, if any."""
    return trial.user_attrs.get("continues")


def driver_of(trial: AnyTrial) -> str | None:
    """Return the name of the driver that accepted a trial, if several share the study."""
    return trial.user_attrs.get("driver")


def failure_of(trial: AnyTrial) -> str | None:
    """Return the reason of a failure; None if a training did not fail, or was interrupted."""
    return trial.user_attrs.get("reason")


def is_interrupted(trial: AnyTrial) -> bool:
    """Return whether a training ended without a reason."""
    return is_training(trial) and trial.state == TrialState.FAIL and failure_of(trial) is None


def is_resumable(trial: AnyTrial) -> bool:
    """Return whether a training was interrupted and will be resumed."""
    return is_interrupted(trial) and next_attempt(trial) <= ATTEMPTS


def next_attempt(trial: AnyTrial) -> int:
    """Return the number of an interrupted training's next attempt at its next epoch."""
    attributes = trial.user_attrs
    if len(attributes.get("curve", ())) > attributes.get("epochs_before", 0):
        return 1
    attempt: int = attributes.get("attempt", 1)
    return attempt if attributes.get("orderly") else attempt + 1


def resumption(trial: AnyTrial) -> Queued:
    """Return the queue entry of a trial that resumes an interrupted training."""
    queued = Queued.from_attributes(trial.user_attrs)
    return dataclasses.replace(
        queued,
        continues=trial.number,
        attempt=next_attempt(trial),
        epochs_before=len(queued.curve),
    )


def kept_in_memory(trial: FrozenTrial) -> dict[str, Any]:
    """Return the attributes of an ended trial that a running study needs."""
    attributes = trial.user_attrs
    if is_interrupted(trial):
        return attributes  # needed to resume it
    kept = {name: attributes[name] for name in KEPT_IN_MEMORY if name in attributes}
    return kept | ({"key": key_of(trial), "id_rules": ID_RULES} if "key" in attributes else {})


def _known(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _queued(attributes: Attributes) -> dict[str, Any]:
    """Return the fields of ``Queued`` in the attributes."""
    return {
        "seed": attributes.get("seed"),
        "pack": tuple(attributes.get("pack", ())),
        "continues": attributes.get("continues"),
        "curve": tuple(map(Epoch.from_dict, attributes.get("curve", ()))),
        "stopped_at": attributes.get("stopped_at", 0),
        "latency": attributes.get("latency"),
        "attempt": attributes.get("attempt", 1),
        "epochs_before": attributes.get("epochs_before", 0),
    }


def _costs(attributes: Attributes) -> Cost:
    """Read the costs; older versions have separate attributes."""
    if costs := attributes.get("costs"):
        return Cost(**costs)
    return Cost(**{field.name: attributes[field.name] for field in dataclasses.fields(Cost)})


def _environment(attributes: Attributes) -> Environment | None:
    """Read the environment; older versions have separate attributes."""
    if environment := attributes.get("environment"):
        return Environment(**environment)
    parts = ("device", "numerics", "versions")
    known = {name: attributes[name] for name in parts if name in attributes}
    return Environment(**known) if known else None
