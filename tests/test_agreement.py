"""Fast and plain ways train alike: the loss of each of the first 50 steps, on the same batches."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data, load_data
from skipsearch.design import Design
from skipsearch.models import Network, build
from skipsearch.recipe import Recipe
from skipsearch.training import PackTrainer, Trainer, train
from skipsearch.training.batches import Batches
from skipsearch.training.schedule import learning_rate

DESIGNS = {
    "add": Design(layout="conv3-bn-relu-conv3-bn + relu", depths=(1, 1), widths=(8, 16)),
    "cat": Design(layout="bn-relu-conv3 +", merge="cat", depths=(2, 2), widths=(8, 8)),
    "gate": Design(layout="conv3-bn-relu-conv3-bn +", merge="gate", depths=(1, 1), widths=(8, 16)),
}
STEPS = 50
# A recipe of one step an epoch tells the loss of each step.
RECIPE = Recipe(
    epochs=STEPS, images=64 * STEPS, batch_size=64, crop=1, flip=True, precision="float32"
)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits").without_test()


def network(design: Design) -> Network:
    return build(design, in_channels=1, classes=10, seed=1)


def shifted(image: Tensor, down: int, right: int, mirrored: int) -> Tensor:
    """One augmented image (1, 8, 8), by hand."""
    padded = F.pad(image, (1, 1, 1, 1))[:, down : down + 8, right : right + 8]
    return padded.flip(2) if mirrored else padded


def plainly(design: Design, data: Data, seed: int = 2) -> list[float]:
    """The loop that a textbook would write: float32, one image after another, PyTorch's own SGD."""
    model = network(design).train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}],
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        foreach=False,
    )
    batches = Batches(data, RECIPE, (seed,))
    losses = []
    for step in range(STEPS):
        index, down, right, mirrored, *_ = batches[step][:, :, 0].tolist()
        images = [(data.train.images[i] / 255 - data.mean[0]) / data.std[0] for i in index]
        images = list(map(shifted, images, down, right, mirrored))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RECIPE, step + 0.5)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.stack(images)), data.train.labels[index])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fast(design: Design, data: Data) -> list[float]:
    return [epoch.train_loss for epoch in train(network(design), data, RECIPE, 2)]


def in_bfloat16(design: Design, data: Data) -> list[float]:
    recipe = RECIPE.replace(precision="bfloat16")
    return [epoch.train_loss for epoch in train(network(design), data, recipe, 2)]


def packed(design: Design, data: Data) -> list[float]:
    pack = PackTrainer([network(design), network(design)], data, RECIPE, (5, 2))
    return [pack.run_epochs()[1].train_loss for _ in range(STEPS)]


class Replays:
    """Records on the CPU."""

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        return lambda: function(value)


def recorded(design: Design, data: Data) -> list[float]:
    trainer = Trainer(network(design), data, RECIPE, 2, recorder=Replays())
    return [trainer.run_epoch().train_loss for _ in range(STEPS)]


@pytest.mark.parametrize("name", DESIGNS)
def test_fast_and_plain_lose_alike(data: Data, name: str) -> None:
    design = DESIGNS[name]
    expected = plainly(design, data)
    assert expected[-1] < 0.95 * expected[0]  # it has learned
    # What is rounded differs; each step makes more of it, but not so soon.
    for way in (fast, packed, recorded):
        losses = way(design, data)
        assert losses[:10] == pytest.approx(expected[:10], abs=1e-4), way.__name__
        assert losses == pytest.approx(expected, abs=0.01), way.__name__
    # Of 8 bits of mantissa; 0.08 is a thirtieth of the first loss.
    assert in_bfloat16(design, data) == pytest.approx(expected, abs=0.08)
