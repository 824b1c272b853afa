"""The pages that people read: links lead to files, and commands are accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from skipsearch.classics import CLASSICS
from skipsearch.cli.parser import make_parser
from skipsearch.design import Design
from skipsearch.layout import PLAIN_TOKENS
from skipsearch.ready import ready_names
from skipsearch.space import Space

ROOT = Path(__file__).parents[1]
HIDDEN = (".venv", ".git")
PAGES = [
    page
    for page in sorted(ROOT.rglob("README.md"))
    if not {*page.relative_to(ROOT).parts} & {*HIDDEN, "node_modules", "runs"}
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def commands(page: Path) -> list[str]:
    """The arguments of each skipsearch in a block of shell."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    text = re.sub(r"\\\n\s*", "", "\n".join(blocks))
    return re.findall(r"^(?:\$ )?(?:\.venv/bin/)?skipsearch +(.+)$", text, re.MULTILINE)


COMMANDS = [
    (name, command) for name, page in zip(NAMES, PAGES, strict=True) for command in commands(page)
]


def test_pages_and_commands_are_found() -> None:
    # Should the search for them ever go blind, the tests below would pass on nothing.
    assert {"README.md", "skipsearch/README.md", "search_spaces/README.md"} <= {*NAMES}
    assert {"search", "rank", "effects", "confirm", "report", "export", "predict", "show"} <= {
        command.split()[0] for _, command in COMMANDS
    }


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_is_one_that_skipsearch_accepts(page: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    try:
        options = make_parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"{page}: skipsearch refuses: {command}")
    if words[0] == "search":
        name = Path(options.space).stem
        assert name in ready_names() or options.space.startswith("mine"), page


@pytest.mark.parametrize("page", NAMES)
def test_every_link_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", NAMES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for name in re.findall(r"(?:python|bash|pytest) ((?:scripts|tests)/\S+?\.(?:py|sh))", text):
        assert (ROOT / name).exists(), name


def test_the_unet_of_the_page_is_that_of_the_paper_with_three_fields_more() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    (block,) = re.findall(r"^```yaml\n(layout:.*?)^```", text, re.MULTILINE | re.DOTALL)
    design = Design.from_yaml(block).replace(stem="none", down="maxpool", link_merge="cat")
    assert design.id == CLASSICS["unet-2015"].design.id


def test_every_operation_that_is_named_is_one() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    (listed,) = re.findall(r"^Operations are (.*?\.)$", text, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+)`", listed))
    assert named == set(PLAIN_TOKENS)


def test_the_first_page_is_short() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= 160


def test_the_ready_names_are_listed_with_their_sizes() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.MULTILINE))
    assert listed == {name: f"{Space.load(name).size:,}" for name in ready_names()}


def test_the_decoders_of_the_literature_are_listed() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    maps = {name for name, entry in CLASSICS.items() if "map" in entry.design.head}
    assert {
        name for name in maps if f"`{name}`" not in text and f"show {name}`" not in text
    } == set()
