"""Networks with stages that enlarge: plans, networks, cost, source, and published sizes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from skipsearch.artefacts.source import source
from skipsearch.classics import CLASSICS, ORIGINAL, PLAIN
from skipsearch.classics.decoders import DECODERS
from skipsearch.cost import cost
from skipsearch.design import MANY_CHANNELS, Design
from skipsearch.errors import DesignError
from skipsearch.fields import FIELDS
from skipsearch.merges import MERGES
from skipsearch.models import build, can_pack, pack
from skipsearch.plan import Network as Plan
from skipsearch.plan import Size
from skipsearch.planning import SHORTCUTS
from tests.strategies import NEAR_LAYOUTS, RELAXED, decoders, near_decoders

HEIGHT, WIDTH = 13, 18  # neither is divisible by 4
CLASSES = 5


def unet(**changes: Any) -> Design:
    fields = {
        "layout": PLAIN, "depths": (1, 1, 1), "widths": (4, 6, 8), "ups": 2, "down": "maxpool",
        "stem": "none", "links": ["mirror"], "link_merge": "cat", "head": "map", **changes,
    }  # fmt: skip
    return Design(**fields)


# The stage is an identity, and its node is plain since the shortcut is omitted there.
OMITTED_IN_A_NODE = Design(
    layout="conv3 +",
    depths=(1,) * 5,
    widths=(4, 2, 4, 8, 8),
    ups=2,
    up=("up2", "nearest"),
    links=("1.1>5",),
    head="map",
    shortcut=("proj",) * 4 + ("omit",),
)
PADDED_BESIDE_A_NODE = Design(
    layout="conv3 +", depths=(1,) * 5, widths=(4, 4, 8, 4, 8), ups=2, links=("1.1>y",),
    link_merge="cat", head="map", stem="none", shortcut=("pad", "proj", "proj", "omit", "omit"),
)  # fmt: skip


def plans(design: Design) -> list[Plan]:
    """The networks for images of three channels, of one, and of as many as no signal has."""
    found = [design.plan()]
    for channels in (1, MANY_CHANNELS):
        with contextlib.suppress(DesignError):  # padding leads to more channels alone
            found.append(design.plan(channels))
    return found


def images(n: int = 2) -> Tensor:
    return torch.randn(n, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


# Design ------------------------------------------------------------------------------------------


def test_a_mirrored_unet_is_six_lines() -> None:
    text = """\
layout: conv3-bn-relu-conv3-bn-relu
depths: [1, 1, 1, 1, 1]
widths: [64, 128, 256, 512, 1024]
ups: 4
links: mirror
head: map
"""
    design = Design.from_yaml(text)
    assert design.widths == (64, 128, 256, 512, 1024, 512, 256, 128, 64)
    assert design.links == ("4>6", "3>7", "2>8", "1>9")


@pytest.mark.parametrize(
    ("changes", "links"),
    [
        ({}, ("2>4", "1>5")),
        ({"links": "mirror"}, ("2>4", "1>5")),
        ({"links": ["full"]}, ("1>4", "2>4", "1>5", "3>5")),
        ({"links": ["mirror", "x>y"]}, ("2>4", "1>5", "x>y")),
        ({"links": ["mirror"], "stem": "conv3"}, ("2>4", "1>5")),
        ({"links": ["nested"]}, ("2>4", "1>5", "1.1>5")),
        (
            {"links": ["nested"], "stem": "conv7-pool", "ups": 4},
            ("2>4", "1>5", "1.1>5", "s>6", "s.1>6", "s.2>6"),
        ),
        ({"links": ["01.01 > 5"]}, ("1.1>5",)),
        # The stem that pools has two more levels.
        ({"stem": "conv7-pool", "ups": 4}, ("2>4", "1>5", "s>6")),
        # Other names of the same ends.
        ({"links": ["0>4", "s>5"]}, ("x>4", "x>5")),
        ({"links": ["s>5"], "stem": "conv3"}, ("0>5",)),
        ({"links": ["mirror", "full"], "ups": 0, "depths": (1, 1), "widths": (4, 4)}, ()),
    ],
)
def test_words_stand_for_links(changes: dict[str, Any], links: tuple[str, ...]) -> None:
    assert unet(**changes).links == links


@pytest.mark.parametrize(
    ("links", "worded"),
    [
        (["2>4", "1>5"], ("mirror",)),
        (["1>4", "2>4", "1>5", "3>5"], ("full",)),
        (["2>4", "1>5", "1.1>5"], ("nested",)),
        (["x>y", "1>5", "2>4"], ("mirror", "x>y")),
        (["1>5"], ("1>5",)),
        ([], ()),
    ],
)
def test_links_are_shown_by_their_word(links: list[str], worded: tuple[str, ...]) -> None:
    assert unet(links=links).worded_links == worded


@settings(RELAXED, suppress_health_check=list(HealthCheck), max_examples=60)
@given(decoders())
def test_the_word_of_links_stands_for_them(design: Design) -> None:
    assert design.replace(links=design.worded_links) == design


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        ({}, (4, 6, 8, 6, 4)),
        ({"ups": 1}, (4, 6, 8)),  # which is a whole network: one halves, one enlarges
        ({"ups": 1, "depths": (1, 1), "widths": (4, 6)}, (4, 6, 4)),
        ({"widths": (4, 6, 8, 6, 5)}, (4, 6, 8, 6, 5)),
        ({"stem": "conv7-pool", "stem_width": 3, "ups": 4}, (4, 6, 8, 6, 4, 3, 3)),
    ],
)
def test_lists_of_the_stages_that_halve_are_mirrored(
    changes: dict[str, Any], widths: tuple[int, ...]
) -> None:
    design = unet(**changes)
    assert design.widths == widths
    assert len(design.depths) == len(widths)


def test_lists_with_one_value_a_stage_are_mirrored_too() -> None:
    design = unet(layout=[PLAIN, PLAIN, ORIGINAL], groups=(1, 2, 1))
    assert design.layout == (PLAIN, PLAIN, ORIGINAL, PLAIN, PLAIN)
    assert design.groups == (1, 2, 1, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ups": -1}, "ups: -1 is not a whole number"),
        ({"ups": 3}, "ups: 3 stages enlarge, and those before them halve only 2 times"),
        (
            {"ups": 5, "widths": (4, 6, 8, 6, 4), "depths": (1, 1, 1, 1, 1)},
            "ups: 5 stages enlarge, and those before them halve only 4 times",
        ),
        ({"widths": (4, 6, 8, 6)}, "depths has 3 stages and widths 4"),
        ({"depths": (1, 0, 1)}, "depths[1]: 0 is not a whole number from 1 to 100000; only a"),
        (
            {"up": "conv3"},
            "up: one of up2, up3, up4, nearest, bilinear, shuffle must occur once in",
        ),
        ({"up": "up2-dropout"}, "up: 'up2-dropout' takes no dropout"),
        ({"up": "up2-up2"}, "up: one of up2, up3, up4"),
        ({"up": "up5"}, "up: unknown operation 'up5' in 'up5' (did you mean"),
        ({"up": ("up2",) * 3}, "up has 3 values for 2 stages that enlarge"),
        ({"down": "pool"}, "down: 'pool' is not one of stride, maxpool, avgpool"),
        ({"links": ["1>7"]}, "links: '1>7' has an end that is not there; the ends of links"),
        ({"links": ["mirror", "1>5"]}, "links: '1>5' is listed twice (in 1>5)"),
        (
            {"links": ["2.1>5"]},
            "links: '2.1>5' has an end that is not there; the ends of links are x, 1, 2, 3,",
        ),
        (
            {"links": ["1.1>2"]},
            "links: '1.1>2' leads back; nodes come after stage 3, the last that",
        ),
        ({"links": ["1>1.1"]}, "links[0]: '1>1.1' is not of the form '1>3'"),
        (
            {
                "links": ["2>4", "1>6", "1.1>6"],
                "link_merge": ("add", "cat", "cat"),
                "stem": "conv7-pool",
                "ups": 3,
            },
            "link_merge: node 1.1 joins like the links that end at stage 5, and there are none;",
        ),
        ({"links": ["miror"]}, "links[0]: 'miror' is not of the form '1>3'"),
        ({"links": ["x>y"], "head": "mean"}, "links: 'x>y' leads to the output, which only a head"),
        ({"link_merge": ("add",) * 3}, "link_merge has 3 values for 2 links"),
        (
            {"links": ["1>5", "2>4"], "link_merge": ("add", "cat")},
            "links: with one value of link_merge a link, list them by target, then by source: 2>4,",
        ),
        (
            {"links": ["full"], "link_merge": ("add", "cat", "add", "add")},
            "link_merge: the links that end at stage 4 differ in it",
        ),
        ({"head": "map-conv3"}, "head: a map must occur once, last, and without 'mean'"),
        ({"head": "mean-map"}, "head: a map must occur once, last, and without 'mean'"),
        ({"stem": "none-conv3"}, "stem: unknown operation 'none'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DesignError) as caught:
        unet(**changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_fields_without_effect_are_those_of_enlarging_where_nothing_does() -> None:
    chain = Design(layout=PLAIN)
    other = chain.replace(up="bilinear", links=["mirror", "full"], link_merge="attention")
    assert other.id == chain.id
    assert not chain.has_effect("up")
    assert chain.replace(down="maxpool").id != chain.id
    one = chain.replace(depths=(1,), widths=(4,))
    assert one.replace(down="maxpool").id == one.id
    assert unet(stem_width=7).id == unet().id  # there is no stem


def test_a_stage_without_blocks_has_no_layout() -> None:
    empty = unet(depths=(1, 1, 1, 0, 0), layout=(PLAIN,) * 3 + (ORIGINAL,) * 2)
    assert empty.id == unet(depths=(1, 1, 1, 0, 0)).id
    assert empty.canonical().layout == PLAIN


@settings(RELAXED, suppress_health_check=list(HealthCheck), max_examples=60)
@given(decoders())
@example(unet(depths=(1, 1, 1, 0, 0), up="nearest", widths=(4, 6, 8, 3, 5)))
@example(unet(layout="conv3 +", shortcut="omit", widths=(3, 3, 3), link_merge="add"))
@example(unet(layout="conv3 + bn", shortcut="omit", link_merge="add", up="nearest"))
@example(unet(layout="conv3 +", merge="cat", down="avgpool"))
@example(OMITTED_IN_A_NODE)
@example(PADDED_BESIDE_A_NODE)
@example(Design(layout="conv3 +", merge="cat", stem="none", depths=(1, 1), widths=(4, 4)))
def test_canonical_builds_the_same_network_and_is_its_own_canonical(design: Design) -> None:
    canonical = design.canonical()
    assert plans(canonical) == plans(design)
    assert canonical.canonical() == canonical
    assert canonical.id == design.id
    assert Design.from_json(design.to_json()) == design


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        # The compression decides for an image of one channel, and not for one of three.
        (
            {"layout": "conv3 +", "merge": "cat", "depths": (1, 1), "widths": (4, 4),
             "compression": 0.3},
            {"compression": 0.4},
        ),
        # The last stage keeps its 7 channels for an RGB image beside 4 channels.
        (
            {"layout": (PLAIN, PLAIN, "conv3-bn + relu"), "depths": (1,) * 3, "widths": (4, 4, 7),
             "ups": 1, "up": "bilinear", "links": ["x>3"], "link_merge": "cat", "head": "map"},
            {"shortcut": "pad"},
        ),
    ],
)  # fmt: skip
def test_designs_that_differ_for_some_images_alone_are_two(
    fields: dict[str, Any], changes: dict[str, Any]
) -> None:
    one = Design(**fields, stem="none")
    assert one.id != one.replace(**changes).id


@settings(RELAXED, suppress_health_check=list(HealthCheck), max_examples=60)
@given(near_decoders())
def test_two_designs_are_equal_exactly_where_their_networks_are(
    pair: tuple[Design, Design],
) -> None:
    one, other = pair
    assert (one.id == other.id) == (plans(one) == plans(other))
    for name in FIELDS:
        if not one.has_effect(name) and len(one.depths) == len(other.depths):
            assert one.replace(**{name: getattr(other, name)}).id == one.id, name


# Networks ----------------------------------------------------------------------------------------


def assert_counted(design: Design) -> None:
    """The network is built, counted as torch counts it, trained a step, and of the image's size."""
    model = build(design, 3, CLASSES).eval()
    x = images()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = model(x[:1])
    size = (CLASSES,) if "mean" in design.head else (CLASSES, HEIGHT, WIDTH)
    assert out.shape == (1, *size)
    found = cost(design, 3, (HEIGHT, WIDTH), CLASSES)
    assert found.params == sum(parameter.numel() for parameter in model.parameters())
    assert found.macs == counter.get_total_flops() // 2
    model.train()(x).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def assert_source_is_the_network(design: Design) -> None:
    """Source has the same state in the same order, and puts out the same."""
    text = source(design, 3, CLASSES, image_size=(HEIGHT, WIDTH))
    assert max(map(len, text.splitlines())) <= 100
    names: dict[str, Any] = {"__name__": "model"}
    exec(text, names)
    torch.manual_seed(0)
    written = names["Network"]().eval()
    torch.manual_seed(0)
    ours = build(design, 3, CLASSES).eval()
    states = written.state_dict().values(), ours.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    with torch.no_grad():
        found, expected = written(images()), ours(images())
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def assert_packed(design: Design) -> None:
    """Two networks in a pack put out what each of them does."""
    members = [build(design, 3, CLASSES, seed).eval().double() for seed in (0, 1)]
    assert can_pack(members[0])
    given = images().double()  # in float32, networks without norms magnify the last bits
    with torch.no_grad():
        out = pack(members)(torch.cat([given, given], 1))
        expected = torch.stack([member(given) for member in members], 1)
    difference = (out.reshape(expected.shape) - expected).abs().max()
    assert difference <= 1e-9 * expected.abs().max()


@settings(RELAXED, suppress_health_check=list(HealthCheck), max_examples=25)
@given(decoders(NEAR_LAYOUTS))
def test_what_validates_builds_trains_and_is_counted_right(design: Design) -> None:
    assert_counted(design)


@settings(RELAXED, suppress_health_check=list(HealthCheck), max_examples=15)
@given(decoders(NEAR_LAYOUTS))
def test_what_validates_is_written_and_packed(design: Design) -> None:
    assert_source_is_the_network(design)
    assert_packed(design)


VARIANTS = {
    **{merge: {"link_merge": merge} for merge in ("add", "cat", "attention", "weighted")},
    **{f"full, {m}": {"links": ["full"], "link_merge": m} for m in ("add", "cat", "attention")},
    **{f"down {down}": {"down": down} for down in ("stride", "maxpool", "avgpool")},
    **{up: {"up": up} for up in ("up2", "up3", "up4", "nearest", "bilinear", "shuffle")},
    "a run": {"up": "conv1-bn-relu-up4-bn-relu-conv1"},
    "one value each": {"up": ("up2", "bilinear-conv3"), "link_merge": ("add", "attention")},
    "without links": {"links": []},
    "nested": {"links": ["nested"]},
    "nested in residual stages": {"links": ["nested"], "layout": ORIGINAL, "drop_path": 0.2},
    "nodes from the stem to the output": {
        "stem": "conv7-pool",
        "ups": 4,
        "links": ["2>4", "s.2>y"],
        "link_merge": "attention",
    },
    "nested dense stages": {"links": ["nested"], "layout": "bn-relu-conv3 +", "merge": "cat"},
    "nodes without blocks": {"links": ["nested"], "depths": (1, 1, 1, 0, 0), "link_merge": "add"},
    "to the output": {"links": ["x>y", "1>y", "3>y"]},
    "a pool in the stem": {"stem": "conv7-pool", "ups": 3, "links": ["mirror", "x>5", "s>1"]},
    "up to half the size": {"stem": "conv7-pool", "ups": 1, "widths": (4, 6), "depths": (1, 1)},
    "residual": {"layout": ORIGINAL},
    "dense": {"layout": "bn-relu-conv3 +", "merge": "cat"},
    "no blocks": {"depths": (1, 1, 1, 0, 0)},
    "a wide head": {"head": "conv3-bn-relu-map3", "head_width": 7},
    "an hourglass that classifies": {"head": "mean", "link_merge": "attention"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_built_counted_written_and_packed(name: str) -> None:
    design = unet(**VARIANTS[name])
    assert_counted(design)
    assert_source_is_the_network(design)
    assert_packed(design)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("merge", MERGES)
def test_source_of_a_first_block_that_reads_an_image_of_its_width(
    shortcut: str, merge: str
) -> None:
    for layout in (ORIGINAL, "conv3 + conv3"):
        fields = {"shortcut": shortcut, "merge": merge, "layout": layout, "growth": 1}
        assert_source_is_the_network(Design(**fields, stem="none", depths=(2, 1), widths=(3, 8)))


def test_the_image_is_added_unchanged_where_the_output_has_its_channels() -> None:
    design = unet(links=["x>y"], head="map3")
    model = build(design, 3, 3).eval()
    nn.init.zeros_(model.map.weight)
    nn.init.zeros_(model.map.bias)
    assert torch.equal(model(images()), images())
    assert cost(design, 3, 8, 3).params == cost(design.replace(links=[]), 3, 8, 3).params


def test_none_and_add_have_equal_size() -> None:
    for layout in (PLAIN, ORIGINAL):
        sizes = {cost(unet(layout=layout, links=[], down=d)).params for d in ("stride", "maxpool")}
        sizes |= {cost(unet(layout=layout, link_merge="add")).params}
        assert len(sizes) == 1


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 5), (33, 2)])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    model = build(unet(), 3, CLASSES).eval()
    assert model(torch.zeros(1, 3, *size)).shape == (1, CLASSES, *size)
    assert str(Size(*size)) == f"{size[0]} x {size[1]}"


# Published sizes ---------------------------------------------------------------------------------

# With 3 channels and 1 class: the U-Net with batch norm and padding as commonly counted, and
# segmentation_models_pytorch 0.6 (Unet, Linknet with decoders of their defaults).
SIZES = {
    "unet-2015": 31_037_633,
    "unet-bilinear": 17_262_977,
    "unet-resnet-18": 14_328_209,
    "unet-resnet-34": 24_436_369,
    "unetplusplus-resnet-18": 15_970_449,
    "linknet-18": 11_663_777,
    "linknet-34": 21_771_937,
}


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str) -> None:
    assert cost(CLASSICS[name].design, 3, 64, 1).params == SIZES[name]


@pytest.mark.parametrize("name", DECODERS)
def test_the_size_of_every_classic_is_the_one_written_down(name: str) -> None:
    entry = DECODERS[name]
    found = cost(entry.design, entry.in_channels, 16, entry.classes)
    assert found.params == entry.params
    assert SIZES.get(name, entry.params) == entry.params


def test_a_unet_without_links_lacks_their_channels_alone() -> None:
    """The first convolution of each stage that enlarges reads half as many channels."""
    widths = (512, 256, 128, 64)
    lost = sum(9 * width * width for width in widths)
    assert cost(CLASSICS["autoencoder"].design, 3, 64, 1).params == SIZES["unet-2015"] - lost
