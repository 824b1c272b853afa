"""Figures of a run: each shows one table or the records, without further computation.

The palette is that of Okabe and Ito, whose colours colour-blind readers can distinguish. All
information in a colour is also given by a marker, a position or a word.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from skipsearch.analysis.depth.words import group_name
from skipsearch.diagram import Diagram
from skipsearch.diagram.look import INK, MUTED, STYLE
from skipsearch.gallery import PLACES, Gallery
from skipsearch.metric import Metric
from skipsearch.palette import class_colour
from skipsearch.record import COMPLETE, PRUNED, Trial

BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#b8b8b8"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
MARKS = ("o", "s", "^", "D", "v", "P")
MOST_CURVES = 300
STRIP = ("image", "truth", "prediction", "error")
MOST_NAMED = 24  # maximum number of classes in a legend
LEADERS = 4  # highlighted designs
WIDE, HIGH = 7.2, 3.4  # inches
LOOK = {
    **STYLE,
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 150,
}


COST_NAMES = {
    "params": "parameters",
    "macs": "multiply-adds for one image",
    "activation_bytes": "bytes of activations for one image",
    "latency": "seconds for a batch",
}
VERDICTS = {
    "best": (BLUE, "D"),
    "tied": (SKY, "s"),
    "worse": (VERMILLION, "o"),
    "not enough data": (MUTED, "x"),
}


@contextmanager
def _axes(high: float = HIGH, wide: float = WIDE) -> Iterator[tuple[Diagram, Axes]]:
    with matplotlib.rc_context(LOOK):
        figure = Diagram(figsize=(wide, high), layout="constrained")
        yield figure, figure.subplots()


def leader_names(ranking: pd.DataFrame) -> dict[str, str]:
    """Return short names of the first designs of a ranking, by ``DESIGN-RECIPE``.

    Args:
        ranking: Ranking from ``rank``.
    """
    return {
        f"{row.design}-{row.recipe}": f"{place}. {row.design[:6]}"
        for place, row in ranking.head(LEADERS).iterrows()
    }


def fair_sample(trials: Sequence[Trial], leaders: Container[str]) -> list[Trial]:
    """Return the trainings of the leaders, and a readable number of the others.

    Args:
        trials: Records of a run.
        leaders: Leaders, as ``DESIGN-RECIPE``.
    """
    step = math.ceil(len(trials) / MOST_CURVES)
    return [t for i, t in enumerate(trials) if t.curve and (i % step == 0 or t.key in leaders)]


def plot_gallery(gallery: Gallery) -> Diagram:
    """Draw image, truth, prediction and error of the images of a gallery, a row for each."""
    height, width = gallery.images.shape[1:3]
    metric = gallery.task.metric
    restores, rows = gallery.task.restores, len(PLACES)
    heads = ("noisy image", "image", "restored", "error") if restores else STRIP
    with matplotlib.rc_context({**LOOK, "axes.grid": False}):
        high = min(WIDE / len(heads) * height / width * rows + 0.8, 3 * HIGH)
        figure = Diagram(figsize=(WIDE, high), layout="constrained")
        grid = figure.subplots(rows, len(heads), squeeze=False)
        for row, place, score, strip in zip(
            grid, PLACES, gallery.scores, gallery.strips(), strict=True
        ):
            for axes, pixels in zip(row, strip, strict=True):
                axes.imshow(pixels, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            row[0].set_ylabel(f"{place}\n{metric.short} {metric.text(metric.value(score))}")
        for axes, head in zip(grid[0], heads, strict=True):
            axes.set_title(head)
        seen = gallery.seen()
        if 0 < len(seen) <= MOST_NAMED:
            handles = [
                Patch(facecolor="#" + bytes(class_colour(number)).hex(), label=name)
                for number, name in seen.items()
            ]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(seen), 6))
    return figure


def plot_curves(trials: Iterable[Trial], leaders: Mapping[str, str], metric: Metric) -> Diagram:
    """Draw validation error against epochs for every training, on a logarithmic scale.

    Args:
        trials: Records of a run.
        leaders: Names of the highlighted designs, by ``DESIGN-RECIPE``; the others are grey, and
            end in a dot if early stopping ended them.
        metric: Metric of the scores.
    """
    order = {name: place for place, name in enumerate(leaders.values())}
    trials = [trial for trial in trials if trial.curve]
    errors = [metric.lack(epoch.validation_score) for trial in trials for epoch in trial.curve]
    least = -math.inf  # a logarithm may have any value
    if not metric.is_logarithm:
        least = min((error for error in errors if error > 0), default=1.0) / 2  # drawn for error 0
    looks = dict(zip(leaders, zip(cycle(COLOURS), cycle(MARKS)), strict=False))
    with _axes() as (figure, axes):
        named = set()
        for trial in trials:
            name = trial.key
            epochs = [epoch.epoch for epoch in trial.curve]
            lacks = [max(metric.lack(epoch.validation_score), least) for epoch in trial.curve]
            values = [metric.in_unit(lack) for lack in lacks]
            (line,) = axes.plot(epochs, values, color=GREY, linewidth=0.7, zorder=1)
            line.set_gid(f"trial-{trial.number}")
            if name in looks:
                colour, mark = looks[name]
                label = None if name in named else leaders[name]
                named.add(name)
                line.set(color=colour, linewidth=1.8, zorder=3, label=label)
                line.set(marker=mark, markersize=4, markevery=[-1])
            elif trial.state == PRUNED:
                line.set(marker=".", markersize=4, markevery=[-1])
        if not metric.is_logarithm:
            axes.set_yscale("log")
            _plain_log(axes.yaxis)
        axes.set(xlabel="epoch", ylabel=metric.named(f"validation {metric.error}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if named:
            handles, labels = axes.get_legend_handles_labels()
            shown = sorted(zip(handles, labels, strict=True), key=lambda pair: order[pair[1]])
            # Outside: no corner is free of curves in every run.
            figure.legend(*zip(*shown, strict=True), loc="outside upper right", ncols=LEADERS)
    return figure


def plot_front(
    trials: Iterable[Trial], front: pd.DataFrame, metric: Metric, cost: str = "params"
) -> Diagram:
    """Draw the validation score at the full budget against a cost, and the front.

    Args:
        trials: Records of a run.
        front: Front from ``pareto`` for the score and that cost.
        metric: Metric of the scores.
        cost: Cost: ``params``, ``macs``, ``activation_bytes`` or ``latency``.
    """
    complete = [trial for trial in trials if trial.state == COMPLETE and getattr(trial, cost)]
    with _axes() as (figure, axes):
        axes.scatter(
            [getattr(trial, cost) for trial in complete],
            [metric.in_unit(metric.value(t.curve[-1].validation_score)) for t in complete],
            s=14,
            color=GREY,
            rasterized=len(complete) > MOST_CURVES,
            label="one training",
        )
        values, low, high = (
            metric.in_unit(front[name]) for name in (metric.validation, "low", "high")
        )
        axes.step(front[cost], values, where="post", color=BLUE, linewidth=1)
        errors = [values - low, high - values]
        axes.errorbar(front[cost], values, errors, fmt="o", color=BLUE, markersize=5, linewidth=0.8)
        axes.plot([], [], "o-", color=BLUE, label="no other is better in both; 95 % interval")
        axes.set_xscale("log")
        _plain_log(axes.xaxis)
        axes.set(xlabel=COST_NAMES[cost], ylabel=metric.named(f"validation {metric.title}"))
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def plot_effects(table: pd.DataFrame, metric: Metric) -> Diagram:
    """Draw the difference of each level of each axis to the first, with its interval.

    Args:
        table: Table of ``effects``.
        metric: Metric of the scores.
    """
    axes_names = list(dict.fromkeys(table.axis))
    sizes = [max(1, int((table.axis == name).sum())) for name in axes_names]
    with matplotlib.rc_context(LOOK):
        figure = Diagram(
            figsize=(0.8 * WIDE, 0.6 + 0.45 * len(sizes) + 0.22 * sum(sizes)), layout="constrained"
        )
        panels = figure.subplots(
            len(sizes), sharex=True, squeeze=False, height_ratios=[size + 1 for size in sizes]
        )[:, 0]
        for axes, name in zip(panels, axes_names, strict=True):
            rows = table[table.axis == name].iloc[::-1].reset_index(drop=True)
            for place, row in rows.iterrows():
                colour, mark = VERDICTS[row.verdict]
                span = [[row.difference - row.d_low], [row.d_high - row.difference]]
                axes.errorbar(
                    [metric.in_unit(row.difference)],
                    [place],
                    xerr=[[metric.in_unit(each) for each in side] for side in span],
                    fmt=mark,
                    color=colour,
                    markersize=5,
                    linewidth=1.4,
                )
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.set_yticks(range(len(rows)), [str(level) or "nothing" for level in rows.level])
            axes.tick_params(axis="y", labelsize=8)
            axes.set_ylim(-0.7, len(rows) - 0.3)
            axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
            axes.grid(axis="y", visible=False)
        ends = metric.in_unit(pd.concat([table.d_low, table.d_high]).dropna())
        most = metric.in_unit(metric.best - metric.worst)  # no difference is larger
        room = 10.0 ** (1 - metric.difference_decimals)
        if metric.is_error:  # in any unit
            room = (ends.max() - ends.min()) / 20 or 1.0
        panels[-1].set_xlim(max(-most, ends.min()) - room, min(most, ends.max()) + room)
        what = metric.differences_in(f"validation {metric.title}")
        panels[-1].set_xlabel(f"difference from the leading level ({what})", fontsize=8)
        for label, (colour, mark) in VERDICTS.items():
            panels[-1].plot([], [], mark, color=colour, label=label)
        figure.legend(loc="outside lower right", ncols=len(VERDICTS), fontsize=8)
    return figure


def plot_interaction(table: pd.DataFrame, metric: Metric) -> Diagram:
    """Draw the mean of each combination of two axes' levels as a heat map.

    Args:
        table: Table of ``interactions``, whose first two columns are the axes.
        metric: Metric of the scores.
    """
    first, second = table.columns[:2]
    means = table.pivot(index=first, columns=second, values="mean")
    with _axes(high=1.3 + 0.38 * len(means)) as (figure, axes):
        axes.imshow(means.to_numpy(), cmap="cividis", aspect="auto")
        middle = (means.min().min() + means.max().max()) / 2
        for y, row in enumerate(means.to_numpy()):
            for x, value in enumerate(row):
                if value == value:
                    colour = "white" if value < middle else "black"
                    text = metric.number(value)
                    axes.text(x, y, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(means.columns)), map(str, means.columns), fontsize=8)
        axes.set_yticks(range(len(means)), map(str, means.index), fontsize=8)
        axes.set(xlabel=second, ylabel=first)
        axes.grid(visible=False)
    return figure


def varying_fields(table: pd.DataFrame) -> list[str]:
    """Return the fields in which the groups of a table of degradation differ.

    Args:
        table: Table of a ``Degradation``.
    """
    fields = list(table.columns[2 : table.columns.get_loc("depths")])
    return [name for name in fields if table[name].nunique() > 1] or fields[:1]


def drawn_groups(table: pd.DataFrame) -> dict[int, str]:
    """Return names of the first groups with several depths, by the fields in which they differ.

    Args:
        table: Table of a ``Degradation``.

    Returns:
        Names by number of the group; as many as can be distinguished in one figure.
    """
    depths = table[table.n > 0].groupby("group").layers.nunique()
    drawn = table[table.group.isin(depths.index[depths > 1][: len(COLOURS)])]
    names = varying_fields(table)
    return {
        int(row.group): group_name(row, names)
        for _, row in drawn.drop_duplicates("group").iterrows()
    }


def plot_degradation(table: pd.DataFrame, metric: Metric) -> Diagram:
    """Draw training and validation error against depth, as in the residual papers.

    After He et al. 2015 (arXiv:1512.03385, Fig. 1 and 6), for one number of epochs.

    Args:
        table: Table of a ``Degradation``.
        metric: Metric of the scores.
    """
    names = drawn_groups(table)
    with matplotlib.rc_context(LOOK):
        figure = Diagram(figsize=(WIDE, HIGH + 0.25 * len(names)), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True)
        for axes, measure in zip(panels, ("train_error", "validation_error"), strict=True):
            for (number, name), colour, mark in zip(
                names.items(), cycle(COLOURS), cycle(MARKS), strict=False
            ):
                rows = table[table.group == number].sort_values("layers")
                values = metric.in_unit(rows[measure])
                low, high = (metric.in_unit(rows[f"{measure}_{end}"]) for end in ("low", "high"))
                errors = [(values - low).fillna(0).clip(0), (high - values).fillna(0).clip(0)]
                axes.errorbar(
                    rows.layers,
                    values,
                    errors,
                    color=colour,
                    marker=mark,
                    markersize=5,
                    linewidth=1.4,
                    capsize=2,
                    label=name,
                )
            split = {"train_error": "training"}.get(measure, "validation")
            axes.set(xlabel="layers", ylabel=metric.named(f"{split} {metric.error}"))
            axes.set_xticks(sorted(table[table.group.isin(list(names))].layers.unique()))
        if names:
            figure.legend(
                *panels[0].get_legend_handles_labels(), loc="outside upper left", fontsize=8
            )
    return figure


def _plain_log(axis: Axis) -> None:
    """Label a logarithmic axis, whose data are drawn, with a few short numbers: 100k, 2M."""
    low, high = sorted(axis.get_view_interval())
    locator: Locator = LogLocator(subs=(1.0, 2.0, 5.0))
    digits = 3
    if high < 10 * low:  # 1, 2, 5, ... may have fewer than three ticks there
        locator = MaxNLocator(5, steps=[1, 2, 5, 10], min_n_ticks=3)
        step = float(np.diff(locator.tick_values(low, high)).min())
        # From the first digit of the highest tick to that of the step, which may be rounded.
        places = math.floor(math.log10(high)) - math.floor(math.log10(step) + 1e-6)
        digits = max(digits, 1 + places)
        axis.set_minor_locator(NullLocator())
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value, digits)))
    axis.set_minor_formatter(NullFormatter())


def short(value: float, digits: int = 3) -> str:
    """Return a number with a few significant digits: 950, 12.3k, 1.73M.

    Args:
        value: Number.
        digits: Number of significant digits.
    """
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"
