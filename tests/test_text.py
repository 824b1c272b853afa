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
from skipsearch.text import dump_yaml, new_folder, parse_yaml, read_text, write_atomically


def parse(text: str) -> dict[str, Any]:
    return parse_yaml(text, "here.yaml", SpaceError)


# Each line nine times the one before: "billion laughs".
LAUGHS = "l0: &l0 [x, x]\n" + "".join(
    f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


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
        ("x: 1\na: !!python/name:os.system", "here.yaml: line 2: not YAML: the tag !!python/name"),
        ("a: !!bool maybe", "here.yaml: line 1: not YAML: the tag !!bool"),
        ("a: 1\nb: !!int ''", "here.yaml: line 2: not YAML: the tag !!int"),
        ("a: !!float x", "here.yaml: line 1: not YAML: the tag !!float"),
        ("a: !!timestamp x", "here.yaml: line 1: not YAML: the tag !!timestamp"),
        ("a: !!omap", "here.yaml: line 1: not YAML: the tag !!omap"),
        ("a: !!binary x", "here.yaml: line 1: not YAML: the tag !!binary"),
        ("a: !!set {b}", "here.yaml: line 1: not YAML: the tag !!set"),
        ("!!map {a: 1}", "here.yaml: line 1: not YAML: the tag !!map"),
        ("a: ! 1", "here.yaml: line 1: not YAML: the tag !:"),
        ("a: &a {x: 1}\nb:\n  <<: *a", "here.yaml: line 3: not YAML: the merge key <<"),
        ("a: " + "[" * 3000, "here.yaml: line 1: not YAML: more than 20 lists or mappings"),
        ("- " * 3000, "here.yaml: line 1: not YAML: more than 20 lists or mappings"),
        ("".join(f"{' ' * i}a:\n" for i in range(99)), "here.yaml: line 20: not YAML: more than"),
        (LAUGHS, "here.yaml: line 5: not YAML: more than 20,000 values"),
        ("a: [" + "x, " * 20_000 + "]", "here.yaml: line 1: not YAML: more than 20,000 values"),
        ("a: 1\nb: &b [*b]", "here.yaml: line 2: not YAML: the alias *b stands in its own value"),
        ("a: &a {b: *a}", "here.yaml: line 1: not YAML: the alias *a stands in its own value"),
        ("a: &a 1\nb: &a 1", "here.yaml: line 2: not YAML: found duplicate anchor 'a'"),
        ("a: 1\n--- {b: 1}", "here.yaml: line 2: not YAML: expected a single document"),
        ("a: *" + "x" * 5000, "here.yaml: line 1: not YAML: found undefined alias"),
        ("a: 1\nb: 0x_", "here.yaml: line 2: not YAML: '0x_' is not a number"),
        ("a: 1" + ":59" * 400 + ".5", "here.yaml: line 1: not YAML: '1:59"),
        ("a: 1\nb: \0", "here.yaml: line 2: not YAML: the character U+0000 is not allowed"),
        ("a: 1\n\tb: 2", "here.yaml: line 2: not YAML: found character '\\t'"),
        ('a: "\\ud800"', "here.yaml: line 1: not YAML: '\\ud800' holds half of a surrogate pair"),
        ('a: 1\nb: "\\Uffffffff"', "here.yaml: line 2: not YAML: "),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "here.yaml: line 1: not YAML: "),
        ("[1]: 2", "here.yaml: line 1: not YAML: found unhashable key"),
        ("a: \x01", "here.yaml: line 1: not YAML: the character U+0001 is not allowed"),
        ("a: " + "1" * 5000, "here.yaml: line 1: not YAML: '111"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match="^" + re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_an_alias_stands_for_a_list_written_once() -> None:
    assert parse("a: &w [1, 2]\nb: *w") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("text", ["2024-01-01", "2024-99-99", "2024-01-01T00:00:00Z", "=", "<<"])
def test_dates_and_signs_of_yaml_1_1_are_texts(text: str) -> None:
    assert parse(f"a: {text}") == {"a": text}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse("\ufeffa: 1") == {"a": 1}


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
    with pytest.raises(SpaceError, match=r"picture: not a text file in UTF-8$"):
        read_text(tmp_path / "picture", SpaceError)
    (tmp_path / "large").write_bytes(b"#" * 10_000_001)
    with pytest.raises(SpaceError, match=r"large: more than 10,000,000 bytes$"):
        read_text(tmp_path / "large", SpaceError)
    with pytest.raises(SpaceError, match=r"^'a\\x00b': "):
        read_text("a\0b", SpaceError)


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


def test_folders_of_what_could_not_be_written_are_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine/a/b/" + "x" * 300, "a/" + "x" * 300 + "/b", "y" * 300, "mine/" + "z" * 300):
        path = tmp_path / name
        with pytest.raises(OSError, match="too long"), new_folder(path.parent):
            path.touch()
        assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]
    with new_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()
