"""What is seen inside a network: against formulas, autograd by hand, and networks cut by hand."""

import contextlib
import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.classics import CLASSICS
from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.data import Data, Split, load_data
from skipsearch.design import Design
from skipsearch.metric import ACCURACY
from skipsearch.models import Network, build
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.merges.plain import PlainBlock
from skipsearch.recipe import Recipe
from skipsearch.task import CLASSIFICATION
from skipsearch.training import Trainer, diagnosis, train
from skipsearch.training.criteria import CRITERIA
from skipsearch.training.diagnosis import (
    COLUMNS,
    _watched,
    blocks,
    explain,
    inspect,
    lesions,
    words,
)

ORIGINAL = "conv3-bn-relu-conv3-bn + relu"
PREACTIVATION = "bn-relu-conv3-bn-relu-conv3 +"
PLAIN = "conv3-bn-relu-conv3-bn-relu"
REZERO = "relu-conv3-relu-conv3-scale +"
DENSE = "bn-relu-conv1-bn-relu-conv3 +"
RECIPE = Recipe(epochs=1, batch_size=32, peak_lr=0.05)

MERGES: dict[str, dict[str, Any]] = {
    "add": {"layout": PREACTIVATION},
    "scaled": {"layout": ORIGINAL, "branch_scale": 0.5, "shortcut_scale": 0.25},
    "gate": {"layout": PREACTIVATION, "merge": "gate", "gate_bias": -1.0},
    "shortcut-gate": {"layout": ORIGINAL, "merge": "shortcut-gate", "gate_bias": -1.0},
    "weighted": {"layout": ORIGINAL, "merge": "weighted"},
    "dual": {"layout": PREACTIVATION, "merge": "dual"},
    "cat": {"layout": DENSE, "merge": "cat"},
    "max": {"layout": PREACTIVATION, "merge": "max"},
    "plain": {"layout": PLAIN},
    "long adds": {"layout": ORIGINAL, "links": ("0>1", "0>2")},
    "long skips, as a U-Net's": {"layout": PLAIN, "links": ("0>2",), "link_merge": "cat"},
}
PLAIN_KINDS = {"plain", "long skips, as a U-Net's"}


@pytest.fixture(scope="module")
def few() -> Data:
    """64 training and 60 validation images."""
    digits = load_data("digits").without_test()
    train_split = Split(digits.train.images[:64], digits.train.labels[:64])
    validation = Split(digits.validation.images[:60], digits.validation.labels[:60])
    return dataclasses.replace(digits, train=train_split, validation=validation)


CRITERION = CRITERIA[CLASSIFICATION.name](load_data("digits"), Recipe())


def network(layout: str = PREACTIVATION, **fields: Any) -> Network:
    design = Design(layout=layout, **{"depths": (2, 2), "widths": (4, 8), **fields})
    return build(design, in_channels=1, classes=10)


def shaken(model: Network) -> Network:
    """The model with other numbers wherever it starts with zeros and ones."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def inputs() -> Tensor:
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> Tensor:
    return torch.tensor([0, 3, 9, 1, 3, 5])


def seen(model: Network, inputs: Tensor, labels: Tensor, **how: Any) -> pd.DataFrame:
    return pd.DataFrame(inspect(model, inputs, labels, CRITERION, **how)).set_index("block")


# --- signals -------------------------------------------------------------------------------------


def test_a_branch_that_is_zero_is_the_identity(inputs: Tensor, labels: Tensor) -> None:
    # Of ReZero's blocks all start so; the first of the second stage changes the shape.
    table = seen(network(REZERO), inputs, labels)
    assert table.index.tolist() == [f"stage{i}.block{j}" for i in (1, 2) for j in (1, 2)]
    assert table.number.tolist() == [1, 2, 3, 4]
    assert table.branch_ratio.tolist() == [0] * 4
    keeps = table.drop("stage2.block1")
    assert keeps.identity_distance.tolist() == [0] * 3
    assert keeps.identity_cosine.tolist() == pytest.approx([1] * 3)
    assert table.loc["stage2.block1", ["identity_distance", "identity_cosine"]].isna().all()


@pytest.mark.parametrize("merge", [name for name in MERGES if name not in PLAIN_KINDS])
def test_what_is_compared_is_what_is_joined(merge: str, inputs: Tensor) -> None:
    model = shaken(network(**MERGES[merge])).train()
    with _watched(model) as watched:
        model(inputs)
    for name, block in blocks(model).items():
        parts = watched[name]
        joined = block.terms(parts)
        assert joined is not None
        branch, shortcut = joined
        match merge:
            case "cat":
                together = torch.cat([shortcut, branch], 1)
            case "max":
                together = torch.maximum(branch, shortcut)
            case _:
                together = branch + shortcut
        after = block.get_submodule("after")(together)
        left = parts["left"][:, : after.shape[1]]  # of a dual path what is added comes first
        assert torch.allclose(after, left, atol=1e-6)


def test_signals_are_those_of_the_formulas(inputs: Tensor, labels: Tensor) -> None:
    model = shaken(network(ORIGINAL))
    table = seen(model, inputs, labels)
    run = copy.deepcopy(model).train()
    x = run.stem(inputs)
    block = blocks(run)["stage1.block1"]
    assert isinstance(block, AddBlock)
    branch = block.branch(x).detach()  # an original block has no opening, and its shortcut is x
    x = x.detach()
    left = F.relu(branch + x)
    row = table.loc["stage1.block1"]
    assert row.branch_ratio == pytest.approx(float(branch.norm() / x.norm()))
    assert row.identity_distance == pytest.approx(float((left - x).norm() / x.norm()))
    cosine = F.cosine_similarity(left.flatten(), x.flatten(), dim=0)
    assert row.identity_cosine == pytest.approx(float(cosine))
    assert row["mean"] == pytest.approx(float(left.mean()))
    assert row.variance == pytest.approx(float(((left - left.mean()) ** 2).mean()))


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [ORIGINAL, PLAIN])
def test_gradients_are_those_of_autograd_by_hand(
    layout: str, inputs: Tensor, labels: Tensor
) -> None:
    model = shaken(network(layout))
    table = seen(model, inputs, labels, label_smoothing=0.1)
    run = copy.deepcopy(model).train()
    units = list(blocks(run).items())
    x = run.stem(inputs)
    for number, (name, block) in enumerate(units):
        x = block(x)
        leaf = x.detach().requires_grad_()
        y = leaf
        for _, later in units[number + 1 :]:
            y = later(y)
        logits = run.classifier(run.head(y).mean((2, 3)))
        (gradient,) = torch.autograd.grad(
            F.cross_entropy(logits, labels, label_smoothing=0.1), leaf
        )
        assert table.gradient[name] == pytest.approx(float(gradient.norm()), rel=1e-4)
    F.cross_entropy(run(inputs), labels, label_smoothing=0.1).backward()
    for name, block in units:
        squares = sum(
            float(p.grad.square().sum()) for p in block.parameters() if p.grad is not None
        )
        assert table.weight_gradient[name] == pytest.approx(math.sqrt(squares), rel=1e-4)


def test_the_model_is_left_as_it_was(inputs: Tensor, labels: Tensor) -> None:
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    inspect(model, inputs, labels, CRITERION)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_it_is_computed_as_trainings_are_but_not_tuned(
    inputs: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU: one pass is not worth trying out kernels, and cuBLAS reads at the process's first
    # product whether later ones may be deterministic.
    within: list[bool] = []
    passes: list[list[bool]] = []

    @contextlib.contextmanager
    def kernels(device: torch.device, deterministic: bool, tune: bool = True) -> Iterator[None]:
        assert device == inputs.device
        within.append(tune)
        yield
        within.clear()

    def note(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        passes.append([*within])
        out.register_hook(lambda gradient: passes.append([*within]))

    monkeypatch.setattr(diagnosis, "kernels", kernels)
    model = network(REZERO)
    model.stages.register_forward_hook(note)
    inspect(model, inputs, labels, CRITERION)
    assert passes == [[False], [False]]  # forwards and backwards


def test_nothing_is_dropped(inputs: Tensor, labels: Tensor) -> None:
    layout = "bn-relu-conv3-bn-relu-dropout-conv3 +"
    whole = seen(network(layout), inputs, labels)
    dropping = seen(network(layout, dropout=0.5, drop_path=0.5), inputs, labels)
    pd.testing.assert_frame_equal(dropping, whole)


# --- lesions -------------------------------------------------------------------------------------


def trainer_of(model: Network, data: Data, epochs: int = 1) -> Trainer:
    trainer = Trainer(model, data, RECIPE.replace(epochs=epochs))
    for _ in range(epochs):
        trainer.run_epoch()
    return trainer


def test_the_lesion_of_a_zero_branch_changes_nothing(few: Data) -> None:
    model = network(REZERO)
    trainer = trainer_of(model, few)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("factor"):
                parameter.zero_()
    _, accuracy = trainer.evaluate(few.validation)
    assert lesions(trainer, few.validation) == [accuracy] * 4


@pytest.mark.parametrize("layout", [PREACTIVATION, PLAIN])
def test_a_lesion_is_what_cutting_by_hand_gives(layout: str, few: Data) -> None:
    trainer = trainer_of(network(layout), few, epochs=8)
    found = lesions(trainer, few.validation)
    assert isinstance(trainer.model, Network)
    whole = trainer.evaluate(few.validation)
    expected = []
    for name in blocks(trainer.model):
        cut = copy.deepcopy(trainer.model)
        block = blocks(cut)[name]
        stage, _, own = name.partition(".")
        if isinstance(block, PlainBlock):
            cut.stages.get_submodule(stage).add_module(own, nn.Identity())
            if name == "stage2.block1":  # changes the shape
                expected.append(math.nan)
                continue
        else:
            assert isinstance(block, AddBlock)
            last = [m for m in block.branch.modules() if isinstance(m, nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)
        expected.append(Trainer(cut, few, RECIPE).evaluate(few.validation)[1])
    assert found == pytest.approx(expected, nan_ok=True)
    assert len(set(found)) > 1, "every lesion was alike"
    assert trainer.evaluate(few.validation) == whole


# --- all of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", MERGES)
def test_every_merge_is_explained_in_finite_numbers(merge: str, few: Data) -> None:
    explanation = explain(network(**MERGES[merge]), few, RECIPE)
    table = explanation.table
    assert tuple(table.columns) == COLUMNS
    assert table.moment.tolist() == ["init"] * 4 + ["trained"] * 4
    always = ["gradient", "weight_gradient", "mean", "variance"]
    assert table[always].map(math.isfinite).all(axis=None)
    assert (table[["gradient", "weight_gradient", "variance"]] > 0).all(axis=None)
    assert table.branch_ratio.notna().all() == (merge not in PLAIN_KINDS)
    keeps = table.identity_distance.notna()
    grows = merge in ("cat", "dual")
    assert keeps.tolist() == ([False] * 8 if grows else [True, True, False, True] * 2)
    trained = table[table.moment == "trained"]
    lesioned = trained.lesion_score.notna()
    assert lesioned.tolist() == [True, True, merge not in PLAIN_KINDS, True]
    assert table[table.moment == "init"].lesion_score.isna().all()
    whole = trained.lesion_score + trained.lesion_drop
    assert whole[lesioned].nunique() == 1
    assert f"validation accuracy {100 * whole[lesioned].iloc[0]:.2f} %" in explanation.words[0]
    assert len(explanation.words) == (7 if "links" in MERGES[merge] else 5)


def small(design: Design) -> Design:
    """A classic with one block a stage, two in the first, and an eighth of its channels."""
    stages = len(design.depths)
    return design.replace(
        depths=(2, *[1] * (stages - 1)),
        widths=tuple(max(8, width // 8) for width in design.widths),
        groups=min(4, design.groups) if isinstance(design.groups, int) else design.groups,
        stem_width=8,
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classic_can_be_looked_into(name: str, inputs: Tensor, labels: Tensor) -> None:
    model = build(small(CLASSICS[name].design), in_channels=1, classes=10)
    images = F.interpolate(inputs, size=32)
    table = seen(model, images, labels)
    always = ["gradient", "weight_gradient", "mean", "variance"]
    assert table[always].map(math.isfinite).all(axis=None)
    assert len(table) == len(CLASSICS[name].design.depths) + 1
    assert (table.branch_ratio > 0).all() != name.startswith("plain")


def test_the_training_is_the_one_that_train_does(few: Data) -> None:
    explained, plain = network(), network()
    told = []
    explain(explained, few, RECIPE, seed=3, progress=told.append)
    expected = list(train(plain, few, RECIPE, seed=3))
    assert [epoch.train_loss for epoch in told] == [epoch.train_loss for epoch in expected]
    pairs = zip(explained.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_of_a_training_that_diverges_the_beginning_is_told(few: Data) -> None:
    explanation = explain(network("conv3-relu-conv3-relu"), few, RECIPE.replace(peak_lr=1e6))
    assert explanation.table.moment.tolist() == ["init"] * 4
    assert explanation.words[0].startswith("The training diverged: the loss became ")
    assert explanation.words[1].startswith("At initialisation gradients ")


# --- in words ------------------------------------------------------------------------------------


def table_of(gradients: list[float], **columns: list[float]) -> pd.DataFrame:
    rows = len(gradients)
    names = [f"stage1.block{i + 1}" for i in range(rows)]
    table = {"moment": ["trained"] * rows, "block": names, "gradient": gradients}
    absent = ("branch_ratio", "identity_distance", "lesion_drop")
    return pd.DataFrame(table | dict.fromkeys(absent, math.nan) | columns)


@pytest.mark.parametrize(
    ("gradients", "verdict"),
    [
        ([0.09, 0.5, 1.0], "gradients vanish on the way to the stem: their norm at the first"),
        ([0.11, 0.5, 1.0], "gradients do not vanish: their norm at the first block is 0.11 times"),
        ([2.0, 0.5, 1.0], "gradients do not vanish: their norm at the first block is 2 times"),
        ([10.1, 5.0, 1.0], "gradients do not vanish, they grow on the way to the stem"),
        ([0.0, 0.0, 0.0], "gradients cannot be compared: that at the last block is 0."),
        ([math.nan, 1.0, 1.0], "gradients cannot be compared"),
        ([1.0, 1.0, math.inf], "gradients cannot be compared: that at the last block is inf."),
    ],
)
def test_gradients_vanish_below_a_tenth(gradients: list[float], verdict: str) -> None:
    (sentence,) = words(table_of(gradients), ACCURACY)
    assert sentence.startswith(f"After training {verdict}")


def test_branches_are_weighed_against_their_shortcuts() -> None:
    _, sentence = words(table_of([1.0] * 3, branch_ratio=[0.2, 0.5, 1.5]), ACCURACY)
    assert sentence.startswith("After training the shortcut outweighs the branch in 2 of 3 blocks")
    assert "the median branch is 0.5 times the shortcut" in sentence


@pytest.mark.parametrize(("distance", "verdict"), [(1.2, "no nearer to"), (0.8, "nearer to")])
def test_plain_blocks_are_held_against_zeros(distance: float, verdict: str) -> None:
    table = table_of([1.0] * 3, identity_distance=[0.1, math.nan, 2 * distance - 0.1])
    _, sentence = words(table, ACCURACY)
    assert sentence.startswith(f"After training plain blocks are {verdict} the identity than")
    assert f"the median of 2 distances is {distance:g} times the input" in sentence


def test_the_costliest_lesion_is_named() -> None:
    *_, sentence = words(table_of([1.0] * 3, lesion_drop=[0.01, 0.2, 0.02]), ACCURACY)
    assert sentence == (
        "Removing one block costs 2.00 points of validation accuracy in the median of 3 blocks,"
        " 20.00 at most (stage1.block2)."
    )
