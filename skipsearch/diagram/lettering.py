"""Text of diagrams: operations and shapes as text, widths of lines, and line breaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from skipsearch.anatomy import step_word
from skipsearch.diagram.look import FONT, SIZE
from skipsearch.operations import OPERATIONS, Kind
from skipsearch.plan import Size, Step, Steps


def typeset(text: str) -> str:
    """Replace ASCII arrows, times signs and minus signs with typographic ones."""
    text = re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}", text.replace("->", "→"))
    return re.sub(r"(?<!\S)-(?= ?[\dg])", "\N{MINUS SIGN}", text)


def shape_text(channels: int, size: Size) -> str:
    """Return the shape of an image as text."""
    return typeset(f"{channels}x{size.height}x{size.width}")


def word(step: Step) -> str:
    """Return one operation as text, with its channels, stride and groups."""
    return typeset(step_word(step))


def chain_lines(steps: Steps, widest: float = 190.0) -> list[str]:
    """Return a chain of operations as lines; convolutions and poolings begin new lines."""
    lines: list[str] = []
    for step in steps:
        text = word(step)
        longer = f"{lines[-1]} - {text}" if lines else ""
        fresh = OPERATIONS[step.op].kind in (Kind.CONVOLUTION, Kind.POOLING)
        if longer and not fresh and measure(longer) <= widest:
            lines[-1] = longer
        else:
            lines.append(text)
    return lines


@lru_cache(maxsize=4096)
def measure(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of a line of text, in points."""
    font = FontProperties(family=FONT, size=100, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return width * size / 100


def wrap(parts: Sequence[str], widest: float, size: float, between: str = "") -> list[str]:
    """Join parts into lines within a width, unless a single part is wider."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else ""
        if longer and measure(longer.rstrip(), size) <= widest:
            lines[-1] = longer
        else:
            lines.append(part)
    return [line.strip() for line in lines]
