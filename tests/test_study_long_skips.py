"""The study of long skips: it goes on where it was, and says what its seeds can tell."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from dense_data import denoising, segmentation
from scipy.stats import ttest_1samp

from skipsearch.data import Data
from skipsearch.metric import MEAN_IOU

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module("study_long_skips")


@pytest.mark.parametrize("data", [segmentation(), denoising()], ids=lambda data: data.task.name)
def test_a_study_goes_on_where_it_was(study: Any, data: Data, tmp_path: Path) -> None:
    path, data = tmp_path / "links.csv", data.without_test()
    recipe = study.recipe_for(data, 1)
    trainings = study.missing(data, recipe, 2, path)
    for _ in range(2):
        study.append(next(trainings), path)
    trainings.close()
    variants = [variant.name for variant in study.VARIANTS]
    for row in study.missing(data, recipe, 2, path):
        study.append(row, path)
    rows = study.read(path)
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (variant, seed) for seed in "01" for variant in variants
    ]
    assert not list(study.missing(data, recipe, 2, path))
    params = {row["variant"]: int(row["params"]) for row in rows}
    assert params["every level, add"] == params[study.NONE]  # a comparison fair in size
    text = study.report(rows, data.task.metric)
    nothing = data.task.metric.in_unit(float(rows[0]["do_nothing"]))
    assert text.count(f"| {nothing:.2f} |") == len(variants)
    other = study.recipe_for(data, 2)
    assert not any(study.is_of(row, data, other) for row in rows)


def rows_of(scores: dict[str, list[float]]) -> list[dict[str, str]]:
    common = {
        "data": "made", "task": "segmentation", "image_size": "12x10", "train_images": "40",
        "validation_images": "12", "epochs": "1", "do_nothing": "0.1", "params": "1000",
    }  # fmt: skip
    return [
        common | {"variant": variant, "seed": str(seed), "score": str(score)}
        for variant, each in scores.items()
        for seed, score in enumerate(each)
    ]


def test_what_the_seeds_can_tell_is_told(study: Any) -> None:
    scores = {
        "none": [0.20, 0.22, 0.21],
        "every level, add": [0.30, 0.31, 0.32],
        "every level, cat": [0.31, 0.30, 0.33],
    }
    text = study.report(rows_of(scores), MEAN_IOU)
    # Student: 21 +- 4.303 * 1 / sqrt(3), differences 10, 9, 11 alike.
    assert "| none | 1,000 | 3 | 21.00 (18.52 to 23.48) | 10.00 | - |" in text
    assert "| +10.00 (+7.52 to +12.48) |" in text
    assert "- every level, add against none (n = 3): +10.00 (+7.52 to +12.48) points: the" in text
    (tied,) = [
        line for line in text.splitlines() if "every level, cat against every level," in line
    ]
    assert "the seeds do not tell them apart. A difference of 0.50 points would need about" in tied
    assert "| fine levels, cat | - | 0 | - | 10.00 | - |" in text


def test_trainings_that_diverged_are_left_out(study: Any) -> None:
    rows = rows_of({"none": [0.20, 0.22]})
    rows[1]["score"] = ""
    text = study.report(rows, MEAN_IOU)
    assert "| none | 1,000 | 1 | 20.00 (unknown) | 10.00 | - |" in text
    assert "1 training diverged and is left out." in text
    assert study.report([], MEAN_IOU) == "No training has been recorded yet."


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_number_of_seeds_is_that_of_a_paired_t_test(
    study: Any, effect: float, pairs: int
) -> None:
    # G*Power 3.1 (Faul et al. 2007), difference between two dependent means: two-sided, 5 %, 80 %.
    assert study.seeds_to_tell(effect, 1.0) == pairs
    assert study.seeds_to_tell(-effect, 1.0) == pairs
    assert study.seeds_to_tell(1e-4, 1.0) is None
    assert study.seeds_to_tell(1.0, 0.0) == 2


def test_many_comparisons_are_held_to_what_holm_allows(study: Any) -> None:
    clear, weak = [1.0, 1.1, 0.9, 1.05], [0.2, 1.1, 0.5, 0.9]  # p = 1e-4, and 0.047
    assert study.p_value(weak) == pytest.approx(ttest_1samp(weak, 0).pvalue)
    assert study.told_apart([weak]) == [True]
    assert study.told_apart([weak, clear, [1.0]]) == [False, True, False]
