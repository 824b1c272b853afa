"""Every layout of the classics under every shortcut and merge: gradients, cost, id."""

import itertools
from collections import defaultdict

import pytest
import torch
from product import LAYOUTS, random_images, small, stir
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from skipsearch.cost import cost
from skipsearch.merges import MERGES
from skipsearch.models import build
from skipsearch.planning import SHORTCUTS

PRODUCT = tuple(itertools.product(LAYOUTS, SHORTCUTS, MERGES))


@pytest.mark.parametrize(("layout", "shortcut", "merge"), PRODUCT)
def test_every_combination_runs_learns_and_costs_what_is_counted(
    layout: str, shortcut: str, merge: str
) -> None:
    design = small(layout, shortcut, merge)
    model = stir(build(design, in_channels=2, classes=5, seed=2)).train()
    logits = model(random_images(4, 13))
    assert logits.shape == (4, 5)
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name
    expected = cost(design, in_channels=2, image_size=13, classes=5)
    assert expected.params == sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(random_images(1, 13))
    assert 2 * expected.macs == counter.get_total_flops()


def test_designs_have_one_id_where_they_are_one_module_and_only_there() -> None:
    # Of the changes some leave fewer fields with an effect, so that more designs are the same.
    modules, states, ids = {}, {}, defaultdict(set)
    alone = {"depths": (1, 1)}
    for changes in ({}, {"growth": 3}, alone, {**alone, "stem_width": 4}):
        for combination in PRODUCT:
            design = small(*combination, **changes)
            canonical = design.canonical()
            assert (canonical.id, canonical.canonical()) == (design.id, canonical)
            model = build(design, in_channels=2, classes=3, seed=1)
            text = str(model)
            state = {name: tensor.shape for name, tensor in model.state_dict().items()}
            assert modules.setdefault(design.id, text) == text, design
            assert states.setdefault(design.id, state) == state, design
            ids[text].add(design.id)
    assert [found for found in ids.values() if len(found) > 1] == []
    assert len(PRODUCT) < len(modules) < 3 * len(PRODUCT)
