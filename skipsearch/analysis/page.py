"""What the report of a run says: the answer in words, then each question with what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skipsearch.analysis.audit import Audit
from skipsearch.analysis.figures import plot_curves, plot_front
from skipsearch.analysis.report import Picture, Section, Table
from skipsearch.diagram import draw_diagram
from skipsearch.record import COMPLETE, FAIL, PRUNED, Trial

LEADERS = 4  # designs that are drawn
PERCENT = ".2%"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known of a run.

    Attributes:
        asked: What ``run.yaml`` holds.
        trials: Its records.
        ranking: What ``rank`` returns.
        front: What ``pareto`` returns for accuracy and parameters.
        audit: What ``audit`` returns.
    """

    asked: Mapping[str, Any]
    trials: Sequence[Trial]
    ranking: pd.DataFrame
    front: pd.DataFrame
    audit: Audit

    @property
    def images(self) -> dict[str, int]:
        """Sizes of the data set, as ``cost`` and ``draw_diagram`` take them."""
        return {name: self.asked["data"][name] for name in ("in_channels", "image_size", "classes")}

    @property
    def leaders(self) -> dict[str, str]:
        """Short names of the first designs, by ``DESIGN-RECIPE``."""
        return {
            f"{row.design}-{row.recipe}": f"{place}. {row.design[:6]}"
            for place, row in self.ranking.head(LEADERS).iterrows()
        }

    def trial(self, number: int) -> Trial:
        """Return a record by its number."""
        return next(trial for trial in self.trials if trial.number == number)


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
    images = found.asked["data"]["validation_images"]
    formats = {
        "place": "d",
        "design": "s",
        "state": "s",
        "epochs": "d",
        "validation_accuracy": PERCENT,
        "low": PERCENT,
        "high": PERCENT,
        "n": "d",
        "params": ",d",
        "macs": ",d",
    }
    axes = [str(name) for name in found.ranking if name not in {*formats, *HIDDEN}]
    table = Table(
        name="ranking",
        rows=found.ranking,
        columns=formats | dict.fromkeys(axes, ""),
        caption=(
            "Ranked by epochs reached, then by validation accuracy there. low, high: 95 % interval"
            f" of the mean over n seeds, or for one seed that of {images:,} validation images."
        ),
    )
    return Section(
        title="Leaders",
        text=["Only values after the same number of epochs are compared."],
        tables=[table],
        drawings=pictures,
    )


HIDDEN = ("trial", "recipe", "reason", "numerics")


def curves_section(found: Findings) -> Section:
    """Show every training over its epochs."""
    tips = {
        f"trial-{trial.number}": f"trial {trial.number}, design {trial.design.id},"
        f" {trial.state}: {trial.design.layout}"
        for trial in found.trials
    }
    picture = Picture(
        name="curves",
        figure=plot_curves(found.trials, found.leaders),
        caption="Validation error of every training. A dot ends what early stopping ended."
        " Point at a curve to see what it is.",
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
    return Section(title="Size and accuracy", figures=[picture])


def stopping_section(found: Findings) -> Section:
    """Tell what early stopping cut, and how often wrongly."""
    audit, rule = found.audit, found.asked["scheduler"]
    if rule == "none":
        return Section(title="Stopping", text=["No training was stopped early."])
    text = [f"Early stopping ({rule}) ended {audit.stopped} of {len(found.trials)} trainings."]
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
    full = len(trials) * found.asked["recipe"]["epochs"]
    hours = sum(trial.seconds for trial in trials) / 3600
    text = [
        f"{len(trials)} trainings of {found.ranking.design.nunique()} designs:"
        f" {states[COMPLETE]} complete, {states[PRUNED]} stopped early, {states[FAIL]} failed.",
        f"{epochs:,} epochs were trained, {epochs / max(full, 1):.0%} of what all trainings would"
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


def provenance_section(found: Findings, version: str) -> Section:
    """Tell what the run rests on, and how to have it again."""
    asked = found.asked
    data = asked["data"]
    numerics = sorted({trial.numerics for trial in found.trials if trial.numerics})
    versions = ", ".join(f"{name} {number}" for name, number in asked["versions"].items())
    text = [
        f"Data: {data['name']}, {data['source']}; {data['train_images']:,} training and"
        f" {data['validation_images']:,} validation images of {data['image_size']} x"
        f" {data['image_size']} pixels; fingerprint {data['fingerprint']}. The test split was not"
        " looked at.",
        f"Sampler {asked['sampler']}, scheduler {asked['scheduler']}, seed {asked['seed']},"
        f" skipsearch {version}. {versions}.",
        *(f"Numerics: {text}." for text in numerics),
        "The same folder holds run.yaml, which says all that was asked, and study.db, an Optuna"
        " study with every record. The same search again:",
    ]
    return Section(title="Provenance", text=text, code="\n".join(_command(asked)))


def _command(asked: Mapping[str, Any]) -> Iterator[str]:
    """Write the command that asks for the same search."""
    options = {
        "data": asked["data"]["name"],
        "data-root": asked["data"]["root"],
        "image-size": asked["data"]["resized_to"],
        "trials": asked["trials"],
        "epochs": asked["recipe"]["epochs"],
        "sampler": asked["sampler"],
        "scheduler": asked["scheduler"],
        "seed": asked["seed"],
        "seeds": asked["seeds"],
        "objectives": ",".join(asked["objectives"]),
    }
    words = [f"--{name} {value}" for name, value in options.items() if value is not None]
    yield f"skipsearch search {asked['space']['name']}.yaml {' '.join(words)} --out NEW"
