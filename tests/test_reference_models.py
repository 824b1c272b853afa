"""The rules of construction against implementations that are not ours, weights carried over.

torchvision and timm, and where they have none, straight-line code written from the papers.
Everything in float32 and evaluation mode, with everything of the norms away from where it starts.
"""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as vision
from torchvision import ops as vision_ops
from torchvision.models.convnext import CNBlock
from torchvision.models.convnext import LayerNorm2d as VisionLayerNorm2d
from torchvision.models.mobilenetv2 import InvertedResidual

from skipsearch.classics import (
    BN_AFTER_ADDITION,
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    CLASSICS,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
    RESIDUAL_OF_RESIDUAL,
)
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.models import build
from skipsearch.models.ops import OPS, DropPath, SqueezeExcitation
from skipsearch.plan import Step
from skipsearch.planning import LINK_SHORTCUTS

CLASSES = 10
INVERTED_RESIDUAL = "conv1-bn-relu6-dw3-bn-relu6-conv1-bn +"  # Sandler et al. 2018, Fig. 4 (d)

Rename = Callable[[str], str]
Twins = dict[str, str]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give theirs the same initial weights each time: others may end nearer to a bend of relu."""
    torch.manual_seed(0)


@torch.no_grad()
def shake(model: nn.Module) -> nn.Module:
    """Draw everything of the norms at random, so that no two of them are alike."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0.0, 0.1, generator=generator)
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def settle(model: nn.Module, size: int) -> nn.Module:
    """Take the statistics of the norms from random images, as training does.

    Statistics that do not fit their input multiply the signal in every block: with drawn ones the
    logits of ResNet-152 are of order 1e9, and two images give nearly the same.
    """
    momenta = {
        module: module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)
    }
    for module in momenta:
        module.momentum = 1.0
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model.train()(images)
    for module, momentum in momenta.items():
        module.momentum = momentum
    return model


def rewrite(*rules: tuple[str, str]) -> Rename:
    """A translation of our names into theirs; exactly one rule must fit each name.

    ``{n-1}`` in a replacement is the group of that number less 1, ``{n+1}`` that and 1.
    """

    def rename(name: str) -> str:
        found = [(re.fullmatch(pattern, name), target) for pattern, target in rules]
        ((match, target),) = [(match, target) for match, target in found if match]

        def fill(hole: re.Match[str]) -> str:
            group = match[int(hole[1])]
            return str(int(group) + int(hole[2])) if hole[2] else group

        return re.sub(r"\{(\d)([+-]1)?\}", fill, target)

    return rename


TENSOR = r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
UNIT = r"stages\.stage(\d)\.block(\d+)\."

RESNET = rewrite(
    (r"stem\.(conv1|bn1)" + TENSOR, "{1}.{2}"),
    (UNIT + r"branch\.((?:conv|bn)\d)" + TENSOR, "layer{1}.{2-1}.{3}.{4}"),
    # timm's names; torchvision has no ResNet with squeeze-and-excitation.
    (UNIT + r"branch\.se1\.squeeze" + TENSOR, "layer{1}.{2-1}.se.fc1.{3}"),
    (UNIT + r"branch\.se1\.excite" + TENSOR, "layer{1}.{2-1}.se.fc2.{3}"),
    (UNIT + r"shortcut\.conv1" + TENSOR, "layer{1}.{2-1}.downsample.0.{3}"),
    (UNIT + r"shortcut\.bn1" + TENSOR, "layer{1}.{2-1}.downsample.1.{3}"),
    (r"classifier" + TENSOR, "fc.{1}"),
)
RESNET_D = rewrite(
    (r"stem\.conv1" + TENSOR, "conv1.0.{1}"),
    (r"stem\.bn1" + TENSOR, "conv1.1.{1}"),
    (r"stem\.conv2" + TENSOR, "conv1.3.{1}"),
    (r"stem\.bn2" + TENSOR, "conv1.4.{1}"),
    (r"stem\.conv3" + TENSOR, "conv1.6.{1}"),
    (r"stem\.bn3" + TENSOR, "bn1.{1}"),
    (UNIT + r"branch\.((?:conv|bn)\d)" + TENSOR, "layer{1}.{2-1}.{3}.{4}"),
    (UNIT + r"shortcut\.conv1" + TENSOR, "layer{1}.{2-1}.downsample.1.{3}"),
    (UNIT + r"shortcut\.bn1" + TENSOR, "layer{1}.{2-1}.downsample.2.{3}"),
    (r"classifier" + TENSOR, "fc.{1}"),
)
RESNET_V2 = rewrite(
    (r"stem\.conv1" + TENSOR, "stem.conv.{1}"),
    (UNIT + r"opening\.bn1" + TENSOR, "stages.{1-1}.blocks.{2-1}.norm1.{3}"),
    (UNIT + r"branch\.conv(\d)" + TENSOR, "stages.{1-1}.blocks.{2-1}.conv{3}.{4}"),
    # Their norms count from the opening's.
    (UNIT + r"branch\.bn1" + TENSOR, "stages.{1-1}.blocks.{2-1}.norm2.{3}"),
    (UNIT + r"branch\.bn2" + TENSOR, "stages.{1-1}.blocks.{2-1}.norm3.{3}"),
    (UNIT + r"shortcut\.conv1" + TENSOR, "stages.{1-1}.blocks.{2-1}.downsample.conv.{3}"),
    (r"head\.bn1" + TENSOR, "norm.{1}"),
    (r"classifier" + TENSOR, "head.fc.{1}"),
)
DENSENET = rewrite(
    (r"stem\.conv1" + TENSOR, "features.conv0.{1}"),
    (r"stem\.bn1" + TENSOR, "features.norm0.{1}"),
    (UNIT + r"opening\.bn1" + TENSOR, "features.denseblock{1}.denselayer{2}.norm1.{3}"),
    (UNIT + r"branch\.conv(\d)" + TENSOR, "features.denseblock{1}.denselayer{2}.conv{3}.{4}"),
    (UNIT + r"branch\.bn1" + TENSOR, "features.denseblock{1}.denselayer{2}.norm2.{3}"),
    # The transition before stage 2 is their first.
    (r"stages\.stage(\d)\.transition\.bn1" + TENSOR, "features.transition{1-1}.norm.{2}"),
    (r"stages\.stage(\d)\.transition\.conv1" + TENSOR, "features.transition{1-1}.conv.{2}"),
    (r"head\.bn1" + TENSOR, "features.norm5.{1}"),
    (r"classifier" + TENSOR, "classifier.{1}"),
)
DUAL_PATH = rewrite(
    (r"stem\.conv1" + TENSOR, "features.conv1_1.conv.{1}"),
    (r"stem\.bn1" + TENSOR, "features.conv1_1.bn.{1}"),
    # Their stages count from the stem.
    (UNIT + r"opening\.bn1" + TENSOR, "features.conv{1+1}_{2}.c1x1_a.bn.{3}"),
    (UNIT + r"branch\.conv1" + TENSOR, "features.conv{1+1}_{2}.c1x1_a.conv.{3}"),
    (UNIT + r"branch\.bn1" + TENSOR, "features.conv{1+1}_{2}.c3x3_b.bn.{3}"),
    (UNIT + r"branch\.conv2" + TENSOR, "features.conv{1+1}_{2}.c3x3_b.conv.{3}"),
    (UNIT + r"branch\.bn2" + TENSOR, "features.conv{1+1}_{2}.c1x1_c.bn.{3}"),
    (UNIT + r"branch\.conv3" + TENSOR, "features.conv{1+1}_{2}.c1x1_c.conv.{3}"),
    (r"stages\.stage1\.block1\.shortcut\.conv1" + TENSOR, "features.conv2_1.c1x1_w_s1.conv.{1}"),
    (
        r"stages\.stage([2-4])\.block1\.shortcut\.conv1" + TENSOR,
        "features.conv{1+1}_1.c1x1_w_s2.conv.{2}",
    ),
    (r"head\.bn1" + TENSOR, "features.conv5_bn_ac.bn.{1}"),
    (r"classifier" + TENSOR, "classifier.{1}"),
)


def carry_over(
    reference: nn.Module, ours: nn.Module, rename: Rename, twins: Twins | None = None
) -> dict[str, str]:
    """Load the reference's state into our module, each tensor under its own name.

    Args:
        reference: Theirs.
        ours: The module to fill.
        rename: From our names to theirs.
        twins: Names of theirs that ours has no tensor for, each with the name of theirs whose
            values it is given, so that both are one function.
    """
    twins = twins or {}
    theirs = reference.state_dict()
    for name, other in twins.items():
        theirs[name].copy_(theirs[other])
    names = {name: rename(name) for name in ours.state_dict()}
    assert sorted([*names.values(), *twins]) == sorted(theirs)
    state = {}
    for name, tensor in ours.state_dict().items():
        other = theirs[names[name]]
        if other.dim() == tensor.dim() + 2:  # timm's classifier may be a 1x1 convolution
            other = other[:, :, 0, 0]
        assert other.shape == tensor.shape, name
        state[name] = other
    ours.load_state_dict(state)
    return names


def assert_close_relative(actual: Tensor, expected: Tensor, name: str) -> None:
    difference = (actual.reshape(expected.shape) - expected).norm()
    assert expected.norm() > 0, name
    assert difference <= 1e-4 * expected.norm(), name


def assert_equivalent(
    reference: nn.Module,
    design: Design,
    rename: Rename,
    size: int,
    twins: Twins | None = None,
) -> None:
    """Same outputs within 1e-5, and same gradient of every parameter within 1e-4 of its norm.

    What stands for two of theirs has the sum of their gradients.
    """
    settle(shake(reference), size).eval()
    ours = build(design, classes=CLASSES).eval()
    names = carry_over(reference, ours, rename, twins)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([3, 7])
    expected, logits = reference(images), ours(images)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert 1e-2 < (logits[0] - logits[1]).std() < 1e2  # outputs that say something
    F.cross_entropy(expected, labels).backward()
    F.cross_entropy(logits, labels).backward()
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, other in (twins or {}).items():
        if name in gradients:
            assert gradients[name].norm() > 1e-3 * gradients[other].norm(), name
            gradients[other] += gradients[name]
    for name, parameter in ours.named_parameters():
        assert_close_relative(parameter.grad, gradients[names[name]], name)


# torchvision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "constructor"),
    [
        ("resnet-18", vision.resnet18),
        ("resnet-34", vision.resnet34),
        ("resnet-50", vision.resnet50),
        ("resnet-101", vision.resnet101),
        ("resnet-152", vision.resnet152),
        ("resnext-50-32x4d", vision.resnext50_32x4d),
        ("wide-resnet-50-2", vision.wide_resnet50_2),
    ],
)
def test_resnets_of_torchvision(name: str, constructor: Callable[..., nn.Module]) -> None:
    assert_equivalent(constructor(num_classes=CLASSES), CLASSICS[name].design, RESNET, 64)


def test_densenet_121_of_torchvision() -> None:
    reference = vision.densenet121(num_classes=CLASSES)
    assert_equivalent(reference, CLASSICS["densenet-121"].design, DENSENET, 64)


def test_densenet_161_of_torchvision() -> None:
    reference = vision.densenet161(num_classes=CLASSES)
    assert_equivalent(reference, CLASSICS["densenet-161"].design, DENSENET, 64)


def test_training_moves_the_statistics_of_the_norms_as_torchvision_does() -> None:
    reference = shake(vision.resnet18(num_classes=CLASSES)).train()
    ours = build(CLASSICS["resnet-18"].design, classes=CLASSES).train()
    names = carry_over(reference, ours, RESNET)
    images = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), reference(images), atol=1e-5, rtol=1e-5)
    theirs = reference.state_dict()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs[names[name]], atol=1e-5, rtol=1e-5, msg=name)


def test_the_inverted_residual_of_torchvision() -> None:
    # Sandler et al. 2018, arXiv:1801.04381, Table 1. Theirs expands the channels that enter, ours
    # the width, so the two agree where those are equal; at stride 2 neither has a shortcut.
    for stride in (1, 2):
        reference = shake(InvertedResidual(16, 16, stride, expand_ratio=6)).eval()
        design = Design(
            layout=INVERTED_RESIDUAL,
            depths=(1, 1),
            widths=(16, 16),
            bottleneck_ratio=6.0,
            shortcut="omit",
        )
        unit = build(design).get_submodule(f"stages.stage{stride}.block1").eval()
        translate = rewrite(
            (r"branch\.conv1" + TENSOR, "conv.0.0.{1}"),
            (r"branch\.bn1" + TENSOR, "conv.0.1.{1}"),
            (r"branch\.conv2" + TENSOR, "conv.1.0.{1}"),
            (r"branch\.bn2" + TENSOR, "conv.1.1.{1}"),
            (r"branch\.conv3" + TENSOR, "conv.2.{1}"),
            (r"branch\.bn3" + TENSOR, "conv.3.{1}"),
        )
        carry_over(reference, unit, translate)
        x = torch.randn(2, 16, 9, 9, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(unit(x), reference(x), atol=1e-5, rtol=1e-5)


def test_the_head_of_mobilenet_v2_of_torchvision() -> None:
    # Sandler et al. 2018, arXiv:1801.04381, Table 2: a wider 1x1 convolution before the pooling.
    # In training, so that it matters where dropout stands and at which rate.
    reference = shake(vision.mobilenet_v2(num_classes=CLASSES)).train()
    design = Design(
        layout=INVERTED_RESIDUAL,
        depths=(1,),
        widths=(320,),
        head="conv1-bn-relu6-mean-dropout",
        head_width=1280,
        dropout=0.2,
    )
    ours = build(design, classes=CLASSES).train()
    ours.stem, ours.stages = nn.Identity(), nn.Identity()
    theirs = nn.ModuleDict({"head": reference.features[18], "classifier": reference.classifier})
    translate = rewrite(
        (r"head\.conv1" + TENSOR, "head.0.{1}"),
        (r"head\.bn1" + TENSOR, "head.1.{1}"),
        (r"classifier" + TENSOR, "classifier.1.{1}"),
    )
    names = carry_over(theirs, ours, translate)
    x = torch.randn(4, 320, 3, 3, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    expected = theirs["classifier"](theirs["head"](x).mean((2, 3)))
    torch.manual_seed(5)
    logits = ours(x)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    labels = torch.tensor([3, 7, 0, 1])
    F.cross_entropy(expected, labels).backward()
    F.cross_entropy(logits, labels).backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert_close_relative(parameter.grad, gradients[names[name]].grad, name)


@pytest.mark.parametrize("scale", [1e-2, 1.0])  # the smaller, so that the norm's eps counts
def test_the_convnext_block_of_torchvision(scale: float) -> None:
    # Liu et al. 2022, arXiv:2201.03545, Fig. 4. Theirs has a bias in every convolution and one
    # factor a channel, ours no bias and one factor: one function where the biases are 0 and the
    # factors agree.
    reference = CNBlock(16, layer_scale=0.3, stochastic_depth_prob=0.0)
    depthwise, norm, expand, reduce = (reference.block[i] for i in (0, 2, 3, 5))
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0.0, 0.1)
        for module in (depthwise, expand, reduce):
            module.bias.zero_()
    design = Design(
        layout="dw7-ln-conv1-gelu-conv1-scale +",
        depths=(1,),
        widths=(16,),
        bottleneck_ratio=4.0,
    )
    ours = build(design).stages.stage1.block1
    pairs = {
        "branch.conv1.weight": depthwise.weight,
        "branch.ln1.weight": norm.weight,
        "branch.ln1.bias": norm.bias,
        "branch.conv2.weight": expand.weight,
        "branch.conv3.weight": reduce.weight,
        "branch.scale1.factor": reference.layer_scale,
    }
    state = ours.state_dict()
    for name, theirs in pairs.items():
        value = theirs[0] if name == "branch.scale1.factor" else theirs
        state[name] = value.detach().reshape(state[name].shape)
    ours.load_state_dict(state)  # which takes neither fewer nor more
    x = torch.randn(2, 16, 9, 10, generator=torch.Generator().manual_seed(1)) * scale
    expected, out = reference(x), ours(x)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    assert (out - x).std() > 0.01  # the branch says something beside its shortcut
    expected.square().sum().backward()
    out.square().sum().backward()
    for name, parameter in ours.named_parameters():
        gradient = pairs[name].grad
        if name == "branch.scale1.factor":
            gradient = gradient.sum()
        assert_close_relative(parameter.grad, gradient.reshape(parameter.shape), name)


def test_squeeze_and_excitation_of_torchvision() -> None:
    reference = vision_ops.SqueezeExcitation(32, 2)
    ours = SqueezeExcitation(32)
    translate = rewrite((r"squeeze" + TENSOR, "fc1.{1}"), (r"excite" + TENSOR, "fc2.{1}"))
    carry_over(reference, ours, translate)
    x = torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(ours(x), reference(x), atol=1e-6, rtol=1e-5)


def test_stochastic_depth_of_torchvision() -> None:
    x = torch.randn(64, 3, 2, 2)
    torch.manual_seed(5)
    expected = vision_ops.stochastic_depth(x, 0.3, "row", training=True)
    torch.manual_seed(5)
    torch.testing.assert_close(DropPath(0.3)(x), expected)


def test_layer_norm_of_torchvision() -> None:
    # eps as in torchvision's ConvNeXt; the input is small, so that it counts.
    reference, ours = VisionLayerNorm2d(6, eps=1e-6), OPS["ln"].build(Step("ln", 6, 6))
    nn.init.uniform_(reference.weight)
    nn.init.uniform_(reference.bias)
    ours.load_state_dict(reference.state_dict())
    x = 1e-3 * torch.randn(2, 6, 4, 5)
    torch.testing.assert_close(ours(x), reference(x))


# timm, which is not among the dependencies: these skip themselves where it is not installed ----

IMAGENET = {
    "depths": (1, 2, 1, 1),
    "widths": (256, 512, 1024, 2048),
    "stem": "conv7-pool",
    "stem_width": 64,
    "bottleneck_ratio": 0.25,
}


def timm_model(name: str, **options: object) -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.create_model(name, num_classes=CLASSES, layers=IMAGENET["depths"], **options)


def test_the_pre_activation_resnet_of_timm() -> None:
    # Stem, eps, padding and the shared pre-activation agree; its classifier is a 1x1 convolution.
    design = Design(layout=BOTTLENECK_PREACTIVATION, **IMAGENET)
    assert_equivalent(timm_model("resnetv2_50"), design, RESNET_V2, 64)


def test_the_se_resnet_of_timm() -> None:
    design = Design(layout="conv1-bn-relu-conv3-bn-relu-conv1-bn-se + relu", **IMAGENET)
    assert_equivalent(timm_model("seresnet50"), design, RESNET, 64)


@pytest.mark.parametrize("size", [64, 71])  # at odd sizes the pooled shortcut divides upwards
def test_the_resnet_d_of_timm(size: int) -> None:
    # He et al. 2019, arXiv:1812.01187, Fig. 2: the deep stem (C) and the pooled projection (D).
    stem = "conv3-bn-relu-conv3-bn-relu-conv3-pool"
    design = Design(layout=BOTTLENECK, shortcut="avg-proj", **{**IMAGENET, "stem": stem})
    assert_equivalent(timm_model("resnet50d"), design, RESNET_D, size)


def test_the_dual_path_network_of_timm() -> None:
    # Theirs normalises what the projection of a stage's first block reads by itself, where ours
    # shares the pre-activation: one function where those two norms agree, and then the
    # gradient of ours is the sum of theirs. Their eps is 1e-3 and their last activation ELU.
    timm = pytest.importorskip("timm")
    depths = (2, 2, 3, 1)
    reference = timm.create_model("dpn68", num_classes=CLASSES, k_sec=depths, fc_act_layer="relu")
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    twins = {
        name: re.sub(r"c1x1_w_s[12]", "c1x1_a", name)
        for name in reference.state_dict()
        if re.search(r"c1x1_w_s[12]\.bn\.", name)
    }
    assert len(twins) == 4 * 5  # a norm in each stage
    design = CLASSICS["dpn-68"].design.replace(depths=depths)
    assert_equivalent(reference, design, DUAL_PATH, 64, twins)


@pytest.mark.parametrize(
    ("name", "classic", "unshared"),
    [("dpn68", "dpn-68", (10, 144, 320, 704)), ("dpn92", "dpn-92", (64, 336, 704, 1552))],
)
def test_the_sizes_of_dual_path_networks_are_those_of_timm(
    name: str, classic: str, unshared: tuple[int, ...]
) -> None:
    # They differ by the norms before the four projections, as wide as what enters each stage.
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        reference = timm.create_model(name)
    theirs = sum(parameter.numel() for parameter in reference.parameters())
    ours = cost(CLASSICS[classic].design, image_size=224, classes=1000)
    assert theirs == ours.params + 2 * sum(unshared)


# Straight-line code written from the papers --------------------------------------------------

State = dict[str, Tensor]


def conv(x: Tensor, state: State, name: str, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def bn(x: Tensor, state: State, name: str) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, weight, bias, training=False, eps=1e-5)


def option_a(x: Tensor, like: Tensor) -> Tensor:
    """Subsample, and pad with zero channels (arXiv:1512.03385, section 4.1)."""
    if x.shape[2:] != like.shape[2:]:
        x = x[:, :, ::2, ::2]
    zeros = x.new_zeros(x.shape[0], like.shape[1] - x.shape[1], *x.shape[2:])
    return torch.cat([x, zeros], 1)


def resnet_cifar_option_a(x: Tensor, state: State, n: int) -> Tensor:
    """He et al. 2015, arXiv:1512.03385, section 4.2: 6n + 2 layers."""
    x = F.relu(bn(conv(x, state, "stem.conv1"), state, "stem.bn1"))
    for stage in (1, 2, 3):
        for block in range(1, n + 1):
            unit = f"stages.stage{stage}.block{block}.branch"
            stride = 2 if stage > 1 and block == 1 else 1
            y = F.relu(bn(conv(x, state, f"{unit}.conv1", stride), state, f"{unit}.bn1"))
            y = bn(conv(y, state, f"{unit}.conv2"), state, f"{unit}.bn2")
            x = F.relu(y + option_a(x, y))
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def preresnet_projection(x: Tensor, state: State, n: int) -> Tensor:
    """He et al. 2016, arXiv:1603.05027, Fig. 4 (e) and appendix; bottleneck units.

    The first activation is shared by both paths; the last unit is followed by one more.
    """
    x = conv(x, state, "stem.conv1")
    for stage in (1, 2, 3):
        for block in range(1, n + 1):
            unit = f"stages.stage{stage}.block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            a = F.relu(bn(x, state, f"{unit}.opening.bn1"))
            y = conv(a, state, f"{unit}.branch.conv1")
            y = F.relu(bn(y, state, f"{unit}.branch.bn1"))
            y = conv(y, state, f"{unit}.branch.conv2", stride)
            y = F.relu(bn(y, state, f"{unit}.branch.bn2"))
            y = conv(y, state, f"{unit}.branch.conv3")
            x = y + (conv(a, state, f"{unit}.shortcut.conv1", stride) if block == 1 else x)
    x = F.relu(bn(x, state, "head.bn1"))
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def the_five_orders(x: Tensor, state: State, n: int, order: str) -> Tensor:
    """He et al. 2016, arXiv:1603.05027, Fig. 4, with shortcuts of option A.

    Stem and head as in the appendix there: (e) begins without and ends with BN and ReLU.
    """
    x = conv(x, state, "stem.conv1")
    if order in "abcd":
        x = bn(x, state, "stem.bn1")
    if order in "abc":
        x = F.relu(x)
    for stage in (1, 2, 3):
        for block in range(1, n + 1):
            unit = f"stages.stage{stage}.block{block}"
            f = f"{unit}.branch"
            stride = 2 if stage > 1 and block == 1 else 1
            if order == "a":
                y = F.relu(bn(conv(x, state, f"{f}.conv1", stride), state, f"{f}.bn1"))
                y = bn(conv(y, state, f"{f}.conv2"), state, f"{f}.bn2")
                x = F.relu(option_a(x, y) + y)
            elif order == "b":
                y = F.relu(bn(conv(x, state, f"{f}.conv1", stride), state, f"{f}.bn1"))
                y = conv(y, state, f"{f}.conv2")
                x = F.relu(bn(option_a(x, y) + y, state, f"{unit}.after.bn1"))
            elif order == "c":
                y = F.relu(bn(conv(x, state, f"{f}.conv1", stride), state, f"{f}.bn1"))
                y = F.relu(bn(conv(y, state, f"{f}.conv2"), state, f"{f}.bn2"))
                x = option_a(x, y) + y
            elif order == "d":
                y = F.relu(bn(conv(F.relu(x), state, f"{f}.conv1", stride), state, f"{f}.bn1"))
                y = bn(conv(y, state, f"{f}.conv2"), state, f"{f}.bn2")
                x = option_a(x, y) + y
            elif order == "e":
                y = F.relu(bn(x, state, f"{unit}.opening.bn1"))
                y = F.relu(bn(conv(y, state, f"{f}.conv1", stride), state, f"{f}.bn1"))
                y = conv(y, state, f"{f}.conv2")
                x = option_a(x, y) + y
    if order == "e":
        x = bn(x, state, "head.bn1")
    if order in "de":
        x = F.relu(x)
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def densenet_bc(x: Tensor, state: State, n: int) -> Tensor:
    """Huang et al. 2017, arXiv:1608.06993, section 3, for CIFAR: DenseNet-BC with theta 0.5."""
    x = conv(x, state, "stem.conv1")
    for stage in (1, 2, 3):
        if stage > 1:
            name = f"stages.stage{stage}.transition"
            x = conv(F.relu(bn(x, state, f"{name}.bn1")), state, f"{name}.conv1")
            x = F.avg_pool2d(x, 2)
        for block in range(1, n + 1):
            unit = f"stages.stage{stage}.block{block}"
            y = conv(F.relu(bn(x, state, f"{unit}.opening.bn1")), state, f"{unit}.branch.conv1")
            y = conv(F.relu(bn(y, state, f"{unit}.branch.bn1")), state, f"{unit}.branch.conv2")
            x = torch.cat([x, y], 1)
    x = F.relu(bn(x, state, "head.bn1"))
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def assert_as_written(design: Design, written: Callable[[Tensor, State], Tensor]) -> None:
    model = shake(build(design, classes=CLASSES, seed=4)).eval()
    read = set()

    class Reading(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            read.add(name)
            return super().__getitem__(name)

    learned = dict(model.named_parameters())
    state = Reading(
        (name, tensor.detach().clone().requires_grad_(name in learned))
        for name, tensor in model.state_dict().items()
    )
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([3, 7])
    expected, logits = written(images, state), model(images)
    assert {name for name in state if not name.endswith("num_batches_tracked")} == read
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    F.cross_entropy(expected, labels).backward()
    F.cross_entropy(logits, labels).backward()
    for name, parameter in learned.items():
        assert_close_relative(parameter.grad, dict.__getitem__(state, name).grad, name)


def test_resnet_20_as_the_paper_says() -> None:
    assert_as_written(
        CLASSICS["resnet-20"].design, lambda x, state: resnet_cifar_option_a(x, state, 3)
    )


@pytest.mark.parametrize(
    ("order", "layout"),
    [
        ("a", ORIGINAL),
        ("b", BN_AFTER_ADDITION),
        ("c", RELU_BEFORE_ADDITION),
        ("d", RELU_ONLY_PREACTIVATION),
        ("e", FULL_PREACTIVATION),
    ],
)
def test_the_five_orders_as_the_paper_draws_them(order: str, layout: str) -> None:
    design = Design(layout=layout, shortcut="pad", depths=(2, 2, 2))
    assert_as_written(design, lambda x, state: the_five_orders(x, state, 2, order))


def test_a_pre_activation_resnet_as_the_paper_says() -> None:
    design = CLASSICS["preresnet-164"].design.replace(depths=(2, 2, 2))
    assert_as_written(design, lambda x, state: preresnet_projection(x, state, 2))


def test_a_densenet_bc_as_the_paper_says() -> None:
    design = CLASSICS["densenet-bc-100"].design.replace(depths=(3, 3, 3))
    assert design.layout == DENSE
    assert_as_written(design, lambda x, state: densenet_bc(x, state, 3))


def resampled(x: Tensor, like: Tensor, state: State, name: str, kind: str, norm: bool) -> Tensor:
    """A shortcut over stages: the identity where shapes agree, else padded or projected."""
    stride = x.shape[-1] // like.shape[-1]
    if x.shape == like.shape:
        return x
    if kind == "pad":
        x = x[:, :, ::stride, ::stride]
        zeros = x.new_zeros(x.shape[0], like.shape[1] - x.shape[1], *x.shape[2:])
        return torch.cat([x, zeros], 1)
    if kind == "proj":
        x = conv(x, state, f"{name}.conv1", stride)
    elif kind == "avg-proj":
        x = conv(F.avg_pool2d(x, stride) if stride > 1 else x, state, f"{name}.conv1")
    return bn(x, state, f"{name}.bn1") if norm else x


def ror_3(x: Tensor, state: State, n: int, kind: str) -> Tensor:
    """Zhang et al. 2016, arXiv:1608.02908, Fig. 1 (right) and equation 3: three levels.

    A root-level shortcut over all residual blocks, a middle-level one over each third of them,
    the final-level ones of He et al. 2015, here with zeros padded. The ReLU stands behind all
    additions; the projections are normalised as there.
    """
    x = F.relu(bn(conv(x, state, "stem.conv1"), state, "stem.bn1"))
    root = x
    for stage in (1, 2, 3):
        middle = x
        for block in range(1, n + 1):
            f = f"stages.stage{stage}.block{block}.branch"
            stride = 2 if stage > 1 and block == 1 else 1
            y = F.relu(bn(conv(x, state, f"{f}.conv1", stride), state, f"{f}.bn1"))
            y = bn(conv(y, state, f"{f}.conv2"), state, f"{f}.bn2")
            y = option_a(x, y) + y
            if block == n and stage < 3:
                y = resampled(middle, y, state, f"joins.stage{stage}.links.0", kind, True) + y
            elif block == n:
                y = (
                    resampled(root, y, state, "joins.stage3.links.0", kind, True)
                    + resampled(middle, y, state, "joins.stage3.links.1", kind, True)
                    + y
                )
            x = F.relu(y)
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def pre_ror_3(x: Tensor, state: State, n: int, kind: str) -> Tensor:
    """Zhang et al. 2016, arXiv:1608.02908, section 3: as above on units that activate first.

    Nothing stands behind the additions, and the shortcuts carry what is not normalised.
    """
    x = conv(x, state, "stem.conv1")
    root = x
    for stage in (1, 2, 3):
        middle = x
        for block in range(1, n + 1):
            unit = f"stages.stage{stage}.block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            y = F.relu(bn(x, state, f"{unit}.opening.bn1"))
            y = conv(y, state, f"{unit}.branch.conv1", stride)
            y = F.relu(bn(y, state, f"{unit}.branch.bn1"))
            y = conv(y, state, f"{unit}.branch.conv2")
            x = option_a(x, y) + y
        if stage < 3:
            x = resampled(middle, x, state, f"joins.stage{stage}.links.0", kind, False) + x
    x = (
        resampled(root, x, state, "joins.stage3.links.0", kind, False)
        + resampled(middle, x, state, "joins.stage3.links.1", kind, False)
        + x
    )
    x = F.relu(bn(x, state, "head.bn1"))
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def long_concatenations(x: Tensor, state: State, order: str) -> Tensor:
    """Long skips that are concatenated behind the last sum of a stage, one block a stage.

    As the encoder-decoder of Ronneberger et al. 2015, arXiv:1505.04597, Fig. 1, joins its levels,
    though here all lead downwards: what is larger is average-pooled.
    """
    x = conv(x, state, "stem.conv1")
    if order == "original":
        x = F.relu(bn(x, state, "stem.bn1"))
    outputs = [x]
    for stage in (1, 2, 3):
        unit = f"stages.stage{stage}.block1"
        stride = 2 if stage > 1 else 1
        if order == "original":
            y = conv(x, state, f"{unit}.branch.conv1", stride)
            y = F.relu(bn(y, state, f"{unit}.branch.bn1"))
            y = bn(conv(y, state, f"{unit}.branch.conv2"), state, f"{unit}.branch.bn2")
        else:
            y = F.relu(bn(x, state, f"{unit}.opening.bn1"))
            y = conv(y, state, f"{unit}.branch.conv1", stride)
            y = F.relu(bn(y, state, f"{unit}.branch.bn1"))
            y = conv(y, state, f"{unit}.branch.conv2")
        y = option_a(x, y) + y
        if stage == 1:
            y = torch.cat([y, outputs[0]], 1)
        elif stage == 2:
            y = torch.cat([y, F.avg_pool2d(outputs[1], 2)], 1)
        elif stage == 3:
            y = torch.cat([y, F.avg_pool2d(outputs[0], 4), F.avg_pool2d(outputs[2], 2)], 1)
        x = F.relu(y) if order == "original" else y
        outputs.append(x)
    if order == "pre-activation":
        x = F.relu(bn(x, state, "head.bn1"))
    x = x.mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("kind", LINK_SHORTCUTS)
def test_residual_of_residual_as_the_paper_says(kind: str) -> None:
    design = CLASSICS["ror-110"].design.replace(depths=(2, 2, 2), link_shortcut=kind)
    assert_as_written(design, lambda x, state: ror_3(x, state, 2, kind))


@pytest.mark.parametrize("kind", LINK_SHORTCUTS)
def test_pre_activation_residual_of_residual_as_the_paper_says(kind: str) -> None:
    design = CLASSICS["pre-ror-110"].design.replace(depths=(2, 2, 2), link_shortcut=kind)
    assert_as_written(design, lambda x, state: pre_ror_3(x, state, 2, kind))


@pytest.mark.parametrize(
    ("order", "layout"), [("original", ORIGINAL), ("pre-activation", FULL_PREACTIVATION)]
)
def test_long_skips_that_are_concatenated(order: str, layout: str) -> None:
    design = Design(
        layout=layout,
        shortcut="pad",
        depths=(1, 1, 1),
        links=RESIDUAL_OF_RESIDUAL,
        link_merge="cat",
    )
    assert_as_written(design, lambda x, state: long_concatenations(x, state, order))


def test_the_unit_of_pyramidnet_as_the_paper_draws_it() -> None:
    # Han et al. 2017, arXiv:1610.02915, Fig. 6 (d): no ReLU first, a norm last, zeros padded. Its
    # network widens in every unit, which is one stage a unit here, and halves heights elsewhere.
    design = Design(layout="bn-conv3-bn-relu-conv3-bn +", shortcut="pad", widths=(20,), depths=(1,))
    model = shake(build(design.replace(stem_width=16), seed=4)).eval()
    unit = model.stages.stage1.block1
    x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(1))
    state = unit.state_dict()
    y = conv(bn(x, state, "opening.bn1"), state, "branch.conv1")
    y = conv(F.relu(bn(y, state, "branch.bn1")), state, "branch.conv2")
    y = bn(y, state, "branch.bn2")
    torch.testing.assert_close(unit(x), option_a(x, y) + y, atol=1e-5, rtol=1e-5)
