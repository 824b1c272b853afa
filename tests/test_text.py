"""YAML in and out, and atomic writing."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import RELAXED

from skipsearch.errors import DesignError, SpaceError
from skipsearch.text import dump_yaml, parse_yaml, read_text, write_atomically


def parse(text: str) -> dict[str, Any]:
    return parse_yaml(text, "here.yaml", SpaceError)


# YAML 1.2.2, section 10.3.2: [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e6", 2_000_000.0),
        ("1e-4", 0.0001),
        ("1E-4", 0.0001),
        ("-2e+6", -2_000_000.0),
        ("+1.5e3", 1500.0),
        ("1.e2", 100.0),
        (".5e3", 500.0),
        ("5e-4", 5e-4),
        ("1.5", 1.5),
    ],
)
def test_floats_are_those_of_yaml_1_2(text: str, value: float) -> None:
    parsed = parse(f"a: {text}\nb: [{text}]")
    assert parsed == {"a": value, "b": [value]}
    assert type(parsed["a"]) is float


@pytest.mark.parametrize(
    "text", ["e6", "2e", "2e6x", "3e51ab9c01", "1e5-2", "v1e5", "1e5 x", "'2e6'", '"1e-4"', "1.e"]
)
def test_what_only_looks_like_a_float_is_a_text(text: str) -> None:
    assert parse(f"a: {text}") == {"a": text.strip("'\"")}


@pytest.mark.parametrize(("text", "value"), [("20", 20), ("true", True), ("null", None)])
def test_other_plain_values(text: str, value: object) -> None:
    assert parse(f"a: {text}") == {"a": value}
    assert type(parse(f"a: {text}")["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", 3),
        ("a: 1\n\n# a remark\na: 1", 4),
        ("axes:\n  layout: [x]\n  merge: [add]\n  layout: [y]\n", 4),
        ("a: {b: 1, b: 2}", 1),
        ("- a: 1\n  a: 2", 2),
    ],
)
def test_a_repeated_key_is_refused_with_its_own_line(text: str, line: int) -> None:
    with pytest.raises(SpaceError, match=rf"^here\.yaml: line {line}: not YAML: key '\w+' twice$"):
        parse(text)


def test_one_key_may_stand_in_two_mappings() -> None:
    assert parse("a: {x: 1}\nb: {x: 2}") == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize("text", ["", "# nothing", "- 1\n- 2", "a", "3", "null", "1: a", "true: a"])
def test_anything_but_a_mapping_with_texts_as_keys_is_refused(text: str) -> None:
    with pytest.raises(SpaceError, match=r"^here\.yaml: a mapping of 'key: value' lines is expect"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1", "here.yaml: line 2: not YAML: "),
        ("a: 1\n b: 2", "here.yaml: line 2: not YAML: "),
        ("a: b: c", "here.yaml: line 1: not YAML: "),
        ("a: *nothing", "here.yaml: line 1: not YAML: found undefined alias"),
        ("x: 1\na: !!python/name:os.system", "here.yaml: line 2: not YAML: could not determine"),
        ("[1]: 2", "here.yaml: line 1: not YAML: found unhashable key"),
        ("a: \x01", "here.yaml: not YAML: unacceptable character"),
        ("a: 2024-99-99", "here.yaml: "),
        ("a: " + "1" * 5000, "here.yaml: "),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match="^" + re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_the_error_is_of_the_class_asked_for() -> None:
    with pytest.raises(DesignError):
        parse_yaml("- 1", "w", DesignError)


# PyYAML reads back neither control characters nor Unicode's line breaks as they were.
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),
    words,
    st.text(alphabet="0123456789abcdef", min_size=10, max_size=10),
    st.text(alphabet="0123456789e.+-", max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=8,
)


@RELAXED
@given(st.dictionaries(words, values, max_size=5))
@example({"id": "12e4567890"})  # ten hexadecimal digits that read as a float
@example({"id": "1234567890", "12e3": "1e-4", "e": ".5e3"})
@example({"float": 2e6, "small": 1e-4, "smallest": 5e-324, "huge": 1e300})
@example({"a": float("inf"), "b": -0.0})
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert parse(dump_yaml(value)) == value


@RELAXED
@given(st.text(alphabet="0123456789abcdef", min_size=10, max_size=10))
@example("3e51ab9c01")
@example("12e4567890")
def test_an_id_may_stand_with_and_without_quotation_marks(text: str) -> None:
    assert set(parse(f"id: {text}")) == {"id"}
    assert parse(f"id: '{text}'") == {"id": text}


def test_keys_keep_their_order_and_lists_of_numbers_stand_on_one_line() -> None:
    text = dump_yaml({"z": [1, 2], "a": ["x", "y"], "u": "\u00e4", "b": [0.5, 1e-4, True]})
    assert text == "z: [1, 2]\na:\n- x\n- y\nu: \u00e4\nb: [0.5, 0.0001, true]\n"


def test_equal_lists_are_written_twice_and_not_as_an_alias() -> None:
    shared = ["x"]
    assert dump_yaml({"a": shared, "b": shared}) == "a:\n- x\nb:\n- x\n"


@RELAXED
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_other_readers_find_our_floats(value: float) -> None:
    # PyYAML writes 1e-05 as 1.0e-05: a float for readers of YAML 1.1 as well.
    assert yaml.safe_load(dump_yaml({"a": value})) == {"a": value}


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("a: \u00e4".encode())
    assert read_text(path, SpaceError) == read_text(str(path), SpaceError) == "a: \u00e4"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"nowhere\.yaml: No such file or directory$"):
        read_text(tmp_path / "nowhere.yaml", SpaceError)
    with pytest.raises(DesignError, match=r"Is a directory$"):
        read_text(tmp_path, DesignError)
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(SpaceError, match=r"picture: not a text file$"):
        read_text(tmp_path / "picture", SpaceError)


@pytest.mark.parametrize("content", ["a: \u00e4\n", b"\x00\xff"])
def test_writing_leaves_the_content_and_nothing_else(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "run.yaml"
    for _ in range(2):
        write_atomically(path, content)
    expected = content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["run.yaml"]


def test_who_reads_while_another_writes_sees_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    write_atomically(path, "old" * 100_000)  # more than a reader's buffer holds
    with path.open() as reader:
        assert reader.read(3) == "old"
        write_atomically(str(path), "new")
        assert reader.read() == "old" * 99_999
    assert path.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")  # half of a surrogate pair is no UTF-8
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.yaml"]
