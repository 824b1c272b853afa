"""Hypothesis strategies: layouts, designs, and pairs of designs that are near each other."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.layout import PLAIN_TOKENS, Layout

# Builds of small networks are slow only where the machine is busy: no reason to fail.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CONVOLUTIONS = st.sampled_from(("conv1", "conv3", "conv3", "conv5", "dw3", "dw5"))
PLAIN = st.sampled_from(PLAIN_TOKENS)
SHORTCUTS = st.sampled_from(("pad", "proj", "proj-all", "avg-proj", "omit"))
MERGES = st.sampled_from(("add", "add", "cat", "gate", "shortcut-gate", "weighted", "dual", "max"))
STEMS = ("conv3", "conv3-bn", "conv3-relu", "conv3-bn-relu", "conv3-pool", "conv3-bn-relu-conv3")
HEADS = (
    *("mean", "mean", "bn-relu-mean", "dropout-mean", "mean-dropout"),
    *("conv1-bn-mean", "conv1-mean-ln", "mean-conv1-relu6"),
)
# "0>1" leads over the first stage; the others ask for more stages, and not every draw has them.
LINKS = ((), (), (), ("0>1",), ("0>1",), ("1>2", "0>2"), ("0>1", "1>3", "0>3"))
# Few values, near each other, so that two draws often build the same network by another road:
# groups as many as channels, ratios that round to the same width, a dropout of rate 0.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "shortcut": SHORTCUTS,
    "merge": MERGES,
    "bottleneck_ratio": st.sampled_from((0.3, 0.5, 1.0, 2.0)),
    "groups": st.sampled_from((1, 1, 2, 4)),
    "stem": st.sampled_from(STEMS),
    "stem_width": st.sampled_from((0, 2, 4)),
    "compression": st.sampled_from((0.3, 0.5, 0.55)),
    "drop_path": st.sampled_from((0.0, 0.2)),
    "dropout": st.sampled_from((0.0, 0.2)),
    "shortcut_scale": st.sampled_from((1.0, 1.0, 0.5, 0.0)),
    "branch_scale": st.sampled_from((1.0, 1.0, 0.5)),
    "shortcut_dropout": st.sampled_from((0.0, 0.0, 0.5)),
    "gate_bias": st.sampled_from((-6.0, 0.0)),
    "growth": st.sampled_from((1, 2, 2)),
    "head": st.sampled_from(HEADS),
    "head_width": st.sampled_from((0, 2, 4)),
    "links": st.sampled_from(LINKS),
    "link_merge": st.sampled_from(("add", "add", "cat")),
    "link_shortcut": st.sampled_from(("pad", "proj", "avg-proj")),
}
PER_STAGE = ("shortcut", "merge", "bottleneck_ratio", "groups", "growth")


@st.composite
def layouts(draw: st.DrawFn, max_before: int = 2) -> Layout:
    """A layout of one to three convolutions with up to two operations around each."""
    some = st.lists(PLAIN, max_size=max_before)
    branch = draw(some)
    for _ in range(draw(st.integers(1, 3))):
        branch += [draw(CONVOLUTIONS), *draw(some)]
    skip = draw(st.booleans())
    after = draw(st.lists(st.one_of(PLAIN, CONVOLUTIONS), max_size=2)) if skip else []
    return Layout(tuple(branch), tuple(after), skip)


def spellings(layout: Layout) -> st.SearchStrategy[str]:
    """Texts of one layout that differ in blanks."""
    tokens = [part for token in layout.branch for part in ("-", token)][1:]
    if layout.skip:
        tokens += ["+", *[part for token in layout.after for part in ("-", token)][1:]]
    blanks = st.lists(
        st.sampled_from(("", "", " ", "  ")), min_size=len(tokens) + 1, max_size=len(tokens) + 1
    )
    return blanks.map(
        lambda gaps: gaps[0] + "".join(t + g for t, g in zip(tokens, gaps[1:], strict=True))
    )


# Layouts that are near each other: one token apart, or the same up to where the join stands.
NEAR_LAYOUTS = st.sampled_from(
    (
        *("conv3 +", "conv3", "dw3 +", "dw3", "conv1 +", "dw1 +"),
        *("conv3-bn +", "conv3-bn-relu", "conv3-bn + relu", "conv3 + bn-relu", "bn-relu-conv3 +"),
        *("conv3-dropout-bn +", "dropout-conv3 + dropout", "bn0-relu-conv3 +"),
        *("conv3-conv3 +", "conv3-conv3", "conv3 + conv3", "conv3 + dw3", "conv3-bn + conv1"),
        *("conv1-conv3-conv1 +", "conv1-dw3-conv1 +", "conv1-conv3 +", "conv1-dw3 +"),
        *("dw3-conv1 +", "conv3-conv1 +"),
    )
)


def _one_or_per_stage(values: st.SearchStrategy[Any], stages: int) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.tuples(*[values] * stages))


@st.composite
def fields(
    draw: st.DrawFn, layout_texts: st.SearchStrategy[str], stages: int | None = None
) -> dict[str, Any]:
    """Fields of a design of up to three small stages; not every draw is a valid design."""
    n = stages or draw(st.integers(1, 3))
    values = {
        "layout": draw(_one_or_per_stage(layout_texts, n)),
        "depths": draw(st.tuples(*[st.sampled_from((1, 2))] * n)),
        "widths": draw(st.tuples(*[st.sampled_from((1, 2, 4))] * n)),
    }
    for name, strategy in VALUES.items():
        values[name] = draw(_one_or_per_stage(strategy, n) if name in PER_STAGE else strategy)
    return values


def _design_or_none(values: dict[str, Any]) -> Design | None:
    try:
        return Design(**values)
    except DesignError:  # A drawn layout is always valid; only shapes can refuse to fit.
        return None


def designs(layout_texts: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Design]:
    """Valid designs, of random layouts unless given."""
    texts = layouts().map(str) if layout_texts is None else layout_texts
    return fields(texts).map(_design_or_none).filter(lambda design: design is not None)


UPS = (
    *("up2", "up2", "up3", "up4", "nearest", "bilinear", "nearest-conv3-bn", "shuffle"),
    *("conv1-bn-relu-up4-bn-relu-conv1", "bilinear-dw3"),
)
DECODER_LINKS = (
    *((), ("mirror",), ("mirror",), ("full",), ("mirror", "x>y"), ("x>y", "0>y"), ("1>y",)),
    *(("1>2",), ("s>2", "x>1"), ("1>3", "x>3")),
    *(("nested",), ("nested",), ("nested", "0>y"), ("1.1>5",), ("0.1>5", "1.1>y"), ("s.1>5",)),
)
DECODER_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "up": st.sampled_from(UPS),
    "down": st.sampled_from(("stride", "stride", "maxpool", "avgpool")),
    "stem": st.sampled_from((*STEMS, "none", "none")),
    "head": st.sampled_from(("map", "map", "map3", "conv3-map", "bn-relu-map", "mean")),
    "links": st.sampled_from(DECODER_LINKS),
    "link_merge": st.sampled_from(("add", "cat", "attention", "weighted")),
}


@st.composite
def decoder_fields(draw: st.DrawFn, layout_texts: st.SearchStrategy[str]) -> dict[str, Any]:
    """Fields of a design with stages that enlarge; not every draw is a valid design."""
    ups = draw(st.sampled_from((1, 2, 2, 3)))
    encoder = draw(st.sampled_from((ups + 1, ups + 1, ups + 2)))
    values = draw(fields(layout_texts, encoder + ups))
    values |= {name: draw(strategy) for name, strategy in DECODER_VALUES.items()}
    values |= {"ups": ups, "up": draw(_one_or_per_stage(DECODER_VALUES["up"], ups))}
    if draw(st.booleans()):
        empty = draw(st.integers(encoder, encoder + ups - 1))
        values["depths"] = (*values["depths"][:empty], 0, *values["depths"][empty + 1 :])
    if draw(st.booleans()):  # the lists of the stages before the first that enlarges
        short = {name: values[name][:encoder] for name in ("depths", "widths")}
        lists = [
            name for name, value in values.items() if name in PER_STAGE and type(value) is tuple
        ]
        values |= {**short, **{name: values[name][:encoder] for name in lists}}
    if draw(st.booleans()) and values["links"] == ("nested",):
        values["links"] = ("mirror", "1.1>y")
    return values


def decoders(layout_texts: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Design]:
    """Valid designs with stages that enlarge, of random layouts unless given."""
    texts = layouts().map(str) if layout_texts is None else layout_texts
    return decoder_fields(texts).map(_design_or_none).filter(lambda design: design is not None)


@st.composite
def near_decoders(draw: st.DrawFn) -> tuple[Design, Design]:
    """Two designs that enlarge, the second with one or two fields of the first drawn anew."""
    first = draw(decoders(NEAR_LAYOUTS))
    values = first.to_dict()
    others = {**VALUES, **DECODER_VALUES}
    for name in draw(st.lists(st.sampled_from(sorted(others)), min_size=1, max_size=2)):
        values[name] = draw(others[name])
    return first, _design_or_none(values) or first


@st.composite
def near_pairs(draw: st.DrawFn) -> tuple[Design, Design]:
    """Two designs, the second with one to three fields of the first drawn anew."""
    first = draw(designs(NEAR_LAYOUTS))
    n = len(first.depths)
    values = first.to_dict()
    for name in draw(st.lists(st.sampled_from(("layout", *VALUES)), min_size=1, max_size=3)):
        strategy = NEAR_LAYOUTS if name == "layout" else VALUES[name]
        per_stage = name in ("layout", *PER_STAGE)
        values[name] = draw(_one_or_per_stage(strategy, n) if per_stage else strategy)
    return first, _design_or_none(values) or first
