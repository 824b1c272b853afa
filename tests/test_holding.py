"""What training holds, against what PyTorch really saves for the backward pass."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from skipsearch.classics import classic
from skipsearch.design import Design
from skipsearch.holding import held_bytes, network_holds
from skipsearch.merges import MERGES
from skipsearch.models import build
from skipsearch.plan import Size
from skipsearch.task import CLASSIFICATION, DENOISING, SEGMENTATION

UNET = Design(
    layout="conv3-bn-relu-conv3-bn-relu",
    depths=(1, 1, 1),
    widths=(4, 8, 16),
    ups=2,
    down="maxpool",
    stem="none",
    head="map",
    links=("mirror",),
    link_merge="cat",
)
DENSE = {
    "cat": UNET,
    "add": UNET.replace(link_merge="add"),
    "weighted": UNET.replace(link_merge="weighted"),
    "attention": UNET.replace(link_merge="attention"),
    "nested": UNET.replace(links=("nested",)),
    "none, bilinear": UNET.replace(links=(), up="bilinear-conv3"),
    "shuffle, avgpool": UNET.replace(up="shuffle", down="avgpool"),
}
CLASSICS = ("unet-resnet-18", "linknet-18", "unet-3plus", "fpn-18", "red-net", "dncnn", "resnet-20")


def saved_bytes(design: Design, size: Size, outputs: int) -> int:
    """Bytes that autograd saves for each image; vectors, as of statistics, are not counted."""
    model = build(design, 3, outputs)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, Tensor] = {}  # kept alive: no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights and tensor.ndim == 4 and tensor[0, 0].numel() > 1:
            saved[address] = tensor
        return tensor

    images = torch.rand(2, 3, *size).contiguous(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) // 2


def foreseen(design: Design, size: Size, outputs: int) -> int:
    """The same, foreseen; the vector behind the pooling of a classifier is no image."""
    plan = design.plan(3)
    held = network_holds(plan, size, outputs).bytes
    return held if design.head.endswith(("map", "map3")) else held - 4 * plan.head.features


@pytest.mark.parametrize("design", DENSE.values(), ids=DENSE)
def test_what_a_dense_network_holds_is_what_autograd_saves(design: Design) -> None:
    assert foreseen(design, Size(16, 24), 7) == saved_bytes(design, Size(16, 24), 7)


@pytest.mark.parametrize("merge", MERGES)
def test_what_a_block_holds_is_what_autograd_saves(merge: str) -> None:
    design = Design(
        layout="conv3-bn-relu-conv3-bn + relu",
        depths=(2, 2),
        widths=(16, 32),
        stem_width=16,
        merge=merge,
    )
    assert foreseen(design, Size(16, 24), 7) == saved_bytes(design, Size(16, 24), 7)


@pytest.mark.parametrize("name", CLASSICS)
def test_what_a_classic_holds_is_what_autograd_saves(name: str) -> None:
    design = classic(name).design
    assert foreseen(design, Size(32, 64), 7) == saved_bytes(design, Size(32, 64), 7)


def test_a_step_counted_by_hand() -> None:
    # conv3 from 3 to 4 channels, relu, the map to 2 classes, at 8 x 8: the image is read by the
    # convolution, the output of the relu by itself and by the map.
    design = Design(
        layout="conv3-relu", depths=(1,), widths=(4,), stem="none", head="map", links=()
    )
    plan, pixels = design.plan(3), 64
    network = 4 * (3 + 4) * pixels
    assert network_holds(plan, Size(8, 8), 2).bytes == network
    image, mask = 4 * 3 * pixels, 8 * pixels  # in float32, which the network holds, and in int64
    outputs = 4 * 2 * pixels
    largest = 4 * 4 * pixels

    def held(loss: str) -> int:
        return held_bytes(plan, Size(8, 8), 2, SEGMENTATION, loss)

    assert held("cross-entropy") == network + mask + outputs + 2 * largest
    assert held("dice") == network + mask + 6 * outputs
    assert held("both") == network + mask + 8 * outputs
    half = held_bytes(plan, Size(8, 8), 2, SEGMENTATION, "dice", itemsize=2)
    assert half == network // 2 + image + mask + 6 * outputs
    restored = held_bytes(plan, Size(8, 8), 3, DENOISING)
    assert restored == network + (1 + 4) * image  # the noise, and 4 for the loss


def test_an_image_is_held_once() -> None:
    design = Design(
        layout="relu-conv3", depths=(1,), widths=(4,), stem="none", head="map", links=()
    )
    assert foreseen(design, Size(8, 8), 2) == saved_bytes(design, Size(8, 8), 2)
    plan, pixels = design.plan(3), 64
    # The first relu does not save the image, but its own output; the step has the image.
    network, image = 4 * (3 + 4) * pixels, 4 * 3 * pixels
    assert held_bytes(plan, Size(8, 8), 2, SEGMENTATION, "dice") == (
        network + image + 8 * pixels + 6 * 4 * 2 * pixels
    )


def test_a_classifier_holds_no_map() -> None:
    design = Design(layout="conv3-relu", depths=(1,), widths=(4,), stem="none")
    plan = design.plan(3)
    network = 4 * ((3 + 4) * 64 + 4)  # the image, the relu, the pooled vector
    assert held_bytes(plan, Size(8, 8), 10, CLASSIFICATION) == (
        network + 8 + 4 * 10 + 2 * 4 * 4 * 64
    )


def test_the_forecast_and_all_that_it_imports_know_no_torch() -> None:
    code = "import skipsearch.holding, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
