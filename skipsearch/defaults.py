"""What is done unless something else is asked for, from Python and from the command line alike."""

from __future__ import annotations

DATA = "digits"
TRIALS = 60  # of a search
MARGIN = 0.005  # a difference in accuracy, or another share, that is too small to matter
DEGRADATION_SEEDS = 3  # trainings of each design of a space that is trained to compare depths
LEADERS = 5  # designs that are confirmed
LEADER_SEEDS = 5  # new seeds of each of them, at most
LABELS = 3  # classes that are named of a picture
TILE = 512  # side, in pixels, of the tiles in which a large picture is predicted
