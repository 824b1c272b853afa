"""Design to plain ``nn.Module``: the lowest package that uses torch, independent of searches."""

from skipsearch.models.network import Network, build
from skipsearch.models.pack import can_pack, pack, set_generators, unpack

__all__ = ["Network", "build", "can_pack", "pack", "set_generators", "unpack"]
