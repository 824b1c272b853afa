"""Recipe: the training settings in plain values, the same for all designs unless an axis varies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, cast

from skipsearch.errors import RecipeError, not_one_of, refuse_unknown_keys, shown_value
from skipsearch.ids import hashed
from skipsearch.plan import ImageSize, Size

SCHEDULES = ("cosine", "step")
PRECISIONS = ("auto", "float32", "bfloat16")
LOSSES = ("cross-entropy", "dice", "both")
CLASS_WEIGHTS = ("none", "balanced", "median-frequency")

# --- the kinds of its fields ----------------------------------------------------------------------


class Kind(Protocol):
    """The values that a field can have."""

    def check(self, name: str, value: Any) -> int | float | str:
        """Return a value in its canonical spelling.

        Args:
            name: Name of the field; the message begins with it.
            value: Value to check.

        Raises:
            RecipeError: If the value is invalid.
        """
        ...


@dataclass(frozen=True)
class Number:
    """A number between two bounds, both included.

    Attributes:
        type: ``int`` for whole numbers only, else ``float``.
        low: Lower bound.
        high: Upper bound.
    """

    type: type[int] | type[float]
    low: float
    high: float

    def check(self, name: str, value: Any) -> int | float:
        """Return the number; see ``Kind``."""
        whole = self.type is int
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not self.low <= value <= self.high:
            raise RecipeError(
                f"{name}: {shown_value(value)} is not {'a whole number' if whole else 'a number'}"
                f" from {self.low:g} to {self.high:g}"
            )
        return self.type(value) or self.type()  # -0.0 is 0.0


class Flag:
    """True or false."""

    def check(self, name: str, value: Any) -> bool:
        """Return the value; see ``Kind``."""
        if not isinstance(value, bool):
            raise RecipeError(f"{name}: {shown_value(value)} is not true or false")
        return value


@dataclass(frozen=True)
class Word:
    """One of a list of words."""

    allowed: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        """Return the word; see ``Kind``."""
        if value not in self.allowed:
            raise RecipeError(f"{name}: {not_one_of(value, self.allowed)}")
        return cast("str", value)


PIXELS = Number(int, 0, 10_000)
SHARE = Number(float, 0, 0.999999)
AMOUNT = Number(float, 0, 1e6)
KINDS: Mapping[str, Kind] = {
    "epochs": Number(int, 1, 10_000_000),
    "images": Number(int, 1, 10**15),
    "batch_size": Number(int, 1, 10_000_000),
    "peak_lr": AMOUNT,
    "momentum": SHARE,
    "nesterov": Flag(),
    "weight_decay": AMOUNT,
    "decay_norm_and_bias": Flag(),
    "schedule": Word(SCHEDULES),
    "warmup_epochs": AMOUNT,
    "label_smoothing": SHARE,
    "crop": PIXELS,
    "flip": Flag(),
    "cutout": PIXELS,
    "precision": Word(PRECISIONS),
    "loss": Word(LOSSES),
    "class_weights": Word(CLASS_WEIGHTS),
}
FIELDS = tuple(KINDS)
LEFT_OPEN = ("images", "crop", "flip", "cutout")  # fields that may be None
BUDGET = ("epochs", "images")  # fields that no range of a space varies
# Fields that were added later, each with the value that reproduces the earlier behaviour.
ADDED = {"images": None, "loss": "cross-entropy", "class_weights": "none"}

# --- the recipe -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training settings: SGD with momentum, a learning-rate schedule, and augmentation.

    Attributes:
        epochs: Full budget, which the schedule spans even if a trial is stopped early.
        images: Full budget in training images, divided into ``epochs`` equal parts with an
            evaluation after each; None for ``epochs`` passes over the data.
        batch_size: Number of images per step.
        peak_lr: Maximum learning rate.
        momentum: Momentum of SGD.
        nesterov: Whether to use Nesterov's momentum (Sutskever et al. 2013).
        weight_decay: Weight decay of convolutions and linear layers.
        decay_norm_and_bias: Whether norms, biases and learned scales decay too
            (He et al. 2019, arXiv:1812.01187, section 3.1, argue against it).
        schedule: ``cosine`` to zero (Loshchilov & Hutter 2017, arXiv:1608.03983), or ``step``:
            division by ten at 50 % and 75 % of the budget (He et al. 2015, arXiv:1512.03385, 4.2).
        warmup_epochs: Epochs of linear warm-up, possibly fractional (Goyal et al. 2017,
            arXiv:1706.02677, section 2.2).
        label_smoothing: Share of the target that is spread over all classes.
        crop: Pixels of zero padding before a random crop; None for the data set's convention.
        flip: Whether to flip images horizontally at random; None for the data set's convention.
        cutout: Side of the square that is cut out, in pixels (DeVries & Taylor 2017,
            arXiv:1708.04552); None for the data set's convention.
        precision: ``float32``, ``bfloat16`` (autocast), or ``auto``: bfloat16 if the device
            supports it.
        loss: Loss of segmentation: ``cross-entropy``, ``dice`` (Milletari et al. 2016,
            arXiv:1606.04797, for several classes), or ``both``, which is their sum (Isensee et al.
            2021, doi:10.1038/s41592-020-01008-z). Another task has only one loss.
        class_weights: Weights of the classes in the cross-entropy: ``none``; for classification
            ``balanced``, inversely proportional to the number of images of a class, with the mean
            1 over the images, as ``class_weight="balanced"`` in scikit-learn; for several labels
            ``balanced``, with which the images with a label weigh as much as those without it; for
            segmentation ``median-frequency``, the median of the frequencies of all classes divided
            by that of the class (Eigen & Fergus 2015, arXiv:1411.4734). For images,
            ``median-frequency`` was the word for ``balanced`` in earlier versions, and still has
            this meaning, so that their searches can be resumed.

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
    loss: str = "cross-entropy"
    class_weights: str = "none"

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            value = getattr(self, name)
            if value is not None or name not in LEFT_OPEN:
                object.__setattr__(self, name, kind.check(name, value))
        if self.nesterov and self.momentum == 0:
            object.__setattr__(self, "nesterov", False)  # Nesterov's step needs momentum.
        if self.loss == "dice":  # They belong to the cross-entropy.
            object.__setattr__(self, "class_weights", "none")
            object.__setattr__(self, "label_smoothing", 0.0)

    def replace(self, **changes: Any) -> Self:
        """Return a recipe with some fields changed, and validate it.

        Raises:
            RecipeError: If a name is unknown or a value is out of range.
        """
        refuse_unknown_keys(changes, FIELDS, "recipe", RecipeError)
        return dataclasses.replace(self, **changes)

    def resolve(self, augmentation: Mapping[str, int | bool]) -> Self:
        """Fill in the fields left to the data set's convention.

        Args:
            augmentation: Values of ``crop``, ``flip`` and ``cutout`` for the data set.
        """
        open_fields = {n: v for n, v in augmentation.items() if getattr(self, n) is None}
        return dataclasses.replace(self, **cast("dict[str, Any]", open_fields))

    def check_augmentation(self, image_size: ImageSize) -> None:
        """Check that crop and cutout are not larger than the images.

        Args:
            image_size: Side of square images in pixels, or height and width.

        Raises:
            RecipeError: If one is larger than the longer side.
        """
        size = Size.of(image_size)
        for name in ("crop", "cutout"):
            pixels = getattr(self, name) or 0
            if pixels > max(size):
                raise RecipeError(
                    f"recipe.{name}: {pixels:,} pixels, and the images have {size}: at most"
                    f" {max(size)}"
                )

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits, equal for equal recipes."""
        content = self.to_dict()
        for name, before in ADDED.items():
            if content[name] == before:
                del content[name]  # older recipes keep their ids
        return hashed(json.dumps(content))

    @property
    def changed(self) -> list[str]:
        """Names of the fields that do not have their defaults."""
        fields = dataclasses.fields(self)
        return [field.name for field in fields if getattr(self, field.name) != field.default]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in order, as plain values."""
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values; missing fields have their defaults.

        Raises:
            RecipeError: If a key is unknown or a value is out of range.
        """
        refuse_unknown_keys(values, FIELDS, "recipe", RecipeError)
        return cls(**values)
