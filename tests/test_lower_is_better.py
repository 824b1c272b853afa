"""Metrics of which lower is better: a run that is judged by an error is one judged by its score.

R2 with the scores 1 - e and RMSE with the errors u * e order the same trainings alike, in any unit
u, so that every answer about the one must be that about the other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ray.tune.logger import LoggerCallback

from skipsearch import analysis
from skipsearch.analysis.figures import plot_effects, plot_front, plot_interaction
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.page import render
from skipsearch.artefacts.sentences import facts
from skipsearch.artefacts.summary import summarise
from skipsearch.cli import main
from skipsearch.cli.words import print_epoch
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import ExportError
from skipsearch.metric import MAE, R2, RMSE, Scale, significant
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, Environment, Epoch, Measurement, Trial
from skipsearch.run import Run
from skipsearch.searching.logs import Translator
from skipsearch.searching.messages import Member, Report, Request
from skipsearch.searching.plans import Plan
from skipsearch.searching.progress import Progress
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.surrogate.inquiry import Inquiry, Training
from skipsearch.surrogate.warp import Warp, modelled
from skipsearch.task import REGRESSION, Baseline
from skipsearch.text import dump_yaml

SPACE = Space.from_dict(
    {
        "name": "made",
        "base": {"widths": [4]},
        "axes": {
            "layout": ["conv3-bn-relu-conv3-bn + relu", "conv3-bn-relu-conv3-bn-relu", "conv3 +"],
            "depths": [[1], [2], [3]],
        },
    }
)
EPOCHS, SEEDS = 3, 3
UNITS = [1.0, 5e4, 1e-12]
GAINS = {"conv3-bn-relu-conv3-bn + relu": 0.0, "conv3-bn-relu-conv3-bn-relu": 0.2, "conv3 +": 0.4}
MARGIN = 0.03  # of errors whose unit is 1


def error(design: Design, seed: int) -> float:
    """Error of a made-up training, from 0 to 1; the plain layout degrades with depth."""
    plain = "+" not in str(design.layout)
    slope = 0.15 if plain else -0.002
    noise = (7 * seed + 3 * design.depths[0] + len(str(design.layout))) % 5 - 2
    return 0.3 + GAINS[str(design.layout)] / 2 + slope * (design.depths[0] - 1) + noise / 200


def curve(last: float, unit: float | None) -> tuple[Epoch, ...]:
    """Epochs whose errors fall to the last; scores are those of RMSE in a unit, or of R2."""
    errors = [last * (1 + 0.2 * (EPOCHS - i)) for i in range(1, EPOCHS + 1)]
    scores = [1 - e if unit is None else -unit * e for e in errors]
    return tuple(Epoch(i, 0.1, 1.0, s, 1.0, s, 1.0) for i, s in enumerate(scores, 1))


def make_run(path: Path, unit: float | None) -> Run:
    """A run as a grid search leaves it."""
    path.mkdir(parents=True)
    recipe = Recipe(epochs=EPOCHS)
    metric = R2 if unit is None else RMSE
    plan = Plan(space=SPACE, recipe=recipe, trials=27, sampler="grid", seeds=SEEDS)
    with closing(SearchStudy(f"sqlite:///{path}/study.db", SPACE.name, plan)) as study:
        while (proposal := study.ask()) is not None:
            last = error(proposal.candidate.design, proposal.seed)
            study.report(proposal.number, curve(last, unit), Environment(device="cpu"))
            study.finish(proposal.number, COMPLETE)
    stopping = EarlyStopping(rule="none")
    asked: dict[str, Any] = {
        "format": 1,
        "space": SPACE.to_dict(),
        "data": {
            "name": "made",
            "root": None,
            "resized_to": None,
            "split_seed": 0,
            "fingerprint": "0" * 16,
            "in_channels": 1,
            "image_size": 8,
            "classes": 2,
            "train_images": 400,
            "validation_images": 100,
            "source": "made by hand",
            "task": REGRESSION.name,
            "metric": metric.name,
            "baseline": 0.0 if unit is None else -unit,
        },
        "recipe": recipe.to_dict(),
        "seed": 0,
        "sampler": "grid",
        "scheduler": stopping.rule,
        "stopping": stopping.details(),
        "rungs": [EPOCHS],
        "objectives": [metric.validation],
        "trials": 27,
        "seeds": SEEDS,
        "storage": None,
        "versions": {},
    }
    (path / "run.yaml").write_text(dump_yaml(asked))
    return Run.open(path)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that is judged by R2."""
    return make_run(tmp_path_factory.mktemp("runs") / "r2", None)


@pytest.fixture(scope="module", params=UNITS, ids=lambda unit: f"unit {unit:g}")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "rmse", request.param)


def unit_of(run: Run) -> float:
    return run.config.scale.size


def same(found: Any, expected: Any, unit: float, within: float = 1e-9) -> None:
    """Check that numbers in a unit equal those of the twin."""
    np.testing.assert_allclose(np.asarray(found) / unit, expected, rtol=1e-6, atol=within)


def check_interval(table: pd.DataFrame, value: str, low: str, high: str) -> None:
    between = (table[low] <= table[value]) & (table[value] <= table[high])
    assert (between | table[low].isna()).all()


# --- tables --------------------------------------------------------------------------------------


def test_the_ranking_is_that_of_the_scores(run: Run, twin: Run) -> None:
    table, expected, unit = run.rank(), twin.rank(), unit_of(run)
    assert table.design.tolist() == expected.design.tolist()
    assert run.margin == pytest.approx(0.005 * unit)
    assert table.validation_rmse.is_monotonic_increasing
    same(table.validation_rmse, 1 - expected.validation_r2, unit)
    same(table.low, 1 - expected.high, unit)
    same(table.high, (1 - expected.low).clip(lower=0), unit)
    same(table["std"], expected["std"], unit)
    assert table.tied.tolist() == expected.tied.tolist()
    assert 1 < table.tied.sum() < len(table)
    assert run.trial("best").design.id == table.design.iloc[0]


@pytest.mark.parametrize("paired", [True, False])
def test_effects_have_the_same_verdicts_and_differences_of_the_metric(
    run: Run, twin: Run, paired: bool
) -> None:
    def effects(of: Run, margin: float) -> pd.DataFrame:
        if paired:
            return of.effects(margin=margin)
        known = of._evidence().learn()
        assert known is not None
        return analysis.effects(known, margin=margin, with_further=False)

    unit = unit_of(run)
    table, expected = effects(run, MARGIN * unit), effects(twin, MARGIN)
    near = 1e-9 if paired else 1e-2  # other draws of the same model
    assert (table.method == "posterior").any() != paired
    for column in ("axis", "level", "n", "verdict", "best_verdict"):
        assert table[column].astype(str).tolist() == expected[column].astype(str).tolist()
    assert {"worse", "best"} <= set(table.verdict)
    same(table["mean"], 1 - expected["mean"], unit, near)
    same(table.difference, -expected.difference, unit, near)
    same(table.d_low, -expected.d_high, unit, near)
    same(table.d_high, -expected.d_low, unit, near)
    same(table.chance, expected.chance, 1, 0.1)
    check_interval(table, "mean", "low", "high")
    check_interval(table, "difference", "d_low", "d_high")
    if not paired:
        same(table.best, 1 - expected.best, unit, near)
        same(table.best_high, 1 - expected.best_low, unit, near)
        same(table.bd_high, -expected.bd_low, unit, near)
    assert (table.difference[table.verdict == "worse"] > 0).all()
    assert "-0" not in table.difference.map("{:.4f}".format).tolist()

    said = analysis.answers(table, RMSE)
    (layout,) = (text for text in said if text.startswith("layout: "))
    lead = re.search(r"beats .*? by (\S+) target units \((\S+) to (\S+?)[);]", layout)
    assert lead is not None
    by, low, high = (float(number) for number in lead.groups())
    assert 0 < low < by < high
    worst = table[table.axis == "layout"].difference
    assert worst.min() <= by <= worst.max() * 1.001
    (axes, *_) = plot_effects(table, RMSE).axes
    assert axes.get_xlim()[0] < 0 < table.d_high.max() < axes.get_xlim()[1]


def test_interactions_are_the_same(run: Run, twin: Run) -> None:
    unit = unit_of(run)
    table = run.interactions("layout", "depths", margin=MARGIN * unit)
    expected = twin.interactions("layout", "depths", margin=MARGIN)
    near = 1e-2  # other draws of the same model
    assert table.verdict.tolist() == expected.verdict.tolist() == ["depends"] * 9
    same(table["mean"], 1 - expected["mean"], unit, near)
    same(table.additive, 1 - expected.additive, unit, near)
    same(table.beyond, -expected.beyond, unit, near)
    same(table.b_low, -expected.b_high, unit, near)
    check_interval(table, "mean", "low", "high")
    check_interval(table, "beyond", "b_low", "b_high")
    plot_interaction(table, RMSE)
    same(run.importance().share, twin.importance().share, 1, 0.02)


def test_the_front_and_its_share_are_the_same(run: Run, twin: Run) -> None:
    unit = unit_of(run)
    both, of_twin = ("validation_rmse", "params"), ("validation_r2", "params")
    table, expected = run.pareto(both), twin.pareto(of_twin)
    assert table.design.tolist() == expected.design.tolist()
    same(table.validation_rmse, 1 - expected.validation_r2, unit)
    check_interval(table, "validation_rmse", "low", "high")
    share = run.dominated_share(both)
    assert 0 < share < 1
    assert share == pytest.approx(twin.dominated_share(of_twin))
    trials, scale = run.trials(), run.config.scale
    reference = {"validation_rmse": 0.5 * unit, "params": 1e4}
    expected_share = analysis.dominated_share(
        twin.trials(), of_twin, twin.config.scale, {"validation_r2": 0.5, "params": 1e4}
    )
    assert analysis.dominated_share(trials, both, scale, reference) == pytest.approx(expected_share)
    (axes,) = plot_front(trials, table, RMSE).axes
    assert axes.get_ylabel() == "validation RMSE (target units)"
    assert axes.get_ylim()[1] > table.validation_rmse.max()


def test_degradation_is_the_rise_of_the_error(run: Run, twin: Run) -> None:
    found, expected = run.degradation(), twin.degradation()
    assert found.verdicts.verdict.tolist() == expected.verdicts.verdict.tolist()
    assert "degrades" in set(found.verdicts.verdict)
    same(found.table.validation_error, expected.table.validation_error, unit_of(run))
    check_interval(found.table, "validation_error", "validation_error_low", "validation_error_high")
    (plain,) = (words for words in found.words if ": degrades." in words)
    assert re.search(r"validation RMSE goes from \S+ target units at 4 layers to \S+ target", plain)
    assert re.search(r"\(\+\S+ target units, \+\S+ to \+\S+\)", plain)


def test_audit_and_agreement_know_the_better_trainings(run: Run, twin: Run) -> None:
    assert run.audit() == twin.audit()
    assert analysis.compare(
        {
            name: analysis.Compared(each.trials(), [EPOCHS], each.fields(), name)
            for name, each in (("rmse", run), ("r2", twin))
        }
    ).tau.tolist() == pytest.approx([1.0] * 3)


# --- confirmation --------------------------------------------------------------------------------


def record(number: int, score: float, seed: int = 0) -> Trial:
    return Trial(
        number=number,
        design=Design(layout="conv3-bn-relu +", depths=(number + 1,), widths=(4,)),
        recipe=Recipe(epochs=1),
        seed=seed,
        state=COMPLETE,
        reason="",
        curve=(Epoch(1, 0.1, 1.0, score, 1.0, score, 1.0),),
        params=1000 + number,
        macs=5000,
        device="cpu",
        versions={},
    )


def confirmed(searched: Sequence[float], again: float, scale: Scale) -> analysis.Confirmation:
    score = scale.metric.best - scale.size * np.asarray(searched)
    leaders = [[record(number, each)] for number, each in enumerate(score)]
    new = [
        record(number, each - scale.size * (again + 0.01 * ((seed + number) % 3)), seed)
        for number, each in enumerate(score)
        for seed in (10, 11, 12)
    ]
    return analysis.confirmation(leaders, new, 10, 3, scale)


@pytest.mark.parametrize("unit", UNITS)
def test_a_confirmation_is_the_same(unit: float) -> None:
    errors = (0.4, 0.3, 0.6)
    found = confirmed(errors, 0.1, Scale(RMSE, 100, baseline=-unit))
    expected = confirmed(errors, 0.1, Scale(R2, 100, baseline=0.0))
    table = found.table
    assert table.trial.tolist() == expected.table.trial.tolist() == [1, 0, 2]
    assert table.chance.tolist() == pytest.approx(expected.table.chance.tolist())
    assert found.separated == expected.separated
    assert found.best.number == 1
    same(table.validation_rmse, 1 - expected.table.validation_r2, unit)
    same(table.search_rmse, 1 - expected.table.search_r2, unit)
    same(table.shrinkage, expected.table.shrinkage, unit)
    assert (table.shrinkage_low < table.shrinkage).all()
    check_interval(table, "validation_rmse", "low", "high")
    words = str(found)
    had, has, luck = (RMSE.text(value * unit) for value in (0.4, 0.51, 0.11))
    assert f"had {had} there and has {has} here: too low by an estimated {luck}" in words
    assert "here: not too low" in str(confirmed(errors, -0.1, Scale(RMSE, 100, baseline=-unit)))


# --- the model of the space ----------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
def test_the_model_of_errors_has_no_unit(unit: float) -> None:
    errors = np.array([0.0, 0.1, 0.3, 0.31, 0.5, 2.0])
    scale, twin = Scale(RMSE, 100, baseline=-unit), Scale(R2, 100)
    warp = Warp.of(-unit * errors, scale)
    values = warp.values(-unit * errors)
    np.testing.assert_allclose(values, Warp.of(1 - errors, twin).values(1 - errors), atol=1e-6)
    assert (np.diff(values) < 0).all()
    same(warp.scores(values)[1:], -errors[1:], unit)
    assert np.isfinite(modelled(np.array([0.0]), scale)).all()


def test_a_question_about_axes_is_answered_the_same() -> None:
    space = replace(SPACE, in_channels=1, image_size=8, classes=2)

    def sentence(scale: Scale) -> str:
        inquiry = Inquiry(space, ["layout"], margin=MARGIN * scale.size, scale=scale, seeds=2)
        trainings = [
            Training(
                candidate.key,
                seed,
                candidate.values,
                scale.metric.best - scale.size * error(candidate.design, seed),
            )
            for candidate in space.candidates()
            for seed in (0, 1)
        ]
        assert inquiry.guess == scale.baseline
        (answer,) = inquiry.answers(trainings) or []
        return answer.sentence(scale.metric)

    found, expected = sentence(Scale(RMSE, 100, baseline=-1.0)), sentence(Scale(R2, 100, 0.0))
    lead = re.search(r"beats 'conv3 \+' by (\S+) target units \((\S+) to (\S+)\)", found)
    assert lead is not None
    by, low, high = (f"{float(number):.3f}" for number in lead.groups())
    assert f"beats 'conv3 +' by {by} ({low} to {high})" in expected


# --- words ---------------------------------------------------------------------------------------


def test_values_and_scores_are_each_other_with_the_other_sign() -> None:
    assert RMSE.value(-3.0) == 3.0
    assert RMSE.value(3.0) == -3.0
    assert math.copysign(1, RMSE.value(0.0)) == 1
    assert RMSE.values((-3.0, -1.0)) == (1.0, 3.0)
    assert R2.value(-3.0) == -3.0
    assert R2.values((-3.0, -1.0)) == (-3.0, -1.0)
    assert RMSE.lack(-3.0) == 3.0
    assert RMSE.text(RMSE.value(-3.25)) == "3.25 target units"
    assert MAE.text(123_456.7) == "123457 target units"
    assert RMSE.cell(0.000123456) == "0.0001235"
    scale = Scale(RMSE, 100, baseline=-40.0)
    assert (scale.size, scale.floor, scale.margin) == (40.0, -40.0, 0.2)
    sentence = Baseline(REGRESSION.judged_by("mae"), -1.5).sentence()
    assert sentence.endswith("with validation MAE 1.5 target units.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (0.123456, "0.1235"), (53_210.7, "53211"), (1e-12, "1e-12")),
        *(
            (9999.6, "10000"),
            (1234.56, "1235"),
            (123_456_789.0, "123456789"),
            (2e12, "2e+12"),
            (math.nan, "nan"),
        ),
    ],
)
def test_a_number_in_any_unit_has_four_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_the_progress_line_and_the_epochs_show_the_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(9, [record(0, -3.5)], RMSE)
    for number, score in ((1, -2.5), (2, -4.5)):
        progress.ended(number, "key", COMPLETE, score, 0)
    assert "best RMSE 2.5 target units (trial 1)" in progress.line(0, 1.0)
    capsys.readouterr()
    print_epoch(RMSE, Epoch(1, 0.1, 0.4, -30.0, 0.5, -31.0, 2.0))
    head, line = capsys.readouterr().out.splitlines()
    assert "train RMSE" in head
    assert line.split() == ["1", "0.4000", "30", "0.5000", "31", "2.00"]


class Recorder(LoggerCallback):
    """Keeps what it is given to log."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []

    def log_trial_start(self, trial: Any) -> None:
        pass

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, float]) -> None:
        self.logged.append(result)


def test_logs_have_the_error_under_its_name(tmp_path: Path) -> None:
    request = Request(
        design=record(0, 0.0).design, recipe=Recipe(), seeds=(0,), recorded=(0,), checkpoint="c.pt"
    )
    recorder = Recorder()
    trial = SimpleNamespace(trial_id="a", config=request.to_config())
    report = Report(members=(Member(record(0, -3.5).curve, ""),), done=False, device="cpu")
    Translator(recorder, tmp_path, RMSE).on_trial_result(1, [], trial, report.to_result())
    (logged,) = recorder.logged
    assert (logged["validation_rmse"], logged["train_rmse"]) == (3.5, 3.5)


def test_no_table_or_page_of_a_run_has_a_negative_error(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "val.RMSE" in out
    assert f"with validation RMSE {RMSE.text(unit_of(run))}." in out
    assert main(["pareto", str(run.path)]) == 0
    out += capsys.readouterr().out
    assert f"from RMSE 0 target units at no cost to RMSE {RMSE.text(unit_of(run))} at" in " ".join(
        out.split()
    )
    assert not re.search(r"\s-\d", out)
    assert main(["effects", str(run.path)]) == 0
    page = run.report().read_text()
    best = run.rank().iloc[0]
    assert f"leads with a validation RMSE of {RMSE.text(best.validation_rmse)}" in page
    assert "R2" not in page
    assert not re.search(r"RMSE[^<(]{0,20} -\d|\d to -\d\S* target", page)
    ranking = pd.read_csv(run.path / "report" / "ranking.csv")
    assert (ranking.validation_rmse > 0).all()
    curves = pd.read_csv(run.path / "report" / "curves.csv")
    assert (curves.validation_score < 0).all()
    assert "Scores are minus the RMSE." in page


def test_the_card_has_errors(tmp_path: Path) -> None:
    task = REGRESSION.judged_by("rmse")
    measured = Measurement(-3.25, 50, (-4.0, -2.5), -40.0)
    card = Card(
        task=task,
        search_score=-3.0,
        confirmations=(-3.5, -3.0),
        confirmed_interval=(-4.5, -2.0),
        test=measured,
        run="made",
    )
    design = Design(layout="conv3-bn-relu +", depths=(1,), widths=(4,))
    summary = summarise(
        card,
        design,
        [],
        in_channels=1,
        image_size=8,
        classes=2,
        least_side=None,
        precision="fp32",
        tolerance=1e-4,
        written_with={},
    )
    figures, search = summary["figures"]["test"], summary["search"]
    assert (figures["rmse"], figures["interval_95"]) == (3.25, [2.5, 4.0])
    assert (figures["baseline"], search["validation_rmse"]) == (40.0, 3.0)
    assert (search["confirmations"], search["confirmed_interval"]) == ([3.5, 3.0], [2.0, 4.5])
    page = render(json.loads(json.dumps(summary)))
    row = "| test | 3.25 target units | 50 | 2.5 to 4 target units | 1 | 40 target"
    assert row in page
    assert "3 to 3.5 target units" in page
    known = facts(card)
    assert known["test RMSE"] == (
        "3.25 target units on 50 images (95 % interval 2.5 to 4 target units)"
    )
    assert known["test baseline"].startswith("40 target units, the mean of each target")
    with pytest.raises(ExportError, match=r"test\.score: 3\.25 is no score of RMSE"):
        replace(card, test=replace(measured, score=3.25))


def test_a_baseline_is_named_by_its_constant() -> None:
    for metric, word in ((R2, "mean"), (RMSE, "mean"), (MAE, "median")):
        task = REGRESSION.judged_by(MAE.name).judged_by(metric.name)
        assert task.baseline == f"the {word} of each target for every image"


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_targets_of_which_one_decides_the_error_are_noted(metric: str) -> None:
    rng = np.random.default_rng(0)
    images, targets = rng.integers(0, 256, (40, 8, 8, 1), np.uint8), rng.normal(size=(40, 2))
    data = Data.from_arrays(images, targets * (1, 1e3), target_names=("small", "large"))
    summary = data.judged_by(metric).summary()
    assert ("'large' decides it" in summary) == (metric == "rmse")
    alike = Data.from_arrays(images, targets, target_names=("small", "large"))
    assert "decides it" not in alike.judged_by(metric).summary()
