"""Conversion of the words of a command line, and output that several verbs share."""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeVar

from skipsearch.classics import CLASSICS
from skipsearch.design import Design
from skipsearch.errors import (
    DesignError,
    LayoutError,
    RecipeError,
    line_of,
    not_one_of,
    shown_value,
)
from skipsearch.layout import PLAIN_TOKENS, Layout
from skipsearch.plan import ImageSize, Size
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.searching.options import Limits, Resources
from skipsearch.space import Space
from skipsearch.text import new_folder, parse_yaml, read_text

if TYPE_CHECKING:
    import pandas as pd

    from skipsearch.data import Data
    from skipsearch.metric import Metric
    from skipsearch.run import Run

Group = TypeVar("Group", Resources, Limits)

WIDTH = 100  # maximum length of printed lines
EXIT_FAILED = 1  # every training failed
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
LAYOUT_LIKE = re.compile(rf".*\+|(conv|dw|{'|'.join(PLAIN_TOKENS)})\d*(-|$)")


def read_design(what: str, spaces: Sequence[str] = ()) -> Design:
    """Return a design from a file, the name of a classic, or a layout.

    Args:
        what: Path of a YAML file, name of a classic, or layout.
        spaces: Names of spaces that would also be allowed here.
    """
    if what.endswith((".yaml", ".yml")):
        return Design.load(what)
    if what.lower() in CLASSICS:
        return CLASSICS[what.lower()].design
    try:
        return Design(layout=str(Layout.parse(what)))
    except LayoutError:
        if LAYOUT_LIKE.match(what):
            raise
    raise DesignError(
        f"{shown_value(what)} is neither a .yaml file nor a layout, and as a classic"
        f"{' or a ready space' if spaces else ''} {not_one_of(what, [*CLASSICS, *spaces])}"
    )


def read_recipe(settings: Sequence[str]) -> Recipe:
    """Return a recipe from ``NAME=VALUE`` settings."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"--recipe {setting!r}: write NAME=VALUE, such as peak_lr=0.4")
        values |= parse_yaml(f"{name.strip()}: {value}", f"--recipe {setting}", RecipeError)
    return Recipe.from_dict(values)


def read_values(path: str) -> dict[str, Any]:
    """Return the content of a YAML file of a design or a space."""
    return parse_yaml(read_text(path, DesignError), path, DesignError)


def for_images(space: Space, options: argparse.Namespace) -> Space:
    """Return a space for the images that the options describe."""
    return space.for_images(
        options.in_channels or space.in_channels,
        options.image_size or space.image_size,
        options.classes or space.classes,
    )


def session_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a session of trials, by their names in the API."""

    def grouped(group: type[Group]) -> Group:
        return group(**{field.name: getattr(options, field.name) for field in fields(group)})

    return {
        "resources": grouped(Resources),
        "limits": grouped(Limits),
        "deterministic": options.deterministic,
        "verbose": options.verbose,
    }


def data_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that describe the data, by their names in ``search``."""
    names = ("data_root", "image_size", "denoise", "cache", "skip_damaged", "group_folders")
    return {name: getattr(options, name) for name in names}


def command(verb: str, *words: object) -> str:
    """Return a command for a hint, which can be pasted into a shell."""
    return shlex.join(["skipsearch", verb, *map(str, words)])


def listed(text: str) -> list[str]:
    """Return the words between commas, without surrounding spaces."""
    return [word.strip() for word in text.split(",") if word.strip()]


def positive(text: str) -> int:
    """Parse a positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def image_size(text: str) -> ImageSize:
    """Parse the side of square images, or height and width such as 96x128."""
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or 0 in sides:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 96, or 96x128 (HxW)")
    return Size(sides[0], sides[-1]).image_size


def seconds(text: str) -> float:
    """Return the seconds of a time such as 90s, 20m or 2h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or not 0 < float(match[1]) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 20m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def print_epoch(metric: Metric, epoch: Epoch) -> None:
    """Print a line of an epoch, with a heading before the first.

    Args:
        metric: Metric of the scores.
        epoch: Result of the epoch.
    """
    if epoch.epoch == 1:
        train, validation = (f"{split} {metric.short}" for split in ("train", "val."))
        print(f"epoch  train loss  {train:>10}  val. loss  {validation:>9}  seconds")
    scores = (epoch.train_score, epoch.validation_score)
    train, validation = (metric.cell(metric.value(score)) for score in scores)
    print(
        f"{epoch.epoch:5}  {epoch.train_loss:10.4f}  {train:>10}"
        f"  {epoch.validation_loss:9.4f}  {validation:>9}  {epoch.seconds:7.2f}",
        flush=True,
    )


def yes_or_blank(value: object) -> str:
    """Return the text of a boolean value in a table, as in tables of reports."""
    return "yes" if value else ""


def print_words(*texts: str) -> None:
    """Print texts, each wrapped at spaces."""
    for text in texts:
        print(fill(text, WIDTH, break_on_hyphens=False, break_long_words=False))


def print_data(data: Data) -> None:
    """Print a summary of a data set."""
    print(data.summary(), flush=True)


def check_writable(file: str | None) -> None:
    """Check before hours of training that a file can be written.

    Args:
        file: Path of the file; None for no file.

    Raises:
        OSError: If it is a folder, or cannot be created.
    """
    if file is None:
        return
    path = Path(file)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file)
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if there != path and not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def write_csv(
    table: pd.DataFrame, file: str | None, run: Run, name: str, *, index: bool = True
) -> str:
    """Write a table to the file of the user, or else to the tables of the run's report.

    Returns:
        Sentence with its path, or with the reason why it could not be written to the run.

    Raises:
        OSError: If the file of the user cannot be written.
    """
    path = Path(file) if file else run.path / "report" / name
    try:
        with new_folder(path.parent):
            # Not to_csv(path): pandas mistakes some paths for URLs, and compresses by suffix.
            path.write_text(table.to_csv(index=index), encoding="utf-8")
    except OSError as problem:
        if file:
            raise
        return f"No file was written: {not_written(problem)} (--csv FILE writes it elsewhere)."
    return line_of(f"The whole table: {path}")


def not_written(problem: OSError) -> str:
    """Return which file could not be written, and why."""
    where = f"{problem.filename}: " if problem.filename else ""
    return line_of(f"{where}{problem.strerror or problem}")


def print_path(text: str) -> None:
    """Print a line with a path."""
    print(line_of(text))


def warn(text: str) -> None:
    """Print a warning to standard error."""
    print(f"skipsearch: warning: {line_of(text)}", file=sys.stderr)
