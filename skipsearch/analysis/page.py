"""What the report of a run says: the answer in words, then each question with what it rests on."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skipsearch.analysis.answers import answers, open_axes
from skipsearch.analysis.audit import Audit
from skipsearch.analysis.confirm import Confirmation
from skipsearch.analysis.degradation import Degradation
from skipsearch.analysis.effects import POSTERIOR
from skipsearch.analysis.figures import (
    LEADERS,
    drawn_groups,
    fair_sample,
    leader_names,
    plot_curves,
    plot_degradation,
    plot_effects,
    plot_front,
    plot_interaction,
    varying_fields,
)
from skipsearch.analysis.interactions import DEPENDS
from skipsearch.analysis.report import Picture, Section, Table, write_report
from skipsearch.axes import Range
from skipsearch.config import SearchConfig
from skipsearch.diagram import draw_diagram
from skipsearch.errors import counted
from skipsearch.ready import ready_names
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST, COMPLETE, FAIL, PRUNED, Trial
from skipsearch.space import Space

MAPS = 4  # interactions that are drawn
TO_SETTLE, SEEDS_TO_SETTLE = 300, 3  # trainings, at most, and seeds of a design, to settle axes
NO_STOPPING = "none"  # the scheduler
PERCENT = ".2%"
POINTS = "+.2%"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known of a run.

    Attributes:
        config: What was asked of the search.
        trials: Its records.
        ranking: What ``rank`` returns.
        front: What ``pareto`` returns for accuracy and parameters.
        audit: What ``audit`` returns.
        effects: What ``effects`` returns.
        importance: What ``importance`` returns.
        interactions: What ``interactions`` returns for each two fields.
        degradation: What ``degradation`` returns; None where one depth alone was searched.
        confirmation: What ``confirm`` has found; None where it was never called.
        damage: Why what it has found cannot be read; empty where it can.
    """

    config: SearchConfig
    trials: Sequence[Trial]
    ranking: pd.DataFrame
    front: pd.DataFrame
    audit: Audit
    effects: pd.DataFrame
    importance: pd.DataFrame
    interactions: Sequence[pd.DataFrame]
    degradation: Degradation | None = None
    confirmation: Confirmation | None = None
    damage: str = ""

    @property
    def images(self) -> dict[str, int]:
        """Sizes of the data set, as ``cost`` and ``draw_diagram`` take them."""
        return self.config.image_sizes

    @property
    def leaders(self) -> dict[str, str]:
        """Short names of the first designs, by ``DESIGN-RECIPE``."""
        return leader_names(self.ranking)

    def trial(self, number: int) -> Trial:
        """Return a record by its number."""
        return next(trial for trial in self.trials if trial.number == number)


def write_page(found: Findings, folder: Path, name: str) -> Path:
    """Write the report of a run.

    Args:
        found: What is known of it.
        folder: Of the page, its figures and tables.
        name: Of the run.

    Returns:
        The page.
    """
    config = found.config
    sections = [
        leaders_section(found),
        confirmation_section(found),
        effects_section(found),
        interactions_section(found),
        degradation_section(found),
        curves_section(found),
        front_section(found),
        stopping_section(found),
        budget_section(found),
        provenance_section(found),
    ]
    return write_report(
        folder,
        title=f"{config.space.name} on {Path(config.data.name).stem}",
        subtitle=f"Run {name}: {counted(len(found.trials), 'training')} of"
        f" {counted(found.ranking.design.nunique(), 'design')},"
        f" up to {counted(config.recipe.epochs, 'epoch')} each",
        answer=list(_answer(found)),
        sections=[section for section in sections if section is not None],
    )


def _answer(found: Findings) -> Iterator[str]:
    yield from _budget_of(found)
    known = list(dict.fromkeys(found.effects["axis"])) if len(found.effects) else []
    asked = [axis for axis in found.config.ask if axis in known]
    yield from answers(found.effects, asked)
    if found.damage:
        yield f"The confirmation is left out: {found.damage}."
    if found.confirmation is not None and found.confirmation.judged:
        yield from str(found.confirmation).splitlines()
    else:
        yield from _leading(found.ranking)
    yield from answers(found.effects, [axis for axis in known if axis not in asked])
    yield from _more(found)
    yield from _dependences(found.interactions)
    if found.degradation is not None:
        yield from found.degradation.claims
    if found.config.stopping.rule != NO_STOPPING:
        yield from stopping_section(found).text


def _budget_of(found: Findings) -> Iterator[str]:
    """Say so where the answers are not those at the full budget."""
    full = found.config.recipe.epochs
    if found.effects.empty:
        yield "Fewer than two designs have been trained: what the axes do is not known yet."
    elif (epochs := int(found.effects.epochs.iloc[0])) < full:
        yield (
            f"Too few designs were trained in full: answers are those after {epochs} of"
            f" {counted(full, 'epoch')}, which may differ from those at the end."
        )


def _more(found: Findings) -> Iterator[str]:
    """Name the command that would settle what is open."""
    of_space = found.config.space.axes
    ranges = {name for name, axis in of_space.items() if isinstance(axis, Range)}
    axes = [axis for axis in open_axes(found.effects) if axis not in ranges]
    if axes:
        more = dataclasses.replace(
            found.config,
            ask=tuple(axes),
            trials=max(found.config.trials, TO_SETTLE),
            seeds=max(found.config.seeds, SEEDS_TO_SETTLE),
        )
        yield f"To settle what is open: {_command(more)}"


def _leading(ranking: pd.DataFrame) -> Iterator[str]:
    first = ranking.iloc[0]
    seeds = "one seed" if first.n == 1 else f"mean of {first.n} seeds"
    yield (
        f"Design {first.design[:6]} ({first.layout}) leads with {first.validation_accuracy:.2%}"
        f" after {counted(first.epochs, 'epoch')} ({seeds}, 95 % interval {first.low:.2%} to"
        f" {first.high:.2%})."
    )
    tied = int(ranking.tied.sum())
    others = f"the data cannot tell {tied - 1} others from it, and " if tied > 1 else ""
    yield (
        f"It is not confirmed: {others}the best of many draws is partly luck."
        " 'skipsearch confirm' trains the leaders again."
    )


def confirmation_section(found: Findings) -> Section | None:
    """Show what became of the leaders with new seeds."""
    confirmed = found.confirmation
    if confirmed is None:
        return None
    table = Table(
        name="confirmation",
        rows=confirmed.table,
        columns={
            "place": "d",
            "design": "s",
            "n": "d",
            "validation_accuracy": PERCENT,
            "sd": PERCENT,
            "low": PERCENT,
            "high": PERCENT,
            "chance": ".2f",
            "search_accuracy": PERCENT,
            "shrinkage": POINTS,
        },
        caption="The leaders trained again, with n new seeds that are the same for all. chance: of"
        " being the best of these; shrinkage: how much of the search's value was luck.",
    )
    return Section(
        title="Confirmation",
        text=str(confirmed).splitlines(),
        tables=[table] if len(table.rows) else [],
    )


def effects_section(found: Findings) -> Section | None:
    """Show what each axis does."""
    if found.effects.empty:
        return None
    epochs = int(found.effects.epochs.iloc[0])
    formats = {
        "axis": "s",
        "level": "",
        "n": "d",
        "verdict": "s",
        "mean": PERCENT,
        "difference": POINTS,
        "d_low": POINTS,
        "d_high": POINTS,
        "best_verdict": "s",
        "best_difference": POINTS,
        "bd_low": POINTS,
        "bd_high": POINTS,
        "chance": ".2f",
        "method": "s",
    }
    tables = [
        Table(
            name="effects",
            rows=found.effects,
            columns=formats,
            caption=f"After {counted(epochs, 'epoch')}. mean: over all designs of the space with"
            " the level; difference: to the first level of the axis, with its 95 % interval (d_low,"
            " d_high); best_difference: of the best design"
            " with the level to the best with the first, with its interval (bd_low, bd_high);"
            " chance: the probability that the best design of the space has the level; n: trainings"
            " that were observed.",
            top=60,
        )
    ]
    if len(found.importance):
        tables.append(
            Table(
                name="importance",
                rows=found.importance,
                columns={"axis": "s", "other": "s", "share": ".2f", "low": ".2f", "high": ".2f"},
                caption="How much of the variance over the space an axis explains, and a pair of"
                " axes beyond the two (Sobol's shares), with 95 % intervals.",
            )
        )
    picture = Picture(
        name="effects",
        figure=plot_effects(found.effects),
        caption="The mean over the space of each level, less that of the first of its axis: the"
        " difference and its 95 % interval.",
    )
    return Section(
        title="Effects of each axis",
        text=[
            f"Accuracies are those after {counted(epochs, 'epoch')}, over all designs of the space,"
            f" trained or not: {_method(found.effects)}.",
            *answers(found.effects),
        ],
        figures=[picture],
        tables=tables,
    )


def _method(effects: pd.DataFrame) -> str:
    if (effects["method"] == POSTERIOR).any():
        return "draws of a Gaussian process that was fitted to all trainings"
    return "every design was trained with several seeds, and levels are compared in pairs"


def _dependent(interactions: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return those where axes depend on each other, the pair that explains most first."""
    there = [t for t in interactions if len(t) and t.verdict.iloc[0] == DEPENDS]
    return sorted(there, key=lambda table: -float(table.share.iloc[0]))


def _dependences(interactions: Sequence[pd.DataFrame]) -> list[str]:
    return [
        f"{table.columns[0]} and {table.columns[1]} depend on each other: what the one gains by"
        f" itself differs by up to {100 * table.beyond.abs().max():.1f} points with the other."
        for table in _dependent(interactions)
    ]


def interactions_section(found: Findings) -> Section | None:
    """Show where what one axis does depends on another."""
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
            figure=plot_interaction(table),
            caption=f"Validation accuracy in %, mean for each {table.columns[0]} and"
            f" {table.columns[1]}.",
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
        columns={"first": "s", "second": "s", "share": ".3f", "beyond": POINTS, "verdict": "s"},
        caption="share: of the variance over the space that a pair explains beyond the two axes;"
        " beyond: the largest difference of a combination to the sum of its two levels.",
    )
    text = _dependences(looked_at) or [f"None was found among {len(looked_at)} pairs of axes."]
    return Section(title="Interactions", text=text, figures=pictures, tables=[pairs, *maps])


def degradation_section(found: Findings) -> Section | None:
    """Show whether going deeper helps."""
    if found.degradation is None:
        return None
    table = found.degradation.table
    picture = Picture(
        name="degradation",
        figure=plot_degradation(table),
        caption="Training and validation error against depth; 95 % intervals over seeds.",
    )
    percents = [f"{split}_error{end}" for split in ("train", "validation") for end in ("", "_sd")]
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
                | dict.fromkeys(percents, PERCENT)
                | {"epochs_to_loss": ".0f", "verdict": "s"},
                caption="Means over n seeds, with their deviation, after the same number of epochs;"
                " epochs_to_loss: until a training loss that all of that depth reach.",
                top=30,
            )
        ],
    )


def leaders_section(found: Findings) -> Section:
    """Show the ranking, and the first designs as drawings."""
    pictures = []
    for (place, row), name in zip(
        found.ranking.head(LEADERS).iterrows(), found.leaders.values(), strict=True
    ):
        design = found.trial(int(row.trial)).design
        caption = f"{name}: {design.layout}; {row.params:,} parameters, {row.macs:,} multiply-adds."
        figure = draw_diagram(design, **found.images)
        pictures.append(Picture(name=f"leader-{place}", figure=figure, caption=caption))
    images = found.config.data.validation_images
    hidden = {"trial", "recipe", "state", "macs", "reason", "numerics"}
    formats = {
        "epochs": "d",
        "validation_accuracy": PERCENT,
        "low": PERCENT,
        "high": PERCENT,
        "n": "d",
        "std": PERCENT,
        "tied": "",
        "params": ",d",
    }
    axes = [str(name) for name in found.ranking if name not in {"design", *formats, *hidden}]
    table = Table(
        name="ranking",
        rows=found.ranking,
        columns={"place": "d", "design": "s"} | dict.fromkeys(axes, "") | formats,
        caption=(
            "Ranked by epochs reached, then by validation accuracy there. low, high: 95 % interval"
            f" of the mean over n seeds, or for one seed that of {images:,} validation images;"
            " tied: the data cannot tell it from the first."
        ),
    )
    return Section(
        title="Leaders",
        text=["Only values after the same number of epochs are compared."],
        tables=[table],
        drawings=pictures,
    )


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
        figure=plot_curves(shown, found.leaders),
        caption=f"Validation error of {counted(len(shown), 'training')} of {len(found.trials):,}."
        " A dot ends what early stopping ended. Point at a curve to see what it is.",
        tips=tips,
    )
    rows = [
        {"trial": trial.number, "design": trial.design.id, "seed": trial.seed, **epoch.to_dict()}
        for trial in found.trials
        for epoch in trial.curve
    ]
    table = Table(
        name="curves", rows=pd.DataFrame(rows), columns={}, caption="All epochs of all trainings."
    )
    return Section(title="Curves of all trainings", figures=[picture], tables=[table])


def front_section(found: Findings) -> Section:
    """Show accuracy against parameters."""
    picture = Picture(
        name="pareto",
        figure=plot_front(found.trials, found.front),
        caption="Accuracy at the full budget against parameters.",
    )
    table = Table(
        name="pareto",
        rows=found.front,
        columns={"design": "s", "layout": "s", "depths": "", "params": ",d"}
        | dict.fromkeys(("validation_accuracy", "low", "high"), PERCENT)
        | {"n": "d"},
        caption="Designs that no other beats in both; low, high: 95 % interval, for one seed or of"
        " the mean over n.",
    )
    return Section(title="Size and accuracy", figures=[picture], tables=[table])


def stopping_section(found: Findings) -> Section:
    """Tell what early stopping cut, and how often wrongly."""
    audit, rule = found.audit, found.config.stopping.rule
    if rule == NO_STOPPING:
        return Section(title="Stopping", text=["No training was stopped early."])
    text = [
        f"Early stopping ({rule}) ended {audit.stopped} of"
        f" {counted(len(found.trials), 'training')}."
    ]
    if audit.audited:
        text.append(
            f"{audit.audited} more that it would have ended were trained on to see whether that is"
            f" right: {audit.among_best} of them ended among the best third of those at the full"
            f" budget, {audit.above_all} above all that it let pass."
        )
    else:
        text.append("None was trained on to check it: how often it was wrong is not known.")
    return Section(title="Stopping early", text=text)


def budget_section(found: Findings) -> Section:
    """Tell what was spent, and what failed."""
    trials = found.trials
    states = Counter(trial.state for trial in trials)
    epochs = sum(len(trial.curve) for trial in trials)
    full = len(trials) * found.config.recipe.epochs
    hours = sum(trial.seconds for trial in trials) / 3600
    text = [
        f"{counted(len(trials), 'training')} of"
        f" {counted(found.ranking.design.nunique(), 'design')}:"
        f" {states[COMPLETE]} complete, {states[PRUNED]} stopped early, {states[FAIL]} failed.",
        f"Epochs trained: {epochs:,}, {epochs / max(full, 1):.0%} of what all trainings would"
        f" take in full; {hours:.2f} hours of training, on"
        f" {', '.join(sorted({trial.device for trial in trials}))}.",
    ]
    reasons = Counter(trial.reason for trial in trials if trial.state == FAIL)
    failures = pd.DataFrame(reasons.most_common(), columns=["reason", "trainings"])
    table = Table(
        name="failures",
        rows=failures,
        columns={"trainings": "d", "reason": "s"},
        caption="Why trainings failed.",
    )
    return Section(title="Budget", text=text, tables=[table] if len(failures) else [])


def provenance_section(found: Findings) -> Section:
    """Tell what the run rests on, and how to have it again."""
    config, data = found.config, found.config.data
    numerics = sorted({trial.numerics for trial in found.trials if trial.numerics})
    versions = ", ".join(f"{name} {number}" for name, number in config.versions.items())
    text = [
        f"Data: {data.name}, {data.source}; {data.train_images:,} training and"
        f" {data.validation_images:,} validation images of {data.image_size} x"
        f" {data.image_size} pixels; fingerprint {data.fingerprint}. The test split was not"
        " looked at.",
        f"Sampler {config.sampler}, scheduler {config.stopping.rule}, seed {config.seed}."
        f" {versions}.",
        *(f"Numerics: {text}." for text in numerics),
        "The same folder holds run.yaml, which says all that was asked, and study.db, an Optuna"
        " study with every record. The same search again:",
    ]
    return Section(title="Provenance", text=text, code=_command(config))


def _command(config: SearchConfig) -> str:
    """Write the command that asks for the same search.

    A space that is no ready one is in a file that bears its name.
    """
    asks_best = config.ask == (ASK_BEST,)
    how: dict[str, object] = {"ask": ",".join(config.ask), "margin": config.margin}
    if asks_best:  # Else the question proposes.
        rule = config.stopping.rule
        details = config.stopping.details() if rule != NO_STOPPING else {}
        how = {"sampler": config.sampler, "scheduler": rule}
        how |= {name.replace("_", "-"): value for name, value in details.items()}
    options = {
        "data": config.data.name,
        "data-root": config.data.root,
        "image-size": config.data.resized_to,
        "trials": config.trials,
        "epochs": config.recipe.epochs,
        **how,
        "seed": config.seed,
        "seeds": config.seeds,
        "objectives": ",".join(config.objectives if asks_best else config.objectives[:1]),
        "latency-batch": config.latency_batch,
    }
    words = ["skipsearch", "search", _space_word(config.space), "--out", "NEW"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    in_space = {"epochs", *config.space.recipe}
    for name, value in config.recipe.to_dict().items():
        if name not in in_space and value != getattr(Recipe(), name):
            words += ["--recipe", f"{name}={value}"]
    return shlex.join(words)


def _space_word(space: Space) -> str:
    if space.name in ready_names():
        ready, ours = Space.load(space.name).to_dict(), space.to_dict()
        if all(ready.get(part) == ours.get(part) for part in ("base", "axes", "constraints")):
            return space.name
    return f"{space.name}.yaml"
