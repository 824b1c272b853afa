"""YAML input and output, and atomic writes: the only file that uses PyYAML."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from skipsearch.errors import SkipSearchError, one_line, shown_value

DEEPEST = 20  # nesting depth of lists and mappings; a space has five
MOST_VALUES = 20_000  # in one text, including keys
LARGEST_FILE = 10_000_000  # bytes
_PLAIN = ("null", "bool", "int", "float")


class _Loader(yaml.SafeLoader):
    """Plain YAML: strings, numbers, booleans, null, lists and mappings, nothing else.

    Floats are those of YAML 1.2 (``2e6``), and dates are strings. Repeated keys, explicit tags,
    merge keys, deep nesting, and aliases that contain themselves or multiply are rejected with
    their line: PyYAML would raise arbitrary errors, or build something that is not a tree.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0  # number so far; the values of an alias count again
        self._held: dict[yaml.Node, int] = {}  # number of values in a node, including itself

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node is None or node not in self._held:
                raise _refused(
                    event.start_mark, f"the alias *{event.anchor} stands in its own value"
                )
            self._values += self._held[node]
        else:
            if event.tag is not None:
                tag = event.tag.replace("tag:yaml.org,2002:", "!!")
                raise _refused(event.start_mark, f"the tag {tag}: write the value without it")
            if self._depth == DEEPEST:
                raise _refused(
                    event.start_mark, f"more than {DEEPEST} lists or mappings in one another"
                )
            self._depth += 1
            node = super().compose_node(parent, index)
            assert node is not None
            self._depth -= 1
            self._values += 1
            self._held[node] = self._values - before
        if self._values > MOST_VALUES:
            raise _refused(event.start_mark, f"more than {MOST_VALUES:,} values")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError):  # 5,000 digits, "0x_" or 1:1: ... :1.5
            raise _refused(
                node.start_mark, f"{shown_value(node.value)} is not a number to be read"
            ) from None

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if any("\ud800" <= sign <= "\udfff" for sign in value):
            raise _refused(node.start_mark, f"{shown_value(value)} holds half of a surrogate pair")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                continue  # The base class rejects an unhashable key with its location.
            if key == "<<":
                raise _refused(
                    key_node.start_mark, "the merge key <<: write the keys that it stands for"
                )
            if key in seen:
                raise _refused(key_node.start_mark, f"key {shown_value(key)} twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read(text: str) -> Any:
    """Read the single document of a text.

    Raises:
        MarkedYAMLError: If it cannot be read; the error has the location.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, problem.position)
        mark = yaml.Mark("", problem.position, line, 0, None, 0)
        sign = f"the character U+{problem.character:04X} is not allowed"
        raise _refused(mark, sign) from None
    try:
        return loader.get_single_data()
    except (ValueError, ArithmeticError) as problem:  # "\Uffffffff", or a version of 5,000 digits
        raise _refused(loader.get_mark(), str(problem)) from None


def _refused(mark: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, with lists of numbers and booleans on one line."""

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        plain = all(isinstance(item, int | float | bool) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)

    def ignore_aliases(self, data: Any) -> bool:
        return True


# Merge keys and dates are excluded; ``=`` is a string as well.
_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _PLAIN]
    for sign, resolvers in _Loader.yaml_implicit_resolvers.items()
}
# PyYAML follows YAML 1.1, where 2e6 and 1e-4 are strings. The dumper has the resolver too, so that
# it quotes a string that looks like such a number (a design's id such as 12e4567890).
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def parse_yaml(text: str, where: str, error: type[SkipSearchError]) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Args:
        text: YAML text.
        where: Name of the text in messages, such as the file's path.
        error: Class of the error to raise.

    Raises:
        error: If the text is not YAML or not a mapping with strings as keys.
    """
    try:
        value = _read(text)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else "?"
        what = problem.problem or "not to be read"
        if problem.context and not problem.context.startswith("while"):
            what = f"{problem.context}, {what}"
        raise error(f"{where}: line {line}: not YAML: {one_line(what)}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise error(f"{where}: a mapping of 'key: value' lines is expected")
    return value


def read_text(path: str | Path, error: type[SkipSearchError]) -> str:
    """Read a UTF-8 file.

    Raises:
        error: If the file is missing, a folder, too large, or not text.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise error(f"{path}: more than {LARGEST_FILE:,} bytes")
        text = content.decode("utf-8")
    except OSError as problem:
        raise error(f"{path}: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not a text file in UTF-8") from None
    except ValueError as problem:  # a NUL in the path
        raise error(f"{shown_value(str(path))}: {problem}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create a folder, if it is missing, for the files that the ``with`` statement writes.

    If this fails, the new folders are removed again, if empty.

    Raises:
        OSError: If the folder cannot be created, or if the body raises it.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError:
        for each in missing:
            with contextlib.suppress(OSError):  # not created, or not empty
                each.rmdir()
        raise


def dump_yaml(value: dict[str, Any]) -> str:
    """Return a mapping of plain values as YAML, with keys in the given order."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file atomically: after a crash it is the old or the new one, never a part."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(path)
