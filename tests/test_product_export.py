"""Every two of layout, shortcut and merge are exported together in one kind of block.

An export takes seconds a network, so many blocks share one.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from product import OF_CLASSICS, ORDERS, RATIOS, random_images, small, stir
from torch import Tensor, nn

from skipsearch.artefacts import onnx, program
from skipsearch.artefacts.checking import TOLERANCES
from skipsearch.classics import FULL_PREACTIVATION, ORIGINAL, PLAIN, RESIDUAL_OF_RESIDUAL
from skipsearch.design import Design
from skipsearch.merges import MERGES
from skipsearch.models import Network, build
from skipsearch.plan import Block, Size, Steps
from skipsearch.planning import SHORTCUTS

# Shortcuts that the merges that add take in turn. What is left out stands in another stage:
# ``proj`` begins as ``proj-all``, and where ``omit`` leaves a change of shape without a shortcut
# no merge is left.
TURNS = ("pad", "proj-all", "avg-proj")
# A few merges a network: each further stage doubles the height and width that the first one needs.
PARTS = (("add", "gate", "cat"), ("shortcut-gate", "weighted", "dual", "max"))


def kinds(*designs: Design) -> set[object]:
    """Every two parts of a block that stand together, and all transitions.

    The parts are the branch, the shortcut and the merge, without numbers of channels and groups.
    """

    def words(steps: Steps) -> object:
        return tuple((step.op, step.kernel, step.stride) for step in steps)

    def pairs(block: Block) -> set[object]:
        branch = ("branch", *map(words, (block.opening, block.branch, block.after)))
        shortcut = ("shortcut", block.shortcut is None, words(block.shortcut or ()))
        return set(itertools.combinations((branch, shortcut, ("merge", block.merge)), 2))

    stages = [stage for design in designs for stage in design.plan().stages]
    blocks = set().union(*(pairs(block) for stage in stages for block in stage.blocks))
    return blocks | {words(stage.transition) for stage in stages}


def of_stages(stages: list[tuple[str, str, str, int]]) -> Design:
    """Layout, shortcut, merge and depth of each stage, which is wide enough to be padded to."""
    layouts, shortcuts, merges, depths = zip(*stages, strict=True)
    return Design(
        layout=layouts,
        shortcut=shortcuts,
        merge=merges,
        depths=depths,
        widths=tuple(8 + 6 * number for number in range(len(stages))),
        stem_width=4,
        bottleneck_ratio=tuple(RATIOS[layout] for layout in layouts),
        growth=1,
    )


def packed(layout: str, part: tuple[str, ...], turn: int) -> Design:
    """Stages of a layout under some merges, of which each takes another shortcut.

    The first stage keeps height and width, so that the others do not.
    """
    stages = [("pad", "dual", 1)] if "dual" in part else [("omit", "add", 1)]
    for place, merge in enumerate(part, turn):
        if merge == "cat":
            stages += [("omit", "add", 1), ("proj", "cat", 2)]
        else:
            stages.append((TURNS[place % len(TURNS)], merge, 2))
    return of_stages([(layout, *stage) for stage in stages])


# Sorted, so that those whose branch ends in a norm, as does their shortcut, take different turns.
PACKED = {
    f"{layout}|{'|'.join(part)}": packed(layout, part, turn)
    for turn, layout in enumerate(sorted(layout for layout in OF_CLASSICS if "+" in layout))
    for part in PARTS
}
PACKED["plain"] = packed(PLAIN, ("cat",), 0)
PACKED["orders"] = of_stages(
    [(layout, "proj", merge, 2) for merge in ("add", "dual", "cat") for layout in ORDERS]
)


TOLERANCE = TOLERANCES["fp32"]


def exported(design: Design, size: int) -> tuple[Network, program.ExportedProgram]:
    """A network whose signal keeps its scale, and its traced program."""
    model = stir(build(design, in_channels=2, classes=3, seed=1)).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the next images
    with torch.no_grad():
        model(random_images(4, size, seed=3))
    model.requires_grad_(False).eval()
    return model, program.trace(model, 2, Size(size, size))


def assert_same_logits(model: Network, other: Callable[[Tensor], Tensor], size: int) -> None:
    """As close as what the library exports has to be, for a batch of another size as well."""
    for count in (1, 3):
        images = random_images(count, size, seed=4)
        logits = model(images)
        torch.testing.assert_close(
            other(images), logits, rtol=0.0, atol=TOLERANCE * logits.abs().max().item()
        )
    assert logits.std(0).max() > 100 * TOLERANCE * logits.abs().max()  # they say something


def test_the_packed_networks_hold_every_two_parts_that_meet_in_the_product() -> None:
    product = itertools.product(OF_CLASSICS, SHORTCUTS, MERGES)
    assert kinds(*(small(*combination) for combination in product)) <= kinds(*PACKED.values())


@pytest.mark.parametrize("name", PACKED)
def test_every_two_parts_of_a_block_are_exported(name: str, tmp_path: Path) -> None:
    design = PACKED[name]
    size = 2 ** max(3, len(design.depths) - 2) + 1  # odd in every stage up to 3 x 3, 2 x 2, 1 x 1
    model, traced = exported(design, size)
    assert_same_logits(model, traced.module(), size)
    onnx.save(traced, tmp_path / "model.onnx")
    assert_same_logits(model, onnx.load(tmp_path / "model.onnx"), size)


@pytest.mark.parametrize(
    ("layout", "link_merge", "link_shortcut", "head"),
    [
        (ORIGINAL, "add", "pad", "mean-conv1-relu-dropout"),
        (FULL_PREACTIVATION, "add", "avg-proj", "conv1-bn-relu6-mean-dropout"),
        (ORIGINAL, "cat", "proj", "conv3-gelu-mean-ln"),
    ],
)
def test_long_skips_and_heads_are_exported(
    layout: str, link_merge: str, link_shortcut: str, head: str, tmp_path: Path
) -> None:
    design = Design(
        layout=layout,
        depths=(1, 2, 1),
        widths=(8, 12, 16),
        links=RESIDUAL_OF_RESIDUAL,
        link_merge=link_merge,
        link_shortcut=link_shortcut,
        head=head,
        head_width=12,
        dropout=0.2,
    )
    model, traced = exported(design, 13)
    program.save(traced, tmp_path / "model.pt2")
    onnx.save(traced, tmp_path / "model.onnx")
    assert_same_logits(model, program.load(tmp_path / "model.pt2"), 13)
    assert_same_logits(model, onnx.load(tmp_path / "model.onnx"), 13)
