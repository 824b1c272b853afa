"""Networks that enlarge against implementations that are not ours, weights carried over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.classics import CLASSICS
from skipsearch.models import Network, build
from skipsearch.plan import Network as Plan
from skipsearch.plan import identifier
from tests.test_reference_models import (
    TENSOR,
    Rename,
    assert_close_relative,
    carry_over,
    rewrite,
    seeded,
    settle,
    shake,
)

__all__ = ["seeded"]

OUTPUTS = 3
SIZE = 64  # theirs takes multiples of 32 alone
ENCODER = (
    (r"stem\.(conv1|bn1)" + TENSOR, "encoder.{1}.{2}"),
    (r"stages\.stage([1-4])\.block(\d+)\.branch\.((?:conv|bn)\d)" + TENSOR,
     "encoder.layer{1}.{2-1}.{3}.{4}"),
    (r"stages\.stage([1-4])\.block(\d+)\.shortcut\.conv1" + TENSOR,
     "encoder.layer{1}.{2-1}.downsample.0.{3}"),
    (r"stages\.stage([1-4])\.block(\d+)\.shortcut\.bn1" + TENSOR,
     "encoder.layer{1}.{2-1}.downsample.1.{3}"),
    (r"map" + TENSOR, "segmentation_head.0.{1}"),
)  # fmt: skip


def unet(name: str) -> str:
    """Our names of a Unet to theirs."""
    rules = [
        (rf"stages\.stage{5 + i}\.block1\.branch\.{op}(\d)" + TENSOR,
         f"decoder.blocks.{i}.conv{{1}}.{number}.{{2}}")
        for i in range(5)
        for number, op in enumerate(("conv", "bn"))
    ]  # fmt: skip
    return rewrite(*ENCODER, *rules)(name)


def linknet(name: str) -> str:
    """Our names of a Linknet to theirs."""
    ours = ("conv1", "bn1", "up41", "bn2", "conv2", "bn3")
    rules = [
        (rf"stages\.stage{5 + i}\.transition\.{op}" + TENSOR,
         f"decoder.blocks.{i}.block.{number // 2}.{number % 2}.{{1}}")
        for i in range(5)
        for number, op in enumerate(ours)
    ]  # fmt: skip
    return rewrite(*ENCODER, *rules)(name)


LEVELS = "321s"  # ends of the encoder, as theirs counts the levels


def unetplusplus(name: str) -> str:
    """Our names of a UnetPlusPlus to theirs."""
    blocks = {f"stages.stage{5 + level}": f"x_0_{level}" for level in range(5)}
    for level, end in enumerate(LEVELS):
        for number in range(1, level + 1):
            blocks[f"nodes.node_{end}_{number}"] = f"x_{level - number + 1}_{level}"
    rules = [
        (rf"{ours}\.block1\.branch\.{op}(\d)" + TENSOR,
         f"decoder.blocks.{theirs}.conv{{1}}.{number}.{{2}}")
        for ours, theirs in blocks.items()
        for number, op in enumerate(("conv", "bn"))
    ]  # fmt: skip
    return rewrite(*ENCODER, *rules)(name)


@torch.no_grad()
def turn_links(model: Network, plan: Plan) -> None:
    """Reverse the order of the links in what reads them: theirs joins the latest node first."""
    for end, stage in plan.named.items():
        if stage.join and len(stage.join.links) > 1:
            name = f"stages.stage{end}" if isinstance(end, int) else f"nodes.node_{identifier(end)}"
            conv = model.get_submodule(f"{name}.block1.branch.conv1")
            for tensor in (conv.weight, conv.weight.grad):
                if tensor is not None:
                    links = tensor[:, stage.join.inputs :].chunk(len(stage.join.links), 1)
                    tensor[:, stage.join.inputs :] = torch.cat(links[::-1], 1)


@pytest.mark.parametrize(
    ("name", "constructor", "encoder", "rename"),
    [
        ("unet-resnet-18", smp.Unet, "resnet18", unet),
        ("unet-resnet-34", smp.Unet, "resnet34", unet),
        ("unetplusplus-resnet-18", smp.UnetPlusPlus, "resnet18", unetplusplus),
        ("linknet-18", smp.Linknet, "resnet18", linknet),
        ("linknet-34", smp.Linknet, "resnet34", linknet),
    ],
)
def test_networks_of_segmentation_models_pytorch(
    name: str, constructor: Callable[..., torch.nn.Module], encoder: str, rename: Rename
) -> None:
    """Same outputs within 1e-5, and same gradient of every parameter within 1e-4 of its norm."""
    reference = constructor(encoder, encoder_weights=None, in_channels=3, classes=OUTPUTS)
    settle(shake(reference), SIZE).double().eval()  # float32 is rounded in the order of a processor
    ours = build(CLASSICS[name].design, 3, OUTPUTS).double().eval()
    names = carry_over(reference, ours, rename)
    plan = CLASSICS[name].design.plan()
    turn_links(ours, plan)
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()
    expected, outputs = reference(images), ours(images)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
    assert outputs.std() > 1e-2  # outputs that say something
    expected.square().mean().backward()
    outputs.square().mean().backward()
    turn_links(ours, plan)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert_close_relative(parameter.grad, gradients[names[name]], name)


# The paper, written down ---------------------------------------------------------------------


def twice(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Two 3x3 convolutions, each with batch norm and relu."""
    for i in (1, 2):
        x = F.conv2d(x, state[f"{name}.branch.conv{i}.weight"], padding=1)
        norm = [state[f"{name}.branch.bn{i}.{what}"] for what in ("running_mean", "running_var")]
        weights = [state[f"{name}.branch.bn{i}.{what}"] for what in ("weight", "bias")]
        x = F.relu(F.batch_norm(x, *norm, *weights))
    return x


def unet_2015(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Ronneberger et al. 2015, arXiv:1505.04597, Fig. 1, with padding and batch norm."""
    contracting = []
    for level in range(1, 5):
        x = twice(x, state, f"stages.stage{level}.block1")
        contracting.append(x)
        x = F.max_pool2d(x, 2)
    x = twice(x, state, "stages.stage5.block1")
    for stage in range(6, 10):
        up = f"stages.stage{stage}.transition.up21"
        x = F.conv_transpose2d(x, state[f"{up}.weight"], state[f"{up}.bias"], stride=2)
        x = torch.cat([x, contracting.pop()], 1)
        x = twice(x, state, f"stages.stage{stage}.block1")
    return F.conv2d(x, state["map.weight"], state["map.bias"])


def test_the_unet_as_the_paper_says() -> None:
    design = CLASSICS["unet-2015"].design.replace(widths=(4, 6, 8, 10, 12))
    ours = settle(shake(build(design, 3, OUTPUTS)), 32).eval()
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    used: set[str] = set()
    state = ours.state_dict()

    class Watched(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            used.add(name)
            return state[name]

    expected = unet_2015(images, Watched())
    assert used == {name for name in state if "num_batches" not in name}
    torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-2
