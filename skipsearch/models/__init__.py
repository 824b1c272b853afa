"""Design -> plain ``nn.Module``. The first room that knows torch; knows nothing of search."""

from skipsearch.models.network import Network, build
from skipsearch.models.pack import can_pack, pack, set_generators, unpack

__all__ = ["Network", "build", "can_pack", "pack", "set_generators", "unpack"]
