"""The style of diagrams: sizes, in points, and colours."""

from __future__ import annotations

from typing import Any

import matplotlib

from skipsearch.operations import OPERATIONS, Kind
from skipsearch.plan import Step

DPI = 150
FONT = "DejaVu Sans"  # bundled with matplotlib, so that drawings are the same everywhere
SIZE, SMALL, TITLE = 7.5, 6.5, 8.0  # of text, in points like all below
LINE = 1.45  # line height, in text sizes
MARGIN = 18.0  # around the figure
GAP, SHORT = 15.0, 11.0  # between boxes in a column; on a shortcut
SHEET = 2.5  # between a box and the one behind it
PAD = 6.0  # between a text and the edge of its box
BOX = 16.0  # height of a box with one line
BESIDE = 14.0  # between a column and what is beside it
LANE = 8.0  # between wires side by side
RADIUS = 6.5  # of a join
TURN = 5.0  # radius of a wire's corners
NARROWEST = 66.0  # minimum width of a column
BETWEEN = 34.0  # between drawings
TITLE_ROOM = 175.0  # width allowed for a title above a narrower block
MOST_IN_A_ROW, WIDEST_ROW = 5, 640.0  # drawings of blocks
INK, PALE, MUTED = "#1a1a1a", "#ffffff", "#595959"
CARD = "#f2f2f2"
# Tints of the palette of Okabe & Ito, light enough for black text and distinguishable in grey.
FILLS = {
    Kind.CONVOLUTION: "#a9d3ee",
    Kind.NORM: "#fdebc0",
    Kind.ACTIVATION: "#bfe3d4",
    Kind.POOLING: "#e6dbe8",
    Kind.ENLARGING: "#dbe8dc",
    Kind.OTHER: "#e6dbe8",
}

STYLE: Any = {  # Any: the names listed by its type differ between releases
    **{k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")},
    "font.sans-serif": [FONT],
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "skipsearch",  # the same design gives the same bytes
}


def fill(step: Step) -> str:
    """Return the colour of an operation."""
    return FILLS[OPERATIONS[step.op].kind]
