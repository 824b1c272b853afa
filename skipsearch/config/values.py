"""The values of ``run.yaml``: what each must be, and its default in runs that lack it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from skipsearch.config.data import DataConfig
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.record import ASK_BEST
from skipsearch.task import CLASSIFICATION, TASKS, all_metrics

METRICS = [metric.name for metric in all_metrics()]
# Values that older runs lack.
ADDED = {
    "stopping": EarlyStopping().details(),
    "objectives": [CLASSIFICATION.metric.validation],
    "latency_batch": None,
    "seeds": 1,
    "storage": None,
    "ask": [ASK_BEST],
    "margin": None,
}
DATA_ADDED = {
    field.name: field.default for field in fields(DataConfig) if field.default is not MISSING
}


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_image_size(value: Any) -> bool:
    return _is_count(value) or (_list_of(_is_count)(value) and len(value) == 2)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and bool(value >= 0)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and bool(value > 0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


Kind = tuple[str, Callable[[Any], bool]]
COUNT: Kind = ("a positive whole number", _is_count)
WHOLE: Kind = ("a whole number from 0", _is_whole)
TEXT: Kind = ("a text", _is_text)
MAPPING: Kind = ("a mapping", _is_mapping)
YES_NO: Kind = ("true or false", lambda value: isinstance(value, bool))
VALUES: dict[str, Kind] = {
    "space": MAPPING,
    "data": MAPPING,
    "recipe": MAPPING,
    "seed": WHOLE,
    "sampler": TEXT,
    "scheduler": TEXT,
    "stopping": MAPPING,
    "rungs": ("a list of positive whole numbers", _list_of(_is_count)),
    "objectives": ("a list of texts", _list_of(_is_text)),
    "latency_batch": ("a positive whole number or nothing", _or_none(_is_count)),
    "trials": COUNT,
    "seeds": COUNT,
    "storage": ("a text or nothing", _or_none(_is_text)),
    "ask": ("a list of texts", _list_of(_is_text)),
    "margin": ("a number above 0 or nothing", _or_none(_is_positive)),
    "versions": MAPPING,
}
DATA_VALUES: dict[str, Kind] = {
    "name": TEXT,
    "root": ("a text or nothing", _or_none(_is_text)),
    "resized_to": ("an image size or nothing", _or_none(_is_image_size)),
    "split_seed": WHOLE,
    "fingerprint": TEXT,
    "in_channels": COUNT,
    "image_size": ("a positive whole number, or height and width", _is_image_size),
    "classes": COUNT,
    "train_images": COUNT,
    "validation_images": COUNT,
    "source": ("a text", lambda value: isinstance(value, str)),
    "sigma": ("a number from 0", _is_amount),
    "baseline": ("a number or nothing", _or_none(_is_number)),
    "task_version": COUNT,
    "task": (f"one of {', '.join(TASKS)}", lambda value: value in list(TASKS)),
    "pixels": TEXT,
    "is_given": YES_NO,
    "metric": (
        f"one of {', '.join(METRICS)}, or nothing",
        lambda value: value is None or value in METRICS,
    ),
    "folds": ("a positive whole number or nothing", _or_none(COUNT[1])),
    "skip_damaged": YES_NO,
    "group_folders": YES_NO,
    "grouped": YES_NO,
    "cache": YES_NO,
    "class_names": ("a text or nothing", _or_none(_is_text)),
}


def check_values(
    values: Mapping[str, Any], kinds: Mapping[str, Kind], path: str, prefix: str
) -> None:
    """Check that values are there, and of their kinds.

    Args:
        values: Values by name.
        kinds: Kind of each value, by name.
        path: File of the values, for messages.
        prefix: Name of the mapping that they are in, with a dot; empty for the file itself.

    Raises:
        RunError: If one is missing or of another kind.
    """
    for name, (kind, is_right) in kinds.items():
        if name not in values:
            raise RunError(f"{path}: {prefix}{name} is missing")
        if not is_right(values[name]):
            shown = str(values[name])[:60]
            raise RunError(f"{path}: {prefix}{name}: {shown!r} is not {kind}")
