"""Report of a run: the answer in sentences, then a section for each question."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from math import isnan
from pathlib import Path

import pandas as pd

from skipsearch.analysis.answers import answers, open_axes
from skipsearch.analysis.command import NO_STOPPING, search_command
from skipsearch.analysis.findings import Findings
from skipsearch.analysis.gallery import gallery_section
from skipsearch.analysis.knowledge import least_trainings
from skipsearch.analysis.legends import ignored_groups
from skipsearch.analysis.page import write_page
from skipsearch.analysis.sections import (
    budget_section,
    confirmation_section,
    curves_section,
    degradation_section,
    dependences,
    effects_picture,
    effects_section,
    front_section,
    interactions_section,
    leaders_section,
    provenance_section,
    stopping_section,
)
from skipsearch.axes import Range
from skipsearch.errors import counted, escaped
from skipsearch.metric import Scale

TO_SETTLE, SEEDS_TO_SETTLE = 300, 3  # minimum trials, and seeds per design, of a proposed search


def write_report(found: Findings, folder: Path) -> Path:
    """Write the report of a run.

    Args:
        found: Results of the run.
        folder: Folder of the page, its figures and tables.

    Returns:
        Path of the page.
    """
    config = found.config
    sections = [
        leaders_section(found),
        confirmation_section(found),
        gallery_section(found),
        effects_section(found),
        interactions_section(found),
        degradation_section(found),
        curves_section(found),
        front_section(found),
        stopping_section(found),
        budget_section(found),
        provenance_section(found),
    ]
    return write_page(
        folder,
        title=f"{config.space.name} on {escaped(Path(config.data.name).stem)}",
        subtitle=f"Run {found.path.name}: {counted(len(found.trials), 'training')} of"
        f" {counted(found.ranking.design.nunique(), 'design')},"
        f" up to {counted(config.recipe.epochs, 'epoch')} each",
        answer=list(_answer(found)),
        picture=effects_picture(found),
        sections=[section for section in sections if section is not None],
    )


def _answer(found: Findings) -> Iterator[str]:
    yield from _budget_of(found)
    known = list(dict.fromkeys(found.effects["axis"])) if len(found.effects) else []
    asked = [axis for axis in found.config.ask if axis in known]
    yield from answers(found.effects, found.metric, asked)
    if found.damage:
        yield f"The confirmation is left out: {found.damage}."
    if found.confirmation is not None and found.confirmation.judged:
        yield from str(found.confirmation).splitlines()
    else:
        yield from _leading(found.ranking, found.config.scale)
    yield from answers(found.effects, found.metric, [axis for axis in known if axis not in asked])
    yield from _more(found)
    yield from dependences(found.interactions, found.metric)
    if found.degradation is not None:
        yield from found.degradation.claims
    if found.config.stopping.rule != NO_STOPPING:
        yield from stopping_section(found).text


def _budget_of(found: Findings) -> Iterator[str]:
    """Yield a note if the answers are not for the full budget."""
    full = found.config.recipe.epochs
    if found.effects.empty:
        yield f"The effects of the axes are unknown: they need {least_trainings(found.metric)}."
    elif (epochs := int(found.effects.epochs.iloc[0])) < full:
        yield (
            f"Too few designs were trained in full: answers are those after {epochs} of"
            f" {counted(full, 'epoch')}, which may differ from those at the end."
        )


def _more(found: Findings) -> Iterator[str]:
    """Yield the command that would settle the open questions."""
    of_space = found.config.space.axes
    ranges = {name for name, axis in of_space.items() if isinstance(axis, Range)}
    axes = [axis for axis in open_axes(found.effects) if axis not in ranges]
    has_folds = found.config.data.folds is not None
    if axes and (has_folds or set(axes) <= set(found.config.ask)):
        yield "To settle what is open, run the same search again with more --trials or --seeds."
    elif axes:
        more = dataclasses.replace(
            found.config,
            ask=tuple(axes),
            trials=max(found.config.trials, TO_SETTLE),
            seeds=max(found.config.seeds, SEEDS_TO_SETTLE),
        )
        if found.config.data.is_given:
            yield f"To settle what is open, search with ask={axes!r} and the same data."
            return
        yield "To settle what is open, run this search. It stops when the answers are settled:"
        yield search_command(more, found.path)


def _leading(ranking: pd.DataFrame, scale: Scale) -> Iterator[str]:
    first, metric, repeat = ranking.iloc[0], scale.metric, scale.repeat
    if isnan(first[metric.validation]):
        yield "No training has reached an epoch at which trainings are compared."
        return
    score = metric.text(first[metric.validation])
    score = f"a validation {metric.title} of {score}"
    seeds = f"one {repeat}" if first.n == 1 else f"mean of {first.n} {repeat}s"
    interval = "" if isnan(first.low) else f", 95 % interval {metric.span((first.low, first.high))}"
    ignored = ignored_groups(scale) if interval and first.n == 1 else ""
    yield (
        f"Design {first.design[:6]} ({first.layout}) leads with {score}"
        f" after {counted(first.epochs, 'epoch')} ({seeds}{interval}).{ignored}"
    )
    tied = int(ranking.tied.sum())
    others = ""
    if isnan(first.low):
        others = f"one {repeat} each separates no designs, and "
    elif tied > 1:
        are = "is" if tied == 2 else "are"
        others = f"{counted(tied - 1, 'other')} {are} statistically indistinguishable from it, and "
    yield (
        f"It is not confirmed: {others}the best of many draws is partly luck."
        " 'skipsearch confirm' trains the leaders again."
    )
