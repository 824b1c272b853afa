"""Several networks trained side by side: each learns what it would learn alone."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skipsearch.data import Data, Split, load_data
from skipsearch.design import Design
from skipsearch.errors import DesignError, TrainingError
from skipsearch.models import Network, build
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.training import PackTrainer, Trainer, packs, train, train_several
from skipsearch.training.several import LARGEST_PACK

DESIGN = Design(
    layout="bn-relu-conv3-dropout-bn-relu-conv3 +",
    depths=(1, 1),
    widths=(4, 8),
    dropout=0.2,
    drop_path=0.3,
)
RECIPE = Recipe(
    epochs=2, batch_size=16, crop=1, flip=True, cutout=3, label_smoothing=0.1, precision="float32"
)


@pytest.fixture(scope="module")
def few() -> Data:
    """100 training and 60 validation images."""
    digits = load_data("digits").without_test()
    train_split = Split(digits.train.images[:100], digits.train.labels[:100])
    validation = Split(digits.validation.images[:60], digits.validation.labels[:60])
    return dataclasses.replace(digits, train=train_split, validation=validation)


def networks(seeds: range, design: Design = DESIGN) -> list[Network]:
    return [build(design, in_channels=1, classes=10, seed=seed) for seed in seeds]


def close(one: Epoch, other: Epoch) -> bool:
    a, b = one.to_dict(), other.to_dict()
    return all(a[n] == pytest.approx(b[n], rel=1e-3, abs=1e-6) for n in a if n != "seconds")


@pytest.mark.parametrize("packed", [True, False])
def test_each_network_learns_what_it_would_learn_alone(few: Data, packed: bool) -> None:
    # Order, augmentation, dropout, decay of norms and momentum: all as alone.
    models, seeds = networks(range(3)), (7, 0, 5)
    together = list(train_several(models, few, RECIPE, seeds, packed=packed))
    assert [len(epochs) for epochs in together] == [3, 3]
    for place, seed in enumerate(seeds):
        (model,) = networks(range(place, place + 1))
        alone = list(train(model, few, RECIPE, seed))
        for epoch, epochs in zip(alone, together, strict=True):
            assert close(epochs[place], epoch)
        for mine, theirs in zip(
            models[place].state_dict().values(), model.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_networks_hold_the_weights_of_the_epoch_that_was_told(few: Data) -> None:
    models = networks(range(2))
    for epochs in train_several(models, few, RECIPE, packed=True):
        for model, epoch in zip(models, epochs, strict=True):
            _, accuracy = Trainer(model, few, RECIPE).evaluate(few.validation)
            assert accuracy == pytest.approx(epoch.validation_score, abs=1 / 60 + 1e-9)


def test_more_than_a_pack_are_several_packs(few: Data) -> None:
    models = networks(range(9))
    epochs = next(train_several(models, few, RECIPE, packed=True))
    assert len({epoch.train_loss for epoch in epochs}) == 9
    alone = [next(train(model, few, RECIPE, seed)) for seed, model in enumerate(networks(range(9)))]
    assert all(map(close, epochs, alone))


def test_one_that_diverges_leaves_the_others_alone(few: Data) -> None:
    design = Design(layout="conv3-relu", depths=(1,), widths=(4,), stem="conv3")
    models = networks(range(3), design)
    with torch.no_grad():
        models[1].classifier.weight.fill_(float("nan"))
    for packed in (True, False):
        results = list(train_several(models, few, RECIPE, packed=packed))
        for epochs in results:
            finite = [math.isfinite(epoch.train_loss) for epoch in epochs]
            assert finite == [True, False, True]


def test_a_pack_goes_on_from_its_state(few: Data) -> None:
    whole = PackTrainer(networks(range(2)), few, RECIPE, (0, 1))
    expected = [whole.run_epochs() for _ in range(2)]
    first = PackTrainer(networks(range(2)), few, RECIPE, (0, 1))
    first.run_epochs()
    second = PackTrainer(networks(range(5, 7)), few, RECIPE, (0, 1))
    second.load_state_dict(first.state_dict())
    for one, other in zip(second.run_epochs(), expected[1], strict=True):
        assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    third = PackTrainer(networks(range(2)), few, RECIPE, (0, 2))
    with pytest.raises(TrainingError, match="belongs to another training"):
        third.load_state_dict(first.state_dict())


def test_the_record_says_that_it_was_a_pack(few: Data) -> None:
    pack = PackTrainer(networks(range(2)), few, RECIPE, (0, 1))
    (alone,) = networks(range(1))
    assert pack.numerics == Trainer(alone, few, RECIPE).numerics + ", pack of 2"


def test_unlike_networks_are_trained_alone_or_refused(few: Data) -> None:
    models = [*networks(range(1)), *networks(range(1), DESIGN.replace(depths=(1, 2)))]
    assert len(next(train_several(models, few, RECIPE, packed=False))) == 2
    with pytest.raises(DesignError, match="differs from the first"):
        next(train_several(models, few, RECIPE))


def test_a_companion_that_diverges_changes_no_bit_of_the_others(few: Data) -> None:
    # All that a pack computes for several members at once must keep them apart, not numbers alone.
    design = Design(
        layout="conv3-bn-relu-conv3-ln-se +",
        merge="gate",
        depths=(1, 1),
        widths=(4, 8),
        links=["1>2"],
    )
    results = []
    for broken in (False, True):
        models = networks(range(3), design)
        if broken:
            with torch.no_grad():
                models[1].stem[0].weight.fill_(float("nan"))
        epochs = list(train_several(models, few, RECIPE, packed=True))
        assert all(math.isfinite(epoch[1].train_loss) != broken for epoch in epochs)
        results.append(
            [dataclasses.replace(epoch[n], seconds=0) for epoch in epochs for n in (0, 2)]
        )
    assert results[0] == results[1]


@given(seeds=st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=40))
def test_packs_divide_seeds_and_what_is_left_of_them_alike(few: Data, seeds: list[int]) -> None:
    parts = packs(few, DESIGN, RECIPE, seeds)
    assert [seed for part in parts for seed in part] == seeds
    assert len(parts) == -(-len(seeds) // LARGEST_PACK)
    sizes = [len(part) for part in parts]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    for done in range(1, len(parts)):
        assert packs(few, DESIGN, RECIPE, seeds[sum(sizes[:done]) :]) == parts[done:]


@pytest.mark.parametrize(
    ("widths", "batch_size", "together"),
    [
        ((8, 16, 32), 64, True),  # the quickstart
        ((16, 32, 64), 64, True),
        ((16, 32, 64), 512, False),
        ((64, 128, 256), 32, False),
    ],
)
def test_small_networks_are_packed(
    widths: tuple[int, ...], batch_size: int, together: bool
) -> None:
    digits, recipe = load_data("digits"), Recipe(batch_size=batch_size)
    design = Design(layout="conv3-bn-relu-conv3-bn + relu", depths=(1, 1, 1), widths=widths)
    expected = [(0, 1, 2)] if together else [(0,), (1,), (2,)]
    assert packs(digits, design, recipe, range(3)) == expected
    assert packs(digits, design, recipe, [7]) == [(7,)]


def test_seeds_are_as_many_as_networks(few: Data) -> None:
    with pytest.raises(TrainingError, match="2 networks, but 3 seeds"):
        next(train_several(networks(range(2)), few, RECIPE, (1, 2, 3)))
