"""Default values, shared by the Python interface and the command line."""

from __future__ import annotations

DATA = "digits"
TRIALS = 60  # of a search
MARGIN = 0.005  # difference in accuracy, or in another share, that is too small to matter
DEGRADATION_SEEDS = 3  # seeds of each design in a comparison of depths over a space
LEADERS = 5  # designs that are confirmed
LEADER_SEEDS = 5  # maximum number of new seeds of each of them
LABELS = 3  # classes shown for each picture
TILE = 512  # side, in pixels, of the tiles in which a large picture is predicted
