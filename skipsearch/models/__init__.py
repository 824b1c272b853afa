"""Design -> plain ``nn.Module``. The first room that knows torch; knows nothing of search."""

from skipsearch.models.deepen import deepen
from skipsearch.models.network import Network, build

__all__ = ["Network", "build", "deepen"]
