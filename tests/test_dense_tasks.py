"""Trainings of dense tasks: joint geometry, noise, packs, baselines, measurements."""

import dataclasses
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dense_data import NAMES, denoising, seeded, segmentation
from gpu import needs_cuda, never_waits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from skipsearch.data import Data, Split, augment, draw, load_data
from skipsearch.data.source import Array
from skipsearch.data.split import IGNORED
from skipsearch.errors import RecipeError, TrainingError
from skipsearch.intervals import wilson
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.run.searching import search
from skipsearch.space import Space
from skipsearch.training import Trainer, do_nothing
from skipsearch.training.batches import Batches
from skipsearch.training.bootstrap import bootstrap, interval_of
from skipsearch.training.criteria import CRITERIA, Criterion
from skipsearch.training.engine import Training
from skipsearch.training.examples import Examples

RECIPE = Recipe(epochs=2, batch_size=8, precision="float32")
TASKS = {"segmentation": segmentation, "denoising": denoising}


class Dense(nn.Module):
    """Some plain networks (N, K * inputs, H, W) -> (N, K * outputs, H, W), side by side."""

    def __init__(self, inputs: int, outputs: int, networks: int = 1) -> None:
        super().__init__()
        width = 8 * networks
        self.first = nn.Conv2d(networks * inputs, width, 3, padding=1, groups=networks)
        self.last = nn.Conv2d(width, networks * outputs, 3, padding=1, groups=networks)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x).relu())
        return y


def network(data: Data, seed: int = 0) -> Dense:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dense(data.in_channels, data.outputs)


def packed(data: Data, models: list[Dense]) -> Dense:
    whole = Dense(data.in_channels, data.outputs, len(models))
    states = [model.state_dict() for model in models]
    whole.load_state_dict({name: torch.cat([s[name] for s in states]) for name in states[0]})
    return whole


def seen(epoch: Epoch) -> list[float]:
    return [value for name, value in epoch.to_dict().items() if name != "seconds"]


@pytest.fixture(params=TASKS)
def data(request: pytest.FixtureRequest) -> Data:
    return TASKS[request.param]()


# --- geometry ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 6), st.integers(0, 99))
def test_images_and_masks_move_together(crop: int, flip: bool, cutout: int, seed: int) -> None:
    # A mask that is the image itself, from 1 on, so that a 0 is always one that augment put there.
    images = torch.randint(1, 250, (6, 1, 9, 7), generator=seeded(seed), dtype=torch.uint8)
    draws = draw(6, 9, 7, seeded(seed), crop=crop)
    asked: dict[str, Any] = {"crop": crop, "flip": flip, "cutout": cutout}
    moved = augment(images, draws, **asked)
    masks = augment(images, draws, IGNORED, **asked)
    assert masks.dtype == torch.uint8
    assert torch.equal(masks == IGNORED, moved == 0)
    assert torch.equal(masks.masked_fill(masks == IGNORED, 0), moved)


def test_a_batch_has_the_masks_of_its_images() -> None:
    data = segmentation()
    recipe = RECIPE.resolve(data.augmentation).replace(cutout=3)
    examples = Examples(data, recipe, CRITERIA["segmentation"](data, recipe))
    draws = Batches(data, recipe, (4, 5))[3]
    inputs, target = examples.augmented(draws)
    assert inputs.shape == (8, 6, 12, 10)
    assert target.shape == (8, 2, 12, 10)
    mean, std = (torch.tensor(each)[:, None, None] for each in (data.mean, data.std))
    pixels = 255 * (inputs.view(8, 2, 3, 12, 10) * std + mean)
    expected = torch.bucketize(pixels.mean(2).round(decimals=3), torch.tensor([100.0, 150.0]))
    counted = target != IGNORED
    assert torch.equal(target[counted], expected[counted])
    padding = inputs.view(8, 2, 3, 12, 10).abs().sum(2) == 0  # and the cutout
    assert padding.any()
    assert not counted[padding].any()


def test_each_image_of_a_batch_has_its_own_noise() -> None:
    data = denoising(sigma=25.0)
    recipe = RECIPE.resolve(data.augmentation)
    examples = Examples(data, recipe, CRITERIA["denoising"](data, recipe))
    batches = Batches(data, recipe, (4, 5))
    inputs, target = examples.augmented(batches[0])
    noise = (inputs.view(target.shape) - target) * torch.tensor(data.std)[:, None, None] * 255
    assert noise.std().item() == pytest.approx(25, rel=0.05)
    flat = noise.reshape(16, -1)
    assert np.abs(np.corrcoef(flat.numpy()) - np.eye(16)).max() < 0.3
    again, _ = examples.augmented(batches[0])
    assert torch.equal(again, inputs)
    assert not torch.equal(examples.augmented(batches[5])[0], inputs)  # the same images later


def test_draws_of_other_tasks_are_as_before() -> None:
    noisy = denoising()
    clean = dataclasses.replace(noisy, task=segmentation().task)
    ours, theirs = (Batches(each, RECIPE, (0, 7)) for each in (noisy, clean))
    for step in (0, 6):
        assert ours[step].shape == (7, 8, 2)
        assert torch.equal(ours[step][:6], theirs[step])
    keys = torch.cat([ours[step][6].flatten() for step in range(15)])
    assert len(keys.unique()) == len(keys)


def test_validation_has_the_same_noise_whatever_was_asked_before() -> None:
    data = denoising()
    examples = Examples(data, Recipe(), CRITERIA["denoising"](data, Recipe()))
    whole, _ = examples.of(data.validation, torch.arange(12))
    part, clean = examples.of(data.validation, torch.tensor([7, 3]))
    assert torch.equal(part, whole[[7, 3]])
    assert not torch.equal(part, clean)


# --- trainings -----------------------------------------------------------------------------------


def test_a_pack_learns_what_its_networks_learn_alone(data: Data) -> None:
    recipe = RECIPE.replace(loss="both") if data.task.name == "segmentation" else RECIPE
    models = [network(data, seed) for seed in range(3)]
    pack = Training(packed(data, models), data, recipe, (5, 6, 7))
    alone = [Trainer(model, data, recipe, seed) for seed, model in enumerate(models, 5)]
    for _ in range(2):
        for together, trainer in zip(pack.run_epochs(), alone, strict=True):
            assert seen(together) == pytest.approx(seen(trainer.run_epoch()), rel=1e-4)
    for k, model in enumerate(models):
        for name, whole in pack.model.state_dict().items():
            torch.testing.assert_close(
                whole.chunk(3)[k], model.state_dict()[name], rtol=1e-3, atol=1e-5
            )


def test_a_training_is_the_same_twice_and_after_a_stop(data: Data) -> None:
    first = Trainer(network(data), data, RECIPE, 1)
    whole = [seen(first.run_epoch()) for _ in range(2)]
    second = Trainer(network(data), data, RECIPE, 1)
    assert seen(second.run_epoch()) == whole[0]
    resumed = Trainer(network(data, seed=9), data, RECIPE, 1)
    resumed.load_state_dict(second.state_dict())
    assert seen(resumed.run_epoch()) == whole[1]


def labelled() -> Data:
    """Masks without ignored pixels, which stay without: no image is moved beyond its edge."""
    data = segmentation()
    masks = data.train.labels
    train = Split(data.train.images, masks.where(masks != IGNORED, 0))
    return dataclasses.replace(data, train=train, augmentation=data.augmentation | {"crop": 0})


@pytest.mark.parametrize(
    ("make", "recipe"),
    [(denoising, RECIPE), (labelled, RECIPE), (labelled, RECIPE.replace(label_smoothing=0.1))],
    ids=["denoising", "cross-entropy", "label smoothing"],
)
def test_parts_add_up_to_the_batch(make: Callable[[], Data], recipe: Recipe) -> None:
    # Not for the losses that are ratios of sums over a batch, see ``Step``.
    data = make()
    whole, parted = (Trainer(network(data), data, recipe, parts=parts) for parts in (1, 4))
    assert seen(parted.run_epoch()) == pytest.approx(seen(whole.run_epoch()), rel=1e-4)


@pytest.mark.parametrize("loss", ["cross-entropy", "dice", "both"])
def test_segmentation_is_learnt(loss: str) -> None:
    data = segmentation()
    recipe = RECIPE.replace(epochs=12, peak_lr=0.2, loss=loss, class_weights="median-frequency")
    trainer = Trainer(network(data), data, recipe)
    epochs = [trainer.run_epoch() for _ in range(12)]
    assert epochs[-1].train_loss < 0.8 * epochs[0].train_loss
    assert epochs[-1].validation_score > do_nothing(data, data.validation) + 0.2
    assert epochs[-1].train_score > 0.5


def test_denoising_is_learnt() -> None:
    data = denoising(sigma=50.0)
    trainer = Trainer(network(data), data, RECIPE.replace(epochs=12, peak_lr=0.1))
    epochs = [trainer.run_epoch() for _ in range(12)]
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert epochs[-1].validation_score > do_nothing(data, data.validation) + 3  # dB


def test_scores_do_not_depend_on_the_batch_of_the_evaluation(data: Data) -> None:
    trainer = Trainer(network(data), data, RECIPE)
    _, whole = trainer.evaluate(data.validation)
    trainer._evaluation.size = 5
    _, parted = trainer.evaluate(data.validation)
    assert parted == pytest.approx(whole, rel=1e-6)


@needs_cuda
def test_a_step_never_waits_for_the_gpu(data: Data) -> None:
    on_gpu = data.to("cuda")
    recipe = RECIPE.replace(loss="both", class_weights="median-frequency")
    recipe = recipe if data.task.name == "segmentation" else RECIPE
    trainer = Trainer(network(on_gpu), on_gpu, recipe)
    for step in range(6):  # the last ones are replayed
        draws = trainer._batches[step]
        with never_waits():
            trainer._run(draws)
    assert not trainer.warning


def test_recipes_that_differ_in_nothing_are_one_training() -> None:
    space = Space.from_dict(
        {
            "base": {"layout": "conv3-bn-relu", "depths": [1], "widths": [4]},
            "axes": {
                "recipe.loss": ["cross-entropy", "dice", "both"],
                "recipe.class_weights": ["none", "median-frequency"],
            },
        }
    )
    found = [(c.recipe.loss, c.recipe.class_weights) for c in space.candidates()]
    assert len(found) == 5
    assert ("dice", "median-frequency") not in found


# --- what is refused -----------------------------------------------------------------------------


def test_a_loss_is_refused_where_there_is_no_choice() -> None:
    data = load_data("digits").without_test()
    message = r"^recipe\.loss: is for segmentation, and the task is classification$"
    with pytest.raises(RecipeError, match=message):
        Trainer(nn.Linear(1, 1), data, Recipe(loss="dice"))


@pytest.mark.parametrize("how", ["recipe", "base", "axis"])
@pytest.mark.parametrize(
    ("data", "field", "word", "usual", "message"),
    [
        ("digits", "loss", "dice", "cross-entropy", "loss: is for segmentation, and the task is"),
        (
            "digits-seg",
            "class_weights",
            "balanced",
            "none",
            "'balanced' is not one of none, median",
        ),
    ],
)
def test_a_search_refuses_what_has_no_effect_on_its_task(
    how: str, data: str, field: str, word: str, usual: str, message: str, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "base": {"layout": "conv3-bn-relu", "depths": [1, 1]},
        "axes": {"widths": [[4, 4], [8, 8]]},
    }
    if how == "base":
        values["recipe"] = {field: word}
    if how == "axis":
        values["axes"][f"recipe.{field}"] = [usual, word]
    recipe = Recipe.from_dict({field: word}) if how == "recipe" else None
    out = tmp_path / "run"
    with pytest.raises(RecipeError, match=message) as caught:
        search(Space.from_dict(values), data, trials=2, epochs=1, out=out, recipe=recipe)
    assert ("set by the space" in str(caught.value)) == (how != "recipe")
    assert not out.exists()


def test_a_checkpoint_is_of_one_amount_of_noise() -> None:
    state = Trainer(network(denoising(15)), denoising(15), RECIPE).state_dict()
    data = denoising(25)
    with pytest.raises(TrainingError, match=r"for denoising at sigma 15, .* at sigma 25"):
        Trainer(network(data), data, RECIPE).load_state_dict(state)


# --- baselines -----------------------------------------------------------------------------------


def test_doing_nothing_in_classification_is_the_most_frequent_class() -> None:
    digits = load_data("digits")
    most = digits.train.labels.bincount().argmax()
    expected = (digits.validation.labels == most).float().mean().item()
    assert do_nothing(digits, digits.validation) == pytest.approx(expected)


def test_doing_nothing_in_segmentation_is_one_class_everywhere() -> None:
    data = segmentation()
    masks = data.train.labels
    most = int(masks[masks != IGNORED].bincount().argmax())
    target = data.validation.labels.long()
    expected = multiclass_jaccard_index(
        torch.full_like(target, most), target, num_classes=len(NAMES), ignore_index=IGNORED
    )
    assert do_nothing(data, data.validation) == pytest.approx(expected.item())


@pytest.mark.parametrize("sigma", [15.0, 25.0, 50.0])
def test_doing_nothing_in_denoising_has_the_ratio_of_the_noise(sigma: float) -> None:
    # 20.2 dB at sigma 25. Images of middle grey, so that nothing is clipped.
    grey = Split(torch.full((60, 3, 32, 32), 127, dtype=torch.uint8), torch.zeros(60).long())
    data = dataclasses.replace(denoising(sigma), validation=grey)
    expected = 20 * math.log10(255 / sigma)
    clipped = 0.2 if sigma > 40 else 0.02
    assert do_nothing(data, data.validation) == pytest.approx(expected, abs=clipped)


# --- measurements --------------------------------------------------------------------------------


def test_a_measurement_holds_all_that_belongs_beside_a_score(data: Data) -> None:
    trainer = Trainer(network(data), data, RECIPE)
    trainer.run_epoch()
    assert data.test is not None
    found = trainer.measure(data.test)
    _, score = trainer.evaluate(data.test)
    low, high = found.interval
    assert found.score == pytest.approx(score)
    assert low < found.score < high
    assert high - low < 0.3 * found.score
    assert found.images == 12
    assert found.baseline == do_nothing(data, data.test)
    assert found == trainer.measure(data.test)
    if data.task.restores:
        assert set(found.figures) == {"ssim"}
        assert found.classes == {}
    else:
        assert list(found.classes) == ["iou", "dice"]
        ious = found.classes["iou"]
        assert sum(ious.values()) / len(ious) == pytest.approx(score)


def test_the_interval_of_an_accuracy_is_wilsons_still() -> None:
    digits = load_data("digits")
    trainer = Trainer(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits, RECIPE)
    found = trainer.measure(digits.validation)
    wilson = stats.binomtest(round(found.score * found.images), found.images).proportion_ci(
        method="wilson"
    )
    assert found.interval == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    assert found.baseline == do_nothing(digits, digits.validation)


@pytest.mark.parametrize("images", [8, 60])
def test_the_interval_is_that_of_scipys_bootstrap(images: int) -> None:
    decibels = 30 + torch.randn(images, 1, generator=seeded(0), dtype=torch.float64).exp()
    found = bootstrap(decibels, lambda sums: [each / images for each in sums[:, 0].tolist()])
    expected = stats.bootstrap(
        (decibels[:, 0].numpy(),), np.mean, n_resamples=9999, method="percentile", rng=0
    )
    interval, error = expected.confidence_interval, expected.standard_error
    assert found == pytest.approx(tuple(interval), abs=0.15 * error)
    assert bootstrap(decibels, lambda sums: sums[:, 0].tolist()) == pytest.approx(
        tuple(images * end for end in found)
    )


def test_the_interval_of_a_ratio_is_that_of_scipys_bootstrap() -> None:
    # The mean IoU is no mean over images: its counts are summed first.
    data = segmentation()
    criterion = CRITERIA["segmentation"](data, Recipe())
    outputs = torch.randn(40, 1, 3, 12, 10, generator=seeded(1))
    tallies = criterion.tally(outputs, data.train.labels[:, None].long())[:, 0]
    found = bootstrap(tallies, lambda sums: criterion.scores(sums, 40))

    def mean_iou(index: np.ndarray[Any, Any]) -> float:
        return criterion.scores(tallies[index].sum(0, keepdim=True), 40)[0]

    expected = stats.bootstrap(
        (np.arange(40),), mean_iou, n_resamples=2000, method="percentile", vectorized=False, rng=0
    )
    interval, error = expected.confidence_interval, expected.standard_error
    assert found == pytest.approx(tuple(interval), abs=0.2 * error)


def test_one_image_has_no_interval() -> None:
    assert all(map(math.isnan, bootstrap(torch.ones(1, 1), lambda sums: sums[:, 0].tolist())))


@cache
def accuracy() -> Criterion:
    return CRITERIA["classification"](load_data("digits"), Recipe())


def of_right(right: Array, groups: Array, resamples: int = 2000) -> tuple[float, float]:
    """Interval of an accuracy, of whether each image is classified correctly."""
    scores = partial(accuracy().resampled, torch.from_numpy(right))
    return interval_of(scores, len(right), resamples, groups=groups)


def test_intervals_of_grouped_images_cover_the_truth_where_those_of_images_do_not() -> None:
    rng = np.random.default_rng(0)
    patients, each, truth, correlation = 20, 25, 0.85, 0.3
    size = 1 / correlation - 1  # of a beta-binomial distribution
    groups, covered, of_wilson = np.arange(patients).repeat(each), 0, 0
    for _ in range(300):
        shares = rng.beta(truth * size, (1 - truth) * size, patients).repeat(each)
        right = rng.random(patients * each) < shares
        low, high = of_right(right, groups, resamples=1000)
        covered += low <= truth <= high
        low, high = wilson(right.mean(), len(right))
        of_wilson += low <= truth <= high
    assert covered >= 0.88 * 300
    assert of_wilson <= 0.6 * 300


def test_groups_of_unequal_sizes_are_resampled_whole() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([2, 40, 7, 7, 15, 3, 30, 11, 5, 20])
    groups = np.arange(10).repeat(sizes)
    right = rng.random(140) < rng.beta(3, 1, 10)[groups]
    # The order and the names of the groups do not matter.
    order = rng.permutation(140)
    found = of_right(right[order], np.array([f"patient {9 - group}" for group in groups[order]]))
    hits = np.bincount(groups, right)
    drawn = rng.integers(10, size=(20_000, 10))
    scores = hits[drawn].sum(1) / sizes[drawn].sum(1)
    assert found == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.01)
    assert all(map(math.isnan, of_right(np.ones(140, dtype=bool), groups)))  # no resample differs


def test_groups_of_one_image_are_images_and_one_group_has_no_interval() -> None:
    tallies = torch.randn(30, 1, generator=seeded(5), dtype=torch.float64)

    def of(groups: Array | None) -> tuple[float, float]:
        return bootstrap(tallies, lambda sums: sums[:, 0].tolist(), groups=groups)

    assert of(np.arange(30)) == of(None)
    assert all(map(math.isnan, of(np.zeros(30))))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auroc"])
def test_a_measurement_counts_groups_and_resamples_them(metric: str) -> None:
    digits = load_data("digits").judged_by(metric)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    trainer, split = Trainer(model, digits, RECIPE), digits.validation
    alone = trainer.measure(split)
    # Every image four times: its copies tell nothing more.
    four = np.arange(len(split)).repeat(4)
    grouped = trainer.measure(split.at(four), four)
    assert (alone.groups, grouped.groups, grouped.images) == (None, len(split), 4 * len(split))
    assert grouped.score == pytest.approx(alone.score)
    width, expected = (np.diff(found.interval)[0] for found in (grouped, alone))
    assert width == pytest.approx(expected, rel=0.15)
    naive = np.diff(trainer.measure(split.at(four)).interval)[0]
    assert naive == pytest.approx(expected / 2, rel=0.15)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = seeded(3)
    covered = 0
    for _ in range(200):
        decibels = 30 + 2 * torch.randn(50, 1, generator=generator, dtype=torch.float64)
        low, high = bootstrap(
            decibels, lambda sums: [each / 50 for each in sums[:, 0].tolist()], resamples=400
        )
        covered += low <= 30 <= high
    assert 180 <= covered <= 199
