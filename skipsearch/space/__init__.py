"""Search spaces: a base design and axes, read from YAML; their points, sizes and constraints.

The names below are public.
"""

from skipsearch.space.candidate import Candidate
from skipsearch.space.description import describe_size, draw_space
from skipsearch.space.space import ENUMERABLE, TRIES, Space, is_space

__all__ = [
    "ENUMERABLE",
    "TRIES",
    "Candidate",
    "Space",
    "describe_size",
    "draw_space",
    "is_space",
]
