"""Ranges, sizes and lists with extreme values: counted by arithmetic, or refused in one line."""

from __future__ import annotations

import random
from typing import Any

import pytest

from skipsearch.axes import Range
from skipsearch.design import Design
from skipsearch.errors import DesignError, LayoutError, SkipSearchError, SpaceError
from skipsearch.layout import Layout
from skipsearch.recipe import Recipe
from skipsearch.space import Space
from skipsearch.space.axis_reading import read_axis

RESIDUAL = "conv3-bn + relu"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("drop_path", {"low": 0, "high": 0.9, "step": 1e-15}, "step: 1e-15 makes 9e+14 values"),
        ("drop_path", {"low": 0, "high": 0.9, "step": 5e-324}, "step: 4.94066e-324 makes inf"),
        ("drop_path", {"low": 0, "high": 1e-12, "step": 1e-13}, "less than 1e-12 apart"),
        ("drop_path", {"low": 0, "high": 0.5, "step": 0}, "step: 0 is not a number above 0"),
        ("drop_path", {"low": 0, "high": 0.5, "step": -1}, "step: -1 is not a number above 0"),
        ("drop_path", {"low": 0, "high": 0.5, "step": float("nan")}, "step: nan is not a number"),
        ("drop_path", {"low": 0, "high": 0.5, "step": True}, "step: True is not a number"),
        ("drop_path", {"low": 0, "high": 0.5, "step": 10**9999}, "step: <a whole number of"),
        ("drop_path", {"low": 0.5, "high": 0.1}, "low 0.5 is not below high 0.1"),
        ("drop_path", {"low": 0.5, "high": 0.5}, "low 0.5 is not below high 0.5"),
        ("drop_path", {"low": 0, "high": 0.5, "log": True}, "low: 0 is not above 0"),
        ("gate_bias", {"low": -1e308, "high": 1e308}, "low: -1e+308 is not a number in"),
        ("gate_bias", {"low": -1, "high": 1, "log": True}, "low: -1 is not above 0"),
        ("groups", {"low": 1, "high": 10**30}, "high: 1000000000000000000000000000000 is not"),
        ("groups", {"low": 1.0, "high": 8}, "low: 1.0 is not a whole number"),
        ("groups", {"low": 1, "high": 8, "step": 0.5}, "step: 0.5 is not a number"),
        ("groups", {"low": 1, "high": 10**9999}, "high: <a whole number of"),
        ("groups", {"low": [[]], "high": 8}, "low: [[]] is not a whole number"),
        ("recipe.batch_size", {"low": 1, "high": 1e6}, "high: 1000000.0 is not a whole number"),
        ("layout[99999999999]", [RESIDUAL], "stages are numbered from 0"),
        ("layout", {"convs": ["conv3"] * 17, "free": ["bn"]}, "17 convolutions are more than 16"),
        ("layout", {"convs": ["conv3"], "free": [["bn"]]}, "free[0]: ['bn'] is not one of"),
        ("layout", ["-".join(["conv3"] * 101)], "more than 100 operations"),
    ],
)
def test_an_axis_that_no_space_has_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read_axis(name, value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "value", "size", "last"),
    [
        ("recipe.batch_size", {"low": 1, "high": 10_000_000}, 10_000_000, 10_000_000),
        ("drop_path", {"low": 0, "high": 0.9, "step": 1e-7}, 9_000_001, 0.9),
        ("drop_path", {"low": 0.1, "high": 0.95, "step": 0.1}, 9, 0.9),
        ("recipe.peak_lr", {"low": 3e-13, "high": 1.0, "step": 0.5}, 3, 1.0),
        ("recipe.crop", {"low": 0, "high": 4, "step": 2}, 3, 4),
    ],
)
def test_the_values_of_a_range_are_computed_and_not_listed(
    name: str, value: dict[str, float], size: int, last: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = read_axis(name, value)
    assert isinstance(axis, Range)

    def listed(_: Range) -> tuple[float, ...]:
        raise AssertionError("the values were listed")

    monkeypatch.setattr(Range, "values", property(listed))
    assert axis.size == size
    assert axis.high == last
    assert axis.value(axis.low) == axis.low
    rng = random.Random(0)
    for _ in range(20):
        drawn = axis.draw(rng)
        assert axis.low <= drawn <= axis.high
        assert axis.value(drawn) == axis.start(drawn) == drawn
        assert all(axis.low <= moved <= axis.high for moved in axis.moves(drawn))


@pytest.mark.parametrize(("low", "high"), [(5e-324, 1e6), (0.1, 0.3), (1e-300, 0.999999)])
def test_a_logarithmic_range_stays_within_its_bounds(low: float, high: float) -> None:
    axis = Range(low, high, None, True, False)
    rng = random.Random(0)
    for _ in range(200):
        drawn = axis.draw(rng)
        assert low <= drawn <= high
        assert all(low <= moved <= high for moved in axis.moves(drawn))
    assert low <= axis.start(None) <= high


def test_a_space_of_many_stages_is_counted_at_once_and_too_large_to_go_through() -> None:
    n = 20
    axes: dict[str, Any] = {f"layout[{i}]": [RESIDUAL, "conv3-bn", "dw3 +"] for i in range(n)}
    axes |= {f"merge[{i}]": ["add", "cat", "gate", "weighted"] for i in range(n)}
    axes |= {"gate_bias": [-6, 0], "head": ["mean", "conv1-mean"], "head_width": [1, 2, 3]}
    widths = {"widths": [8] * n, "depths": [1] * n}
    space = Space.from_dict({"axes": axes, "base": widths})
    heads = 1 + 3  # the width of a head matters where it has a convolution
    # Each stage: two layouts with one of four merges, or a plain one; the bias matters to gates.
    without_gates = (2 * 3 + 1) ** n
    assert space.size == heads * (without_gates + 2 * ((2 * 4 + 1) ** n - without_gates))
    assert space.listing() is None
    with pytest.raises(SpaceError, match="cannot be enumerated"):
        next(space.enumerate())


def test_a_listing_goes_through_all_points_once() -> None:
    base = {"layout": RESIDUAL, "widths": [4], "depths": [1], "stem_width": 2}
    axes = {"shortcut": ["pad", "proj", "omit"], "recipe.peak_lr": [0.1, 0.2]}
    space = Space.from_dict({"axes": axes, "base": base, "constraints": ["params >= 200"]})
    listing = space.listing()
    assert listing is not None
    assert listing.networks == len(list(space.enumerate()))
    assert listing.trainings == len(list(space.candidates()))
    assert listing.unused == space.unused()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": [1] * 31, "widths": [4] * 31}, "depths has 31 stages, more than 30"),
        ({"depths": [2001], "widths": [4]}, "depths has 2,001 blocks, more than 2,000"),
        ({"depths": [10**9999]}, "depths[0]: <a whole number of"),
        ({"depths": [[1]]}, "depths[0]: [1] is not a whole number"),
        ({"depths": "x" * 9999}, "depths: 'xxx"),
        ({"drop_path": float("nan")}, "drop_path: nan is not a number"),
        ({"links": [10**9999]}, "links[0]: <a whole number of"),
        ({"links": [f"0>{i}" for i in range(1, 9999)]}, "has an end that is not there"),
        ({"head": None}, "head: None is not a text"),
        ({"stem": {"a": 1}}, "stem: {'a': 1} is not a text"),
        ({"merge": ["add", None, "add"]}, "merge[1]: None is not one of"),
        ({"shortcut": b"pad"}, "shortcut: b'pad' is not one of"),
        ({"layout": 10**9999}, "not <a whole number of"),
        ({10**9999: 1}, "unknown key of a design: <a whole number of"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_wrong_value_of_a_design_is_one_short_line(fields: Any, message: str) -> None:
    with pytest.raises((DesignError, LayoutError)) as caught:
        Design.from_dict({"layout": RESIDUAL, **fields})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


WRONG = (None, [[1]], {"a": [1]}, True, "x" * 9999, 10**9999, float("nan"), -1e308, b"x", 1j)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("key", ["epochs", "peak_lr", "schedule", "batch_size", "momentum"])
def test_a_wrong_value_of_a_recipe_is_one_short_line(key: str, value: Any) -> None:
    with pytest.raises(SkipSearchError) as caught:
        Recipe.from_dict({key: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("sign", ["\0", "\ud800", "\x85", "\u2028", "\x1b"])
def test_a_name_that_no_yaml_keeps_is_refused(sign: str) -> None:
    values = {"name": f"a{sign}b", "axes": {"shortcut": ["pad"]}, "base": {"layout": RESIDUAL}}
    with pytest.raises(SpaceError, match="which no YAML keeps"):
        Space.from_dict(values)


def test_json_that_is_too_much_is_refused() -> None:
    for text in ("[" * 100_000, '{"layout": ' + "9" * 5_000 + "}"):
        with pytest.raises(DesignError):
            Design.from_json(text)


def test_a_stage_of_many_blocks_has_two_kinds_of_them() -> None:
    stage = Design(layout=RESIDUAL, depths=(1000,), widths=(8,), stem_width=4).plan().stages[0]
    assert len(stage.blocks) == 1000
    assert len({id(block) for block in stage.blocks}) == 2
    assert Layout.parse(RESIDUAL).skip
