"""Cross-validation: folds of the images as replicates of a design."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from dataclasses import replace
from itertools import chain
from math import sqrt
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.model_selection import StratifiedGroupKFold
from test_study import open_study, train

import skipsearch as ss
from skipsearch.analysis.command import search_command
from skipsearch.analysis.confirm.chance import chance_of_best
from skipsearch.analysis.legends import degradation_legend
from skipsearch.analysis.ranking import interval, rank
from skipsearch.analysis.report import _leading
from skipsearch.analysis.ties import tied_with_leader
from skipsearch.artefacts.page import _found
from skipsearch.cli.parser import read_arguments
from skipsearch.data import Split
from skipsearch.data.folds import fold_rows
from skipsearch.errors import DataError, RunError
from skipsearch.metric import ACCURACY, R2, Scale
from skipsearch.record import FAIL
from skipsearch.run import Run

RNG = np.random.default_rng(0)


def data(n: int = 90, classes: int = 3, **how: Any) -> ss.Data:
    """Images that differ in their first pixel, the number of the image."""
    labels = np.arange(n) % classes
    images = RNG.integers(0, 256, (n, 6, 6), dtype=np.uint8)
    images[:, 0, 0] = np.arange(n)
    return ss.Data.from_arrays(images, labels, **how)


def numbers(split: Split) -> list[int]:
    return sorted(split.images[:, 0, 0, 0].tolist())


# --- divisions -----------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 2), min_size=20, max_size=60),
    folds=st.integers(2, 6),
    split_seed=st.integers(0, 3),
    division=st.integers(0, 200_000),
)
def test_the_folds_of_a_division_are_a_stratified_partition(
    labels: list[int], folds: int, split_seed: int, division: int
) -> None:
    classes = np.array([*labels, *[0, 1, 2] * folds])  # each class can be in every fold
    rows = fold_rows(len(classes), classes, None, folds, (split_seed, division))
    assert sorted(np.concatenate(rows)) == list(range(len(classes)))
    counts = np.array([np.bincount(classes[fold], minlength=3) for fold in rows])
    assert (np.ptp(counts, axis=0) <= 1).all()


@pytest.mark.parametrize("validation", [10, 40])
def test_equal_images_are_counted_across_the_folds_and_not_across_the_fixed_splits(
    validation: int,
) -> None:
    given_ = data(180, classes=2, validation_fraction=validation / 180)
    train = given_.train
    train.images[20:33] = train.images[40:53]  # in the same split
    train.images[2] = given_.validation.images[0]
    given_.test.images[3] = train.images[4]
    given_.test.images[5] = given_.validation.images[1]
    splits = {part: getattr(given_, part) for part in ("train", "validation", "test")}
    parts = {name: (split.images, split.labels) for name, split in splits.items()}
    again = ss.Data.from_arrays(*parts["train"], validation=parts["validation"], test=parts["test"])
    assert f"1 of {validation} validation images is in the train split" in again.summary()
    folded = replace(again, drawn=True).in_folds(4)
    folds_of: dict[Any, list[int]] = {}
    for fold in range(4):
        for image in folded.for_seed(fold).validation.images:
            folds_of.setdefault(tuple(image.flatten().tolist()), []).append(fold)
    number = sum(len(folds) for folds in folds_of.values() if len(set(folds)) > 1)
    assert sum(len(folds) == 2 for folds in folds_of.values()) == 14
    assert 0 < number < 28
    for text in (folded.summary(), folded.source):
        assert "2 of 36 test images are in the train or validation split as well" in text
        assert "validation images is in the train split" not in text
        assert f"{number} of 144 train or validation images are in another fold as well" in text


def test_images_of_one_group_are_in_one_fold() -> None:
    groups = np.arange(90) // 5
    given_ = data(groups=groups).in_folds(4)
    assert given_.test is not None
    for seed in range(8):
        drawn = given_.for_seed(seed)
        sides = [
            {groups[number] for number in numbers(split)}
            for split in (drawn.train, drawn.validation, given_.test)
        ]
        assert sum(map(len, sides)) == len(set.union(*sides))


def unevenness(rows: list[np.ndarray], classes: np.ndarray) -> float:
    """Sum of the deviations of the folds' numbers of images, of each class and of all."""
    counts = np.array([np.bincount(classes[fold], minlength=classes.max() + 1) for fold in rows])
    counts = np.column_stack([counts, counts.sum(axis=1)])
    return float(np.abs(counts - counts.mean(axis=0)).sum())


@pytest.mark.parametrize("units", [12, 60, 300])
@pytest.mark.parametrize("pure", [False, True])
def test_folds_of_groups_are_as_even_as_those_of_scikit_learn(units: int, pure: bool) -> None:
    rng = np.random.default_rng(units)
    ours, theirs = [], []
    for seed in range(8):
        sizes = rng.integers(1, 40, units)
        groups = np.repeat(np.arange(units), sizes)
        classes = np.repeat(rng.integers(0, 2, units), sizes)
        if not pure:
            classes = rng.integers(0, 2, len(groups))
        rows = fold_rows(len(groups), classes, groups, 4, (seed,))
        assert sorted(np.concatenate(rows)) == list(range(len(groups)))
        assert sum(len(np.unique(groups[fold])) for fold in rows) == units
        ours.append(unevenness(rows, classes))
        known = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        theirs.append(
            unevenness([held for _, held in known.split(classes, classes, groups)], classes)
        )
    assert fmean(ours) <= fmean(theirs)


def test_another_division_into_groups_puts_other_groups_together() -> None:
    # Sizes differ, so that an order by size alone would always be the same.
    groups = np.repeat(np.arange(60), np.arange(3, 63))
    classes = groups % 2
    firsts = np.unique(groups, return_index=True)[1]
    folds = []
    for division in range(6):
        fold = np.zeros(len(groups), dtype=int)
        for number, rows in enumerate(fold_rows(len(groups), classes, groups, 5, (0, 0, division))):
            fold[rows] = number
        folds.append(fold[firsts])
    together = [one[:, None] == one for one in folds]
    pairs = np.triu_indices(60, 1)
    for first, other in itertools.combinations(together, 2):
        # Of pairs in one fold, about a fifth is in one fold again.
        assert 0.1 < other[pairs][first[pairs]].mean() < 0.35


def test_a_group_of_another_image_changes_the_fingerprint_and_its_name_does_not() -> None:
    groups = np.arange(90) // 5
    images, labels = RNG.integers(0, 256, (90, 6, 6), dtype=np.uint8), np.arange(90) % 3

    def fingerprint(of: Any) -> str:
        test = (images[:9], labels[:9])
        return ss.Data.from_arrays(images, labels, test=test, groups=of).fingerprint

    assert fingerprint([f"patient {number:02}" for number in groups]) == fingerprint(groups)
    found = {fingerprint(groups)}
    for first in range(0, 85, 5):
        exchanged = groups.copy()
        exchanged[[first, first + 5]] = exchanged[[first + 5, first]]
        found.add(fingerprint(exchanged))
    assert len(found) == 18


@pytest.mark.parametrize("first_seed", [0, 1_000_000])
def test_every_fold_of_every_division_has_a_rare_label(first_seed: int) -> None:
    for source in range(5):
        rng = np.random.default_rng(source)
        rare = np.zeros((125, 3), dtype=int)
        rare[rng.permutation(125)[:16], 0] = 1
        rare[:, 1] = rng.random(125) < 0.4
        rare[:, 2] = 1 - rare[:, 1]
        images = rng.integers(0, 256, (125, 6, 6), dtype=np.uint8)
        folded = ss.Data.from_arrays(images, rare, split_seed=source).in_folds(5, first_seed)
        for seed in range(first_seed, first_seed + 15):
            drawn = folded.for_seed(seed)
            for split in (drawn.train, drawn.validation):
                assert set(split.class_labels.sum(0).bool().tolist()) == {True}


def test_a_label_that_all_training_images_of_a_fold_have_is_refused() -> None:
    images = RNG.integers(0, 256, (40, 6, 6), dtype=np.uint8)
    labels = np.stack([np.arange(40) % 2, np.ones(40, dtype=int)], axis=1)
    given_ = ss.Data.from_arrays(images, np.where(np.arange(40)[:, None] == 0, 0, labels))
    pool = given_.train.followed_by(given_.validation)
    if pool.class_labels[:, 1].all():  # the only image without it is a test image
        pool.class_labels[0, 1] = 0
        given_.train.class_labels[0, 1] = 0
    with pytest.raises(DataError, match="the label '1' is on every image outside fold"):
        given_.in_folds(4)


def test_folds_of_very_different_sizes_are_refused() -> None:
    groups = np.array([0] * 200 + [1] * 200 + [2 + number // 3 for number in range(150)])
    images = RNG.integers(0, 256, (550, 6, 6), dtype=np.uint8)
    test = (images[:9], np.arange(9) % 2)
    given_ = ss.Data.from_arrays(images, np.arange(550) % 2, test=test, groups=groups)
    with pytest.raises(DataError, match=r"in whole groups, 6 folds would have \d+ to 200 images"):
        given_.in_folds(6)


def test_folds_without_a_pixel_of_a_class_are_counted() -> None:
    images = RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    masks = (images > 128).astype(np.uint8)
    masks[[3, 30], 0, 0] = 2
    test = (images[:5], masks[:5])
    given_ = ss.Data.from_arrays(images, masks, test=test, class_names=["a", "b", "rare"])
    assert "3 of 5 folds have no mask with the class rare" in given_.in_folds(5).summary()
    masks[[4, 14, 24], 0, 0] = 2  # as many as folds: one each
    given_ = ss.Data.from_arrays(images, masks, test=test, class_names=["a", "b", "rare"])
    assert "folds have no mask" not in given_.in_folds(5).summary()


def test_images_that_were_trained_on_are_not_divided_into_folds() -> None:
    groups = np.arange(90) // 5
    for trained in (
        data(groups=groups).with_validation_in_training(),
        data().in_folds(3).for_seed(0),
    ):
        assert trained.groups is None
        with pytest.raises(DataError, match="folds have no effect"):
            trained.in_folds(3)


@pytest.mark.parametrize("first", [0, 3, 2**32 - 2])
def test_each_seed_has_its_own_splits_and_the_test_split_stays(first: int) -> None:
    whole = data()
    folded = whole.in_folds(4, first)
    lines = folded.summary().splitlines()
    assert "images: 72 in folds, 18 test" in lines
    assert any(line.startswith("4 folds of 18 images: each is the valid") for line in lines)
    assert (folded.fingerprint, folded.for_seed(0).test) == (whole.fingerprint, whole.test)
    seeds = [(first + i) % 2**32 for i in range(8)]
    held = [numbers(folded.for_seed(seed).validation) for seed in seeds]
    assert len({folded.for_seed(seed).fingerprint for seed in seeds} | {whole.fingerprint}) == 9
    pool = sorted(numbers(whole.train) + numbers(whole.validation))
    assert sorted(chain(*held[:4])) == sorted(chain(*held[4:])) == pool
    assert held[0] != held[4]  # another division
    assert held[1] == numbers(folded.for_seed(seeds[1]).validation)
    drawn = folded.for_seed(first)
    assert sorted(numbers(drawn.train) + numbers(drawn.validation)) == pool
    pixels = drawn.train.images.double() / 255
    assert drawn.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert drawn.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    assert whole.for_seed(3) is whole


def test_the_summary_counts_the_images_of_folds_not_those_of_the_fixed_splits() -> None:
    images = RNG.integers(0, 256, (100, 6, 6), dtype=np.uint8)
    masks = (images > 128).astype(np.uint8)
    groups = np.arange(100) // 7
    targets = np.arange(100) + 0.5
    for labels, said in (
        (np.arange(100) % 3, "smallest class: '1', 33 images (26 in folds, 7 test)"),
        (targets, "'target' in folds: mean "),
        (masks, " in folds, "),
    ):
        summary = ss.Data.from_arrays(images, labels, groups=groups).in_folds(3).summary()
        assert said in summary
        assert "train," not in summary
        assert "validation," not in summary
        found = re.search(r"3 folds of (\d+) to (\d+) images", summary)
        assert found is not None
        assert 20 < int(found[1]) < int(found[2]) < 35
    folded = ss.Data.from_arrays(images, targets).in_folds(3)
    pool = torch.cat([folded.train.class_labels, folded.validation.class_labels])
    assert f"mean {pool.mean():.6g}, standard deviation" in folded.summary()


def test_masks_and_noise_have_folds_too() -> None:
    images = RNG.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    masks = (images > 128).astype(np.uint8)
    folded = ss.Data.from_arrays(images, masks).in_folds(4)
    drawn = folded.for_seed(2)
    assert len(drawn.validation) == 8
    assert torch.equal(
        (drawn.validation.images[:, 0] > 128).to(torch.uint8), drawn.validation.labels
    )


def test_targets_are_standardised_by_the_training_images_of_a_fold() -> None:
    images = RNG.integers(0, 256, (60, 6, 6), dtype=np.uint8)
    folded = ss.Data.from_arrays(images, RNG.lognormal(size=60)).in_folds(3)
    for seed in range(3):
        drawn = folded.for_seed(seed)
        targets = drawn.train.class_labels[:, 0]
        assert drawn.target_mean == pytest.approx([targets.mean().item()])
        assert drawn.target_std == pytest.approx([targets.std(correction=0).item()])


def test_a_fold_without_a_label_or_with_a_constant_target_is_refused() -> None:
    images = RNG.integers(0, 256, (40, 6, 6), dtype=np.uint8)
    rare = np.zeros((40, 2), dtype=int)
    rare[:, 0] = np.arange(40) % 2
    rare[::9, 1] = 1
    with pytest.raises(DataError, match=r"the label '1' is missing in fold \d of 10"):
        ss.Data.from_arrays(images, rare).in_folds(10)
    images = RNG.integers(0, 256, (120, 6, 6), dtype=np.uint8)
    flat = np.where(np.arange(120) % 10, 0.0, RNG.random(120))
    with pytest.raises(DataError, match=r"the target 'target' is constant in fold \d of 15"):
        ss.Data.from_arrays(images, flat).in_folds(15)


@pytest.mark.parametrize(
    ("folds", "how", "said"),
    [
        (1, {}, "folds: 1 is not a whole number from 2 to 20"),
        (True, {}, "folds: True is not a whole number"),
        (30, {}, "from 2 to 20"),
        (3, {"validation": True}, "data have their own validation images"),
        (20, {"n": 60}, "class '0' has 16 images for training and validation, too few for 20"),
        (12, {"groups": 9}, "class '0' has 8 groups for training and validation, too few for 12"),
    ],
)
def test_impossible_folds_are_refused(folds: Any, how: dict[str, Any], said: str) -> None:
    how = dict(how)
    n = how.pop("n", 90)
    if "groups" in how:
        how["groups"] = np.arange(n) // how["groups"]
    if "validation" in how:
        how["validation"] = (RNG.integers(0, 256, (9, 6, 6), dtype=np.uint8), np.arange(9) % 3)
    with pytest.raises(DataError, match=said):
        data(n, **how).in_folds(folds)


def test_data_are_divided_into_folds_once() -> None:
    with pytest.raises(DataError, match="the data are divided into folds already"):
        data().in_folds(4).in_folds(4, 4)


# --- statistics ----------------------------------------------------------------------------------

# Nadeau & Bengio 2003: the corrected resampled t-test, for 5 folds of 100 images.
FOLDED = Scale(ACCURACY, 20, folds=5)
FIXED = Scale(ACCURACY, 20)


def test_an_interval_is_that_of_the_corrected_resampled_t_test() -> None:
    scores = [0.5, 0.6, 0.55, 0.7, 0.65]
    half = t.ppf(0.975, 4) * sqrt(variance(scores) * (1 / 5 + 20 / 80))
    assert interval(scores, FOLDED) == pytest.approx((fmean(scores) - half, fmean(scores) + half))
    low, high = interval(scores, FIXED)
    assert 2 * half / (high - low) == pytest.approx(1.5)  # sqrt(5 * (1/5 + 1/4))


def test_folds_count_as_fewer_seeds_in_ties_and_chances() -> None:
    scores = [[0.80, 0.82, 0.84, 0.83, 0.81], [0.775, 0.79, 0.805, 0.80, 0.78]]
    scores += [[0.60 + i / 100, 0.62, 0.63, 0.61, 0.60] for i in range(3)]
    assert tied_with_leader(scores, FIXED) == [True, False, False, False, False]
    assert tied_with_leader(scores, FOLDED) == [True, True, False, False, False]
    fixed, folded = (chance_of_best(scores[:2], scale)[0] for scale in (FIXED, FOLDED))
    assert 0.5 < folded < fixed


# --- searches ------------------------------------------------------------------------------------


def test_a_design_is_trained_on_all_folds_before_the_next_one(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=12, seeds=4, complete=True)
    proposals = []
    while (proposal := study.ask()) is not None:
        proposals.append((proposal.candidate.key, proposal.seed))
        train(study, proposal)
        if len(proposals) in (2, 7):  # interrupted within a design
            study.close()
            study = open_study(tmp_path, trials=12, seeds=4, complete=True)
    study.close()
    keys = [key for key, _ in proposals]
    assert keys == [key for key in dict.fromkeys(keys) for _ in range(4)]
    assert [seed for _, seed in proposals] == [0, 1, 2, 3] * 3


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"folds": 3, "seeds": 4}, "seeds: 4 is not a multiple of the 3 folds"),
        ({"folds": 3, "trials": 7}, "trials: 7 is not a multiple of 3"),
        ({"folds": 3, "trials": "7"}, "trials: '7' is not a positive whole number"),
        ({"folds": 0}, "folds: 0 is not a whole number from 2 to 20"),
        ({"folds": 3, "ask": "layout"}, "folds: is not for a search that is asked about axes"),
        ({"folds": 3, "scheduler": "asha"}, "folds: cannot be combined with the scheduler asha"),
    ],
)
def test_a_search_whose_designs_could_not_have_all_folds_is_refused(
    tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    with pytest.raises((RunError, DataError), match=said):
        ss.search("quickstart", data(), out=tmp_path / "run", **how)
    assert not (tmp_path / "run").exists()


def test_data_in_folds_are_not_given_to_a_search(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="are divided into folds already; give folds to search"):
        ss.search("quickstart", data().in_folds(3), out=tmp_path / "run")


def test_a_design_that_lacks_a_fold_comes_after_complete_ones(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=6, seeds=3, complete=True)
    for number in range(5):
        proposal = study.ask()
        assert proposal is not None
        train(study, proposal, accuracy=0.9 if number > 2 else 0.5)
    table = rank(study.trials(), [3], Scale(ACCURACY, 20, folds=3))
    assert table.n.tolist() == [3, 2]
    assert table.tied.tolist() == [True, False]


def test_a_failed_design_leaves_its_trainings_to_complete_ones(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=6, seeds=3, complete=True)
    first = study.ask()
    assert first is not None
    study.finish(first.number, FAIL, "too large")
    counts: Counter[str] = Counter()
    while (proposal := study.ask()) is not None:
        counts[proposal.candidate.key] += 1
        train(study, proposal)
    assert set(counts.values()) == {3}


def test_words_about_trainings_with_folds_do_not_say_seeds(tmp_path: Path) -> None:
    study = open_study(tmp_path, trials=1, seeds=3, complete=True)
    train(study, study.ask())
    scale = Scale(R2, 20, folds=3)
    said = [*_leading(rank(study.trials(), [3], scale), scale), degradation_legend(scale.repeat)]
    search = {"run": "", "space": "", "data": "", "trials": 3, "designs": 1, "epochs": 3}
    unknown = {R2.validation: 0.5, "seed": 0, "folds": 3, "confirmations": []}
    said += _found(search | unknown, R2)[2:]
    assert all("fold" in words for words in (said[0], *said[2:]))
    assert "seed" not in " ".join(said)
    assert "one fold each separates no designs" in said[1]


@pytest.mark.usefixtures("ray")
def test_a_search_with_folds_goes_the_whole_way(tmp_path: Path) -> None:
    images, out = data(), tmp_path / "run"
    space = ss.Space.from_dict(
        {
            "name": "tiny",
            "base": {"widths": [4, 8], "depths": [1, 1]},
            "recipe": {"batch_size": 16},
            "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
        }
    )
    how: dict[str, Any] = {"trials": 6, "epochs": 2, "out": out}
    run = ss.search(space, images, folds=3, **how)
    assert (run.config.seeds, run.config.data.folds) == (3, 3)
    assert (run.config.data.train_images, run.config.data.validation_images) == (48, 24)
    assert run.config.scale.mean_variance(3) == pytest.approx(1 / 3 + 24 / 48)
    assert sorted(trial.seed for trial in run.trials()) == [0, 0, 1, 1, 2, 2]
    assert (run.rank().n == 3).all()
    # Each training is the one that its seed's splits give.
    best = run.trial("best")
    fold = images.in_folds(3).for_seed(best.seed)
    *_, last = ss.train(
        ss.build(best.design, 1, 3, seed=best.seed), fold, best.recipe, seed=best.seed
    )
    assert last.validation_score == best.curve[-1].validation_score
    _, *words = shlex.split(search_command(run.config, run.path))
    assert read_arguments(words).folds == 3

    with pytest.raises(RunError, match="folds is 3 there, 4 was asked for"):
        ss.search(space, images, folds=4, **how | {"trials": 4})
    assert ss.search(space, images, **how).config.data.folds == 3  # what is not given is the run's
    run = Run.open(out)
    assert "3 folds" in run.report().read_text()
    confirmed = ss.confirm(run, top=2, seeds=2, data=images)
    assert confirmed.rounds == 2
    assert "after 2 new folds each" in str(confirmed)
    assert "mean of 2 folds" in str(confirmed)
    assert "new seed" not in str(confirmed)
    assert "interval of the mean over n folds" in run.report().read_text()
    seen: list[ss.Data] = []
    exported = ss.export(run, "best", tmp_path / "winner", data=images, on_data=seen.append)
    assert (seen[0].folds, seen[0].notes) == (None, images.notes)  # those of the fixed splits
    said = [seen[0].summary()]
    with pytest.raises(RunError, match="the given data are divided into folds"):
        ss.export(run, "best", tmp_path / "other", data=images.in_folds(3))
    assert exported.test.images == 18
    page = (exported.path / "card.md").read_text()
    assert "trained again with new folds" in page
    assert "(n = 2 folds)" in page
    assert said == [images.summary()]  # trained on the fixed splits
