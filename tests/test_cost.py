"""Cost: published sizes, and the real modules as PyTorch itself counts them."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from strategies import RELAXED, designs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from waiting import HANG

from skipsearch.classics import (
    BN_AFTER_ADDITION,
    BOTTLENECK,
    CLASSICS,
    FULL_PREACTIVATION,
    ORIGINAL,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
)
from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.cost import Cost, cost, layers, measure_network
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.models import Network, build
from skipsearch.models.links.add import AddLinks
from skipsearch.models.links.cat import CatLinks
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.merges.cat import CatBlock
from skipsearch.models.merges.dual import DualBlock
from skipsearch.models.merges.gate import GateBlock
from skipsearch.models.ops import DropPath, SqueezeExcitation
from skipsearch.operations import se_width
from skipsearch.plan import Size

ORDERS = (
    ORIGINAL,
    BN_AFTER_ADDITION,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
    FULL_PREACTIVATION,
)


def test_cost_and_all_that_it_imports_know_no_torch() -> None:
    program = "import skipsearch.cost, skipsearch.space, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG)


@pytest.mark.parametrize("order", ORDERS)
def test_the_five_orders_of_resnet_110_have_one_size(order: str) -> None:
    # With option A the comparison of Fig. 4 of arXiv:1603.05027 is fair in size.
    design = Design(layout=order, shortcut="pad", depths=(18, 18, 18))
    assert cost(design).params == 1_727_962


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_layers_are_those_that_the_name_of_a_classic_counts(name: str) -> None:
    counted = int(next(word for word in name.split("-") if word.isdecimal()))
    if name.startswith("wrn"):  # counts its three projections, and not the classifier
        counted += 1 - 3
    assert layers(CLASSICS[name].design) == counted


@given(designs())
@settings(RELAXED)
def test_layers_are_the_convolutions_between_image_and_classifier(design: Design) -> None:
    network = design.plan()
    chains = [network.stem, network.head.steps, network.head.pooled]
    for stage in network.stages:
        chains.append(stage.transition)
        for block in stage.blocks:
            chains += [block.branch, block.after]
        if stage.join:
            chains.append(stage.join.after)
    assert layers(design) == 1 + sum(step.op == "conv" for chain in chains for step in chain)


def test_the_multiply_adds_of_resnet_50_are_those_of_its_paper() -> None:
    # torchvision publishes 4.09 G for its ResNet-50 weights (_ops); the paper prints 3.8e9 for its
    # own, whose stride sits in the 1x1 convolution (arXiv:1512.03385, Table 1).
    design = Design(
        layout=BOTTLENECK,
        depths=(3, 4, 6, 3),
        widths=(256, 512, 1024, 2048),
        stem="conv7-pool",
        stem_width=64,
        bottleneck_ratio=0.25,
    )
    assert round(cost(design, image_size=224, classes=1000).macs / 1e9, 2) == 4.09


# Every kind of layout, shortcut and merge, each once or more; images of odd sizes.
CASES = [
    Design(layout=layout, shortcut=shortcut, merge="add", depths=(1, 2), widths=(8, 16))
    for layout in (ORIGINAL, FULL_PREACTIVATION, "conv1-bn-dw5-ln-conv1-scale + ln-gelu")
    for shortcut in ("pad", "proj", "proj-all", "avg-proj", "omit")
] + [
    Design(layout=ORIGINAL, merge="cat", depths=(2, 2, 1), widths=(4, 6, 8), compression=0.4),
    Design(layout="bn-relu-conv1-bn-relu-conv3 +", merge="cat", bottleneck_ratio=4.0, groups=4),
    Design(layout="conv3-bn-relu-conv3-bn-relu", depths=(1, 1), widths=(8, 8), stem="conv5-pool"),
    Design(layout="conv3-bn-se + relu-conv3", depths=(1, 1), widths=(32, 32), stem="conv3-se"),
    Design(layout="conv3-gn + gelu", depths=(1, 1), widths=(64, 96)),
    Design(layout="conv3-bn0-dropout + silu", depths=(2, 1), widths=(8, 9), dropout=0.2),
    Design(layout=ORIGINAL, depths=(1, 1), widths=(8, 8), drop_path=0.2, shortcut="proj-all"),
    Design(layout=ORIGINAL, merge="dual", depths=(2, 3), widths=(8, 12), growth=3),
    Design(
        layout="bn-relu-conv3 + gn",
        merge="dual",
        shortcut="proj-all",
        depths=(2, 2),
        widths=(32, 16),
        stem_width=7,
    ),
    Design(layout=ORIGINAL, links=["0>1", "1>2", "0>3"], link_shortcut="avg-proj"),
    Design(layout=ORIGINAL, links=["0>2", "1>2"], link_merge="cat", widths=(4, 5, 6)),
    Design(layout=ORIGINAL, head="conv3-bn-relu6-mean-conv1-silu", head_width=9, merge="cat"),
    Design(
        layout=(ORIGINAL, "conv1-relu6-dw3-conv1 +", FULL_PREACTIVATION),
        merge=("add", "cat", "add"),
        shortcut=("pad", "proj", "avg-proj"),
        depths=(1, 2, 1),
        widths=(8, 8, 12),
        stem="conv3-bn-relu-conv3-bn-relu-conv3-pool",
        stem_width=6,
        groups=(2, 1, 2),
        bottleneck_ratio=(1.0, 3.0, 0.5),
    ),
]
SIZES = (1, 2, 15, 33)


def case_name(design: Design) -> str:
    return f"{design.layout}|{design.shortcut}|{design.merge}|{design.stem}"


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def counted_flops(model: nn.Module, images: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return counter.get_total_flops()


def written_elements(model: Network, image: Tensor) -> int:
    """Elements that the operations of one forward pass write, as hooks on the modules see them.

    Squeeze-and-excitation is one operation. DropPath and Identity write nothing in evaluation;
    an empty Sequential is no operation. The joins and the global pooling are no modules: they are
    what enters ``after`` of a block that joins, and what enters ``pooled``. A dual block writes its
    sum as well, and each of several links that are added writes one.
    """
    total = 0

    def add_output(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    def add_input(module: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal total
        total += inputs[0].numel()

    def add_sum(module: DualBlock, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel() // output.shape[1] * module.width

    def add_sums(module: AddLinks, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * (1 if isinstance(module, CatLinks) else len(module.links))

    for name, module in model.named_modules():
        if isinstance(module, AddBlock | CatBlock | GateBlock):
            module.after.register_forward_pre_hook(add_input)
        if isinstance(module, DualBlock):
            module.register_forward_hook(add_sum)
        if isinstance(module, AddLinks):
            module.register_forward_hook(add_sums)
        inside_se = name.endswith((".squeeze", ".excite"))
        operation = isinstance(module, SqueezeExcitation) or not any(module.children())
        if operation and not (
            inside_se or isinstance(module, nn.Sequential | nn.Identity | DropPath)
        ):
            module.register_forward_hook(add_output)
    model.pooled.register_forward_pre_hook(add_input)
    with torch.no_grad():
        model(image)
    return total


@pytest.mark.parametrize("design", CASES, ids=case_name)
def test_the_counts_are_those_of_the_real_module(design: Design) -> None:
    model = build(design, in_channels=2, classes=7).eval()
    for size in SIZES:
        expected = cost(design, in_channels=2, image_size=size, classes=7)
        images = torch.zeros(1, 2, size, size)
        assert expected.params == parameters(model)
        assert 2 * expected.macs == counted_flops(model, images)
    assert expected.activation_bytes == 4 * written_elements(model, images)


@settings(RELAXED, max_examples=60)
@given(designs())
def test_the_parameters_of_any_design_are_those_of_its_module(design: Design) -> None:
    assert cost(design, classes=3).params == parameters(build(design, classes=3))


@settings(RELAXED, max_examples=40)
@given(designs())
def test_the_counts_of_any_design_are_those_of_its_module(design: Design) -> None:
    model = build(design, classes=3).eval()
    size = Size(17, 21)  # 2 x 2 or more wherever a group norm may stand
    image = torch.zeros(1, 3, *size)
    expected = measure_network(design.plan(), size, classes=3).cost
    assert 2 * expected.macs == counted_flops(model, image)
    assert expected.activation_bytes == 4 * written_elements(model, image)


def test_a_cost_written_out_by_hand() -> None:
    # conv3 from 3 to 4 channels on 8 x 8, a linear layer from 4 to 2.
    design = Design(layout="conv1 +", depths=(1,), widths=(4,))
    params = 3 * 4 * 9 + 4 * 4 + (4 * 2 + 2)
    macs = 64 * 3 * 4 * 9 + 64 * 4 * 4 + 4 * 2
    elements = 64 * 4 + 64 * 4 + 64 * 4 + 4 + 2  # stem, branch, join, pooling, classifier
    assert cost(design, image_size=8, classes=2) == Cost(params, macs, 4 * elements)


def test_squeeze_and_excitation_reduces_16_times_but_never_to_nothing() -> None:
    # Hu et al. 2018, arXiv:1709.01507, section 6.1.
    assert [se_width(channels) for channels in (1, 15, 16, 31, 64, 2048)] == [1, 1, 1, 1, 4, 128]


@pytest.mark.parametrize("name", ["in_channels", "image_size", "classes"])
@pytest.mark.parametrize("value", [0, -1, True, 3.0, "3", None], ids=repr)
def test_a_size_that_is_no_positive_whole_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(DesignError, match=f"{name}: {value!r} is not a positive whole number"):
        cost(Design(layout=ORIGINAL), **{name: value})
