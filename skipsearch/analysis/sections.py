"""The sections of a report: one for each question."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from skipsearch.analysis.command import NO_STOPPING, search_command
from skipsearch.analysis.comparison import SIZES
from skipsearch.analysis.failures import failure_reasons
from skipsearch.analysis.figures import (
    LEADERS,
    drawn_groups,
    fair_sample,
    plot_curves,
    plot_degradation,
    plot_effects,
    plot_front,
    plot_interaction,
    varying_fields,
)
from skipsearch.analysis.findings import Findings
from skipsearch.analysis.interactions import DEPENDS, dependence
from skipsearch.analysis.legends import (
    EFFECTS,
    IMPORTANCE,
    confirmation_meanings,
    degradation_legend,
    legend,
    method_words,
    ranking_legend,
)
from skipsearch.analysis.page import Form, Picture, Section, Table
from skipsearch.config import SAMPLERS
from skipsearch.design import Design
from skipsearch.diagram import draw_diagram
from skipsearch.errors import counted, escaped
from skipsearch.metric import Metric
from skipsearch.plan import Size
from skipsearch.record import COMPLETE, FAIL, PRUNED
from skipsearch.surrogate.sentences import listed

MAPS = 4  # interactions that are drawn


def confirmation_section(found: Findings) -> Section | None:
    """Show the results of the leaders with new seeds."""
    confirmed, metric = found.confirmation, found.metric
    if confirmed is None:
        return None
    formats: dict[str, Form] = {
        "place": "d",
        "design": "s",
        "n": "d",
        metric.validation: metric.cell,
        "sd": metric.cell,
        "low": metric.cell,
        "high": metric.cell,
        "chance": ".2f",
        metric.search: metric.cell,
        "shrinkage": metric.signed_cell,
    }
    table = Table(
        name="confirmation",
        rows=confirmed.table,
        columns=formats,
        caption=f"The leaders trained again, with n new {confirmed.repeat}s that are the same for"
        f" all. {legend(confirmation_meanings(confirmed.repeat), formats)}",
    )
    return Section(
        title="Confirmation",
        text=str(confirmed).splitlines(),
        tables=[table] if len(table.rows) else [],
    )


def effects_section(found: Findings) -> Section | None:
    """Show the effect of each axis."""
    if found.effects.empty:
        return None
    epochs, metric = int(found.effects.epochs.iloc[0]), found.metric
    signed = metric.signed_cell
    formats: dict[str, Form] = {
        "axis": "s",
        "level": "",
        "n": "d",
        "verdict": "s",
        "mean": metric.cell,
        "difference": signed,
        "d_low": signed,
        "d_high": signed,
        "best_verdict": "s",
        "best_difference": signed,
        "bd_low": signed,
        "bd_high": signed,
        "chance": ".2f",
    }
    if found.effects.method.nunique() > 1:  # otherwise the text says it
        formats["method"] = "s"
    tables = [
        Table(
            name="effects",
            rows=found.effects,
            columns=formats,
            caption=f"After {counted(epochs, 'epoch')}."
            f" {legend(EFFECTS, formats).replace('_', ' ')}",
            top=60,
        )
    ]
    if len(found.importance):
        tables.append(
            Table(
                name="importance",
                rows=found.importance,
                columns={"axis": "s", "other": "s", "share": ".2f", "low": ".2f", "high": ".2f"},
                caption=IMPORTANCE,
            )
        )
    return Section(
        title="Effects of each axis",
        text=[
            f"Scores are those after {counted(epochs, 'epoch')}."
            f" {method_words(found.effects, found.config.scale.repeat)}"
        ],
        tables=tables,
    )


def effects_picture(found: Findings) -> Picture | None:
    """Draw the effect of each axis."""
    if found.effects.empty:
        return None
    trainings = found.effects.groupby("axis").n.sum().max()
    return Picture(
        name="effects",
        figure=plot_effects(found.effects, found.metric),
        caption="Mean score of each level over the space, minus that of the leading level, with its"
        f" 95 % interval (n = {trainings} trainings).",
    )


def _dependent(interactions: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables of dependent axes, the pair that explains most first."""
    there = [t for t in interactions if len(t) and t.verdict.iloc[0] == DEPENDS]
    return sorted(there, key=lambda table: -float(table.share.iloc[0]))


def dependences(interactions: Sequence[pd.DataFrame], metric: Metric) -> list[str]:
    """Describe each pair of dependent axes in one sentence."""
    return [dependence(table, metric) for table in _dependent(interactions)]


def interactions_section(found: Findings) -> Section | None:
    """Show where the effect of one axis depends on another."""
    looked_at = [table for table in found.interactions if len(table)]
    if not looked_at:
        return None
    rows = pd.DataFrame(
        [
            (
                *table.columns[:2],
                table.share.iloc[0],
                table.beyond.abs().max(),
                table.verdict.iloc[0],
            )
            for table in sorted(looked_at, key=lambda table: -float(table.share.iloc[0]))
        ],
        columns=["first", "second", "share", "beyond", "verdict"],
    )
    drawn = {
        f"interaction-{table.columns[0]}-{table.columns[1]}": table
        for table in _dependent(looked_at)[:MAPS]
    }
    pictures = [
        Picture(
            name=name,
            figure=plot_interaction(table, found.metric),
            caption=f"{found.metric.named(f'Validation {found.metric.title}')}: mean for each"
            f" {table.columns[0]} and {table.columns[1]}.",
        )
        for name, table in drawn.items()
    ]
    maps = [
        Table(
            name=name,
            rows=table,
            columns={},
            caption=f"The map of {table.columns[0]} and {table.columns[1]}, with intervals.",
        )
        for name, table in drawn.items()
    ]
    pairs = Table(
        name="interactions",
        rows=rows,
        columns={
            "first": "s",
            "second": "s",
            "share": ".3f",
            "beyond": found.metric.signed_cell,
            "verdict": "s",
        },
        caption="share: of the variance over the space that a pair explains beyond the two axes;"
        " beyond: the largest difference of a combination to the sum of its two levels.",
    )
    text = dependences(looked_at, found.metric) or [
        f"No interaction is established among {counted(len(looked_at), 'pair')} of axes; see the"
        " verdicts."
    ]
    return Section(title="Interactions", text=text, figures=pictures, tables=[pairs, *maps])


def degradation_section(found: Findings) -> Section | None:
    """Show whether going deeper helps."""
    if found.degradation is None:
        return None
    table, repeat = found.degradation.table, found.config.scale.repeat
    picture = Picture(
        name="degradation",
        figure=plot_degradation(table, found.metric),
        caption=f"Training and validation error against depth; 95 % intervals over {repeat}s.",
    )
    errors = [f"{split}_error{end}" for split in ("train", "validation") for end in ("", "_sd")]
    rows = table.merge(found.degradation.verdicts[["group", "verdict"]], on="group")
    return Section(
        title="Degradation with depth",
        text=found.degradation.words,
        figures=[picture] if drawn_groups(table) else [],
        tables=[
            Table(
                name="degradation",
                rows=rows,
                columns=dict.fromkeys(varying_fields(table), "")
                | {"layers": "d", "n": "d"}
                | dict.fromkeys(errors, found.metric.cell)
                | {"epochs_to_loss": ".0f", "verdict": "s"},
                caption=degradation_legend(repeat).replace("_", " "),
                top=30,
            )
        ],
    )


def leaders_section(found: Findings) -> Section:
    """Show the ranking, and drawings of the first designs."""
    metric, baseline = found.metric, found.config.baseline
    hidden = {"trial", "recipe", "state", "macs", "reason", "numerics"}
    formats: dict[str, Form] = {
        "epochs": "d",
        metric.validation: metric.cell,
        "low": metric.cell,
        "high": metric.cell,
        "n": "d",
        "std": metric.cell,
        "tied": "",
        "params": ",d",
    }
    axes = [str(name) for name in found.ranking if name not in {"design", *formats, *hidden}]
    table = Table(
        name="ranking",
        rows=found.ranking,
        columns={"place": "d", "design": "s"} | formats | dict.fromkeys(axes, ""),
        caption=ranking_legend(found.config.scale),
    )
    return Section(
        title="Leaders",
        text=[
            "Only values after the same number of epochs are compared.",
            *([baseline.sentence()] if baseline else []),
        ],
        tables=[table],
        drawings=_drawings(found),
    )


def _drawings(found: Findings) -> list[Picture]:
    """Draw the first designs; one that differs from another in sizes alone is in its caption."""
    pictures: dict[tuple[str, ...], Picture] = {}
    first: dict[tuple[str, ...], Design] = {}
    for (place, row), name in zip(
        found.ranking.head(LEADERS).iterrows(), found.leaders.values(), strict=True
    ):
        design = found.trial(int(row.trial)).design
        cost = f"{row.params:,} parameters, {row.macs:,} multiply-adds."
        values = design.to_dict()
        kind = tuple(f"{field} {value}" for field, value in values.items() if field not in SIZES)
        if kind not in pictures:
            first[kind] = design
            pictures[kind] = Picture(
                name=f"leader-{place}",
                figure=draw_diagram(design, **found.images),
                caption=f"{name}: {design.layout}; {cost}",
            )
        else:
            there = first[kind].to_dict()
            sizes = [f"{field} {value}" for field, value in values.items() if value != there[field]]
            what = listed(sizes) if sizes else "the recipe"
            other = f"{name}: the same but for {what}; {cost}"
            caption = f"{pictures[kind].caption} {other}"
            pictures[kind] = dataclasses.replace(pictures[kind], caption=caption)
    return list(pictures.values())


def curves_section(found: Findings) -> Section:
    """Show trainings over their epochs."""
    shown = fair_sample(found.trials, found.leaders)
    tips = {
        f"trial-{trial.number}": f"trial {trial.number}, design {trial.design.id},"
        f" {trial.state}: {trial.design.layout}"
        for trial in shown
    }
    picture = Picture(
        name="curves",
        figure=plot_curves(shown, found.leaders, found.metric),
        caption=f"Validation {found.metric.error} of {counted(len(shown), 'training')} of"
        f" {len(found.trials):,}. The last epoch of a leader has its marker; a grey dot marks early"
        " stopping. Hover over a curve to see its design.",
        tips=tips,
    )
    rows = [
        {"trial": trial.number, "design": trial.design.id, "seed": trial.seed, **epoch.to_dict()}
        for trial in found.trials
        for epoch in trial.curve
    ]
    scores = f" Scores are minus the {found.metric.title}." if found.metric.is_error else ""
    table = Table(
        name="curves",
        rows=pd.DataFrame(rows),
        columns={},
        caption=f"All epochs of all trainings.{scores}",
    )
    return Section(title="Curves of all trainings", figures=[picture], tables=[table])


def front_section(found: Findings) -> Section:
    """Show the score against parameters."""
    metric = found.metric
    picture = Picture(
        name="pareto",
        figure=plot_front(found.trials, found.front, metric),
        caption=f"Validation {metric.title} at the full budget against parameters.",
    )
    table = Table(
        name="pareto",
        rows=found.front,
        columns={"design": "s", "layout": "s", "depths": "", "params": ",d"}
        | dict.fromkeys((metric.validation, "low", "high"), metric.cell)
        | {"n": "d"},
        caption="Designs that no other beats in both; low, high: 95 % interval, as of the leaders.",
    )
    return Section(title=f"Size and {metric.title}", figures=[picture], tables=[table])


def stopping_section(found: Findings) -> Section:
    """Show what early stopping ended, and how often it was wrong."""
    rule = found.config.stopping.rule
    if rule == NO_STOPPING:
        return Section(title="Stopping", text=["No training was stopped early."])
    return Section(title="Stopping early", text=found.audit.words(rule, len(found.trials)))


def budget_section(found: Findings) -> Section:
    """Show the spent budget and the failures."""
    trials = found.trials
    states = Counter(trial.state for trial in trials)
    epochs = sum(len(trial.curve) for trial in trials)
    full = len(trials) * found.config.recipe.epochs
    hours = sum(trial.seconds for trial in trials) / 3600
    text = [
        f"{counted(len(trials), 'training')} of"
        f" {counted(found.ranking.design.nunique(), 'design')}:"
        f" {states[COMPLETE]} complete, {states[PRUNED]} stopped early, {states[FAIL]} failed.",
        f"{epochs:,} epochs were trained, {epochs / max(full, 1):.0%} of the full budget of all"
        f" trainings, in {hours:.2f} hours on"
        f" {', '.join(sorted({trial.device for trial in trials}))}.",
    ]
    failures = failure_reasons(trials)
    table = Table(
        name="failures",
        rows=failures,
        columns={"trainings": "d", "reason": "s"},
        caption="Why trainings failed.",
    )
    return Section(title="Budget", text=text, tables=[table] if len(failures) else [])


def provenance_section(found: Findings) -> Section:
    """Show the provenance of the run, and how to repeat it."""
    config, data = found.config, found.config.data
    numerics = sorted({trial.numerics for trial in found.trials if trial.numerics})
    versions = ", ".join(f"{name} {number}" for name, number in config.versions.items())
    folds = "" if data.folds is None else f" in each of {data.folds} folds,"
    text = [
        f"Data: {escaped(data.name)}, {data.source}; {data.train_images:,} training and"
        f" {data.validation_images:,} validation images{folds} of"
        f" {Size.of(data.image_size)} pixels; fingerprint {data.fingerprint}. The test split was"
        " not looked at.",
        f"Sampler {config.sampler}, scheduler {config.stopping.rule}, seed {config.seed}."
        f" {versions}.",
        *(f"Numerics: {text}." for text in numerics),
        "The run folder holds run.yaml, the configuration, and study.db, an Optuna study with all"
        " records.",
    ]
    given = ["the data"] if config.data.is_given else []
    if config.sampler not in SAMPLERS:
        given.append(f"the sampler {escaped(config.sampler)}")
    if given:
        text.append(f"Given in Python, where the search can be repeated: {' and '.join(given)}.")
        return Section(title="Provenance", text=text)
    text.append("To repeat the search:")
    return Section(title="Provenance", text=text, code=search_command(config, found.path))
