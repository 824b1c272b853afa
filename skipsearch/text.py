"""YAML in and out, and atomic writing: the one file that knows PyYAML."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from skipsearch.errors import SkipSearchError


class _Loader(yaml.SafeLoader):
    """The safe loader, with the floats of YAML 1.2 (``2e6``) and repeated keys refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                continue  # The base class refuses an unhashable key with its place.
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """The safe dumper; lists of plain values stand on one line."""

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        plain = all(isinstance(item, int | float | bool) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML follows YAML 1.1, where 2e6 and 1e-4 are texts. The dumper knows them too, so that it
# quotes a text which looks like one (a design's id such as 12e4567890).
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def parse_yaml(text: str, where: str, error: type[SkipSearchError]) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Args:
        text: The YAML text.
        where: What to call it in a message, such as the file's path.
        error: The class of error to raise.

    Raises:
        error: If the text is not YAML or not a mapping with texts as keys.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else "?"
        raise error(f"{where}: line {line}: not YAML: {problem.problem}") from None
    except yaml.YAMLError as problem:
        raise error(f"{where}: not YAML: {' '.join(str(problem).split())}") from None
    except ValueError as problem:  # such as the date 2024-99-99
        raise error(f"{where}: not YAML: {problem}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise error(f"{where}: a mapping of 'key: value' lines is expected")
    return value


def read_text(path: str | Path, error: type[SkipSearchError]) -> str:
    """Read a UTF-8 file.

    Raises:
        error: If the file is missing, a folder, or not text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path}: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not a text file") from None


def dump_yaml(value: dict[str, Any]) -> str:
    """Write a mapping of plain values as YAML, keys in the order given."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old or the new one, never a part."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(path)
