"""Space: what a YAML file of axes means, how large it is, and what is drawn from it."""

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from skipsearch import classics
from skipsearch.axes import STAGED, Choice, Free, Parameter, Range, Value, level_name
from skipsearch.axes import slots as words_in_slots
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import DesignError, SpaceError
from skipsearch.fields import FIELDS, PER_STAGE, has_effect
from skipsearch.layout import Layout
from skipsearch.merges import MERGES
from skipsearch.recipe import Recipe
from skipsearch.searching.optuna_trials import chooser
from skipsearch.space import Candidate, Space
from skipsearch.space.constraint import COMPARISONS, MEASURES

SPACES = Path(__file__).parents[1] / "search_spaces"
PLAIN = "conv3-bn-relu-conv3-bn-relu"
RESIDUAL = "conv3-bn-relu-conv3-bn + relu"
SMALL = {"widths": [4, 8], "depths": [1, 1]}


def space_of(axes: dict[str, Any], constraints: tuple[str, ...] = (), **base: Any) -> Space:
    return Space.from_dict({"base": base, "axes": axes, "constraints": list(constraints)}, "tiny")


def first_of(space: Space) -> Candidate:
    return space.suggest(lambda _, axis: axis.values[0])


# --- brute force: the raw product of all axes, with nothing of the space's own bookkeeping -------


def slots_of(axis: Free) -> list[str]:
    between = [f"between{i + 1}" for i in range(len(axis.convs) - 1)]
    return ["before", *between, "before_join", "after_join"]


def empty_slots(space: Space) -> dict[str, Value]:
    free = [(name, axis) for name, axis in space.axes.items() if isinstance(axis, Free)]
    return {f"{name}.{slot}": "" for name, axis in free for slot in slots_of(axis)}


def options(space: Space) -> dict[str, Sequence[Value]]:
    found: dict[str, Sequence[Value]] = {}
    for name, axis in space.axes.items():
        if isinstance(axis, Free):
            subsets = [s for n in range(len(axis.free) + 1) for s in permutations(axis.free, n)]
            words = ["-".join(subset) for subset in subsets]
            found |= {f"{name}.{slot}": words for slot in slots_of(axis)}
        else:
            found[name] = axis.values
    return found


def raw_points(space: Space) -> Iterator[dict[str, Value]]:
    names, values = options(space).keys(), options(space).values()
    for point in product(*values):
        yield dict(zip(names, point, strict=True))


def with_layouts(space: Space, point: dict[str, Value]) -> dict[str, Value]:
    """A point with each free layout written out."""
    whole = dict(point)
    for name, axis in space.axes.items():
        if isinstance(axis, Free):
            *inside, after = (whole.pop(f"{name}.{slot}") for slot in slots_of(axis))
            tokens = [
                inside[0],
                *(t for pair in zip(axis.convs, inside[1:], strict=True) for t in pair),
            ]
            whole[name] = "-".join(token for token in tokens if token) + f" + {after}"
    return whole


def by_stage(field: str, whole: Value, stages: int, point: dict[str, Value]) -> list[Value]:
    values = list(whole) if isinstance(whole, tuple) else [whole] * stages
    return [point.get(f"{field}[{i}]", value) for i, value in enumerate(values)]


def most_stages(space: Space) -> int:
    """The most stages that a design can have: depths and widths must agree where they can."""
    lengths = []
    for field in ("depths", "widths"):
        axis = space.axes.get(field)
        given = [space.base.get(field, (3, 3, 3))]  # three stages by default
        lengths.append(set(map(len, axis.values if isinstance(axis, Choice) else given)))
    return max(lengths[0] & lengths[1] or lengths[0])


OTHERS = ("links", "link_merge", "head", "ups")  # fields that decide on others, beside these


def that_matter(space: Space, point: dict[str, Value]) -> dict[str, Value]:
    """The values of a point that could change its network, by the rule of a single design."""
    fields = {"merge": "add", "layout": "", **space.base, **with_layouts(space, point)}
    n = next(
        (len(fields[k]) for k in ("layout", "merge") if isinstance(fields[k], tuple)),
        most_stages(space),
    )
    layouts, merges = (by_stage(name, fields[name], n, fields) for name in ("layout", "merge"))
    layouts = [Layout.parse(text) for text in layouts]

    def matters(name: str) -> bool:
        if name.startswith(("recipe.", "layout")):
            return True
        field, _, stage = name.rstrip("]").partition("[")
        if not stage:
            others = {name: fields[name] for name in OTHERS if name in fields}
            return has_effect(field, layouts, merges, **others)
        i = int(stage)
        return i >= n or has_effect(field, layouts[i : i + 1], merges[i : i + 1])

    return {name: value for name, value in point.items() if matters(name)}


def built(space: Space, point: dict[str, Value]) -> tuple[Design, Recipe] | None:
    whole = with_layouts(space, empty_slots(space) | point)
    recipe = {n.removeprefix("recipe."): v for n, v in whole.items() if n.startswith("recipe.")}
    given = {n: v for n, v in whole.items() if not n.startswith("recipe.")}
    fields = {"depths": (3, 3, 3), "widths": (16, 32, 64), "shortcut": "proj", "merge": "add"}
    fields |= {"groups": 1, "bottleneck_ratio": 1.0, "layout": "", **space.base}
    fields |= {n: v for n, v in given.items() if "[" not in n}
    n = len(fields["depths"])
    for name in given:
        field, bracket, stage = name.rstrip("]").partition("[")
        if bracket and int(stage) >= n:
            return None
        if bracket:
            fields[field] = tuple(by_stage(field, fields[field], n, given))
    try:
        return Design(**fields), Recipe(**{**space.recipe, **recipe})
    except DesignError:
        return None


def allowed(space: Space, design: Design) -> bool:
    figures = cost(design, space.in_channels, space.image_size, space.classes)
    return all(
        COMPARISONS[c.comparison](getattr(figures, c.measure), c.bound) for c in space.constraints
    )


def brute_size(space: Space) -> int:
    return len({tuple(that_matter(space, p).items()) for p in raw_points(space)})


def brute_trainings(space: Space) -> set[tuple[Design, Recipe]]:
    found = [built(space, point) for point in raw_points(space)]
    return {(d.canonical(), r) for d, r in filter(None, found) if allowed(space, d)}


# --- the files that come with the package --------------------------------------------------------

# Points, distinct networks, distinct trainings, counted by hand from the files:
# depth       3 layouts x 6 depths
# digits_table  plain 2 x 3; 7 orders x (add and gate: 3 shortcuts x 2 x 3 each, cat: 2 x 3)
# he2016      5 orders x 3 shortcuts
# orders      5 orders x 3 shortcuts x 2 depths, each x 3 learning rates
# quickstart  plain 2 x 2; 5 orders x 2 merges x 2 x 2
# merges      3 layouts x (add: 3 x 2 x 3 x 3, cat: twice that); within the limit: brute force
# free_orders five words in each of 4 slots, 2 shortcuts
# shortcuts   3 shortcuts x (add: 3 x 2 x 2, each of two gates: 3); a dropout on what is scaled by
#             0 changes nothing: 3 x 2 networks less
# degradation, skips  3 and 4 layouts x 3 depths
# unet        2 ways up x (no links, 3 kinds of links x 3 merges)
# deeper_unet 3 depths x (no links, links x 2 merges)
SIZES = {
    "deeper_unet": (9, 9, 9),
    "degradation": (9, 9, 9),
    "depth": (18, 18, 18),
    "digits_table": (300, 100, 300),
    "free_orders": (1250, 1250, 1250),
    "he2016": (15, 15, 15),
    "merges": (486, 89, 267),
    "orders": (90, 30, 90),
    "quickstart": (44, 22, 44),
    "shortcuts": (54, 48, 48),
    "skips": (12, 12, 12),
    "unet": (20, 20, 20),
}


def test_every_file_has_its_golden_size() -> None:
    assert {path.stem for path in SPACES.glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_the_size_of_a_file_is_the_golden_one_and_that_of_brute_force(name: str) -> None:
    space = Space.load(SPACES / f"{name}.yaml")
    networks, trainings = list(space.enumerate()), list(space.candidates())
    assert (space.size, len(networks), len(trainings)) == SIZES[name]
    assert space.size == brute_size(space)
    assert {(c.design.canonical(), c.recipe) for c in trainings} == brute_trainings(space)


@pytest.mark.parametrize("name", SIZES)
def test_a_file_survives_yaml_and_bears_its_name(name: str) -> None:
    space = Space.load(SPACES / f"{name}.yaml")
    assert space.name == name
    assert "arXiv" in space.source
    assert Space.from_yaml(space.to_yaml(), "elsewhere") == space


# --- any small space -----------------------------------------------------------------------------

LAYOUTS = (
    PLAIN,
    "conv1-relu",
    RESIDUAL,
    "bn-relu-conv3 +",
    "conv1-dropout-conv3 +",
    (PLAIN, RESIDUAL),
    ("conv3 +", "conv1 +"),
)


def some(*values: Any, most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique_by=repr)


FREE = st.sampled_from(
    (
        {"convs": ["conv3"], "free": ["relu"]},
        {"convs": ["conv1", "dw3"], "free": ["dropout"]},
        {"convs": ["conv1"], "free": ["relu", "dropout"]},
    )
)
LAYOUT_AXES = st.one_of(
    st.fixed_dictionaries({"layout": some(*LAYOUTS, most=3)}),
    st.fixed_dictionaries({"layout": FREE}),
    st.fixed_dictionaries({"layout[0]": FREE}),
    st.fixed_dictionaries(
        {"layout[0]": some(PLAIN, RESIDUAL, "conv1-dropout-conv3 +")},
        optional={"layout[1]": some(PLAIN, "conv1-relu", "conv3 +", most=3)},
    ),
)
AXES: dict[str, st.SearchStrategy[Any]] = {
    "merge": some("add", "cat", ("add", "cat"), most=3),
    "depths": some((1, 1), (2, 1), (1, 1, 1)),
    "widths": some((4, 8), (8, 4), (4, 6)),
    "shortcut": some("pad", "proj", "omit", ("proj", "pad"), most=3),
    "bottleneck_ratio": some(0.5, 1, 2) | st.just({"low": 0.5, "high": 2, "step": 0.5}),
    "groups": some(1, 2, 3, most=3) | st.just({"low": 1, "high": 3}),
    "compression": some(0.5, 1.0),
    "drop_path": some(0.0, 0.25) | st.just({"low": 0.0, "high": 0.5, "step": 0.25}),
    "dropout": some(0.0, 0.1, 0.2),
    "stem_width": some(4, 8) | st.just({"low": 2, "high": 8, "step": 4}),
    "recipe.peak_lr": some(0.1, 0.3),
    "recipe.nesterov": some(True, False),
    "recipe.crop": some(None, 0, 2),
    "merge[0]": some("add", "cat", "gate", most=3),
    "merge[1]": some("add", "cat"),
    "shortcut[0]": some("pad", "proj", "omit", "proj-all"),
    "shortcut[1]": some("pad", "proj", "omit"),
    "shortcut[2]": some("proj", "omit"),
    "bottleneck_ratio[0]": some(0.5, 2),
    "groups[1]": some(1, 2) | st.just({"low": 1, "high": 3}),
    "depths[0]": st.just({"low": 1, "high": 2}),
    "widths[0]": some(4, 6),
}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Finite spaces of layout axes and up to three more, sometimes with a constraint."""
    names = draw(st.lists(st.sampled_from(tuple(AXES)), max_size=3, unique=True))
    axes = {**draw(LAYOUT_AXES), **{name: draw(AXES[name]) for name in names}}
    if draw(st.booleans()):
        axes = dict(reversed(axes.items()))  # The order in the file decides nothing.
    values = {
        "name": draw(st.sampled_from(("a", "on: off", "Größe 2"))),
        "source": draw(st.sampled_from(("", "He et al. 2016: a, b"))),
        "base": {"layout": draw(st.sampled_from((PLAIN, RESIDUAL))), **SMALL},
        "recipe": draw(st.sampled_from(({}, {"momentum": 0}, {"peak_lr": 1e-3}))),
        "axes": axes,
        "constraints": draw(st.sampled_from(([], [], ["params <= 2e3"], ["macs > 1e6"]))),
    }
    try:
        return Space.from_dict(values)
    except SpaceError as error:
        for drawn in ("no combination can be built", "sets this stage too", "no design has this"):
            assume(drawn not in str(error))
        raise


# Building hundreds of designs an example is slow, and some draws have nothing that can be built.
of_spaces = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


@of_spaces
@given(spaces())
def test_any_space_survives_yaml(space: Space) -> None:
    assert Space.from_yaml(space.to_yaml(), "elsewhere") == space
    assert Space.from_dict(space.to_dict()) == space


@of_spaces
@given(spaces())
def test_size_and_listing_are_those_of_brute_force(space: Space) -> None:
    assert space.size == brute_size(space)
    trainings = [(c.design.canonical(), c.recipe) for c in space.candidates()]
    assert len(set(trainings)) == len(trainings)
    assert set(trainings) == brute_trainings(space)
    networks = [design.canonical() for design in space.enumerate()]
    assert len(set(networks)) == len(networks)
    assert set(networks) == {design for design, _ in trainings}


@of_spaces
@given(spaces(), st.integers(0, 2**32))
def test_an_axis_is_asked_for_exactly_where_it_matters(space: Space, seed: int) -> None:
    rng = random.Random(seed)
    asked: dict[str, Value] = {}

    def choose(name: str, axis: Parameter) -> Value:
        assert axis is space.parameters[name]
        assert name not in asked
        asked[name] = rng.choice(axis.values)
        return asked[name]

    try:
        candidate = space.suggest(choose)
    except DesignError:
        candidate = None
    everything = {n: values[0] for n, values in options(space).items()} | asked
    assert set(asked) == set(that_matter(space, everything))
    if candidate is not None:
        assert candidate.values == asked
        alone = built(space, asked)  # what was not asked for has the default of a design
        assert alone is not None
        assert (candidate.design.id, candidate.recipe) == (alone[0].id, alone[1])


@of_spaces
@given(spaces(), st.integers(0, 2**32))
def test_what_is_drawn_is_in_the_space_and_the_seed_alone_decides(space: Space, seed: int) -> None:
    trainings = brute_trainings(space)
    assume(trainings)
    drawn = space.draw(random.Random(seed))
    assert (drawn.design.canonical(), drawn.recipe) in trainings
    assert space.sample(seed) == space.sample(random.Random(seed)) == drawn.design


@of_spaces
@given(spaces())
def test_keys_are_equal_exactly_for_the_same_design_and_recipe(space: Space) -> None:
    candidates = [
        space.candidate(point) for point in raw_points(space) if built(space, point) is not None
    ]
    content = {(c.key, c.design.canonical(), c.recipe) for c in candidates}
    assert len({key for key, _, _ in content}) == len(content)
    assert len({(design, recipe) for _, design, recipe in content}) == len(content)


@pytest.mark.parametrize(
    ("axis", "level", "said"),
    [
        ("layout", "conv3-bn-relu", "plain conv3-bn-relu"),
        ("layout[1]", "conv3-bn-relu", "plain conv3-bn-relu"),
        ("layout", "conv3-bn + relu", "'conv3-bn + relu'"),
        ("layout", "conv3 bn", "plain 'conv3 bn'"),
        ("layout", ("conv3", "conv3-bn"), "['conv3', 'conv3-bn']"),
        ("layout.after_conv1", "bn-relu", "bn-relu"),
        ("layout.after_conv1", "", "nothing"),
        ("depths", (1, 2), "[1, 2]"),
        ("depths", "[1, 2]", "[1, 2]"),
        ("merge", "add", "add"),
        ("recipe.peak_lr", 0.1, "0.1"),
    ],
)
def test_a_sentence_names_a_level(axis: str, level: object, said: str) -> None:
    assert level_name(axis, level) == said


# --- axes that have no effect --------------------------------------------------------------------


def wanted_of_digits_table(values: dict[str, Any]) -> set[str]:
    wanted = {"layout", "depths", "recipe.peak_lr"}
    if values["layout"] != PLAIN:
        wanted |= {"merge"} | ({"shortcut"} if values["merge"] != "cat" else set())
    return wanted


def wanted_of_merges(values: dict[str, Any]) -> set[str]:
    wanted = {"layout", "merge", "depths", "widths", "bottleneck_ratio", "recipe.peak_lr"}
    return wanted | ({"compression"} if values["merge"] == "cat" else set())


WANTED = {"digits_table": wanted_of_digits_table, "merges": wanted_of_merges}


@pytest.mark.parametrize("name", WANTED)
def test_a_trial_of_optuna_holds_exactly_the_axes_that_matter(name: str) -> None:
    space = Space.load(SPACES / f"{name}.yaml")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = Counter()
    for _ in range(60):
        trial = study.ask()
        candidate = space.suggest(chooser(trial))
        assert set(trial.params) == set(candidate.values) == WANTED[name](trial.params)
        kinds[len(trial.params)] += 1
        for axis, value in candidate.values.items():
            plain = str(list(value)) if isinstance(value, tuple) else value
            assert trial.params[axis] == plain
    assert len(kinds) == {"digits_table": 3, "merges": 2}[name]  # every case was met


@pytest.mark.parametrize(
    ("chosen", "asked"),
    [
        ({"layout": PLAIN}, "layout depths recipe.peak_lr"),
        ({"merge": "add"}, "layout merge depths shortcut recipe.peak_lr"),
        ({"merge": "cat"}, "layout merge depths recipe.peak_lr"),
    ],
    ids=["plain", "add", "cat"],
)
def test_axes_are_asked_for_in_one_order_those_that_decide_first(
    chosen: dict[str, Value], asked: str
) -> None:
    space = Space.load(SPACES / "digits_table.yaml")
    space = Space.from_dict(
        {**space.to_dict(), "axes": dict(reversed(space.to_dict()["axes"].items()))}
    )
    names: list[str] = []

    def choose(name: str, axis: Parameter) -> Value:
        names.append(name)
        return chosen.get(name, axis.values[-1])

    space.suggest(choose)
    assert names == asked.split()


def test_a_layout_of_the_base_decides_as_well() -> None:
    # The plain layout has no join and one dense convolution, so three of the axes say nothing.
    axes = {"merge": ["add", "cat"], "bottleneck_ratio": [1, 2], "groups": [1, 2], "dropout": [0.1]}
    assert set(first_of(space_of(axes, layout="conv3-bn", **SMALL)).values) == {"groups"}
    space = space_of(axes, layout="conv1-dropout-conv1 +", **SMALL)
    assert set(first_of(space).values) == {"merge", "bottleneck_ratio", "dropout"}


def test_an_axis_that_matters_in_one_stage_is_asked_for() -> None:
    axes = {"layout": [[PLAIN, RESIDUAL], [PLAIN, PLAIN]], "shortcut": ["pad", "proj"]}
    space = space_of(axes, **SMALL)
    assert space.size == 2 + 1


# --- axes of one stage ---------------------------------------------------------------------------

STAGE_VALUES: dict[str, tuple[Any, Any]] = {  # of the base, and of the axis
    "layout": (RESIDUAL, ["bn-relu-conv3 +"]),
    "shortcut": ("pad", ["proj-all"]),
    "merge": ("add", ["gate"]),
    "bottleneck_ratio": (1.0, [0.5]),
    "groups": (1, [2]),
    "depths": ((2, 3, 4), [7]),
    "widths": ((4, 8, 16), [12]),
}


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("name", STAGE_VALUES)
def test_an_axis_of_one_stage_sets_that_stage_alone_over_the_base(name: str, stage: int) -> None:
    whole, values = STAGE_VALUES[name]
    base = {"layout": RESIDUAL, "depths": (2, 3, 4), "widths": (4, 8, 16), name: whole}
    base["shortcut"] = base.get("shortcut", "proj")
    axis = f"{name}[{stage}]"
    candidate = first_of(space_of({axis: values}, **base))
    expected = list(whole) if isinstance(whole, tuple) else [whole] * 3
    expected[stage] = values[0]
    assert candidate.values == {axis: values[0]}
    assert getattr(candidate.design, name) == tuple(expected)
    assert candidate.design == Design(**{**base, name: tuple(expected)})


def test_every_field_with_a_value_in_each_stage_has_such_axes() -> None:
    assert set(STAGED) == {*PER_STAGE, "depths", "widths"}
    for name in sorted(set(FIELDS) - set(STAGED)):
        with pytest.raises(SpaceError, match=f"'{name}' is not one of layout, "):
            space_of({f"{name}[0]": [1]}, layout=RESIDUAL)


def test_stages_over_a_base_of_one_value_a_stage_and_over_an_axis() -> None:
    base = {"layout": [PLAIN, RESIDUAL], "shortcut": ["pad", "proj"], **SMALL}
    space = space_of({"shortcut[1]": ["omit"], "layout[0]": [RESIDUAL]}, **base)
    assert first_of(space).design.shortcut == ("pad", "omit")
    assert first_of(space).design.layout == RESIDUAL
    axes = {"depths": [[1, 1], [1, 1, 1]], "widths": [[4, 8], [4, 8, 8]], "shortcut[2]": ["omit"]}
    # With two stages there is no third: such a point counts, and cannot be built.
    space = space_of(axes, layout=RESIDUAL)
    assert space.size == 4
    assert [(d.depths, d.shortcut) for d in space.enumerate()] == [
        ((1, 1, 1), ("proj", "proj", "omit"))
    ]
    message = r"^shortcut\[2\]: there are 2 stages, numbered from 0$"
    with pytest.raises(DesignError, match=message):
        space.candidate({"depths": (1, 1), "widths": (4, 8), "shortcut[2]": "omit"})


def test_the_stem_follows_an_axis_of_the_first_width_unless_it_is_given() -> None:
    axes = {"widths[0]": {"low": 4, "high": 8, "step": 4}}
    space = space_of(axes, layout=RESIDUAL, **SMALL)
    assert [d.stem_width for d in space.enumerate()] == [4, 8]
    space = space_of(axes, layout=RESIDUAL, stem_width=6, **SMALL)
    assert [d.stem_width for d in space.enumerate()] == [6, 6]


def test_depths_and_widths_of_one_stage_are_whole_ranges() -> None:
    axes = {
        "depths[2]": {"low": 2, "high": 9},
        "widths[0]": {"low": 16, "high": 64, "step": 16},
        "widths[1]": {"low": 16, "high": 64, "log": True},
    }
    space = space_of(axes, layout=RESIDUAL)
    depth, width, log = (space.axes[name] for name in axes)
    assert depth.values == tuple(range(2, 10))
    assert width.values == (16, 32, 48, 64)
    assert log == Range(16, 64, None, log=True, whole=True)
    drawn = space.draw(random.Random(0))
    assert [type(value) for value in drawn.values.values()] == [int] * 3


def test_an_axis_of_one_stage_is_asked_for_where_that_stage_alone_lets_it_matter() -> None:
    axes = {
        "layout": [[PLAIN, RESIDUAL], [RESIDUAL, PLAIN]],
        "shortcut[0]": ["pad", "omit"],
        "shortcut[1]": ["pad", "proj", "omit"],
        "merge[1]": ["add", "cat"],
    }
    space = space_of(axes, **SMALL)
    # Plain first: merge add with 3 shortcuts, and cat with none; residual first: 2 shortcuts.
    assert space.size == brute_size(space) == 3 + 1 + 2
    assert {tuple(c.values) for c in space.candidates()} == {
        ("layout", "merge[1]", "shortcut[1]"),
        ("layout", "merge[1]"),
        ("layout", "shortcut[0]"),
    }
    # And an axis of all stages where any stage lets it.
    space = space_of(
        {"layout[0]": [PLAIN, RESIDUAL], "shortcut": ["pad", "proj"]}, layout=PLAIN, **SMALL
    )
    assert space.size == brute_size(space) == 1 + 2


# --- free layouts --------------------------------------------------------------------------------

ORDERS = {"convs": ["conv3", "conv3"], "free": ["bn", "relu"]}


def test_the_slots_and_words_of_a_free_layout() -> None:
    space = space_of({"layout": ORDERS}, **SMALL)
    slots = ["layout.before", "layout.between1", "layout.before_join", "layout.after_join"]
    assert list(space.parameters) == slots
    words = ("", "bn", "relu", "bn-relu", "relu-bn")
    assert [axis.values for axis in space.parameters.values()] == [words] * 4
    assert space.size == 5**4
    filled = space.candidate(dict(zip(slots, ("bn", "relu-bn", "relu", "bn-relu"), strict=True)))
    assert filled.design.layout == "bn-conv3-relu-bn-conv3-relu + bn-relu"
    assert space.candidate({}).design.layout == "conv3-conv3 +"  # the join stays
    for seed in range(20):  # and the way back
        drawn = space.draw(random.Random(seed))
        found = words_in_slots(Layout.parse(drawn.design.layout))
        assert {f"layout.{slot}": word for slot, word in found.items()} == drawn.values


@pytest.mark.parametrize(
    ("convs", "free", "slots", "words"),
    [
        (["conv3"], ["bn"], 3, 2),
        (["conv1", "dw3", "conv1"], ["bn", "relu"], 5, 5),
        (["conv3", "conv3"], ["bn", "relu", "dropout"], 4, 16),
    ],
    ids=str,
)
def test_a_free_layout_has_n_plus_2_slots_for_n_convolutions(
    convs: list[str], free: list[str], slots: int, words: int
) -> None:
    space = space_of({"layout": {"convs": convs, "free": free}}, **SMALL)
    assert len(space.parameters) == slots
    assert {axis.size for axis in space.parameters.values()} == {words}
    assert space.size == words**slots
    for seed in range(20):
        layout = Layout.parse(space.sample(seed).layout)
        assert [t for t in layout.branch if t[:2] in ("co", "dw")] == convs
        assert layout.skip


def test_the_five_orders_of_he_et_al_are_points_of_a_free_layout() -> None:
    space = space_of({"layout": ORDERS}, **SMALL)
    layouts = {design.layout for design in space.enumerate()}
    assert len(layouts) == 625
    assert layouts >= {
        classics.ORIGINAL,
        classics.BN_AFTER_ADDITION,
        classics.RELU_BEFORE_ADDITION,
        classics.RELU_ONLY_PREACTIVATION,
        classics.FULL_PREACTIVATION,
    }


def test_free_layouts_that_build_the_same_network_are_listed_once() -> None:
    # Where no block has a shortcut nothing joins, and it is the same to stand before or behind.
    space = space_of(
        {"layout": {"convs": ["conv3"], "free": ["relu"]}},
        shortcut="omit",
        widths=[4, 8],
        depths=[1, 1],
        stem_width=2,
    )
    assert space.size == 8
    listed = [design.layout for design in space.enumerate()]
    assert len(listed) == len({design.id for design in space.enumerate()}) == 6
    assert ("conv3-relu +" in listed) != ("conv3 + relu" in listed)
    same = [
        space.candidate({"layout.before_join": before, "layout.after_join": after})
        for before, after in (("relu", ""), ("", "relu"))
    ]
    assert same[0].key == same[1].key
    assert same[0].values != same[1].values
    assert {c.key for c in space.candidates()} == {
        f"{d.id}-{Recipe().id}" for d in space.enumerate()
    }


def test_a_free_layout_of_one_stage_leaves_the_others() -> None:
    free = {"convs": ["conv3"], "free": ["relu"]}
    space = space_of({"layout[1]": free}, layout=RESIDUAL, **SMALL)
    slots = ["layout[1].before", "layout[1].before_join", "layout[1].after_join"]
    assert list(space.parameters) == slots
    values = dict(zip(slots, ("relu", "", "relu"), strict=True))
    assert space.candidate(values).design.layout == (RESIDUAL, "relu-conv3 + relu")
    assert space.size == len(list(space.candidates())) == 8


def test_a_free_dropout_decides_whether_its_rate_matters() -> None:
    free = {"convs": ["conv3"], "free": ["dropout"]}
    space = space_of({"layout": free, "dropout": [0.1, 0.2, 0.3]}, **SMALL)
    assert space.size == brute_size(space) == 1 + 7 * 3
    assert "dropout" not in first_of(space).values


def test_a_vast_space_is_counted_at_once() -> None:
    free = {"convs": ["conv3", "conv3"], "free": ["bn", "relu", "dropout"]}
    axes: dict[str, Any] = {f"layout[{i}]": free for i in range(4)}
    axes |= {f"merge[{i}]": ["add", "cat", "gate"] for i in range(4)}
    axes |= {"dropout": [0.1, 0.2]}
    space = space_of(axes, depths=[1, 1, 1, 1], widths=[4, 8, 8, 8])
    without = (1 + 4) ** 16  # words without dropout: nothing, and the four of bn and relu
    assert space.size == 3**4 * (without + (16**16 - without) * 2)
    assert space.sample(0) != space.sample(1)


def test_values_of_slots_without_an_allowed_design_are_named() -> None:
    def space(*constraints: str) -> Space:
        free = {"convs": ["conv3"], "free": ["bn", "relu"]}
        return space_of({"layout": free}, constraints, widths=[16], depths=[1])

    sizes = {cost(design).params for design in space().enumerate()}
    assert space().unused() == []
    for constraint, unused in (
        (f"params <= {min(sizes)}", (1, 3, 4)),  # no norm at all
        (f"params >= {max(sizes)}", (0, 2)),  # a norm in every slot
    ):
        words = ("nothing", "bn", "relu", "bn-relu", "relu-bn")
        assert space(constraint).unused() == [
            f"axes.layout.{slot}[{i}]: {words[i]}"
            for slot in ("before", "before_join", "after_join")
            for i in unused
        ]


# --- neighbours ----------------------------------------------------------------------------------


def drawn_from(space: Space, seed: int) -> Candidate:
    try:
        return space.draw(random.Random(seed))
    except SpaceError:
        assume(False)
        raise


def with_continua(draw: st.DrawFn) -> dict[str, Any]:
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "drop_path": st.just({"low": 0.0, "high": 0.5}),
                "recipe.peak_lr": st.just({"low": 0.01, "high": 1.0, "log": True}),
                "recipe.batch_size": st.just({"low": 8, "high": 64, "log": True}),
                "gate_bias": st.just({"low": -6.0, "high": 0.0}),
                "merge": st.just(["add", "gate"]),
            },
        )
    )


@st.composite
def spaces_and_points(draw: st.DrawFn) -> tuple[Space, Candidate]:
    space = draw(spaces())
    values = space.to_dict()
    axes = {**values["axes"], **with_continua(draw)}
    if "merge" in axes:
        axes = {name: axis for name, axis in axes.items() if not name.startswith("merge[")}
    space = Space.from_dict({**values, "axes": axes})
    return space, drawn_from(space, draw(st.integers(0, 2**32)))


@of_spaces
@given(spaces_and_points())
def test_neighbours_differ_in_one_parameter_are_allowed_and_can_be_built_again(
    drawn: tuple[Space, Candidate],
) -> None:
    space, candidate = drawn
    neighbours = list(space.neighbours(candidate))
    assert [n.key for n in neighbours] == [n.key for n in space.neighbours(candidate)]
    keys = [candidate.key, *(neighbour.key for neighbour in neighbours)]
    assert len(set(keys)) == len(keys)
    for neighbour in neighbours:
        both = candidate.values.keys() & neighbour.values.keys()
        assert sum(candidate.values[name] != neighbour.values[name] for name in both) == 1
        assert allowed(space, neighbour.design)
        assert space.candidate(neighbour.values) == neighbour
        point = {name: axis.start(None) for name, axis in space.parameters.items()}
        assert set(neighbour.values) == set(that_matter(space, point | dict(neighbour.values)))
        for name, value in neighbour.values.items():
            axis = space.parameters[name]
            assert value in axis.values if axis.size else axis.low <= value <= axis.high


@of_spaces
@given(spaces(), st.integers(0, 2**32))
def test_neighbours_are_all_the_trainings_one_choice_away(space: Space, seed: int) -> None:
    candidate = drawn_from(space, seed)
    found = {neighbour.key for neighbour in space.neighbours(candidate)}
    near = set()
    for other in space._points():
        if other.values.keys() == candidate.values.keys():
            changed = [n for n, v in other.values.items() if v != candidate.values[n]]
            if len(changed) == 1 and isinstance(space.parameters[changed[0]], Choice):
                near.add(other.key)
    assert near - {candidate.key} <= found


@of_spaces
@given(spaces(), st.integers(0, 2**32))
def test_neighbours_by_choice_see_one_another(space: Space, seed: int) -> None:
    candidate = drawn_from(space, seed)
    for neighbour in space.neighbours(candidate):
        if neighbour.values.keys() == candidate.values.keys():
            assert candidate.key in {back.key for back in space.neighbours(neighbour)}


def moved(axis: dict[str, Any] | list[Any], value: Value, name: str = "drop_path") -> list[Value]:
    """The values of the neighbours of one value of an axis."""
    space = space_of({name: axis}, layout="conv1-dropout-conv3 +", widths=[12], depths=[1])
    return [n.values[name] for n in space.neighbours(space.candidate({name: value}))]


@pytest.mark.parametrize(
    ("name", "axis", "value", "neighbours"),
    [
        ("shortcut", ["pad", "proj-all", "omit"], "proj-all", ["pad"]),  # omit: here as pad
        ("drop_path", [0.1, 0.2, 0.3], 0.2, [0.1, 0.3]),
        ("drop_path", {"low": 0, "high": 0.5, "step": 0.25}, 0.25, [0, 0.5]),
        ("drop_path", {"low": 0, "high": 0.5, "step": 0.25}, 0.0, [0.25]),
        ("drop_path", {"low": 0, "high": 0.5, "step": 0.25}, 0.3, [0.25, 0.5]),  # between steps
        ("drop_path", {"low": 0, "high": 0.3, "step": 0.1}, 0.2, [0.1, 0.3]),
        ("depths[0]", {"low": 2, "high": 9}, 9, [8]),
        ("depths[0]", {"low": 2, "high": 9}, 2, [3]),
        ("widths[0]", {"low": 16, "high": 64, "step": 16}, 32, [16, 48]),
        ("recipe.batch_size", {"low": 8, "high": 64, "log": True}, 8, [10]),
        ("recipe.batch_size", {"low": 8, "high": 64, "log": True}, 64, [52]),
        ("groups", {"low": 1, "high": 4, "log": True}, 2, [1, 3]),
        ("drop_path", {"low": 0.0, "high": 0.5}, 0.2, [0.15, 0.25]),
        ("drop_path", {"low": 0.0, "high": 0.5}, 0.02, [0, 0.07]),
        ("drop_path", {"low": 0.0, "high": 0.5}, 0.5, [0.45]),
        ("recipe.peak_lr", {"low": 0.01, "high": 1.0, "log": True}, 0.1, [10**-1.2, 10**-0.8]),
        ("recipe.peak_lr", {"low": 0.01, "high": 1.0, "log": True}, 0.9, [0.9 * 10**-0.2, 1]),
        ("recipe.peak_lr", {"low": 0.01, "high": 1.0, "log": True}, 0.01, [10**-1.8]),
    ],
    ids=str,
)
def test_a_parameter_moves_to_the_values_beside_it(
    name: str, axis: Any, value: Value, neighbours: list[Value]
) -> None:
    found = moved(axis, value, name)
    assert found == (neighbours if name == "shortcut" else pytest.approx(neighbours))
    assert len({type(number) for number in (*found, value)}) == 1


def neighbour_with(space: Space, values: dict[str, Value], **wanted: Value) -> Candidate:
    (found,) = (
        neighbour
        for neighbour in space.neighbours(space.candidate(values))
        if wanted.items() <= neighbour.values.items()
    )
    return found


def test_a_parameter_that_begins_to_matter_has_the_value_of_the_design_or_the_first() -> None:
    axes = {
        "merge": ["add", "cat", "gate"],
        "gate_bias": {"low": -8, "high": 0},
        "compression": [0.7, 0.9],
        "shortcut": ["pad", "proj"],
    }
    space = space_of(axes, layout=RESIDUAL, **SMALL)
    plain = {"merge": "add", "shortcut": "pad"}
    gated = neighbour_with(space, plain, merge="gate")
    assert gated.values == {"merge": "gate", "shortcut": "pad", "gate_bias": -6.0}  # the default
    dense = neighbour_with(space, plain, merge="cat")
    assert dense.values == {"merge": "cat", "compression": 0.7}  # 0.5 is none of the axis'
    back = neighbour_with(space, dict(dense.values), merge="add")
    assert back.values == {"merge": "add", "shortcut": "proj"}


@pytest.mark.parametrize(
    ("bias", "middle"),
    [({"low": -4, "high": 0}, -2.0), ({"low": -4, "high": -1, "step": 1}, -3.0)],
    ids=str,
)
def test_a_parameter_that_begins_to_matter_starts_in_the_middle_of_a_range(
    bias: dict[str, Any], middle: float
) -> None:
    space = space_of({"merge": ["add", "gate"], "gate_bias": bias}, layout=RESIDUAL, **SMALL)
    gated = neighbour_with(space, {"merge": "add"}, merge="gate")
    assert gated.values["gate_bias"] == middle


@pytest.mark.parametrize(
    ("axis", "wanted", "start"),
    [
        (Choice((1, 2, 3)), 2, 2),
        (Choice((1, 2, 3)), 9, 1),
        (Choice(("", "bn")), None, ""),
        (Range(0.0, 1.0, None, log=False, whole=False), 0.3, 0.3),
        (Range(0.0, 1.0, None, log=False, whole=False), 1.5, 0.5),
        (Range(0.0, 1.0, None, log=False, whole=False), None, 0.5),
        (Range(0.01, 1.0, None, log=True, whole=False), 2.0, 0.1),
        (Range(4, 64, None, log=True, whole=True), 65, 16),
        (Range(4, 64, None, log=True, whole=True), 5, 5),
        (Range(2, 9, 1, log=False, whole=True), 1, 5),
        (Range(2, 9, 1, log=False, whole=True), 9, 9),
        (Range(2, 8, 3, log=False, whole=True), 4, 5),
        (Range(0.0, 0.6, 0.1, log=False, whole=False), 0.1 + 0.2, 0.3),
        (Range(0.0, 0.3, 0.1, log=False, whole=False), 0.25, 0.1),
        (Range(0.0, 1.0, None, log=False, whole=False), True, 0.5),
    ],
    ids=str,
)
def test_where_a_parameter_starts(axis: Parameter, wanted: Value, start: Value) -> None:
    assert axis.start(wanted) == pytest.approx(start) if wanted else axis.start(wanted) == start
    assert type(axis.start(wanted)) is type(start)


def test_a_candidate_of_part_of_the_values_has_neighbours() -> None:
    axes = {"layout": ORDERS, "shortcut": ["pad", "omit"], "recipe.peak_lr": [0.1, 0.3]}
    space = space_of(axes, **SMALL)
    candidate = space.candidate({"layout.before": "bn-relu"})
    neighbours = list(space.neighbours(candidate))
    # Four words beside that of each slot, one more shortcut and one more rate.
    assert len(neighbours) == 4 * 4 + 1 + 1
    assert all(len(neighbour.values) == 6 for neighbour in neighbours)


def test_neighbours_keep_the_constraints() -> None:
    space = Space.load(SPACES / "merges.yaml")
    unbound = Space.from_dict({**space.to_dict(), "constraints": []})
    candidate = space.draw(random.Random(0))
    inside = {neighbour.key for neighbour in space.neighbours(candidate)}
    everywhere = {neighbour.key: neighbour for neighbour in unbound.neighbours(candidate)}
    assert inside < everywhere.keys()
    for key, neighbour in everywhere.items():
        assert (cost(neighbour.design).params <= 300_000) == (key in inside)


# --- ranges --------------------------------------------------------------------------------------


def axis_of(name: str, **bounds: Any) -> Range:
    space = space_of({name: bounds}, layout="conv1-dropout-conv3 +", widths=[12], depths=[1])
    axis = space.axes[name]
    assert isinstance(axis, Range)
    return axis


def draws(axis: Range, count: int = 4_000) -> list[Value]:
    rng = random.Random(0)
    return [axis.draw(rng) for _ in range(count)]


def test_a_continuous_range_fills_its_interval_evenly() -> None:
    axis = axis_of("drop_path", low=0.1, high=0.5)
    assert axis.size is None
    values = draws(axis)
    assert min(values) >= 0.1
    assert max(values) <= 0.5
    for share in (0.1, 0.5, 0.9):  # 4,000 draws: five standard deviations are 0.04
        below = sum(value < 0.1 + share * 0.4 for value in values) / len(values)
        assert below == pytest.approx(share, abs=0.04)


def test_a_logarithmic_range_fills_the_logarithm_evenly() -> None:
    axis = axis_of("recipe.peak_lr", low=0.001, high=1, log=True)
    assert axis.size is None
    values = draws(axis)
    assert min(values) >= 0.001
    assert max(values) <= 1
    for share in (1 / 3, 2 / 3):  # decades
        below = sum(value < 0.001 ** (1 - share) for value in values) / len(values)
        assert below == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize(
    ("name", "bounds", "values"),
    [
        ("groups", {"low": 1, "high": 4}, (1, 2, 3, 4)),
        ("groups", {"low": 2, "high": 6, "step": 2}, (2, 4, 6)),
        ("groups", {"low": 1, "high": 6, "step": 3}, (1, 4)),
        ("stem_width", {"low": 5, "high": 6}, (5, 6)),
        ("recipe.batch_size", {"low": 32, "high": 96, "step": 32}, (32, 64, 96)),
        ("recipe.crop", {"low": 0, "high": 2}, (0, 1, 2)),
        ("drop_path", {"low": 0, "high": 0.5, "step": 0.25}, (0.0, 0.25, 0.5)),
        ("dropout", {"low": 0.125, "high": 0.75, "step": 0.5}, (0.125, 0.625)),
        ("bottleneck_ratio", {"low": 1, "high": 3, "step": 1}, (1.0, 2.0, 3.0)),
    ],
    ids=str,
)
def test_a_stepped_range_has_these_values_and_draws_each_of_them(
    name: str, bounds: dict[str, Any], values: tuple[Value, ...]
) -> None:
    axis = axis_of(name, **bounds)
    assert axis.values == values
    assert axis.size == len(values)
    assert set(draws(axis, 400)) == set(values)
    assert {type(value) for value in axis.values} == {type(values[0])}


@pytest.mark.parametrize(
    ("low", "high", "step"), [(0.0, 0.3, 0.1), (0.1, 0.7, 0.2), (0.0, 0.6, 0.2), (0.0, 0.9, 0.3)]
)
def test_decimal_steps_end_at_the_bound_and_not_beyond(
    low: float, high: float, step: float
) -> None:
    values = axis_of("drop_path", low=low, high=high, step=step).values
    assert values[-1] == high
    assert list(values) == sorted(values)


def test_a_whole_logarithmic_range_draws_whole_numbers_up_to_both_ends() -> None:
    axis = axis_of("recipe.batch_size", low=2, high=16, log=True)
    values = draws(axis)
    assert set(values) == set(range(2, 17))
    assert {type(value) for value in values} == {int}
    counts = Counter(values)
    assert counts[4] > 2 * counts[12]


@pytest.mark.parametrize(
    "bounds",
    [
        {"low": 0.0, "high": 0.5, "step": 0.25},
        {"low": 0.0, "high": 0.3, "step": 0.1},  # 3 x 0.1 is not 0.3 in binary
        {"low": 0.0, "high": 0.5, "step": 0.2},  # the step does not divide the interval
    ],
    ids=str,
)
def test_optuna_and_the_space_agree_on_the_values_of_a_stepped_range(
    bounds: dict[str, Any],
) -> None:
    # Else one training bears two keys and is done twice; and Optuna warns in every trial.
    space = space_of({"drop_path": bounds}, layout=RESIDUAL, **SMALL)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    keys = {space.suggest(chooser(study.ask())).key for _ in range(60)}
    assert keys == {candidate.key for candidate in space.candidates()}


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("drop_path", {"low": 0.125, "high": 0.5}),
        ("recipe.peak_lr", {"low": 0.01, "high": 1, "log": True}),
        ("groups", {"low": 1, "high": 4}),
        ("recipe.batch_size", {"low": 2, "high": 64, "log": True}),
        ("recipe.batch_size", {"low": 2, "high": 62, "step": 4}),
    ],
    ids=str,
)
def test_optuna_draws_inside_the_bounds_and_of_the_right_kind(
    name: str, bounds: dict[str, Any]
) -> None:
    axis = axis_of(name, **bounds)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [chooser(study.ask())(name, axis) for _ in range(100)]
    assert min(values) >= axis.low
    assert max(values) <= axis.high
    assert {type(value) for value in values} == {int if axis.whole else float}
    if axis.step is not None:
        assert set(values) <= set(axis.values)


@pytest.mark.parametrize(
    "bounds", [{"low": 0, "high": 0.3}, {"low": 0.1, "high": 0.3, "log": True}]
)
def test_a_continuous_space_is_endless_and_cannot_be_listed(bounds: dict[str, Any]) -> None:
    space = space_of({"drop_path": bounds, "shortcut": ["pad"]}, layout=RESIDUAL, **SMALL)
    assert space.size is None
    for listing in (space.enumerate, space.candidates):
        with pytest.raises(SpaceError, match=r"^axes.drop_path is continuous: .* be enumerated$"):
            next(listing())
    assert 0 <= space.sample(0).drop_path <= 0.3


def test_a_continuous_axis_that_never_matters_leaves_the_space_finite() -> None:
    axes = {"depths": [[1, 1], [2, 2]], "dropout": {"low": 0, "high": 0.3}}
    assert space_of(axes, layout=RESIDUAL, widths=[4, 8]).size == 2


def test_both_kinds_of_axis_write_what_they_read() -> None:
    axes: dict[str, Any] = {
        "depths": [[1, 1], [2, 2]],
        "groups": {"low": 1, "high": 4, "step": 1},
        "drop_path": {"low": 0.0, "high": 0.5},
        "recipe.peak_lr": {"low": 0.01, "high": 1.0, "log": True},
        "recipe.flip": [None, True, False],
    }
    space = space_of(axes, layout=RESIDUAL, widths=[4, 8])
    assert space.to_dict()["axes"] == axes
    assert isinstance(space.axes["depths"], Choice)
    assert space.axes["depths"].labels == ["[1, 1]", "[2, 2]"]


# --- drawing -------------------------------------------------------------------------------------


def test_a_small_space_is_drawn_from_to_its_last_design() -> None:
    space = Space.load(SPACES / "quickstart.yaml")
    rng = random.Random(0)
    drawn = {space.sample(rng).id for _ in range(2_000)}
    assert drawn == {design.id for design in space.enumerate()}


def test_seeds_and_calls_draw_differently() -> None:
    space = Space.load(SPACES / "quickstart.yaml")
    assert len({space.sample(seed).id for seed in range(30)}) > 10
    rng = random.Random(0)
    assert len({space.sample(rng).id for _ in range(30)}) > 10
    assert len({space.sample().id for _ in range(30)}) > 1


def test_every_draw_obeys_the_constraints() -> None:
    space = Space.load(SPACES / "merges.yaml")
    rng = random.Random(0)
    sizes = [cost(space.sample(rng)).params for _ in range(300)]
    assert max(sizes) <= 300_000
    unbound = Space.from_dict({**space.to_dict(), "constraints": []})
    assert max(cost(unbound.sample(rng)).params for _ in range(300)) > 300_000


# --- constraints ---------------------------------------------------------------------------------

TINY = Design(layout=RESIDUAL, depths=(1, 1), widths=(4, 8))


def with_constraints(*constraints: str) -> Space:
    return space_of({"shortcut": ["proj"]}, constraints, layout=RESIDUAL, **SMALL)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        *(("<=", False, True, True), ("<", False, False, True)),
        *((">=", True, True, False), (">", True, False, False)),
    ],
)
def test_a_constraint_at_its_boundary(
    measure: str, comparison: str, below: bool, at: bool, above: bool
) -> None:
    figure = getattr(cost(TINY), measure)
    for bound, fits in ((figure - 1, below), (figure, at), (figure + 1, above)):
        space = with_constraints(f"{measure} {comparison} {bound}")
        assert (space.violated(TINY) == "") == fits
        assert [d.id for d in space.enumerate()] == ([TINY.id] if fits else [])


def test_what_is_violated_is_told_with_its_figure() -> None:
    params = cost(TINY).params
    space = with_constraints("macs > 1", "params <= 100", "macs <= 2")
    assert space.violated(TINY) == f"params <= 100: it has {params:,}"
    assert with_constraints().violated(TINY) == ""


@pytest.mark.parametrize("text", ["params<=2e3", " params  <=  2_000 ", "params <= 2000.0"])
def test_a_constraint_has_many_spellings(text: str) -> None:
    assert with_constraints(text).constraints == with_constraints("params <= 2e3").constraints


@pytest.mark.parametrize("bound", [1_727_962, 123_456_789, 0.125, 2e6, 1e12, 12_345_678_901])
def test_a_bound_survives_yaml_to_its_last_digit(bound: float) -> None:
    # A run folder keeps its space as YAML: ResNet-110 must not fall out of `params <= 1727962`.
    space = with_constraints(f"params >= {bound}")
    assert space.constraints[0].bound == bound
    assert Space.from_yaml(space.to_yaml()).constraints[0].bound == bound


def test_the_images_of_a_data_set_change_what_a_constraint_sees() -> None:
    figures = cost(TINY, in_channels=1, image_size=8, classes=5)
    for measure in MEASURES:
        space = with_constraints(f"{measure} <= {getattr(figures, measure)}")
        assert space.violated(TINY)  # for 3 x 32 x 32 and 10 classes
        there = space.for_images(1, 8, 5)
        assert there.violated(TINY) == ""
        assert [d.id for d in there.enumerate()] == [TINY.id]
        assert there.sample(0).id == TINY.id
        assert there.axes == space.axes
        assert space.image_size == 32
        for images in ((3, 8, 5), (1, 9, 5), (1, 8, 6)):
            more = getattr(cost(TINY, *images), measure) > getattr(figures, measure)
            assert bool(space.for_images(*images).violated(TINY)) == more


# --- combinations that cannot be built -----------------------------------------------------------


def test_padding_where_widths_shrink_is_passed_over_and_refused() -> None:
    axes = {"widths": [[4, 8], [8, 4]], "shortcut": ["pad", "proj"]}
    space = space_of(axes, layout=RESIDUAL, depths=[1, 1])
    assert space.size == 4
    assert {(d.widths, d.shortcut) for d in space.enumerate()} == {
        ((4, 8), "pad"),
        ((4, 8), "proj"),
        ((8, 4), "proj"),
    }
    with pytest.raises(DesignError, match=r"^stage 2: shortcut 'pad' adds zero channels"):
        space.candidate({"widths": (8, 4), "shortcut": "pad"})
    rng = random.Random(0)
    assert len({space.sample(rng).id for _ in range(100)}) == 3


def test_groups_that_do_not_divide_are_passed_over_and_refused() -> None:
    space = space_of({"groups": {"low": 1, "high": 4}}, layout=RESIDUAL, widths=[4], depths=[1])
    assert [design.groups for design in space.enumerate()] == [1, 2, 4]
    with pytest.raises(DesignError, match=r"groups 3 does not divide the 4 -> 4 channels"):
        space.candidate({"groups": 3})


def test_layouts_and_merges_for_different_numbers_of_stages_are_passed_over() -> None:
    axes = {
        "layout": [["conv3 +", "conv1 +"], "conv3 +"],
        "merge": [["cat", "cat", "cat"], "cat"],
        "shortcut": ["pad", "proj"],
    }
    space = space_of(axes, **SMALL)
    assert {(d.layout, d.merge) for d in space.enumerate()} == {
        (("conv3 +", "conv1 +"), "cat"),
        ("conv3 +", "cat"),
    }


def test_a_value_without_effect_does_not_make_a_design_impossible() -> None:
    # One shortcut a stage, for two stages and for three; a plain layout asks for none of them.
    axes = {
        "layout": [PLAIN],
        "depths": [[1, 1], [1, 1, 1]],
        "widths": [[4, 8], [4, 8, 8]],
        "shortcut": [["pad", "proj"], ["pad", "proj", "proj"]],
    }
    assert {d.depths for d in space_of(axes).enumerate()} == {(1, 1), (1, 1, 1)}


# --- what is refused -----------------------------------------------------------------------------

GOOD = "base: {layout: conv3 +}\n"
AXES_ALLOWED = ", ".join([*list(FIELDS)[:3], "..."])  # a long list is cut before a hint
WORDS = "pad, proj, proj-all, avg-proj, omit"

# The text of the file, and the message after "FILE: ", where ... stands for anything.
REFUSED = {
    "unknown top-level key": (
        GOOD + "axis: {shortcut: [pad]}",
        "unknown key: 'axis' is not one of name, source, base, recipe, axes, constraints"
        " (did you mean 'axes'?)",
    ),
    "a design": (
        "layout: conv3 +",
        "unknown key: 'layout' is a field of designs: set it in base (a design alone is for"
        " skipsearch train)",
    ),
    "unknown axis": (
        GOOD + "axes: {shortcuts: [pad]}",
        f"axes: 'shortcuts' is not one of {AXES_ALLOWED} (did you mean 'shortcut'?)",
    ),
    "unknown axis of the recipe": (
        GOOD + "axes: {recipe.peak_rl: [0.1]}",
        f"axes: 'recipe.peak_rl' is not one of {AXES_ALLOWED} (did you mean 'recipe.peak_lr'?)",
    ),
    "unknown field of the base": (
        "base: {layuot: conv3 +}\naxes: {layout: [conv3 +]}",
        f"base: 'layuot' is not one of {AXES_ALLOWED} (did you mean 'layout'?)",
    ),
    "misspelt value": (
        GOOD + "axes: {shortcut: [pad, projection]}",
        f"axes.shortcut[1]: 'projection' is not one of {WORDS} (did you mean 'proj'?)",
    ),
    "misspelt value of one stage": (
        GOOD + "axes: {shortcut: [pad, [pad, pad, omitt]]}",
        f"axes.shortcut[1]: ...'omitt' is not one of {WORDS} (did you mean 'omit'?)",
    ),
    "misspelt value of the base": (
        "base: {layout: conv3 +, merge: concat}\naxes: {shortcut: [pad]}",
        f"base.merge: 'concat' is not one of {', '.join(MERGES)} (did you mean 'cat'?)",
    ),
    "misspelt layout": (
        "axes: {layout: [conv3 +, conv3-bnn +]}",
        "axes.layout[1]: unknown operation 'bnn' in 'conv3-bnn +' (did you mean 'bn'?)",
    ),
    "value out of range": (
        GOOD + "axes: {drop_path: [0.1, 1.0]}",
        "axes.drop_path[1]: 1.0 is not a number in [0, 1)",
    ),
    "value of the recipe out of range": (
        GOOD + "axes: {recipe.peak_lr: [0.1, -1]}",
        "axes.recipe.peak_lr[1]: -1 is not a number from 0 to 1e+06",
    ),
    "empty list": (
        GOOD + "axes: {shortcut: []}",
        "axes.shortcut: the list is empty; give the values to choose from",
    ),
    "neither list nor range": (
        GOOD + "axes: {shortcut: pad}",
        "axes.shortcut: 'pad' is neither a list of values nor a range {low: ..., high: ...}",
    ),
    "nothing": (
        GOOD + "axes: {shortcut: }",
        "axes.shortcut: None is neither a list of values nor a range {low: ..., high: ...}",
    ),
    "empty axes": (
        GOOD + "axes: {}",
        "axes: the space is empty; give at least one axis, such as shortcut: [pad, proj]",
    ),
    "no axes": (
        GOOD,
        "axes: the space is empty; give at least one axis, such as shortcut: [pad, proj]",
    ),
    "axes are a list": (
        GOOD + "axes: [shortcut]",
        "axes: a mapping of 'name: value' lines is expected, not ['shortcut']",
    ),
    "base is a text": (
        "base: conv3 +\naxes: {shortcut: [pad]}",
        "base: a mapping of 'name: value' lines is expected, not 'conv3 +'",
    ),
    "missing layout": (
        "axes: {shortcut: [pad, proj]}",
        "base.layout is missing, and no axis sets it in all stages",
    ),
    "duplicate value": (
        GOOD + "axes: {shortcut: [pad, proj, pad]}",
        "axes.shortcut[2]: 'pad' is listed twice",
    ),
    "duplicate layout, spelt otherwise": (
        "axes: {layout: [conv3-bn +, conv3 - bn+]}",
        "axes.layout[1]: 'conv3 - bn+' is listed twice",
    ),
    "duplicate number, spelt otherwise": (
        GOOD + "axes: {bottleneck_ratio: [1, 1.0]}",
        "axes.bottleneck_ratio[1]: 1.0 is listed twice",
    ),
    "duplicate list": (
        GOOD + "axes: {depths: [[1, 1, 1], [1, 1, 1]]}",
        "axes.depths[1]: [1, 1, 1] is listed twice",
    ),
    "low above high": (
        GOOD + "axes: {drop_path: {low: 0.3, high: 0.1}}",
        "axes.drop_path: low 0.3 is not below high 0.1",
    ),
    "low equal to high": (
        GOOD + "axes: {drop_path: {low: 0.3, high: 0.3}}",
        "axes.drop_path: low 0.3 is not below high 0.3",
    ),
    "log of zero": (
        GOOD + "axes: {drop_path: {low: 0, high: 0.1, log: true}}",
        "axes.drop_path.low: 0 is not above 0, which log needs",
    ),
    "log of a negative number": (
        GOOD + "axes: {recipe.peak_lr: {low: -1, high: 1, log: true}}",
        "axes.recipe.peak_lr.low: -1 is not a number from 0 to 1e+06",
    ),
    "log with step": (
        GOOD + "axes: {drop_path: {low: 0.1, high: 0.3, step: 0.1, log: true}}",
        "axes.drop_path: log and step exclude one another",
    ),
    "log is no truth value": (
        GOOD + "axes: {drop_path: {low: 0.1, high: 0.3, log: 10}}",
        "axes.drop_path.log: 10 is neither true nor false",
    ),
    "missing high": (
        GOOD + "axes: {drop_path: {low: 0.1}}",
        "axes.drop_path.high is missing",
    ),
    "missing low": (
        GOOD + "axes: {drop_path: {high: 0.1}}",
        "axes.drop_path.low is missing",
    ),
    "unknown key of a range": (
        GOOD + "axes: {drop_path: {low: 0.1, hihg: 0.3}}",
        "axes.drop_path: 'hihg' is not one of low, high, step, log (did you mean 'high'?)",
    ),
    "bound out of range": (
        GOOD + "axes: {drop_path: {low: 0.1, high: 1}}",
        "axes.drop_path.high: 1 is not a number in [0, 1)",
    ),
    "bound of the wrong kind": (
        GOOD + "axes: {groups: {low: 1, high: 2.5}}",
        "axes.groups.high: 2.5 is not a whole number from 1 to 100000",
    ),
    "bound that is nothing": (
        GOOD + "axes: {recipe.crop: {low: null, high: 4}}",
        "axes.recipe.crop.low: None is not a whole number...",
    ),
    "bound per stage": (
        GOOD + "axes: {bottleneck_ratio: {low: [1, 1, 1], high: [2, 2, 2]}}",
        "axes.bottleneck_ratio.low: [1, 1, 1] is not a number...",
    ),
    "step of zero": (
        GOOD + "axes: {drop_path: {low: 0.1, high: 0.3, step: 0}}",
        "axes.drop_path.step: 0 is not a number above 0 within the range",
    ),
    "step beyond the range": (
        GOOD + "axes: {drop_path: {low: 0.1, high: 0.3, step: 0.5}}",
        "axes.drop_path.step: 0.5 is not a number above 0 within the range",
    ),
    "half a step": (
        GOOD + "axes: {groups: {low: 1, high: 4, step: 0.5}}",
        "axes.groups.step: 0.5 is not a number above 0 within the range",
    ),
    "range on words": (
        GOOD + "axes: {shortcut: {low: 1, high: 2}}",
        "axes.shortcut: shortcut takes a list of values, not a range",
    ),
    "range on lists": (
        GOOD + "axes: {depths: {low: 1, high: 2}}",
        "axes.depths: depths takes a list of values, not a range",
    ),
    "a field and one of its stages": (
        GOOD + "axes: {shortcut: [pad], 'shortcut[1]': [proj]}",
        "axes.shortcut[1]: axes.shortcut sets this stage too; keep one of them",
    ),
    "a stage beyond the last": (
        GOOD + "axes: {'shortcut[3]': [pad]}",
        "axes.shortcut[3]: no design has this stage: stages are numbered from 0 to 2",
    ),
    "a stage beyond the last of an axis": (
        GOOD + "axes: {depths: [[1], [1, 1]], widths: [[4], [4, 4], [4, 4, 4]], 'groups[2]': [1]}",
        "axes.groups[2]: no design has this stage: stages are numbered from 0 to 1",
    ),
    "a depth beyond the last": (
        "base: {layout: conv3 +, depths: [1, 1], widths: [4, 8]}\naxes: {'depths[2]': [1]}",
        "axes.depths[2]: no design has this stage: stages are numbered from 0 to 1",
    ),
    "a negative stage": (
        GOOD + "axes: {'shortcut[-1]': [pad]}",
        "axes.shortcut[-1]: the brackets of shortcut[0] hold a whole number:"
        " stages are numbered from 0",
    ),
    "a stage of a misspelt field": (
        GOOD + "axes: {'shortcutt[1]': [pad]}",
        "axes.shortcutt[1]: an axis of one stage: 'shortcutt' is not one of layout, ..., depths,"
        " widths (did you mean 'shortcut'?)",
    ),
    "a misspelt value in one stage": (
        GOOD + "axes: {'shortcut[1]': [pad, projection]}",
        f"axes.shortcut[1][1]: 'projection' is not one of {WORDS} (did you mean 'proj'?)",
    ),
    "a misspelt layout in one stage": (
        GOOD + "axes: {'layout[1]': [conv3-bnn +]}",
        "axes.layout[1][0]: unknown operation 'bnn' in 'conv3-bnn +' (did you mean 'bn'?)",
    ),
    "a list in one stage": (
        GOOD + "axes: {'groups[1]': [[1, 1, 1]]}",
        "axes.groups[1][0]: [1, 1, 1] is not a whole number from 1 to 100000",
    ),
    "a depth of zero in one stage": (
        GOOD + "axes: {'depths[1]': {low: 0, high: 4}}",
        "axes.depths[1].low: 0 is not a whole number from 1 to 100000",
    ),
    "a stage without a layout": (
        "axes: {'layout[0]': [conv3 +], 'layout[2]': [conv3 +]}",
        "base.layout is missing, and no axis sets it in all stages",
    ),
    "a slot as an axis": (
        GOOD + "axes: {layout.before: [bn]}",
        "axes: 'layout.before' is not one of layout, ...",
    ),
    "a free layout without convolutions": (
        "axes: {layout: {free: [bn]}}",
        "axes.layout.convs is missing",
    ),
    "a free layout without free operations": (
        "axes: {layout: {convs: [conv3], free: []}}",
        "axes.layout.free: [] is not a list such as [bn, relu]",
    ),
    "an unknown key of a free layout": (
        "axes: {layout: {conv: [conv3], free: [bn]}}",
        "axes.layout: 'conv' is not one of convs, free (did you mean 'convs'?)",
    ),
    "no convolution among the convolutions": (
        GOOD + "axes: {'layout[2]': {convs: [convv3], free: [bn]}}",
        "axes.layout[2].convs[0]: a convolution: 'convv3' is not one of conv1, ...dw7"
        " (did you mean 'conv3'?)",
    ),
    "an even kernel": (
        "axes: {layout: {convs: [conv3, dw4], free: [bn]}}",
        "axes.layout.convs[1]: 'dw4' in 'dw4': the kernel of dw is an odd number from 1 to 31",
    ),
    "an unknown free operation": (
        "axes: {layout: {convs: [conv3], free: [bn, rellu]}}",
        "axes.layout.free[1]: 'rellu' is not one of bn, ... (did you mean 'relu'?)",
    ),
    "a list among the free operations": (
        "axes: {layout: {convs: [conv3], free: [[bn]]}}",
        "axes.layout.free[0]: ['bn'] is not one of bn, ...",
    ),
    "a convolution among the free operations": (
        "axes: {layout: {convs: [conv3], free: [conv3]}}",
        "axes.layout.free[0]: 'conv3' is not one of bn, ...",
    ),
    "a free operation twice": (
        "axes: {layout: {convs: [conv3], free: [bn, relu, bn]}}",
        "axes.layout.free[2]: 'bn' is listed twice",
    ),
    "too many free operations": (
        "axes: {layout: {convs: [conv3], free: [bn, relu, se, dropout]}}",
        "axes.layout.free: 4 operations are more than 3",
    ),
    "a layout that is neither": (
        "axes: {layout: conv3 +}",
        "axes.layout: 'conv3 +' is neither a list of values nor a free layout"
        " {convs: ..., free: ...}",
    ),
    "epochs as a field": (
        GOOD + "axes: {shortcut: [pad]}\nrecipe: {epochs: 3}",
        "recipe.epochs: the budget is given to the search, not to the space",
    ),
    "epochs as an axis": (
        GOOD + "axes: {recipe.epochs: [3, 9]}",
        f"axes: 'recipe.epochs' is not one of {AXES_ALLOWED}",
    ),
    "unknown field of the recipe": (
        GOOD + "axes: {shortcut: [pad]}\nrecipe: {peak_rl: 0.1}",
        "recipe: unknown key of a recipe: 'peak_rl' is not one of epochs, ..."
        " (did you mean 'peak_lr'?)",
    ),
    "wrong value of the recipe": (
        GOOD + "axes: {shortcut: [pad]}\nrecipe: {schedule: cosin}",
        "recipe: schedule: 'cosin' is not one of cosine, step (did you mean 'cosine'?)",
    ),
    "unknown measure": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: [macs > 1, parms <= 2e6]",
        "constraints[1]: 'parms' is not one of params, macs, activation_bytes"
        " (did you mean 'params'?)",
    ),
    "misspelt comparison": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: [params =< 2e6]",
        "constraints[0]: 'params =< 2e6' is not of the form 'params <= 2e6'",
    ),
    "bound that is no number": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: [params <= 1e]",
        "constraints[0]: 'params <= 1e' is not of the form 'params <= 2e6'",
    ),
    "constraint without bound": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: [params]",
        "constraints[0]: 'params' is not of the form 'params <= 2e6'",
    ),
    "constraints are a text": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: params <= 2e6",
        "constraints: 'params <= 2e6' is not a list such as [params <= 2e6]",
    ),
    "constraints are a mapping": (
        GOOD + "axes: {shortcut: [pad]}\nconstraints: {params: 2e6}",
        "constraints: {'params': 2000000.0} is not a list such as [params <= 2e6]",
    ),
    "name is a list": (
        GOOD + "name: [a]\naxes: {shortcut: [pad]}",
        "name: ['a'] is not a text",
    ),
    "nothing can be built": (
        "base: {layout: conv3 +, depths: [1, 1]}\naxes: {widths: [[4], [4, 8, 16]]}",
        "the space is empty: no combination can be built: depths has 2 stages and widths ...;"
        " both need one number a stage",
    ),
    "not a mapping": ("- shortcut\n", "a mapping of 'key: value' lines is expected"),
    "an empty file": ("", "a mapping of 'key: value' lines is expected"),
    "not YAML": (GOOD + "axes: {shortcut: [pad", "line 2: not YAML: ..."),
    "a key twice": (
        GOOD + "axes: {shortcut: [pad], shortcut: [proj]}",
        "line 2: not YAML: ...twice",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_file_is_refused_in_one_line_with_file_and_place(tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SpaceError) as caught:
        Space.load(path)
    pattern = re.escape(f"{path}: {message}").replace(re.escape("..."), "[^\n]*")
    assert re.fullmatch(pattern, str(caught.value))


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(SpaceError, match=f"^{re.escape(str(path))}: No such file or directory$"):
        Space.load(path)


def test_a_file_that_is_no_text_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match=f"^{re.escape(str(path))}: not a text file in UTF-8$"):
        Space.load(path)


def test_a_space_in_which_no_design_meets_the_constraints_is_empty(tmp_path: Path) -> None:
    # Only the images of the data set decide that, so it is told when the space is used.
    path = tmp_path / "narrow.yaml"
    path.write_text(GOOD + "axes: {shortcut: [pad, proj]}\nconstraints: [macs > 1, params <= 10]")
    space = Space.load(path)
    assert list(space.enumerate()) == []
    message = r"^narrow: no design of 2000 drawn is allowed: params <= 10: it has [\d,]+$"
    with pytest.raises(SpaceError, match=message):
        space.sample(0)


def test_values_that_do_not_go_together_are_refused_by_the_design() -> None:
    space = space_of({"shortcut": ["pad", "proj"]}, layout=RESIDUAL, **SMALL)
    with pytest.raises(DesignError, match=r"^shortcut: 'none' is not one of"):
        space.candidate({"shortcut": "none"})
    with pytest.raises(DesignError, match=r"'shortcuts' is not one of .*did you mean 'shortcut'"):
        space.candidate({"shortcuts": "pad"})


def test_a_space_needs_no_more_than_a_layout() -> None:
    space = Space.from_yaml("axes: {layout: [conv3, conv3 +]}", "folder/least.yaml")
    assert (space.name, space.source, dict(space.base)) == ("least", "", {})
    assert space.size == 2
    assert math.prod(axis.size or 0 for axis in space.axes.values()) == 2


def test_an_axis_stands_above_the_base_and_the_recipe() -> None:
    space = Space.from_dict(
        {
            "base": {"layout": RESIDUAL, "shortcut": "omit", **SMALL},
            "recipe": {"peak_lr": 0.5, "batch_size": 7},
            "axes": {"shortcut": ["pad"], "recipe.peak_lr": [0.25]},
        }
    )
    candidate = first_of(space)
    assert candidate.design.shortcut == "pad"
    assert (candidate.recipe.peak_lr, candidate.recipe.batch_size) == (0.25, 7)
    assert candidate.recipe == Recipe(peak_lr=0.25, batch_size=7)
    assert set(space.base) == {"layout", "widths", "depths"}
    assert set(space.recipe) == {"batch_size"}


def test_links_head_and_growth_are_asked_for_where_they_matter() -> None:
    space = Space.from_yaml(
        """
base: {layout: conv3-bn-relu-conv3-bn + relu, widths: [4, 8, 16], depths: [1, 1, 1]}
axes:
  links: [[], ["0>3"], ["1>3"]]
  link_merge: [add, cat]
  link_shortcut: [pad, proj]
  head: [mean, conv1-bn-mean]
  head_width: [8, 32]
  merge: [add, dual]
  growth: [1, 2]
"""
    )
    # No link, or one of two that is added in two ways or concatenated; a head with one of two
    # widths, or none; a dual stage with one of two growths, or none.
    assert space.size == (1 + 2 * 3) * (1 + 2) * (1 + 2)
    assert len(list(space.enumerate())) == space.size
    plain = space.candidate({"links": (), "head": "mean", "merge": "add"})
    assert {tuple(other.values.items()) for other in space.neighbours(plain)} == {
        (("merge", "dual"), ("links", ()), ("head", "mean"), ("growth", 1)),
        *(
            (
                ("merge", "add"),
                ("links", (link,)),
                ("link_merge", "add"),
                ("head", "mean"),
                ("link_shortcut", "proj"),
            )
            for link in ("0>3", "1>3")
        ),
        (("merge", "add"), ("links", ()), ("head", "conv1-bn-mean"), ("head_width", 8)),
    }
