"""Do long skips mend degradation? Simulated trainings of decoders whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from skipsearch import analysis
from skipsearch.analysis import Degradation
from skipsearch.analysis.depth.samples import Sample, contrast
from skipsearch.design import Design
from skipsearch.metric import ACCURACY, MEAN_IOU, PSNR, Metric, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, Epoch, Trial
from skipsearch.space import Space

SPACE = """
name: deeper
base: {layout: conv3-bn-relu-conv3-bn-relu, widths: [4, 8, 8], ups: 2, stem: none, head: map}
axes:
  links: [[mirror], []]
  depths: [[1, 1, 1], [3, 3, 3]]
"""
SEEDS = 4
UNIT = {MEAN_IOU: 0.01, PSNR: 0.1}  # size of an effect
MIDDLE = {MEAN_IOU: 0.5, PSNR: 28.0}


def training(design: Design, seed: int, score: float) -> Trial:
    curve = (Epoch(1, 0.1, 2.0, score - 0.1, 2.0, score - 0.1, 1.0),)
    curve += (Epoch(2, 0.1, 1.0, score, 1.0, score, 1.0),)
    return Trial(
        number=0,
        design=design,
        recipe=Recipe(epochs=2),
        seed=seed,
        state=COMPLETE,
        reason="",
        curve=curve,
        params=1,
        macs=1,
        device="cpu",
        versions={},
    )


def answer(metric: Metric, without: float, present: float, seeds: int = SEEDS) -> Degradation:
    """The answer if going deeper changes the score by so many units."""
    rng = np.random.default_rng(0)
    unit, trials = UNIT[metric], []
    for candidate in Space.from_yaml(SPACE).candidates():
        design = candidate.design
        effect = (present if design.links else without) if design.depths[0] == 3 else 0
        for seed in range(seeds):
            score = MIDDLE[metric] + unit * (effect + 0.2 * rng.standard_normal())
            trials.append(training(design, seed, score))
    axes = ["links", "link_merge", "layout"]
    return analysis.degradation(trials, 367, Scale(metric, 101), axes=axes)


@pytest.mark.parametrize("metric", UNIT, ids=lambda metric: metric.name)
@pytest.mark.parametrize(
    ("without", "present", "said", "change"),
    [
        (-8, 0, "Long skips mirror (add) mend the degradation: ", 8),
        (-8, 4, "Long skips mirror (add) mend the degradation: ", 12),
        (-8, -3, "Long skips mirror (add) lessen the degradation: ", 5),
        (2, 6, "Long skips mirror (add) make depth pay more: ", 4),
        (6, 2, "Long skips mirror (add) make depth pay less: ", 4),
        (-4, -4, "Whether long skips mirror (add) change what depth does is open: ", None),
    ],
)
def test_what_long_skips_do_to_depth_is_told(
    metric: Metric, without: float, present: float, said: str, change: float | None
) -> None:
    found = answer(metric, without, present)
    *_, last = found.words
    assert last.startswith(f"{said}from 13 to 33 layers, validation {metric.error} rises by ")
    assert last.endswith(f"n = {SEEDS} seeds or more).")
    assert f" {metric.difference_unit} {'more' if without > 4 else 'less'} with them" in last
    if change is not None:
        shown = float(last.partition("rises by ")[2].split()[0])
        unit = metric.in_unit(UNIT[metric])
        assert shown == pytest.approx(unit * change, abs=0.4 * unit)


def test_groups_without_skips_come_first_and_are_named() -> None:
    found = answer(MEAN_IOU, -8, 4)
    assert found.verdicts.links.tolist() == ["[]", "['mirror']"]
    assert found.verdicts.link_merge.tolist() == ["-", "add"]
    assert found.verdicts.verdict.tolist() == ["degrades", "gains"]
    assert found.words[0].startswith("plain conv3-bn-relu-conv3-bn-relu, no links: degrades. ")
    assert found.table.layers.tolist() == [13, 33] * 2


def test_a_single_seed_says_nothing_about_mending() -> None:
    found = answer(MEAN_IOU, -8, 4, seeds=1)
    assert not any("ong skips" in sentence for sentence in found.words)


def test_long_skips_of_classification_are_compared_too() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for depth in (1, 4):
        for links in ((), ("0>1",)):
            design = Design(
                layout="conv3-bn-relu-conv3-bn-relu", depths=(depth,), widths=(4,), links=links
            )
            for seed in range(SEEDS):
                error = 0.1 + (0.05 if depth == 4 and not links else 0)
                score = 1 - error + 0.002 * rng.standard_normal()
                trials.append(training(design, seed, score))
    found = analysis.degradation(trials, 20_000, Scale(ACCURACY, 5_000))
    assert found.words[-1].startswith("Long skips 0>1 (add) mend the degradation: from 4 to 10")


# --- the statistics ------------------------------------------------------------------------------


def sample(values: list[float]) -> Sample:
    return Sample.of(values, 0.0, Scale(ACCURACY, 5_000))


def test_the_contrast_of_two_is_welchs() -> None:
    one, other = [0.1, 0.2, 0.25], [0.3, 0.31, 0.35, 0.5]
    value, low, high = contrast([sample(other)], [sample(one)])
    expected = ttest_ind(other, one, equal_var=False).confidence_interval()
    assert value == pytest.approx(np.mean(other) - np.mean(one))
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_contrast_of_four_alike_is_students() -> None:
    # Four samples of equal variance: the pooled variance, and the degrees of freedom of all.
    values = np.array([0.0, 1.0, 3.0, 2.0])
    value, low, high = contrast(
        [sample(list(values + 5)), sample(list(values))],
        [sample(list(values + 1)), sample(list(values + 2))],
    )
    error = math.sqrt(4 * values.var(ddof=1) / len(values))
    half = student.ppf(0.975, 4 * (len(values) - 1)) * error
    assert value == pytest.approx(2)
    assert (low, high) == pytest.approx((2 - half, 2 + half))
