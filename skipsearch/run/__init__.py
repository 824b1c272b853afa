"""The folder of a search and what is asked of it; what begins a search, confirms and exports it.

Searching, confirming and exporting need torch, which takes seconds to import; ``Run`` does not.
"""

from skipsearch.run.comparing import compare
from skipsearch.run.folder import Run

__all__ = ["Run", "compare"]
