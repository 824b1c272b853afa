"""What the attributes of a study's trials hold: their names and forms stand here alone.

A trial of the study is one of
  a training      COMPLETE at the full budget, PRUNED when stopped early, FAIL with its reason
  a rejection     PRUNED without a value: a proposal that was known, or broke a constraint; the
                  sampler learns of it, and the next trial replaces it
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
Attributes = Mapping[str, Any]  # of a trial, as Optuna holds them

ATTEMPTS = 3  # drivers that may die under one epoch of a training before it counts as failed
# What a study at work needs of a training that has ended.
KEPT_IN_MEMORY = ("key", "seed", "rejected", "continues", "reason")


@dataclass(frozen=True, kw_only=True)
class Queued:
    """What is known of a trial before it is accepted.

    Attributes:
        seed: Seed of the training; None for the first of the study.
        pack: Seeds that are trained as one packed network, its own among them; no other where it
            is trained alone.
        continues: Number of the interrupted trial that it resumes; None for a new training.
        curve: Epochs that are recorded.
        stopped_at: As in ``Trial``.
        latency: Seconds for a batch; None where it was not measured.
        attempt: Which attempt at the epoch after ``epochs_before`` this is, from 1.
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
        """Return the attributes of the trial; what is not known is left out."""
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
    """What is known of a trial that was accepted to be trained.

    Attributes:
        seed: Seed of initial weights, data order and augmentation.
        design: What is trained.
        recipe: How.
        costs: Costs of the design.
        driver: Name of its driver, where several work on the study.
        environment: Where it runs; None before its first epoch.
        reason: Why it failed; None where it did not.
        orderly: Whether its interruption was no fault of its own.
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
        """What is trained: equal for all seeds, see ``Candidate.key``."""
        return f"{self.design.id}-{self.recipe.id}"

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the trial; what is not known is left out."""
        environment = self.environment
        return {
            "design": self.design.to_dict(),
            "recipe": self.recipe.to_dict(),
            "costs": dataclasses.asdict(self.costs),
            "id_rules": ID_RULES,  # by which the key was worked out
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
        """Read the attributes of a trial, whatever version wrote them.

        Raises:
            LookupError: If the trial was never accepted.
        """
        design = Design.from_dict(attributes["design"])
        if attributes.get("id_rules") == ID_RULES:
            # Its driver has worked it out, which takes longer than all else that is read here.
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
        rejected: Why.
    """

    rejected: str

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the trial."""
        return {"rejected": self.rejected}


def is_training(trial: AnyTrial) -> bool:
    """Whether a trial was accepted to be trained, and not rejected after all."""
    return "key" in trial.user_attrs and "rejected" not in trial.user_attrs


def key_of(trial: AnyTrial) -> str:
    """Return ``Training.key`` of a training, whatever version wrote it."""
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
    """Return the number of the interrupted trial that a trial resumes, if it does."""
    return trial.user_attrs.get("continues")


def driver_of(trial: AnyTrial) -> str | None:
    """Return the name of the driver that accepted a trial, where several work on the study."""
    return trial.user_attrs.get("driver")


def failure_of(trial: AnyTrial) -> str | None:
    """Return why a training failed; None where it did not, or was interrupted."""
    return trial.user_attrs.get("reason")


def is_interrupted(trial: AnyTrial) -> bool:
    """Whether a training ended without a reason."""
    return is_training(trial) and trial.state == TrialState.FAIL and failure_of(trial) is None


def is_resumable(trial: AnyTrial) -> bool:
    """Whether a training was interrupted and is to be resumed."""
    return is_interrupted(trial) and next_attempt(trial) <= ATTEMPTS


def next_attempt(trial: AnyTrial) -> int:
    """Return which attempt at its next epoch comes now, of a training that was interrupted."""
    attributes = trial.user_attrs
    if len(attributes.get("curve", ())) > attributes.get("epochs_before", 0):
        return 1
    attempt: int = attributes.get("attempt", 1)
    return attempt if attributes.get("orderly") else attempt + 1


def resumption(trial: AnyTrial) -> Queued:
    """Return what a trial is queued with that resumes an interrupted training."""
    queued = Queued.from_attributes(trial.user_attrs)
    return dataclasses.replace(
        queued,
        continues=trial.number,
        attempt=next_attempt(trial),
        epochs_before=len(queued.curve),
    )


def kept_in_memory(trial: FrozenTrial) -> dict[str, Any]:
    """Return the attributes of a trial that has ended, as far as a study at work needs them."""
    attributes = trial.user_attrs
    if is_interrupted(trial):
        return attributes  # it is resumed with them
    kept = {name: attributes[name] for name in KEPT_IN_MEMORY if name in attributes}
    return kept | ({"key": key_of(trial), "id_rules": ID_RULES} if "key" in attributes else {})


def _known(**values: Any) -> dict[str, Any]:
    """Leave out what is None."""
    return {name: value for name, value in values.items() if value is not None}


def _queued(attributes: Attributes) -> dict[str, Any]:
    """Return the fields of ``Queued`` that attributes hold."""
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
    """Read the costs; older versions wrote them one by one."""
    if costs := attributes.get("costs"):
        return Cost(**costs)
    return Cost(**{field.name: attributes[field.name] for field in dataclasses.fields(Cost)})


def _environment(attributes: Attributes) -> Environment | None:
    """Read the environment; older versions wrote its parts one by one."""
    if environment := attributes.get("environment"):
        return Environment(**environment)
    parts = ("device", "numerics", "versions")
    known = {name: attributes[name] for name in parts if name in attributes}
    return Environment(**known) if known else None
