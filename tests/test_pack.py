"""Packs: every member computes and learns what it would alone, whoever its companions are."""

import copy
import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from strategies import RELAXED, designs
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.classics import (
    BOTTLENECK,
    CLASSICS,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    RESIDUAL_OF_RESIDUAL,
)
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.merges import MERGES
from skipsearch.models import Network, build, merges, ops
from skipsearch.models.ops import DropPath, PackedDropout, PackedDropPath
from skipsearch.models.pack import COUNTERPARTS, pack, set_generators, unpack
from skipsearch.plan import Step
from skipsearch.planning import SHORTCUTS

CHANNELS, CLASSES, SIDE, BATCH = 2, 3, 7, 4


def networks(design: Design, members: int, dtype: torch.dtype = torch.float64) -> list[Network]:
    """Members of several seeds in which nothing is silent: what starts at 0 or 1 is moved.

    Norms divide by no less than 0.3, so that none makes much of a rounding error.
    """
    models = [build(design, CHANNELS, CLASSES, seed) for seed in range(members)]
    for seed, model in enumerate(models):
        generator = torch.Generator().manual_seed(100 + seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim < 2:
                    parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
                module.eps = 0.1
        model.to(dtype=dtype, memory_format=torch.channels_last).train()
    return models


def images(seed: int, dtype: torch.dtype = torch.float64, batch: int = BATCH) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, CHANNELS, SIDE, SIDE, generator=generator).to(dtype)


def labels(seed: int, batch: int = BATCH) -> Tensor:
    return torch.randint(CLASSES, (batch,), generator=torch.Generator().manual_seed(seed))


def together(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([*parts], 1).contiguous(memory_format=torch.channels_last)


def packed_loss(logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """The sum of the members' mean losses."""
    losses = zip(logits.float().unbind(1), targets, strict=True)
    return torch.stack([F.cross_entropy(each.double(), target) for each, target in losses]).sum()


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def assert_members_are_as_if_alone(
    design: Design,
    members: int = 2,
    dtype: torch.dtype = torch.float64,
    tolerance: float = 1e-9,
    autocast: bool = False,
) -> None:
    """Logits, gradients and running statistics of a training step, and logits of evaluation."""
    models = networks(design, members, dtype)
    packed = pack(models)
    set_generators(packed, generators(range(members)))

    def close(actual: Tensor, expected: Tensor, what: str) -> None:
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(
            actual, expected, rtol=0.0, atol=tolerance * scale, msg=lambda text: f"{what}: {text}"
        )

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = packed(together([images(seed, dtype) for seed in range(members)]))
    packed_loss(logits, [labels(seed) for seed in range(members)]).backward()
    gradients = {name: each.grad for name, each in packed.named_parameters()}
    buffers = dict(packed.named_buffers())
    packed.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        evaluated = packed(together([images(9, dtype)] * members))
    assert logits.shape == evaluated.shape == (BATCH, members, CLASSES)

    for seed, model in enumerate(models):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                alone = model(images(seed, dtype).contiguous(memory_format=torch.channels_last))
        close(logits[:, seed], alone, "logits")
        packed_loss(alone[:, None], [labels(seed)]).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert gradients[name] is not None
            whole = gradients[name].chunk(members)[seed]
            close(whole.view_as(parameter), parameter.grad, name)
        for name, buffer in model.named_buffers():
            whole = buffers[name].chunk(members)[seed] if buffer.ndim else buffers[name]
            close(whole, buffer, name)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            close(evaluated[:, seed], model.eval()(images(9, dtype)), "evaluation")


# What a member computes -------------------------------------------------------------------------

LAYOUTS = {
    ORIGINAL: 1.0,
    "bn-relu-dropout-conv3-bn-relu-conv3 +": 1.0,  # He et al. 2016, Fig. 4 (e); WRN
    "conv3-bn-relu-conv3-bn-relu": 1.0,
    "conv1-bn-relu-conv3-bn-relu-conv1-bn0-se + relu": 0.5,
    "conv1-bn-relu6-dw3-bn-relu6-conv1-bn +": 2.0,
    "dw7-ln-conv1-gelu-conv1-scale +": 2.0,
    "gn-silu-conv3 + conv1-ln": 1.0,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("merge", MERGES)
def test_a_member_computes_and_learns_what_it_would_alone(layout: str, merge: str) -> None:
    candidates = [
        Design(
            layout=layout,
            shortcut=shortcut,
            merge=merge,
            depths=(1, 2),
            widths=(4, 6),
            stem_width=4,
            growth=2,
            bottleneck_ratio=LAYOUTS[layout],
            dropout=0.2,
            drop_path=drop_path,
        )
        for shortcut, drop_path in zip(SHORTCUTS, itertools.cycle((0.0, 0.3)))
    ]
    for design in {design.id: design for design in candidates}.values():
        assert_members_are_as_if_alone(design)


CASES: dict[str, Design] = {
    "groups": Design(layout=BOTTLENECK, groups=2, widths=(8, 8), depths=(1, 1)),
    "group norm": Design(layout="conv3-gn-relu +", widths=(32, 48), depths=(1, 1)),
    "scaled": Design(layout=ORIGINAL, shortcut_scale=0.5, branch_scale=0.7, shortcut_dropout=0.5),
    "silent shortcut": Design(layout=ORIGINAL, shortcut_scale=0.0, drop_path=0.5),
    "links that add": Design(layout=ORIGINAL, links=RESIDUAL_OF_RESIDUAL, link_shortcut="pad"),
    "links that pool": Design(layout=DENSE, links=("0>1",), link_shortcut="avg-proj", merge="cat"),
    "links that concatenate": Design(
        layout=ORIGINAL, links=RESIDUAL_OF_RESIDUAL, link_merge="cat", link_shortcut="proj"
    ),
    "pooling stem": Design(layout=FULL_PREACTIVATION, stem="conv3-bn-relu-conv3-pool"),
    "convolution in the head": Design(layout=ORIGINAL, head="conv1-bn-relu6-mean-dropout"),
    "head behind the mean": Design(layout=ORIGINAL, head="mean-conv1-relu-ln", head_width=5),
    "a layout a stage": Design(layout=(DENSE, ORIGINAL, DENSE), merge=("cat", "gate", "dual")),
}
for name, case in CASES.items():
    small = {"widths": (4, 6, 8), "depths": (1, 2, 1), "stem_width": 4, "dropout": 0.2}
    CASES[name] = case if len(case.depths) == 2 else Design(**{**case.to_dict(), **small})


@pytest.mark.parametrize("name", CASES)
def test_other_parts_compute_and_learn_what_they_would_alone(name: str) -> None:
    assert_members_are_as_if_alone(CASES[name], members=3)


@pytest.mark.parametrize("name", ["groups", "scaled", "links that concatenate"])
@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_in_the_types_that_trainings_use(name: str, autocast: bool, tolerance: float) -> None:
    assert_members_are_as_if_alone(CASES[name], 3, torch.float32, tolerance, autocast)


@settings(RELAXED, max_examples=60)
@given(designs())
def test_any_design_can_be_packed(design: Design) -> None:
    # Dropout draws in the order of memory, in which a signal of a single channel may lie otherwise.
    design = Design(**{**design.to_dict(), "dropout": 0.0, "shortcut_dropout": 0.0})
    assert_members_are_as_if_alone(design)


def test_a_pack_of_one() -> None:
    assert_members_are_as_if_alone(CASES["a layout a stage"], members=1)


def train(
    packed: Network, seeds: Sequence[int], dtype: torch.dtype, autocast: bool = False
) -> None:
    """A few steps of SGD, each member on data of its own seed."""
    packed.to(memory_format=torch.channels_last)
    set_generators(packed, generators(seeds))
    optimizer = torch.optim.SGD(
        packed.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3, fused=True
    )
    for step in range(3):
        batch = together([images(10 * step + seed, dtype) for seed in seeds])
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = packed(batch)
        packed_loss(logits, [labels(10 * step + seed) for seed in seeds]).backward()
        optimizer.step()


def test_training_a_pack_trains_its_members() -> None:
    models = networks(CASES["a layout a stage"], 3)
    alone = copy.deepcopy(models)
    packed = pack(models)
    train(packed, range(3), torch.float64)
    unpack(packed, models)
    for seed, (model, expected) in enumerate(zip(models, alone, strict=True)):
        single = pack([expected])
        train(single, [seed], torch.float64)
        unpack(single, [expected])
        for name, tensor in expected.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0.0, atol=1e-9)


# Random numbers ---------------------------------------------------------------------------------

KINDS = {
    "dropout": (nn.Dropout(0.3), PackedDropout),
    "drop path": (DropPath(0.3), PackedDropPath),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(8, 3, 5, 5), (8, 20, 1, 1)])
def test_a_member_drops_what_it_would_alone(
    kind: str, dtype: torch.dtype, memory_format: torch.memory_format, shape: tuple[int, ...]
) -> None:
    single, counterpart = KINDS[kind]
    packed = counterpart(single, 3)
    set_generators(packed, generators(range(3)))
    parts = [torch.randn(shape, dtype=dtype) for _ in range(3)]
    out = packed(torch.cat(parts, 1).contiguous(memory_format=memory_format)).chunk(3, 1)
    for seed, part in enumerate(parts):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            alone = single(part.contiguous(memory_format=memory_format))
        assert torch.equal(out[seed], alone)
    assert not torch.equal(out[0] == 0, out[1] == 0)
    packed.eval()
    assert torch.equal(packed(parts[0].repeat(1, 3, 1, 1)), parts[0].repeat(1, 3, 1, 1))


def test_without_generators_the_global_one_is_drawn_from() -> None:
    packed = pack(networks(CASES["scaled"], 2))
    batch = together([images(0)] * 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = packed(batch)
        other = packed(batch)
        torch.manual_seed(1)
        assert torch.equal(packed(batch), first)
    assert not torch.equal(other, first)


def test_packing_draws_no_random_numbers() -> None:
    models = networks(CASES["scaled"], 2)
    before = torch.get_rng_state()
    pack(models)
    assert torch.equal(torch.get_rng_state(), before)


# Bits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a layout a stage", "scaled", "links that concatenate"])
@pytest.mark.parametrize("autocast", [False, True])
def test_no_bit_of_a_member_depends_on_its_companions(name: str, autocast: bool) -> None:
    """Not even on one that has diverged, in a pack of the same size."""
    models = networks(CASES[name], 6, torch.float32)
    first, second = pack(models[:4]), pack([*models[4:], *models[2:4]])
    with torch.no_grad():
        second.stem.conv1.weight[0] = torch.nan
    train(first, [0, 1, 2, 3], torch.float32, autocast)
    train(second, [4, 5, 2, 3], torch.float32, autocast)
    others = second.state_dict()
    for key, tensor in first.state_dict().items():
        if tensor.ndim:
            for place in (2, 3):
                assert torch.equal(tensor.chunk(4)[place], others[key].chunk(4)[place]), key
    assert others["classifier.weight"].chunk(4)[0].isnan().any()
    assert not torch.equal(*(each.classifier.weight.chunk(4)[1] for each in (first, second)))


@pytest.mark.parametrize("name", CASES)
def test_what_is_packed_and_unpacked_has_the_same_bits(name: str) -> None:
    models = networks(CASES[name], 3, torch.float32)
    for model in models:
        model(images(1, torch.float32))  # statistics that are not those of the start
    packed = pack(models)
    assert list(packed.state_dict()) == list(models[0].state_dict())
    others = [build(CASES[name], CHANNELS, CLASSES, seed=7) for _ in range(3)]
    unpack(packed, others)
    for model, other in zip(models, others, strict=True):
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[key]), key


def test_a_pack_and_its_members_share_no_memory() -> None:
    models = networks(CASES["groups"], 1, torch.float32)
    before = copy.deepcopy(models[0].state_dict())
    packed = pack(models)
    train(packed, [0], torch.float32)
    assert all(torch.equal(models[0].state_dict()[key], before[key]) for key in before)
    unpack(packed, models)
    trained = copy.deepcopy(models[0].state_dict())
    train(packed, [1], torch.float32)
    assert all(torch.equal(models[0].state_dict()[key], trained[key]) for key in before)
    assert not torch.equal(trained["classifier.weight"], before["classifier.weight"])


# What a pack is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scaled", "links that concatenate", "a layout a stage"])
def test_signals_stay_in_channels_last(name: str) -> None:
    packed = pack(networks(CASES[name], 2, torch.float32)).to(memory_format=torch.channels_last)
    wrong: list[str] = []
    seen = 0

    def look(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal seen
        seen += 1
        if output.ndim == 4 and not output.is_contiguous(memory_format=torch.channels_last):
            wrong.append(repr(module))

    for module in packed.modules():
        module.register_forward_hook(look)
    packed(together([images(seed, torch.float32) for seed in range(2)]))
    assert wrong == []
    assert seen > 20


def test_the_mode_is_that_of_the_members() -> None:
    models = networks(CASES["scaled"], 2)
    assert all(module.training for module in pack(models).modules())
    for model in models:
        model.eval()
    assert not any(module.training for module in pack(models).modules())


ORDINARY = Design(layout=ORIGINAL, depths=(1, 1), widths=(4, 6), merge="gate", drop_path=0.1)
UNLIKE = {
    "deeper": ({"layout": f"{ORIGINAL}-conv3"}, "after.conv1 has type Conv2d instead of None"),
    "wider": ({"widths": (4, 8)}, "stages.stage2.block1.branch.conv1 has out_channels 8 instead"),
    "merged by adding": ({"merge": "add"}, "stages.stage1.block1 has type AddBlock instead of"),
    "dropped more": ({"drop_path": 0.10000001}, "drop_path has rate 0.050000005 instead of 0.05"),
    "linked": ({"links": ("0>1",)}, "the network has type LinkedNetwork instead of Network"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_networks_that_differ_are_refused(name: str) -> None:
    changes, complaint = UNLIKE[name]
    other = Design(**{**ORDINARY.to_dict(), **changes})
    for pair in ((ORDINARY, other), (other, ORDINARY)):
        with pytest.raises(DesignError, match="network 3 of the pack differs from the first: "):
            pack([build(pair[0]), build(pair[0]), build(pair[1])])
    with pytest.raises(DesignError, match=complaint):
        pack([build(ORDINARY), build(other)])


def test_other_numbers_of_classes_or_batches_are_refused() -> None:
    with pytest.raises(DesignError, match="classifier has out_features 9 instead of 10"):
        pack([build(ORDINARY), build(ORDINARY, classes=9)])
    models = networks(ORDINARY, 2)
    models[1](images(0))
    with pytest.raises(DesignError, match=r"differ in stem\.bn1\.num_batches_tracked"):
        pack(models)
    with pytest.raises(DesignError, match="at least one"):
        pack([])


def test_what_a_gate_started_at_is_no_difference() -> None:
    other = Design(**{**ORDINARY.to_dict(), "gate_bias": 0.0})
    assert ORDINARY.gate_bias != other.gate_bias
    packed = pack([build(ORDINARY), build(other)])
    first, second = packed.stages.stage1.block1.gate.bias.chunk(2)
    assert first.unique().item() == ORDINARY.gate_bias
    assert second.unique().item() == 0.0


def test_only_what_is_known_is_packed() -> None:
    model = build(ORDINARY)
    model.head = nn.Softmax2d()
    with pytest.raises(DesignError, match="Softmax2d cannot be packed"):
        pack([model])


def test_a_classic_in_its_full_size() -> None:
    design = CLASSICS["resnet-20"].design
    models = [build(design, seed=seed).eval() for seed in range(2)]
    batch = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = pack(models)(batch)
        for place, model in enumerate(models):
            torch.testing.assert_close(logits[:, place], model(batch.chunk(2, 1)[place]))


def test_every_operation_and_block_has_a_counterpart() -> None:
    # What a new word of the notation builds must be packed as well: there is no default.
    for word, operation in ops.OPS.items():
        step = Step(word, inputs=4, outputs=4, kernel=3)
        assert type(operation.build(step)) in COUNTERPARTS, word
    modules = (merges.add, merges.cat, merges.dual, merges.gate, merges.maximum)
    modules += (merges.plain, merges.weighted)
    found = [each for module in modules for each in vars(module).values()]
    blocks = [each for each in found if hasattr(each, "terms")]
    assert len(set(blocks)) == 9
    assert set(blocks) <= set(COUNTERPARTS)
