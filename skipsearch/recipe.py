"""Recipe: how a design is trained, in plain values; the same for all designs unless an axis."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

from skipsearch.errors import RecipeError, not_one_of, refuse_unknown_keys, shown_value
from skipsearch.ids import hashed

SCHEDULES = ("cosine", "step")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a design is trained: SGD with momentum, a learning-rate schedule, and augmentation.

    Attributes:
        epochs: The full budget; the schedule spans it, also for a trial that is stopped early.
        images: The full budget in images seen, divided into ``epochs`` equal parts, after each
            of which the network is evaluated; None for ``epochs`` passes over the data.
        batch_size: Images a step.
        peak_lr: The highest learning rate.
        momentum: Of SGD.
        nesterov: Nesterov's momentum (Sutskever et al. 2013).
        weight_decay: Of the weights of convolutions and linear layers.
        decay_norm_and_bias: Whether norms, biases and learned scales decay as well
            (He et al. 2019, arXiv:1812.01187, section 3.1, argue against it).
        schedule: ``cosine`` to zero (Loshchilov & Hutter 2017, arXiv:1608.03983), or ``step``:
            a tenth at 50 % and at 75 % of the budget (He et al. 2015, arXiv:1512.03385, 4.2).
        warmup_epochs: Epochs, whole or not, of linear warm-up (Goyal et al. 2017,
            arXiv:1706.02677, section 2.2).
        label_smoothing: Share of the target spread over all classes.
        crop: Pixels of zero padding before a random crop; None for the data set's convention.
        flip: Random horizontal flips; None for the data set's convention.
        cutout: Side in pixels of the square cut out (DeVries & Taylor 2017, arXiv:1708.04552);
            None for the data set's convention.
        precision: ``float32``, ``bfloat16`` (autocast), or ``auto``: bfloat16 where the device
            computes in it.

    Raises:
        RecipeError: If a value is out of range.
    """

    epochs: int = 20
    images: int | None = None
    batch_size: int = 128
    peak_lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = False
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    crop: int | None = None
    flip: bool | None = None
    cutout: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            self._check(name, int, 1, 10_000_000)
        self._check("peak_lr", float, 0, 1e6)
        self._check("momentum", float, 0, 0.999999)
        self._check("weight_decay", float, 0, 1e6)
        self._check("warmup_epochs", float, 0, 1e6)
        self._check("label_smoothing", float, 0, 0.999999)
        for name in ("nesterov", "decay_norm_and_bias"):
            self._check(name, bool, 0, 1)
        if self.images is not None:
            self._check("images", int, 1, 10**15)
        for name in ("crop", "cutout"):
            if getattr(self, name) is not None:
                self._check(name, int, 0, 10_000)
        if self.flip is not None:
            self._check("flip", bool, 0, 1)
        for name, words in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in words:
                raise RecipeError(f"{name}: {not_one_of(getattr(self, name), words)}")
        if self.nesterov and self.momentum == 0:
            object.__setattr__(self, "nesterov", False)  # Nesterov's step needs momentum.

    def _check(self, name: str, kind: type, low: float, high: float) -> None:
        value = getattr(self, name)
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        fits = isinstance(value, bool) == (kind is bool) and isinstance(
            value, (int, float) if kind is float else kind
        )
        if not fits or not low <= cast("float", value) <= high or not math.isfinite(value):
            bounds = "" if kind is bool else f" from {low:g} to {high:g}"
            raise RecipeError(f"{name}: {shown_value(value)} is not {wanted}{bounds}")
        object.__setattr__(self, name, kind(value) or kind())  # -0.0 is 0.0

    def replace(self, **changes: Any) -> Self:
        """Return a recipe with some fields changed, checked anew.

        Raises:
            RecipeError: If a name is unknown or a value out of range.
        """
        refuse_unknown_keys(changes, FIELDS, "recipe", RecipeError)
        return dataclasses.replace(self, **changes)

    def resolve(self, augmentation: Mapping[str, int | bool]) -> Self:
        """Fill in what was left to the data set's convention.

        Args:
            augmentation: ``crop``, ``flip`` and ``cutout`` of the data set.
        """
        open_fields = {n: v for n, v in augmentation.items() if getattr(self, n) is None}
        return dataclasses.replace(self, **cast("dict[str, Any]", open_fields))

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits, equal for equal recipes."""
        content = self.to_dict()
        if self.images is None:
            del content["images"]  # came later: recipes without it keep their id
        return hashed(json.dumps(content))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, every field in order."""
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values; what is left out has its default.

        Raises:
            RecipeError: If a key is unknown or a value out of range.
        """
        refuse_unknown_keys(values, FIELDS, "recipe", RecipeError)
        return cls(**values)


FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))
