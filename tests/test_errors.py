"""What messages show of values, and of errors of others."""

from typing import Any

import pytest

from skipsearch.errors import not_one_of, reason, shown_value

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


class TwoLines:
    def __repr__(self) -> str:
        return "two\nlines"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("pad", "'pad'"),
        ([1, 2.5, None, True], "[1, 2.5, None, True]"),
        ("a\nb\0", r"'a\nb\x00'"),
        (10**30, "1" + "0" * 30),
        (10**9999, "<a whole number of 33,216 bits>"),
        (TwoLines(), "two lines"),
        (ENDLESS, "[[[[...]]]]"),
    ],
    ids=["text", "list", "signs", "number", "huge", "two-lines", "endless"],
)
def test_a_value_is_shown_on_one_line(value: object, shown: str) -> None:
    assert shown_value(value) == shown


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, b"x" * 10_000, list(range(10_000)), [["x" * 99] * 99] * 99, 10**4000],
    ids=["text", "bytes", "list", "lists", "number"],
)
@pytest.mark.parametrize("limit", [20, 80, 200])
def test_a_long_value_is_cut(value: object, limit: int) -> None:
    shown = shown_value(value, limit)
    assert len(shown) <= limit
    assert "..." in shown


def test_a_refused_word_is_cut_and_the_nearest_is_named() -> None:
    assert not_one_of("projj", ("pad", "proj")).endswith("(did you mean 'proj'?)")
    assert len(not_one_of("p" * 10_000, ("pad", "proj"))) < 120
    assert len(not_one_of(10**9999, ("pad", "proj"))) < 120


def test_the_nearest_word_is_found_in_other_letters_and_before_a_long_list() -> None:
    assert not_one_of("nchw", ("NHWC", "NCHW")).endswith("(did you mean 'NCHW'?)")
    assert not_one_of("PSNR", ("r2", "psnr")).endswith("(did you mean 'psnr'?)")
    words = [f"{part}_{what}" for part in ("train", "test", "val") for what in "abcdef"]
    expected = "'test_A' is not one of train_a, train_b, train_c, ... (did you mean 'test_a'?)"
    assert not_one_of("test_A", words) == expected
    assert not_one_of("x", words) == f"'x' is not one of {', '.join(words)}"


def test_the_reason_of_an_error_is_one_line() -> None:
    assert reason(KeyError("a\nb")) == "KeyError: 'a\\nb'"
    assert len(reason(ValueError("long " * 1000))) <= 160
