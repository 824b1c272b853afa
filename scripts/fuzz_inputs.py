"""Pass mutants of valid inputs to skipsearch, and count the outcomes.

    python scripts/fuzz_inputs.py [--what yaml|values|layouts] [--cases N] [--seed S]

A mutant may be accepted, or rejected by a SkipSearchError with a short, one-line message. Anything
else is a fault: another exception, a long message, or a case that takes too long or needs too much
memory. If there was a fault, the exit code is 1 and examples follow the table. A case depends only
on the seed and its number, so ``--only NUMBER`` repeats it and prints its input.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from skipsearch.classics import CLASSICS
from skipsearch.cli import main as command_line
from skipsearch.design import Design
from skipsearch.errors import SkipSearchError, shown_value
from skipsearch.fields import FIELDS
from skipsearch.layout import PLAIN_TOKENS, Layout
from skipsearch.merges import MERGES
from skipsearch.planning import SHORTCUTS
from skipsearch.recipe import Recipe
from skipsearch.space import Space

READY = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
SLOW = 2.0  # seconds of processor time above which a case counts as slow
LONGEST_MESSAGE = 1_000  # characters
EXAMPLES = 3  # printed examples of each kind of fault


class Hang(BaseException):
    """Raised if a case exceeds its deadline; no handler of ``Exception`` catches it."""


@dataclass(frozen=True)
class Case:
    """One input and the action on it.

    Attributes:
        action: Name of the action in the table, such as ``Space.load``.
        text: Input, for the report.
        run: Function that runs the action; it returns None, or the kind of a fault without an
            exception.
    """

    action: str
    text: str
    run: Callable[[], str | None]


Draw = Callable[[random.Random, Path], Iterator[Case]]

# --- YAML -----------------------------------------------------------------------------------------

SCALARS = (
    *("", "~", "null", "true", "no", "y", "0", "-1", "1.5", ".nan", ".inf", "-.inf", "1e400"),
    *("1e-320", "1e999999999", "-1e308", "1e308", "0x10", "0o7", "1_000", "12:30:45", "'1'"),
    *("2024-01-01", "2024-99-99", "2024-01-01T00:00:00Z", "=", "<<", "*a", "&a 1", "- 1", "[]"),
    *("{}", "[[]]", "[1, [2]]", "{a: 1}", "[null]", "? a", "!", "%", "@", "`", "|", ">", '"'),
    *("'", "#", "\t", "\0", "\ufeff", "\x85", "\u2028", "\ud7ff", "é", "🙂", "a: b: c", "- - -"),
    *("9" * 30, "9" * 5_000, "x" * 10_000, "-" * 3_000, "conv3-" * 2_000 + "bn", "conv99999 +"),
    *("{low: 0, high: 1}", "{low: 0, high: 1, step: 1e-15}", "{low: 0, high: 1e-300}"),
    *("{low: -1e308, high: 1e308}", "{low: 1, high: 1}", "{low: 2, high: 1}", "{low: 0}"),
    *("{low: 0, high: 1, step: 0}", "{low: 0, high: 1, step: -1}", "{low: 0, high: 1, log: true}"),
    *("{low: 1, high: 100000, step: 1}", "{low: 1, high: 100000}", "{low: .nan, high: .inf}"),
    *("{low: 1, high: 100000, log: true}", "{low: 1.0, high: 8}", f"{{low: 1, high: {10**30}}}"),
    *(
        "{low: 0.0, high: 1.0, step: .nan}",
        "{low: 1e-9, high: 1, step: 1e-9}",
        "{low: [], high: 1}",
    ),
    *(
        "{low: 1, high: 9, step: 0.5}",
        "{low: 0.1, high: 0.2, step: 1e-17}",
        "{low: 1, high: 9, x: 1}",
    ),
    *("{convs: [conv3], free: [bn]}", "{convs: [conv3], free: [bn, relu, se, gelu]}"),
    *(f"{{convs: [{', '.join(['conv3'] * 40)}], free: [bn, relu, se]}}", "{convs: 3, free: x}"),
    *("{convs: [conv3, [conv3]], free: [[bn]]}", "{convs: [bn], free: [conv3]}"),
    *("[1, 1]", "[1, 2, 3]", "[100000, 100000, 100000]", "[0]", "[a]", "[true]", "[1.0]", "[.nan]"),
    *("params <= 1", "[params <= 1]", "[params < .nan]", "[params <= 1e999]", "[x]", "[{a: 1}]"),
    *("[macs >= 1e30]", "[[params <= 1]]", "['params <= " + "1" * 500 + "']"),
)
TAGS = (
    *("!!bool", "!!int", "!!float", "!!timestamp", "!!omap", "!!pairs", "!!set", "!!binary"),
    *("!!null", "!!str", "!!seq", "!!map", "!!merge", "!!value", "!x", "!<tag:x>", "!!python/none"),
    *("!!python/object:os.system", "!!python/object/apply:os.getcwd", "!!python/tuple"),
)
NAMES = (
    *("name", "source", "base", "recipe", "axes", "constraints", "low", "high", "step", "log"),
    *(
        "recipe.peak_lr",
        "recipe.epochs",
        "recipe.x",
        "layout[0]",
        "layout[99]",
        "layout[",
        "depths[0]",
    ),
    *("shortcut[1]", "layout.before", "<<", "=", "1", "null", "[a]", "{a: b}", *FIELDS),
)
LAUGHS = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 10))
BLOCKS = (
    "l0: &l0 [x, x, x]\n" + LAUGHS,
    "axes: &a {layout: *a}\n",
    "base: &b [*b]\n",
    "<<: {name: x}\n",
    "base: {<<: {widths: [1]}, depths: [1]}\n",
    "<<: [1, 2]\n",
    "<<: x\n",
    "? [1, 2]\n: 3\n",
    "? {a: 1}\n: 3\n",
    "1: 2\nnull: 3\n",
    "--- {a: 1}\n--- {b: 2}\n",
    "%YAML 9.9\n---\n",
    "%TAG ! tag:x,2000:\n---\n",
    "base: " + "[" * 3_000 + "\n",
    "base: " + "{a: " * 3_000 + "\n",
    "base: " + "[" * 500 + "]" * 500 + "\n",
    "".join(f"{' ' * i}a:\n" for i in range(600)),
    "- " * 2_000 + "\n",
    "x: " + "&a " * 100 + "1\n",
)


def mutate(text: str, rng: random.Random) -> str:
    """Return a YAML text with one to four random changes, which are gentle in a third of cases."""
    kinds = GENTLE if rng.random() < 0.35 else MUTATIONS
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        text = rng.choice(kinds)(text, rng)
    return text


def _change_a_line(text: str, rng: random.Random) -> str:
    lines = text.splitlines() or [""]
    i = rng.randrange(len(lines))
    j = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case 3:
            lines[i] = rng.choice(("  ", "\t", " ", "- ")) + lines[i]
        case 4:
            lines[i] = lines[i][: rng.randint(0, len(lines[i]))]
        case _:
            lines[i] = lines[i].lstrip()
    return "\n".join(lines) + "\n"


def _change_a_sign(text: str, rng: random.Random) -> str:
    i = rng.randint(0, len(text))
    signs = rng.choice((":", "-", "[", "]", "{", "}", ",", "&a ", "*a", "!", "#", "'", '"', "\n"))
    odd = rng.choice((signs, chr(rng.randrange(0x20)), chr(rng.randrange(0xD7FF)), "\ufeff", "+"))
    return text[:i] + odd + text[i + rng.randint(0, 3) :]


def _spots(text: str) -> list[tuple[int, int]]:
    """Return start and end of the plain scalars of a simple YAML text."""
    spots, start = [], 0
    for i, sign in enumerate(text + "\n"):
        if sign in ":,[]{}\n":
            if text[start:i].strip():
                spots.append((start, i))
            start = i + 1
    return spots or [(0, 0)]


def _change_a_scalar(text: str, rng: random.Random) -> str:
    start, end = rng.choice(_spots(text))
    return f"{text[:start]} {rng.choice(SCALARS)}{text[end:]}"


def _swap_scalars(text: str, rng: random.Random) -> str:
    spots = _spots(text)
    (a, b), (c, d) = sorted((rng.choice(spots), rng.choice(spots)))
    return text if a == c else text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def _add_a_tag(text: str, rng: random.Random) -> str:
    start, end = rng.choice(_spots(text))
    value = rng.choice((text[start:end], rng.choice(SCALARS)))
    return f"{text[:start]} {rng.choice(TAGS)} {value.lstrip()}{text[end:]}"


def _change_a_key(text: str, rng: random.Random) -> str:
    lines = text.splitlines() or [""]
    i = rng.randrange(len(lines))
    before, colon, after = lines[i].partition(":")
    indent = before[: len(before) - len(before.lstrip())]
    lines[i] = f"{indent}{rng.choice(NAMES)}{colon or ':'}{after}"
    return "\n".join(lines) + "\n"


def _add_an_axis(text: str, rng: random.Random) -> str:
    line = f"  {rng.choice(NAMES)}: {rng.choice(SCALARS)}"
    return text.replace("axes:\n", f"axes:\n{line}\n") if "axes:\n" in text else text + line


def _add_a_block(text: str, rng: random.Random) -> str:
    block = rng.choice(BLOCKS)
    return block + text if rng.random() < 0.5 else f"{text}\n{block}"


def _change_a_value(text: str, rng: random.Random) -> str:
    """Change a value rather than the text, so that the result is well-formed YAML."""
    try:
        values = yaml.safe_load(text)
        odd = yaml.safe_load(rng.choice(SCALARS))
    except Exception:  # PyYAML itself is not tested
        return text
    places = list(_places(values))
    if not places:
        return text
    try:
        holder, key = rng.choice(places)
        holder[key] = odd
        return str(yaml.safe_dump(values, sort_keys=False))
    except Exception:
        return text


def _is_list(value: object) -> bool:
    return isinstance(value, list)


# Values that occur in valid files.
WORDS = (*SHORTCUTS, *MERGES, *PLAIN_TOKENS, "conv1", "conv3", "dw3", "layout", "merge", "depths")
NUMBERS = ("0", "1", "2", "3", "4", "8", "16", "0.5", "0.1", "1.0", "2.5", "-6", "1e-4", "1e6")


def _change_a_word_or_number(text: str, rng: random.Random) -> str:
    """Replace a word or number by a valid one; most of the results are accepted."""
    found = list(re.finditer(r"\b(?:(\d+(?:\.\d+)?)|[a-z][a-z0-9]*(?:-[a-z]+)?)\b", text))
    if not found:
        return text
    match = rng.choice(found)
    start, end = match.span()
    return text[:start] + rng.choice(NUMBERS if match[1] else WORDS) + text[end:]


GENTLE = (_change_a_word_or_number, _change_a_word_or_number, _swap_scalars, _change_a_line)
MUTATIONS = (
    _change_a_line,
    _change_a_sign,
    _change_a_scalar,
    _change_a_scalar,
    _swap_scalars,
    _add_a_tag,
    _change_a_key,
    _add_an_axis,
    _add_a_block,
    _change_a_value,
    _change_a_value,
)


def yaml_cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield mutants of the ready spaces and of designs, as files."""
    if rng.random() < 0.3:
        design = CLASSICS[rng.choice(sorted(CLASSICS))].design
        text = mutate(design.to_yaml(), rng)
        path = _written(folder / "design.yaml", text)
        yield Case("Design.load", text, lambda: _identified(Design.load(path)))
        yield Case("skipsearch show", text, lambda: _command("show", path))
        return
    text = mutate(rng.choice(READY).read_text(encoding="utf-8"), rng)
    path = _written(folder / "space.yaml", text)
    yield Case("Space.load", text, lambda: _sized(Space.load(path)))
    yield Case("Space.sample", text, lambda: _identified(Space.load(path).sample(0)))
    yield Case("skipsearch check", text, lambda: _command("check", path))


def _written(path: Path, text: str) -> str:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return str(path)


def _identified(design: Design) -> None:
    again = _reread(Design.from_yaml, design.to_yaml())
    assert again.id == design.id, "another id after the way through YAML"


def _sized(space: Space) -> None:
    _ = space.size
    again = _reread(Space.from_yaml, space.to_yaml())
    assert again == space, "another space after the way through YAML"


def _reread(read: Callable[[str], Any], text: str) -> Any:
    """Read what was accepted and written; it must not be rejected now."""
    try:
        return read(text)
    except SkipSearchError as error:
        raise AssertionError(f"written and not read again: {error}") from None


def _command(*arguments: str) -> str | None:
    """Run a command; a rejection is exit code 2 with one line on standard error."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = command_line(arguments)
    if code not in (0, 2):
        return f"exit code {code}"
    if code == 2:
        raise SkipSearchError(err.getvalue().removesuffix("\n"))
    return None


# --- values ---------------------------------------------------------------------------------------

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
VALUES = (
    *(None, True, False, 0, 1, -1, 10**30, 10**9_999, 0.5, 1e308, 5e-324, math.nan, math.inf),
    *("", "x" * 10_000, "a\nb", "\0", "\ud800", b"bytes", b"", 1j, object(), print, ENDLESS, ...),
    *(
        [],
        [[]],
        [None],
        [1],
        [1, 2, 3],
        ["x"],
        (),
        (1,),
        {},
        {"a": 1},
        {1: 2},
        {"low": 0, "high": 1},
    ),
    *(
        {"low": 0, "high": 1, "step": 1e-15},
        {"low": 1, "high": 10**9_999},
        {"low": math.nan, "high": 1},
    ),
    *({"low": [], "high": {}}, {"low": 0, "high": 1, "log": 1}, {"convs": [[]], "free": [None]}),
    *(
        date(2024, 1, 1),
        Decimal("1.5"),
        Fraction(1, 3),
        {1, 2},
        frozenset(),
        range(5),
        range(10**9),
    ),
    *(
        Path("x"),
        [1] * 50_000,
        "1>2",
        ["0>1"] * 3,
        ["0>1", [1]],
        [10**9_999],
        "params <= 1",
        iter("a"),
    ),
)


def value_cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield mappings from Python, with values of any type in any place."""
    space = yaml.safe_load(rng.choice(READY).read_text(encoding="utf-8"))
    design = CLASSICS[rng.choice(sorted(CLASSICS))].design.to_dict()
    recipe = Recipe().to_dict()
    for _ in range(rng.choice((1, 1, 2))):
        for values in (space, design, recipe):
            places = list(_places(values))
            holder, key = rng.choice(places)
            holder[key] = rng.choice(VALUES)
    yield Case("Space.from_dict", shown_value(space, 2_000), lambda: _sized(Space.from_dict(space)))
    yield Case(
        "Design.from_dict",
        shown_value(design, 2_000),
        lambda: _identified(Design.from_dict(design)),
    )
    yield Case(
        "Recipe.from_dict", shown_value(recipe, 2_000), lambda: _recorded(Recipe.from_dict(recipe))
    )


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of every value in nested lists and mappings."""
    keys = list(value) if isinstance(value, dict) else range(len(value) if _is_list(value) else 0)
    for key in keys:
        yield value, key
        if depth < 5:
            yield from _places(value[key], depth + 1)


def _recorded(recipe: Recipe) -> None:
    assert Recipe.from_dict(recipe.to_dict()).id == recipe.id, (
        "another id after the way through a dict"
    )


# --- layouts --------------------------------------------------------------------------------------


def layout_cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield texts that are nearly layouts."""
    odd = (
        "+",
        "-",
        " ",
        "",
        "conv",
        "conv0",
        "conv2",
        "conv33",
        "dw",
        "bn ",
        "BN",
        "é",
        "\n",
        "++",
    )
    words = (*PLAIN_TOKENS, "conv1", "conv3", "dw3")
    parts = [rng.choice(words if rng.random() < 0.95 else odd) for _ in range(rng.randint(0, 9))]
    if rng.random() < 0.02:
        parts *= rng.choice((10, 1_000))
    signs = ("-",) if rng.random() < 0.7 else ("-", "-", "-", "+", " ", "")
    text = "".join(part + rng.choice(signs) for part in parts)[:-1]
    if rng.random() < 0.5 and "-" in text:
        cut = rng.choice([i for i, sign in enumerate(text) if sign == "-"])
        text = f"{text[:cut]} + {text[cut + 1 :]}"

    def parse() -> None:
        layout = Layout.parse(text)
        assert Layout.parse(str(layout)) == layout, "another layout after the way through text"

    def build() -> None:
        _identified(Design(layout=text, depths=(2, 1), widths=(4, 8)))

    yield Case("Layout.parse", text, parse)
    yield Case("Design", text, build)


# --- running --------------------------------------------------------------------------------------

SECTIONS: dict[str, Draw] = {"yaml": yaml_cases, "values": value_cases, "layouts": layout_cases}


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case.

    Attributes:
        kind: ``accepted``, the class of a SkipSearchError, or the kind of fault.
        fault: Whether it is a fault.
        detail: Message, or traceback of an exception.
        seconds: Processor time in seconds.
    """

    kind: str
    fault: bool
    detail: str
    seconds: float


def run(case: Case, deadline: float) -> Outcome:
    """Run one case, and classify its outcome."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, deadline)
    kind, fault, detail = "accepted", False, ""
    try:
        found = case.run()
        if found:
            kind, fault = found, True
    except SkipSearchError as error:
        kind, detail = type(error).__name__, str(error)
        if "\n" in detail or "\r" in detail:
            kind, fault = "message of several lines", True
        elif len(detail) > LONGEST_MESSAGE:
            kind, fault = f"message of more than {LONGEST_MESSAGE} characters", True
    except Hang:
        kind, fault = f"more than {deadline:g} s", True
        detail = traceback.format_exc(limit=-3)
    except BaseException as error:
        kind, fault = type(error).__name__, True
        detail = traceback.format_exc(limit=-3)[-2_000:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Outcome(kind, fault, detail, time.process_time() - start)


def limit_memory(gigabytes: float) -> None:
    """Limit the further memory of this process; exceeding it raises a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def on_alarm(*_: object) -> None:
    """Interrupt a case at its deadline."""
    raise Hang


def main() -> int:
    """Run the cases, print the table, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--what", choices=SECTIONS, help="one section alone")
    parser.add_argument("--cases", type=int, default=1_000, help="mutants of each section")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one mutant to repeat and to print")
    parser.add_argument("--deadline", type=float, default=10.0, help="seconds a case may take")
    parser.add_argument("--memory", type=float, default=1.0, help="gigabytes that all may take")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)
    limit_memory(options.memory)
    faults: dict[str, list[str]] = defaultdict(list)
    for what in [options.what] if options.what else SECTIONS:
        counts: Counter[tuple[str, str]] = Counter()
        slow, slowest = 0, (0.0, 0)
        numbers = range(options.cases) if options.only is None else [options.only]
        with tempfile.TemporaryDirectory() as folder:
            for number in numbers:
                rng = random.Random(f"{what} {options.seed} {number}")
                for case in SECTIONS[what](rng, Path(folder)):
                    if options.only is not None:
                        print(f"--- {case.action} of\n{case.text}")
                    outcome = run(case, options.deadline)
                    counts[case.action, outcome.kind + (" (FAULT)" if outcome.fault else "")] += 1
                    slow += outcome.seconds > SLOW
                    slowest = max(slowest, (outcome.seconds, number))
                    if options.only is not None:
                        print(f"--- {outcome}")
                    if outcome.fault:
                        where = f"{what} {number}, {case.action}: {outcome.detail.strip()}"
                        faults[f"{case.action}: {outcome.kind}"].append(where)
        print(f"{what}: {len(numbers):,} mutants of seed {options.seed}")
        for (action, kind), count in sorted(counts.items()):
            print(f"    {count:7,}  {action}: {kind}")
        seconds, number = slowest
        print(f"    {slow:7,}  slower than {SLOW:g} s; the slowest, {number}, took {seconds:.1f} s")
    for kind, found in faults.items():
        print(f"\n{len(found):,} x {kind}, such as")
        for each in found[:EXAMPLES]:
            print(f"  {each}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
