"""The folder of a search and queries on it; starting, confirming and exporting a search.

Searching, confirming and exporting need torch, which takes seconds to import; ``Run`` does not.
"""

from skipsearch.run.comparing import compare
from skipsearch.run.folder import Run

__all__ = ["Run", "compare"]
