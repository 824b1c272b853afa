"""Search spaces: a base design and axes, read from YAML; their points, sizes and constraints.

Others use the names below.
"""

from skipsearch.space.candidate import Candidate
from skipsearch.space.constraint import Constraint
from skipsearch.space.description import describe_size, draw_space, space_size
from skipsearch.space.listing import Listing
from skipsearch.space.space import ENUMERABLE, TRIES, Space

__all__ = [
    "ENUMERABLE",
    "TRIES",
    "Candidate",
    "Constraint",
    "Listing",
    "Space",
    "describe_size",
    "draw_space",
    "space_size",
]
