"""What runs of dense tasks say: scores and differences in their unit, intervals, baselines."""

import json
import math
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from dense_data import NAMES

from skipsearch.analysis import confirmation, interval, pareto, rank
from skipsearch.analysis.confirm.chance import chance_of_best
from skipsearch.analysis.figures import plot_curves, plot_front
from skipsearch.analysis.legends import ranking_legend
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.page import render
from skipsearch.artefacts.sentences import facts
from skipsearch.artefacts.summary import summarise
from skipsearch.cli import main
from skipsearch.design import Design
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.metric import MEAN_IOU, PSNR, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, Environment, Epoch, Measurement, Trial
from skipsearch.run import Run
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.surrogate.inquiry import check_question
from skipsearch.task import DENOISING, SEGMENTATION, Task
from skipsearch.text import dump_yaml

SPACE = """
name: made
base: {widths: [4]}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, conv3-bn-relu-conv3-bn-relu]
  depths: [[1], [3]]
"""
EPOCHS = 3
# A baseline, and scores by layout and depth: plain networks degrade with depth.
SCORES = {
    DENOISING: (20.17, {("+", 1): 28.0, ("+", 3): 29.0, ("", 1): 27.9, ("", 3): 26.5}),
    SEGMENTATION: (0.113, {("+", 1): 0.41, ("+", 3): 0.45, ("", 1): 0.40, ("", 3): 0.33}),
}


def curve(score: float) -> list[Epoch]:
    scores = [score * (0.9 + 0.1 * i / EPOCHS) for i in range(1, EPOCHS + 1)]
    return [Epoch(i, 0.1, 2.0 - i / 4, s, 2.0 - i / 4, s, 1.0) for i, s in enumerate(scores, 1)]


def make_run(path: Path, task: Task) -> Run:
    """A run as a grid search leaves it; what came of its trainings is made up."""
    path.mkdir(parents=True)
    space = Space.from_yaml(SPACE)
    recipe = Recipe(epochs=EPOCHS, batch_size=64)
    baseline, scores = SCORES[task]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan = Plan(space=space, recipe=recipe, trials=12, sampler="grid", seeds=3)
    with closing(SearchStudy(f"sqlite:///{path}/study.db", space.name, plan)) as study:
        while (proposal := study.ask()) is not None:
            design = proposal.candidate.design
            score = scores["+" if "+" in str(design.layout) else "", design.depths[0]]
            score += 0.4 * task.metric.margin * (proposal.seed - 1)
            study.report(proposal.number, curve(score), Environment(device="cpu"))
            study.finish(proposal.number, COMPLETE)
    stopping = EarlyStopping(rule="none")
    asked = {
        "format": 1,
        "space": space.to_dict(),
        "data": {
            "name": "made",
            "root": None,
            "resized_to": None,
            "split_seed": 0,
            "fingerprint": "0" * 16,
            "in_channels": 3,
            "image_size": 32,
            "classes": 3,
            "train_images": 400,
            "validation_images": 100,
            "source": "made by hand",
            "task": task.name,
            "sigma": 25.0 * task.restores,
            "baseline": baseline,
        },
        "recipe": recipe.to_dict(),
        "seed": 0,
        "sampler": "grid",
        "scheduler": stopping.rule,
        "stopping": stopping.details(),
        "rungs": [EPOCHS],
        "objectives": [task.metric.validation],
        "trials": 12,
        "seeds": 3,
        "storage": None,
        "versions": {},
    }
    (path / "run.yaml").write_text(dump_yaml(asked))
    return Run.open(path)


@pytest.fixture(scope="module", params=SCORES, ids=lambda task: task.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / request.param.name, request.param)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_ranking_has_the_metric_and_the_baseline(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    task = run.config.task
    out = said(capsys, "rank", str(run.path))
    assert f"val.{task.metric.short}" in out
    assert f"then by validation {task.metric.title} there" in out
    score = task.metric.text(SCORES[task][0])
    assert f"To beat: {task.baseline}, with validation {task.metric.title} {score}." in out
    assert "accuracy" not in out


def test_effects_are_differences_in_the_unit_of_the_metric(run: Run) -> None:
    metric = run.config.task.metric
    assert run.margin == metric.margin
    table = run.effects("layout")
    assert table.method.iloc[-1] in ("pairs", "seeds", "model")  # planned in pairs
    by = abs(table.difference.min())
    most = {DENOISING: 2.6, SEGMENTATION: 0.13}[run.config.task]
    assert 0 < by < most
    assert table["mean"].between(run.config.data.baseline, 30).all()


def test_degradation_is_told_in_the_unit_of_the_metric(run: Run) -> None:
    found = run.degradation()
    (plain,) = (words for words in found.words if words.startswith("plain"))
    assert ": degrades." in plain
    if run.config.task is DENOISING:
        error = r"mean squared error goes from -27\.\d\d dB at 4 layers to -26\.5\d dB"
        assert re.search(error, plain)
        assert re.search(r"\(\+1\.4\d dB, \+1\.\d\d to \+1\.\d\d\)", plain)
    else:
        assert re.search(r"Jaccard distance goes from 60\.\d\d % at 4 layers to 6\d\.\d\d %", plain)
        assert " points, " in plain
    table = found.table
    for error in ("train_error", "validation_error"):
        assert (table[f"{error}_low"] < table[error]).all()
        assert (table[error] < table[f"{error}_high"]).all()


def test_the_front_covers_a_share_of_what_is_possible(run: Run) -> None:
    objectives = (run.config.task.metric.validation, "params")
    assert 0 < run.dominated_share(objectives) < 1
    assert len(run.pareto(objectives)) >= 1


def test_the_report_says_all_this(run: Run) -> None:
    task = run.config.task
    text = run.report().read_text()
    assert f"To beat: {task.baseline}, with validation {task.metric.title}" in text
    assert "None are known yet: &#39;skipsearch export&#39; trains the leader" in text
    assert not re.search(r"\bnan\b", text)
    score = {DENOISING: r"29\.\d\d dB", SEGMENTATION: r"4\d\.\d\d %"}[task]
    assert re.search(f"leads with .* {score}", text)
    assert "accuracy" not in text.lower()


# --- one seed, and equal scores ------------------------------------------------------------------


def record(number: int, score: float, seed: int = 0) -> Trial:
    return Trial(
        number=number,
        design=Design(layout="conv3-bn-relu +", depths=(number + 1,), widths=(4,)),
        recipe=Recipe(epochs=EPOCHS),
        seed=seed,
        state=COMPLETE,
        reason="",
        curve=tuple(curve(score)),
        params=1000,
        macs=5000,
        device="cpu",
        versions={},
    )


@pytest.mark.parametrize("metric", [PSNR, MEAN_IOU], ids=lambda metric: metric.name)
def test_one_seed_has_no_interval_and_is_never_called_binomial(metric: Any) -> None:
    scale = Scale(metric, 100)
    table = rank([record(0, 0.5), record(1, 0.4)], [EPOCHS], scale)
    assert table.low.isna().all()
    assert table.high.isna().all()
    assert "unknown for one seed" in ranking_legend(scale)
    low, high = interval([0.5, 0.51, 0.52], scale)  # Student's
    assert low < 0.51 < high


def test_a_front_of_single_seeds_is_drawn_without_intervals() -> None:
    trials = [record(0, 28.0), record(1, 29.0)]
    table = pareto(trials, ("validation_psnr", "params"), Scale(PSNR, 100))
    assert table.low.isna().all()
    (axes,) = plot_front(trials, table, PSNR).axes
    assert axes.get_ylabel() == "validation PSNR (dB)"
    (axes,) = plot_curves(trials, {}, PSNR).axes
    assert axes.get_yscale() == "linear"  # decibels are logarithms already
    assert axes.get_ylabel() == "validation mean squared error (dB)"
    assert axes.get_ylim()[0] < -29


def test_leaders_with_equal_scores_have_equal_chances() -> None:
    # No rounding to whole images explains it where the metric is no share of them.
    assert chance_of_best(np.full((4, 3), 29.5), Scale(PSNR, 100)).tolist() == [0.25] * 4
    assert chance_of_best([[29.5, 29.5], [29.0, 29.0]], Scale(PSNR, 100))[0] > 0.9


def test_a_confirmation_of_ratios_in_decibels() -> None:
    leaders = [[record(0, 29.0)], [record(1, 28.0)]]
    new = [
        record(place, score + 0.1 * seed, seed)
        for place, score in enumerate((28.9, 27.8))
        for seed in (10, 11, 12)
    ]
    found = confirmation(leaders, new, 10, 3, Scale(PSNR, 100))
    assert found.separated
    assert (found.table.low < found.table.validation_psnr).all()
    assert "Its validation PSNR at the full budget is 30.0" in str(found)


@pytest.mark.parametrize(("metric", "most"), [(PSNR, "100"), (MEAN_IOU, "1")])
def test_a_margin_is_a_difference_of_the_metric(metric: Any, most: str) -> None:
    space = Space.from_yaml(SPACE)
    with pytest.raises(RunError, match=f"no.* a difference in {metric.title} between 0 and {most}"):
        check_question(space, ["layout"], 100.0, metric)
    check_question(space, ["layout"], metric.margin, metric)


# --- the card of an export -----------------------------------------------------------------------


def written(card: Card) -> tuple[str, dict[str, Any]]:
    """The page and the plain values of a card."""
    design = Design(layout="conv3-bn-relu +", depths=(1,), widths=(4,))
    summary = summarise(
        card,
        design,
        [],
        in_channels=3,
        image_size=(32, 24),
        classes=3,
        least_side=None,
        precision="fp32",
        tolerance=1e-4,
        written_with={},
    )
    text = json.dumps(summary, allow_nan=False)  # what JSON cannot hold is an error
    return render(json.loads(text)), summary


def test_the_card_of_a_segmentation_has_its_classes() -> None:
    iou = dict(zip(NAMES, (0.5, 0.25, math.nan), strict=True))
    measured = Measurement(
        0.375, 233, (0.35, 0.4), 0.113, {"mean_dice": 0.6}, {"iou": iou, "dice": iou}
    )
    recipe = Recipe(loss="both")
    card = Card(task=SEGMENTATION, class_names=NAMES, test=measured, recipe=recipe)
    page, values = written(card)
    assert "network for 3 classes of pixels, design" in page
    assert (
        "Input: float32 images (N, 3, H, W). Output: logits (N, 3, H, W), for any H and W;" in page
    )
    assert "| loss | both |" in page
    assert "| test | 37.50 % | 233 | 35.00 to 40.00 % | 1 | 11.30 % |" in page
    assert "it is the most frequent class at every pixel." in page
    assert "Further figures, test: mean dice 60.00 %." in page
    assert "| class, test | iou | dice |" in page
    assert "| middle | 25.00 % | 25.00 % |" in page
    assert "| bright | undefined | undefined |" in page
    assert values["figures"]["test"]["classes"]["iou"]["bright"] is None
    assert facts(card)["test mean IoU"] == (
        "37.50 % on 233 images (95 % interval 35.00 to 40.00 %)"
    )


def test_the_card_of_a_denoiser_is_in_decibels() -> None:
    measured = Measurement(29.5, 1, baseline=20.17, figures={"ssim": 0.91})
    card = Card(task=DENOISING, validation=measured, recipe=Recipe())
    page, values = written(card)
    assert "A convolutional network that removes noise, design" in page
    assert "Output: restored images, normalised like the input, (N, 3, H, W), for any H" in page
    assert "cross-entropy" not in page
    assert "| validation | 29.50 dB | 1 | unknown | 1 | 20.17 dB |" in page
    assert "Further figures, validation: ssim 0.9100." in page
    assert values["figures"]["validation"]["interval_95"] == [None, None]
    assert facts(card)["validation baseline"] == "20.17 dB, the noisy image itself"
