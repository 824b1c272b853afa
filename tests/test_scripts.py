"""The scripts name what is there."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything that is imported from the package."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("skipsearch"):
                yield from ((module, alias.name) for alias in node.names)
            case ast.Attribute(value=ast.Name(id="ss"), attr=name):
                yield "skipsearch", name


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.name)
def test_what_a_script_imports_is_there(script: Path) -> None:
    for module, name in imported(script.read_text()):
        found = import_module(module)
        is_package = hasattr(found, "__path__")
        there = hasattr(found, name) or (is_package and find_spec(f"{module}.{name}"))
        assert there, f"{module} has no {name}"
