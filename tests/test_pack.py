"""Packed networks: what each member computes and learns is what it would alone."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.classics import CLASSICS, FULL_PREACTIVATION, ORIGINAL
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.models import Network, build, pack, set_generators, unpack
from skipsearch.models.ops import OPS
from skipsearch.models.pack import COUNTERPARTS
from skipsearch.plan import MERGES, SHORTCUTS
from tests.strategies import RELAXED, designs

DROPS = {"dropout": 0.3, "drop_path": 0.4, "shortcut_dropout": 0.5}
VARIANTS: dict[str, Design] = {
    **{f"{m} {s}": Design(layout=FULL_PREACTIVATION, merge=m, shortcut=s, depths=(2, 2),
                          widths=(4, 8), growth=2) for m in MERGES for s in SHORTCUTS},
    **{layout: Design(layout=layout, depths=(2, 1), widths=(4, 8)) for layout in (
        "conv3-bn-relu-conv3-bn-relu", ORIGINAL, "dw7-ln-conv1-gelu-conv1-scale +",
        "conv3-gn-relu-conv3-bn0-se + relu6", "conv1-bn-silu-dw3-bn-conv1-ln +",
    )},
    "groups": Design(layout="conv1-bn-relu-conv3-bn-relu-conv1-bn + relu", groups=2,
                     depths=(1, 1), widths=(8, 8), bottleneck_ratio=0.5),
    "scaled": Design(layout=ORIGINAL, depths=(2,), widths=(4,), shortcut_scale=0.5,
                     branch_scale=0.7),
    "links": Design(layout=ORIGINAL, depths=(1, 1), widths=(4, 8), links=("0>2",)),
    "cat links": Design(layout=ORIGINAL, depths=(1, 1), widths=(4, 8), links=("0>1", "1>2"),
                        link_merge="cat", link_shortcut="proj"),
    "stem and head": Design(layout=FULL_PREACTIVATION, depths=(1,), widths=(4,),
                            stem="conv7-bn-relu-pool", head="conv1-mean-ln", head_width=6),
    "dropout": Design(layout="bn-relu-conv3-dropout-bn-relu-conv3 +", depths=(2, 2),
                      widths=(4, 8), **DROPS),
    "dropout cat": Design(layout="bn-relu-conv3-dropout +", merge="cat", depths=(2, 2),
                          widths=(4, 4), dropout=0.3, drop_path=0.4),
}  # fmt: skip


def members(design: Design, count: int, channels: int = 2) -> list[Network]:
    """Networks whose learned numbers all differ from those that they start at."""
    models = [build(design, channels, classes=5, seed=seed).double() for seed in range(count)]
    for seed, model in enumerate(models):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim < 2:
                    parameter.add_(torch.rand(parameter.shape, generator=generator).double() + 0.2)
    return models


def images(count: int, size: int = 9, channels: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    shape = (count, 4, channels, size, size)
    return list(torch.randn(shape, generator=generator, dtype=torch.float64))


LABELS = torch.tensor([0, 3, 1, 4])


def train_alone(model: nn.Module, x: Tensor, seed: int) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        logits: Tensor = model(x)
    F.cross_entropy(logits, LABELS).backward()
    return logits.detach()


def train_packed(whole: nn.Module, xs: Sequence[Tensor]) -> Tensor:
    set_generators(whole, [torch.Generator().manual_seed(seed) for seed in range(len(xs))])
    inputs = torch.cat(list(xs), 1).contiguous(memory_format=torch.channels_last)
    logits: Tensor = whole(inputs)
    sum(F.cross_entropy(logits[:, k], LABELS) for k in range(len(xs))).backward()  # type: ignore[union-attr]
    return logits.detach()


def check(design: Design, count: int) -> None:
    """One step of training and one evaluation, packed and alone, in float64."""
    models, xs = members(design, count), images(count)
    whole = pack(models).train()
    logits = train_packed(whole, xs)
    assert logits.shape == (4, count, 5)
    # Alone in the memory format of the pack, in which masks are drawn.
    alone = [
        train_alone(m.train(), x.contiguous(memory_format=torch.channels_last), seed)
        for seed, (m, x) in enumerate(zip(models, xs, strict=True))
    ]
    for k, model in enumerate(models):
        torch.testing.assert_close(logits[:, k], alone[k], rtol=1e-8, atol=1e-8)
        for (name, ours), theirs in zip(whole.named_parameters(), model.parameters(), strict=True):
            assert ours.grad is not None
            grad = ours.grad.chunk(count)[k].view_as(theirs)
            assert theirs.grad is not None, name
            torch.testing.assert_close(grad, theirs.grad, rtol=1e-6, atol=1e-8, msg=name)
    # What batch norm has seen goes back to the members, whose evaluation is the pack's.
    fresh = members(design, count)
    unpack(whole, fresh)
    whole.eval()
    with torch.no_grad():
        together = whole(torch.cat(xs, 1))
    for k, (model, other) in enumerate(zip(models, fresh, strict=True)):
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(together[:, k], model.eval()(xs[k]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_member_is_what_it_would_be_alone(name: str) -> None:
    check(VARIANTS[name], 3)


@settings(RELAXED, max_examples=40)
@given(designs(), st.integers(1, 3))
def test_any_design_can_be_packed(design: Design, count: int) -> None:
    whole = pack(members(design, count))
    check(design, count)
    assert list(whole.state_dict()) == list(build(design, 2, 5).state_dict())


@pytest.mark.parametrize("name", ["resnet-20", "densenet-bc-100", "dpn-68", "se-resnet-110"])
def test_a_classic_has_every_parameter_of_its_members(name: str) -> None:
    models = [build(CLASSICS[name].design, seed=seed) for seed in range(2)]
    whole = pack(models)
    both = [sum(p.numel() for p in model.parameters()) for model in models]
    assert sum(p.numel() for p in whole.parameters()) == sum(both)


def test_every_operation_and_block_has_a_counterpart() -> None:
    # What a new word of the notation builds must be packed as well: there is no default.
    from skipsearch import plan
    from skipsearch.models import block as blocks

    for word, make in OPS.items():
        step = plan.Step(word, inputs=4, outputs=4, kernel=3)
        assert type(make(step)) in COUNTERPARTS, word
    for value in vars(blocks).values():
        if isinstance(value, type) and value.__module__ == blocks.__name__:
            assert value in COUNTERPARTS


@pytest.mark.parametrize("name", ["add proj", "cat proj", "dropout", "links"])
def test_a_member_has_the_same_bits_whoever_its_companions_are(name: str) -> None:
    models, xs = [model.float() for model in members(VARIANTS[name], 6)], images(6)
    xs = [x.float() for x in xs]
    one, other = pack(models[:4]).train(), pack([*models[:2], *models[4:]]).train()
    first, second = train_packed(one, xs[:4]), train_packed(other, [*xs[:2], *xs[4:]])
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.equal(first[:, 2:], second[:, 2:])
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        half = len(mine.grad) // 2
        assert torch.equal(mine.grad[:half], theirs.grad[:half])


@pytest.mark.parametrize("name", ["weighted proj", "stem and head", "dropout", "cat links"])
def test_packing_and_unpacking_changes_no_bit(name: str) -> None:
    models = members(VARIANTS[name], 3)
    others = [build(VARIANTS[name], 2, 5, seed=9).double() for _ in range(3)]
    before = torch.random.get_rng_state()
    whole = pack(models)
    assert torch.equal(torch.random.get_rng_state(), before)
    unpack(whole, others)
    for model, other in zip(models, others, strict=True):
        for key, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[key], tensor), key
    # The pack has copies of its own.
    with torch.no_grad():
        next(whole.parameters()).add_(1)
    assert not torch.equal(next(whole.parameters()).chunk(3)[0], next(models[0].parameters()))


def test_the_mode_is_that_of_the_first() -> None:
    models = members(VARIANTS["add pad"], 2)
    assert pack([model.eval() for model in models]).training is False
    assert pack([model.train() for model in models]).training is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (4, 4)}, "network 2 of the pack differs from the first"),
        ({"depths": (2, 1)}, "differs from the first"),
        ({"layout": FULL_PREACTIVATION}, "differs from the first"),
        ({"branch_scale": 0.5}, "differs from the first"),
        ({"merge": "cat"}, "differs from the first"),
    ],
)
def test_networks_of_other_structures_are_refused(change: dict[str, object], message: str) -> None:
    first = Design(layout=ORIGINAL, depths=(2, 2), widths=(4, 8))
    with pytest.raises(DesignError, match=message):
        pack([build(first), build(first.replace(**change))])


def test_an_empty_pack_is_refused() -> None:
    with pytest.raises(DesignError, match="at least one network"):
        pack([])


def test_a_gate_that_starts_elsewhere_may_be_packed() -> None:
    design = Design(layout=ORIGINAL, merge="gate", depths=(1,), widths=(4,))
    models = [build(design.replace(gate_bias=bias)) for bias in (-6.0, 0.0)]
    assert pack(models)(torch.zeros(1, 6, 8, 8)).shape == (1, 2, 10)


@pytest.mark.parametrize("name", ["add proj", "cat proj", "weighted proj", "dual proj"])
def test_a_pack_computes_in_bfloat16_as_its_members_do(name: str) -> None:
    models, xs = [m.float() for m in members(VARIANTS[name], 2)], [x.float() for x in images(2)]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        together = pack(models).eval()(torch.cat(xs, 1))
        for k, (model, x) in enumerate(zip(models, xs, strict=True)):
            torch.testing.assert_close(together[:, k], model.eval()(x), rtol=0.05, atol=0.05)
