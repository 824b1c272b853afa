"""The run folder of a search, with queries on it, and functions to search, confirm and export.

Searching, confirming and exporting need torch, which takes seconds to import; ``Run`` does not.
"""

from skipsearch.run.comparing import compare
from skipsearch.run.folder import Run

__all__ = ["Run", "compare"]
