"""The notation: tables of equal patterns, of valid beside invalid ones, and the round trip."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import RELAXED, layouts, spellings

from skipsearch.errors import LayoutError, SkipSearchError
from skipsearch.layout import PLAIN_TOKENS, Layout

EQUAL = [
    (
        "conv3-bn-relu-conv3-bn + relu",
        "conv3-bn-relu-conv3-bn+relu",
        "  conv3 - bn -relu-  conv3-bn  +relu ",
        "conv3-bn-relu-conv3-bn\n  + relu",
    ),
    ("conv3-relu +", "conv3-relu+", " conv3 - relu  + "),
    ("conv3-relu", " conv3-relu ", "conv3 - relu"),
    ("dw7-ln-conv1-gelu-conv1-scale +", "dw7-ln-conv1-gelu-conv1-scale\t+\t"),
]


@pytest.mark.parametrize("texts", EQUAL, ids=lambda texts: texts[0])
def test_texts_that_differ_in_blanks_are_equal_and_print_as_the_first(
    texts: tuple[str, ...],
) -> None:
    for text in texts:
        assert Layout.parse(text) == Layout.parse(texts[0])
        assert hash(Layout.parse(text)) == hash(Layout.parse(texts[0]))
        assert str(Layout.parse(text)) == texts[0]


def test_layouts_that_differ_in_anything_else_are_not_equal() -> None:
    texts = ["conv3-bn + relu", "conv3-bn-relu +", "conv3-bn-relu", "conv3-relu-bn", "conv3-relu +"]
    assert len({Layout.parse(text) for text in texts}) == len(texts)


# Text, branch, after, skip: the designs of the literature.
BN_RELU = ("bn", "relu")
TABLE = [
    ("conv3-bn-relu-conv3-bn + relu", ("conv3", *BN_RELU, "conv3", "bn"), ("relu",), True),
    ("conv3-bn-relu-conv3 + bn-relu", ("conv3", *BN_RELU, "conv3"), BN_RELU, True),
    ("conv3-bn-relu-conv3-bn-relu +", ("conv3", *BN_RELU, "conv3", *BN_RELU), (), True),
    ("relu-conv3-bn-relu-conv3-bn +", ("relu", "conv3", *BN_RELU, "conv3", "bn"), (), True),
    ("bn-relu-conv3-bn-relu-conv3 +", (*BN_RELU, "conv3", *BN_RELU, "conv3"), (), True),
    ("conv3-bn-relu-conv3-bn-relu", ("conv3", *BN_RELU, "conv3", *BN_RELU), (), False),
    (
        "conv1-bn-relu-conv3-bn-relu-conv1-bn + relu",
        ("conv1", *BN_RELU, "conv3", *BN_RELU, "conv1", "bn"),
        ("relu",),
        True,
    ),
    (
        "bn-relu-conv1-bn-relu-conv3-bn-relu-conv1 +",
        (*BN_RELU, "conv1", *BN_RELU, "conv3", *BN_RELU, "conv1"),
        (),
        True,
    ),
    (
        "bn-relu-conv3-bn-relu-dropout-conv3 +",
        (*BN_RELU, "conv3", *BN_RELU, "dropout", "conv3"),
        (),
        True,
    ),
    ("bn-relu-conv1-bn-relu-conv3 +", (*BN_RELU, "conv1", *BN_RELU, "conv3"), (), True),
    ("conv3-relu +", ("conv3", "relu"), (), True),
    ("relu-conv3-relu-conv3-scale +", ("relu", "conv3", "relu", "conv3", "scale"), (), True),
    ("conv3-bn-relu-conv3-bn0 + relu", ("conv3", *BN_RELU, "conv3", "bn0"), ("relu",), True),
    ("conv3-bn-relu-conv3-bn-se + relu", ("conv3", *BN_RELU, "conv3", "bn", "se"), ("relu",), True),
    ("bn-conv3-bn-relu-conv3-bn +", ("bn", "conv3", *BN_RELU, "conv3", "bn"), (), True),
    (
        "conv1-bn-relu6-dw3-bn-relu6-conv1-bn +",
        ("conv1", "bn", "relu6", "dw3", "bn", "relu6", "conv1", "bn"),
        (),
        True,
    ),
    (
        "dw7-ln-conv1-gelu-conv1-scale +",
        ("dw7", "ln", "conv1", "gelu", "conv1", "scale"),
        (),
        True,
    ),
]


@pytest.mark.parametrize(("text", "branch", "after", "skip"), TABLE, ids=[row[0] for row in TABLE])
def test_every_row_of_the_notations_table(
    text: str, branch: tuple[str, ...], after: tuple[str, ...], skip: bool
) -> None:
    layout = Layout.parse(text)
    assert (layout.branch, layout.after, layout.skip) == (branch, after, skip)
    assert str(layout) == text


INVALID = [
    ("conv3-bnn-relu +", "unknown operation 'bnn' in 'conv3-bnn-relu +' (did you mean 'bn'?)"),
    ("conv3-bn + rellu", "unknown operation 'rellu' in 'conv3-bn + rellu' (did you mean 'relu'?)"),
    ("conv-bn", "unknown operation 'conv' in 'conv-bn' (did you mean 'conv"),
    ("conv3 bn", "unknown operation 'conv3 bn' in 'conv3 bn' (did you mean 'conv3'?)"),
    ("conv3-zzzzzz", "unknown operation 'zzzzzz' in 'conv3-zzzzzz'; known: conv1, conv3, conv5"),
    ("CONV3", "unknown operation 'CONV3' in 'CONV3' (did you mean 'conv3'?)"),
    ("conv3-pool +", "unknown operation 'pool' in 'conv3-pool +'"),  # a word of stems alone
    ("conv3 + relu + bn", "'+' occurs more than once in 'conv3 + relu + bn'"),
    ("conv3++", "'+' occurs more than once in 'conv3++'"),
    ("", "no branch in ''"),
    ("  \n", "no branch in"),
    ("+", "no branch in '+'"),
    (" + relu", "no branch in ' + relu'"),
    ("bn-relu +", "no convolution in the branch of 'bn-relu +' (conv3 or dw3, for example)"),
    ("relu + conv3", "no convolution in the branch of 'relu + conv3'"),
    ("relu", "no convolution in the branch of 'relu'"),
    ("conv4 +", "'conv4' in 'conv4 +': the kernel of conv is an odd number from 1 to 31"),
    ("conv3-dw2", "'dw2' in 'conv3-dw2': the kernel of dw is an odd number from 1 to 31"),
    ("conv33", "'conv33' in 'conv33': the kernel of conv is an odd number from 1 to 31"),
    ("conv3--bn +", "an operation is missing in 'conv3--bn +' (two '-' in a row, or one at an end"),
    ("-conv3", "an operation is missing in '-conv3'"),
    ("conv3- +", "an operation is missing in 'conv3- +'"),
    ("conv3 + -relu", "an operation is missing in 'conv3 + -relu'"),
    ("conv3 + relu-", "an operation is missing in 'conv3 + relu-'"),
]


@pytest.mark.parametrize(("text", "message"), INVALID, ids=[repr(row[0]) for row in INVALID])
def test_invalid_texts_are_refused_with_their_own_words(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)):
        Layout.parse(text)


@pytest.mark.parametrize("text", ["conv0", "conv2", "conv32", "conv99999", "conv" + "9" * 5000])
def test_a_kernel_that_is_no_odd_number_to_31_is_a_layout_error(text: str) -> None:
    with pytest.raises(LayoutError):
        Layout.parse(text)


# '\uff13' is a digit 3 too, for a careless pattern.
@pytest.mark.parametrize("text", ["conv03-bn +", "conv3-dw007 +", "conv\uff13 +"])
def test_a_kernel_has_one_spelling(text: str) -> None:
    with pytest.raises(LayoutError):
        Layout.parse(text)


@pytest.mark.parametrize("value", [None, 3, ["conv3"], b"conv3", True], ids=repr)
def test_what_is_no_text_is_refused_with_its_value(value: object) -> None:
    with pytest.raises(LayoutError, match=re.escape(f"not {value!r}")):
        Layout.parse(value)


def test_a_plain_layout_has_nothing_after_a_join() -> None:
    with pytest.raises(LayoutError, match="a plain layout has no join"):
        Layout(("conv3",), ("relu",), skip=False)


def test_a_layout_made_of_parts_is_checked_as_a_text_is() -> None:
    with pytest.raises(LayoutError, match="unknown operation 'bnn' in 'conv3-bnn'"):
        Layout(("conv3", "bnn"), skip=False)


def test_a_layout_error_is_a_value_error_of_this_package() -> None:
    assert issubclass(LayoutError, SkipSearchError)
    assert issubclass(SkipSearchError, ValueError)


def test_a_layout_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Layout.parse("conv3").skip = True


@RELAXED
@given(layouts())
def test_a_layout_is_read_back_from_its_text(layout: Layout) -> None:
    assert Layout.parse(str(layout)) == layout


@RELAXED
@given(layouts().flatmap(lambda layout: st.tuples(st.just(layout), spellings(layout))))
def test_blanks_do_not_matter(drawn: tuple[Layout, str]) -> None:
    layout, text = drawn
    assert Layout.parse(text) == layout


@RELAXED
@given(st.text(alphabet="convdwbnrelu013+- ", max_size=24))
def test_any_text_is_a_layout_or_a_layout_error(text: str) -> None:
    try:
        layout = Layout.parse(text)
    except LayoutError:
        return
    # What is accepted is made of the text's own words, and only blanks were lost.
    assert str(layout).replace(" ", "") == text.replace(" ", "")


@RELAXED
@given(layouts())
def test_the_opening_ends_where_the_first_convolution_stands(layout: Layout) -> None:
    opening = layout.opening
    assert all(token in PLAIN_TOKENS for token in opening)
    assert layout.branch[: len(opening)] == opening
    assert layout.branch[len(opening)].startswith(("conv", "dw"))


def test_without_takes_an_operation_out_on_both_sides_of_the_join() -> None:
    layout = Layout.parse("dropout-conv3-dropout-bn + dropout-relu")
    assert layout.without("dropout") == Layout.parse("conv3-bn + relu")
    assert layout.without("se") == layout
