"""Degradation over depth: simulated trainings whose truth is known, and statistics by others."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from skipsearch import analysis
from skipsearch.analysis import Degradation
from skipsearch.analysis.depth.samples import Sample, difference, holm, p_below
from skipsearch.design import Design
from skipsearch.metric import ACCURACY, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Environment, Epoch, Trial
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space

PLAIN = "conv3-bn-relu-conv3-bn-relu"
RESIDUAL = "conv3-bn-relu-conv3-bn + relu"
BUDGET = 2
DEPTHS = (1, 3, 5)  # blocks; 4, 8 and 12 layers
LAYERS = [4, 8, 12]
TRAIN_IMAGES, SCALE = 20_000, Scale(ACCURACY, 5_000)
Errors = Sequence[float]  # one a depth


def degradation(trials: list[Trial], **how: Any) -> Degradation:
    return analysis.degradation(trials, TRAIN_IMAGES, SCALE, **how)


def design(layout: str = RESIDUAL, depth: int = 1, **fields: Any) -> Design:
    return Design(layout=layout, **{"depths": (depth,), "widths": (4,), **fields})


def record(
    of: Design, seed: int = 0, train: float = 0.5, validation: float = 0.5, **fields: Any
) -> Trial:
    """A training with these errors at its end, and with others at its first epoch."""
    curve = (Epoch(1, 0.1, 2.0, 0.3, 2.0, 0.3, 1.0), _last(train, validation))
    values: dict[str, Any] = {
        "number": 0,
        "design": of,
        "recipe": Recipe(epochs=BUDGET),
        "seed": seed,
        "state": COMPLETE,
        "reason": "",
        "curve": curve,
        "params": 1,
        "macs": 1,
        "device": "cpu",
        "versions": {},
    }
    return Trial(**(values | fields))


def _last(train: float, validation: float, loss: float = 1.0) -> Epoch:
    return Epoch(2, 0.1, loss, 1 - train, 1.0, 1 - validation, 1.0)


def simulated(
    train: Errors,
    validation: Errors,
    rng: np.random.Generator,
    seeds: int = 4,
    deviation: float = 0.004,
    layout: str = RESIDUAL,
    **fields: Any,
) -> list[Trial]:
    """Trainings over depth whose true errors are given."""
    return [
        record(
            design(layout, depth),
            seed,
            max(0.0, e + deviation * rng.standard_normal()),
            max(0.0, v + deviation * rng.standard_normal()),
            **fields,
        )
        for depth, e, v in zip(DEPTHS, train, validation, strict=True)
        for seed in range(seeds)
    ]


def verdict_of(trials: list[Trial], **how: Any) -> Any:
    (row,) = degradation(trials, **how).verdicts.itertuples()
    return row


def sample(values: Sequence[float]) -> Sample:
    return Sample.of(list(values), 0.0, SCALE)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- the verdict ---------------------------------------------------------------------------------

TRUTHS: dict[str, list[tuple[Errors, Errors]]] = {
    "degrades": [
        ((0.10, 0.15, 0.20), (0.15, 0.20, 0.25)),
        ((0.20, 0.10, 0.15), (0.25, 0.15, 0.20)),  # the paper's: better at first, then worse
        ((0.20, 0.10, 0.15), (0.20, 0.20, 0.20)),
    ],
    "overfits": [
        ((0.10, 0.05, 0.01), (0.10, 0.15, 0.20)),
        ((0.10, 0.05, 0.01), (0.20, 0.10, 0.15)),
    ],
    "gains": [
        ((0.20, 0.15, 0.10), (0.25, 0.20, 0.15)),
        ((0.20, 0.15, 0.15), (0.25, 0.20, 0.20)),
        ((0.10, 0.12, 0.15), (0.25, 0.20, 0.15)),  # regularised: it trains worse and is better
    ],
    "tied": [
        ((0.1, 0.1, 0.1), (0.2, 0.2, 0.2)),
        ((0.2, 0.1, 0.0), (0.2, 0.2, 0.2)),  # what is not seen in validation is no gain
    ],
}


@pytest.mark.parametrize(
    ("truth", "train", "validation"),
    [(truth, *errors) for truth, cases in TRUTHS.items() for errors in cases],
)
def test_degradation_overfitting_and_gain_are_told_apart(
    truth: str, train: Errors, validation: Errors, rng: np.random.Generator
) -> None:
    row = verdict_of(simulated(train, validation, rng))
    assert row.verdict == truth
    assert (row.shallowest, row.deepest, row.n) == (4, 12, 4)
    assert row.train_rise == pytest.approx(train[2] - min(train[:2]), abs=0.01)
    assert row.validation_rise == pytest.approx(validation[2] - min(validation[:2]), abs=0.01)
    assert row.train_rise_low < row.train_rise < row.train_rise_high


def test_overfitting_is_not_claimed_where_training_may_have_become_worse() -> None:
    # The training error of the deepest is higher, but by less than its seeds differ.
    trials = [
        record(design(depth=depth), seed, e, v)
        for depth, errors, v in ((1, (0.10, 0.11, 0.12), 0.10), (3, (0.08, 0.12, 0.16), 0.20))
        for seed, e in enumerate(errors)
    ]
    assert verdict_of(trials).verdict == "not enough data"
    # Were it lower, it would be overfitting.
    better = [
        record(trial.design, trial.seed, 0.05, 0.2) if trial.design.depths == (3,) else trial
        for trial in trials
    ]
    assert verdict_of(better).verdict == "overfits"


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_verdicts_are_false_where_nothing_depends_on_depth(
    seeds: int, rng: np.random.Generator
) -> None:
    groups = 200
    trials = [
        trial
        for i in range(groups)
        for trial in simulated(
            (0.1, 0.1, 0.1),
            (0.2, 0.2, 0.2),
            rng,
            seeds,
            recipe=Recipe(epochs=BUDGET, peak_lr=(i + 1) / 1000),
        )
    ]
    verdicts = degradation(trials).verdicts.verdict
    assert len(verdicts) == groups
    # 5 % at most, and three standard errors of a share of 200.
    assert (verdicts != "tied").mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / groups)


def test_a_planted_degradation_is_found_as_often_as_its_size_promises(
    rng: np.random.Generator,
) -> None:
    groups, seeds = 100, 5
    trials = [
        trial
        for i in range(groups)
        for trial in simulated(
            (0.1, 0.1, 0.12),  # by five deviations
            (0.2, 0.2, 0.22),
            rng,
            seeds,
            recipe=Recipe(epochs=BUDGET, peak_lr=(i + 1) / 1000),
        )
    ]
    verdicts = degradation(trials).verdicts.verdict
    # Bonferroni's bound for the weakest of five tests at 5 % is passed by one test of a
    # difference of five deviations in 99.9 %: a noncentral t at 8 degrees of freedom.
    assert (verdicts == "degrades").mean() > 0.95


def test_one_image_more_with_seeds_that_agree_is_not_a_degradation(
    rng: np.random.Generator,
) -> None:
    # Of 100 images 10 are wrong with both seeds of the shallowest, and 11 at the other depths.
    errors = (0.10, 0.11, 0.11)
    trials = simulated(errors, errors, rng, seeds=2, deviation=0.0)
    coarse = analysis.degradation(trials, 100, Scale(ACCURACY, 100)).verdicts.iloc[0]
    assert coarse.verdict == "tied"
    assert coarse.train_rise == pytest.approx(0.01)
    half = student.ppf(0.975, 2) * math.sqrt(2 / 12 / 100**2 / 2)
    assert coarse.train_rise_high - coarse.train_rise == pytest.approx(half)
    fine = analysis.degradation(trials, 100_000, Scale(ACCURACY, 100_000)).verdicts.iloc[0]
    assert fine.verdict == "degrades"


def test_a_training_that_stands_in_two_groups_was_stopped_once() -> None:
    # Of one block, which changes the shape, a projection in all shortcuts is one where it does.
    deep = [
        record(design(depth=2, stem_width=2, shortcut=shortcut))
        for shortcut in ("proj", "proj-all")
    ]
    stopped = record(design(depth=1, stem_width=2, shortcut="proj"), state=PRUNED, curve=())
    found = degradation([stopped, *deep])
    assert found.table.stopped.tolist() == [1, 0, 1, 0]
    assert any("Early stopping ended 1 of these trainings" in text for text in found.words)


def test_a_single_seed_or_a_single_depth_is_not_enough(rng: np.random.Generator) -> None:
    falling = (0.3, 0.2, 0.1)
    lone = degradation(simulated(falling, falling, rng, seeds=1))
    assert lone.verdicts.verdict.tolist() == ["not enough data"]
    assert lone.verdicts.n.tolist() == [1]
    assert lone.table.train_error.tolist() == pytest.approx(falling, abs=0.02)
    assert lone.table[["train_error_sd", "train_error_low"]].isna().all(axis=None)
    assert lone.words == (
        "Not enough data. A verdict needs two depths with 2 seeds each, all else being equal.",
    )
    shallow = [trial for trial in simulated(falling, falling, rng) if trial.design.depths == (1,)]
    assert verdict_of(shallow).verdict == "not enough data"


def test_a_rise_counts_though_what_degrades_differs_more_from_seed_to_seed() -> None:
    # Plain nets of 8 and 32 layers on digits after 5 epochs, seen with search_spaces/degradation:
    # Welch's test of the errors themselves, at 2 degrees of freedom, does not pass Holm's bound.
    trials = [
        record(design(PLAIN, depth), seed, e, e)
        for depth, errors in ((1, (0.0045, 0.0065, 0.0085)), (3, (0.22, 0.32, 0.43)))
        for seed, e in enumerate(errors)
    ]
    row = verdict_of(trials)
    assert row.verdict == "degrades"
    low, high = ([0.0045, 0.0065, 0.0085], [0.22, 0.32, 0.43])
    assert p_below(sample(low), sample(high)) > 0.05 / 3


def test_equal_values_are_no_difference() -> None:
    trials = [record(design(depth=d), seed, 0.0, 0.1) for d in DEPTHS for seed in range(3)]
    row = verdict_of(trials)
    assert row.verdict == "tied"
    assert (row.train_rise, row.train_rise_low) == (0, -row.train_rise_high)


@pytest.mark.parametrize(
    ("validation", "enough", "best"),
    [
        ((0.30, 0.20, 0.10), 12, (12,)),
        ((0.30, 0.10, 0.10), 8, (8, 12)),
        ((0.10, 0.20, 0.30), 4, (4,)),
        ((0.30, 0.10, 0.20), 8, (8,)),
    ],
)
def test_the_depth_at_which_going_deeper_stops_helping(
    validation: Errors, enough: int, best: tuple[int, ...], rng: np.random.Generator
) -> None:
    found = degradation(simulated((0.1, 0.1, 0.1), validation, rng))
    (row,) = found.verdicts.itertuples()
    assert row.enough == enough
    assert row.best in best
    still = "Going deeper still helped at 12 layers, the deepest compared."
    assert (still in found.words[0]) == (enough == 12)


# --- statistics by others ------------------------------------------------------------------------

SAMPLES = [
    ([0.1, 0.12, 0.11], [0.14, 0.2, 0.18, 0.17]),
    ([0.3, 0.1], [0.15, 0.25]),
    ([0.5, 0.51, 0.52, 0.53], [0.1, 0.4]),
]


@pytest.mark.parametrize(("low", "high"), SAMPLES)
def test_test_and_interval_are_those_of_welch(low: list[float], high: list[float]) -> None:
    assert p_below(sample(low), sample(high)) == pytest.approx(
        ttest_ind(low, high, equal_var=False, alternative="less").pvalue
    )
    interval = ttest_ind(high, low, equal_var=False).confidence_interval(0.95)
    assert difference(sample(low), sample(high)) == pytest.approx(
        (np.mean(high) - np.mean(low), interval.low, interval.high)
    )


def test_samples_without_spread_differ_where_their_means_do() -> None:
    # Of a metric that is no share of the images, seeds may agree to the last bit.
    one, other = sample([1.0, 1.0]), sample([2.0, 2.0, 2.0])
    assert holm([(one, one), (one, other), (other, one)]) == [False, True, False]
    assert difference(one, one) == (0, 0, 0)
    assert difference(one, other) == (1, 1, 1)


def test_many_claims_are_held_to_what_holm_allows(rng: np.random.Generator) -> None:
    # Holm's method is the closed test of Bonferroni's: a claim holds if each set of claims that it
    # stands in has one below 5 % / size (Marcus, Peritz & Gabriel 1976, doi:10.2307/2335748).
    kinds = set()
    for _ in range(50):
        claims = [
            (sample(rng.normal(0.0, 1, 3)), sample(rng.normal(rng.choice([0, 4]), 1, 3)))
            for _ in range(5)
        ]
        p = [p_below(*claim) for claim in claims]
        sets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
        passed = {s: min(p[i] for i in s) <= 0.05 / len(s) for s in sets}
        expected = [all(passed[s] for s in sets if i in s) for i in range(5)]
        assert holm(claims) == expected
        kinds.add(sum(expected))
    assert len(kinds) > 3, "the claims were all alike"


def test_means_come_with_the_interval_of_student(rng: np.random.Generator) -> None:
    trials = simulated((0.3, 0.2, 0.1), (0.4, 0.3, 0.2), rng, seeds=5)
    for row, depth in zip(degradation(trials).table.itertuples(), DEPTHS, strict=True):
        errors = [
            1 - trial.curve[-1].validation_score
            for trial in trials
            if trial.design.depths == (depth,)
        ]
        assert row.n == 5
        assert row.validation_error == pytest.approx(np.mean(errors))
        assert row.validation_error_sd == pytest.approx(np.std(errors, ddof=1))
        low, high = student.interval(0.95, 4, np.mean(errors), np.std(errors, ddof=1) / 5**0.5)
        assert (row.validation_error_low, row.validation_error_high) == pytest.approx((low, high))
        assert (row.train_loss, row.train_loss_sd) == (1.0, 0.0)


def test_folds_are_not_counted_as_independent_trainings(rng: np.random.Generator) -> None:
    # Nadeau & Bengio 2003: the variance of a mean over k folds has the factor 1/k + 1/(k - 1).
    wider = math.sqrt((1 / 5 + 1 / 4) / (1 / 5))
    trials = simulated((0.3, 0.2, 0.1), (0.4, 0.3, 0.2), rng, seeds=5)
    folds = Scale(ACCURACY, SCALE.images, folds=5)
    of_seeds = degradation(trials)
    of_folds = analysis.degradation(trials, TRAIN_IMAGES, folds)
    for table, name in itertools.product(
        ("table", "verdicts"), ("train_error", "validation_error", "train_rise", "validation_rise")
    ):
        seeds, repeats = getattr(of_seeds, table), getattr(of_folds, table)
        if name in seeds:
            width = seeds[f"{name}_high"] - seeds[f"{name}_low"]
            wide = repeats[f"{name}_high"] - repeats[f"{name}_low"]
            assert wide.to_numpy() == pytest.approx(wider * width.to_numpy())
    ranked = analysis.rank(trials, (1, BUDGET), folds, ["depths"])
    ends = dict(zip(ranked.depths, zip(1 - ranked.high, 1 - ranked.low, strict=True), strict=True))
    for row in of_folds.table.itertuples():
        assert (row.validation_error_low, row.validation_error_high) == pytest.approx(
            ends[row.depths]
        )


def test_a_rise_that_is_significant_over_seeds_may_not_be_so_over_folds() -> None:
    trials = [
        record(design(depth=depth), seed, error + step, error + step)
        for depth, error in ((1, 0.200), (3, 0.206))
        for seed, step in enumerate((-0.004, -0.002, 0.0, 0.002, 0.004))
    ]
    folds = Scale(ACCURACY, SCALE.images, folds=5)
    assert verdict_of(trials).verdict == "degrades"
    (row,) = analysis.degradation(trials, TRAIN_IMAGES, folds).verdicts.itertuples()
    assert row.verdict == "tied"


def test_an_interval_of_errors_stays_between_nothing_and_all() -> None:
    trials = [record(design(), seed, error, error) for seed, error in enumerate((0.0, 1.0))]
    (row,) = degradation(trials).table.itertuples()
    assert (row.train_error_low, row.train_error_high) == (0, 1)


# --- groups --------------------------------------------------------------------------------------


def test_what_differs_in_more_than_depth_is_never_compared(rng: np.random.Generator) -> None:
    errors = (0.3, 0.2, 0.1)
    other = Recipe(epochs=BUDGET, peak_lr=0.7)
    trials = [
        *simulated(errors, errors, rng),
        *simulated(errors, errors, rng, layout=PLAIN),
        *simulated(errors, errors, rng, recipe=other),
        *(record(design(depth=d, widths=(8,)), s) for d in DEPTHS for s in range(2)),
        *(record(design(depths=(d, d), widths=(4, 8)), s) for d in DEPTHS for s in range(2)),
    ]
    table = degradation(trials, axes=("layout", "recipe.peak_lr")).table
    assert table.groupby("group").layers.apply(list).tolist() == [LAYERS] * 4 + [[6, 14, 22]]
    assert table.groupby("group").n.apply(list).tolist() == [[4] * 3] * 3 + [[2] * 3] * 2
    # The plain ones first.
    layouts = table.groupby("group").layout.first().tolist()
    assert layouts == [PLAIN, *[RESIDUAL] * 4]
    assert table.groupby("group").recipe.nunique().eq(1).all()
    assert sorted(table["recipe.peak_lr"].unique()) == sorted({other.peak_lr, Recipe().peak_lr})


def test_a_network_that_two_groups_share_stands_in_both() -> None:
    # With one block in each stage, and all of them changing the shape, a net without shortcuts
    # where shapes change is a plain one.
    def omit(depth: int) -> Design:
        return Design(layout=RESIDUAL, shortcut="omit", depths=(depth,), widths=(8,), stem_width=4)

    def plain(depth: int) -> Design:
        layout = str(omit(1).canonical().layout)
        return Design(layout=layout, depths=(depth,), widths=(8,), stem_width=4)

    assert omit(1).id == plain(1).id
    trials = [record(each, seed) for each in (omit(1), omit(2), plain(2)) for seed in range(2)]
    found = degradation(trials)
    assert found.table.layers.tolist() == [4, 6, 4, 6]
    assert found.table.design.tolist() == [plain(1).id, plain(2).id, omit(1).id, omit(2).id]
    assert found.table.shortcut.tolist() == ["-", "-", "omit", "omit"]
    assert found.verdicts.verdict.tolist() == ["tied", "tied"]


# --- equal fidelity ------------------------------------------------------------------------------


def test_trainings_that_did_not_get_so_far_are_counted_and_not_compared() -> None:
    early = (Epoch(1, 0.1, 2.0, 0.9, 2.0, 0.99, 1.0),)
    trials = [
        record(design(), 0, 0.4, 0.5),
        record(design(), 1, state=PRUNED, curve=early),
        record(design(), 2, state=FAIL, curve=(), reason="the loss became nan"),
    ]
    whole = degradation(trials)
    (row,) = whole.table.itertuples()
    assert (row.epochs, row.n, row.stopped, row.failed) == (2, 1, 1, 1)
    assert (row.train_error, row.validation_error) == pytest.approx((0.4, 0.5))
    assert any("Early stopping ended 1 of these" in sentence for sentence in whole.words)
    assert any(sentence.startswith("1 of these trainings failed") for sentence in whole.words)
    first = degradation(trials, epochs=1)
    (row,) = first.table.itertuples()
    assert (row.epochs, row.n, row.stopped, row.failed) == (1, 2, 0, 1)
    assert row.validation_error == pytest.approx((0.7 + 0.01) / 2)
    assert (row.train_error, row.train_loss) == pytest.approx(((0.7 + 0.1) / 2, 2.0))
    assert not any("Early stopping" in sentence for sentence in first.words)


# --- who converges faster ------------------------------------------------------------------------


def converging(of: Design, seed: int, losses: Sequence[float]) -> Trial:
    curve = tuple(Epoch(i, 0.1, loss, 0.5, 1.0, 0.5, 1.0) for i, loss in enumerate(losses, 1))
    return record(of, seed, recipe=Recipe(epochs=4), curve=curve)


def test_epochs_are_counted_to_the_loss_that_the_slowest_reaches() -> None:
    trials = [
        converging(design(PLAIN), 0, [4.0, 3.0, 2.0, 2.1]),  # the slowest: it has reached 2.0
        converging(design(PLAIN), 1, [4.0, 2.0, 1.0, 1.0]),
        converging(design(RESIDUAL), 0, [1.5, 1.0, 1.0, 0.5]),
        converging(design(RESIDUAL), 1, [3.0, 1.0, 1.0, 0.5]),
        converging(design(RESIDUAL), 2, [3.0, 1.0, 1.0, 0.5]),
        converging(design(RESIDUAL, depth=3), 0, [9.0, 9.0, 9.0, 8.0]),  # another depth
    ]
    found = degradation(trials)
    assert found.table.loss.tolist() == [2.0, 2.0, 8.0]
    assert found.table.epochs_to_loss.tolist() == [2.5, 2.0, 4.0]  # medians
    assert found.words[-1] == (
        f"Epochs until a training loss of 2, at 4 layers: 2 for {RESIDUAL}; 2.5 for plain {PLAIN}."
    )
    asked = degradation(trials, loss=1.0).table
    assert asked.loss.tolist() == [1.0] * 3
    assert asked.epochs_to_loss.tolist() == [math.inf, 2.0, math.inf]
    assert degradation(trials, epochs=1).table.loss.tolist() == [4.0, 4.0, 9.0]


# --- in words, and as tables ---------------------------------------------------------------------


def test_the_answer_names_the_groups_and_what_was_seen(rng: np.random.Generator) -> None:
    up, down = (0.1, 0.15, 0.2), (0.2, 0.15, 0.1)
    found = degradation([*simulated(down, down, rng), *simulated(up, up, rng, layout=PLAIN)])
    plain, residual, faster = found.words
    assert plain.startswith(f"plain {PLAIN}: degrades. Training error goes from ")
    assert " at 4 layers to " in plain
    assert plain.endswith("(n = 4 seeds or more). Going deeper stops helping at 4 layers.")
    assert residual.startswith(f"{RESIDUAL}: gains. ")
    assert faster.startswith("Epochs until a training loss of ")


COLUMNS = [
    *("group", "recipe", "layout", "shortcut", "merge", "depths", "layers", "design", "epochs"),
    *("n", "stopped", "failed"),
    *(
        f"{measure}{statistic}"
        for measure in ("train_error", "train_loss", "validation_error")
        for statistic in ("", "_sd", "_low", "_high")
    ),
    *("loss", "epochs_to_loss"),
]


def test_no_records_give_empty_tables_with_all_columns(rng: np.random.Generator) -> None:
    nothing = degradation([])
    assert nothing.words == ()
    assert nothing.table.columns.tolist() == COLUMNS
    something = degradation(simulated((0.1, 0.1, 0.1), (0.1, 0.1, 0.1), rng))
    assert something.table.columns.tolist() == COLUMNS
    assert something.verdicts.columns.tolist() == nothing.verdicts.columns.tolist()
    assert isinstance(something, Degradation)
    assert isinstance(something.verdicts, pd.DataFrame)


# --- a space that is trained for it --------------------------------------------------------------

SPACE = """
name: deep
base: {widths: [4, 8], shortcut: pad}
axes:
  layout: [conv3-bn-relu-conv3-bn-relu, conv3-bn-relu-conv3-bn + relu]
  depths: [[1, 1], [2, 2], [3, 3]]
"""


@pytest.fixture
def _calm() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def trained(judge: Callable[[int], str]) -> dict[str, list[int]]:
    """Let the grid try all of the space with three seeds; return the seeds of each design."""
    plan = Plan(
        space=Space.from_yaml(SPACE),
        recipe=Recipe(epochs=1),
        trials=18,
        seed=7,
        sampler="grid",
        seeds=3,
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "s", plan)
    seeds: dict[str, list[int]] = {}
    for asked in itertools.count():
        proposal = study.ask()
        if proposal is None:
            return seeds
        seeds.setdefault(proposal.candidate.design.id, []).append(proposal.seed)
        study.report(proposal.number, [Epoch(1, 0.1, 1.0, 0.5, 1.0, 0.5, 1.0)], Environment())
        study.finish(proposal.number, judge(asked))
    raise AssertionError


@pytest.mark.usefixtures("_calm")
def test_the_grid_trains_every_design_with_every_seed() -> None:
    seeds = trained(lambda asked: COMPLETE)
    assert len(seeds) == 6
    assert [sorted(each) for each in seeds.values()] == [[7, 8, 9]] * 6


@pytest.mark.usefixtures("_calm")
def test_a_design_that_fails_is_not_tried_with_further_seeds() -> None:
    seeds = trained(lambda asked: COMPLETE if asked else FAIL)
    assert sorted(map(len, seeds.values())) == [1, 3, 3, 3, 3, 3]
