"""Deepening of trained networks; only the public interface imports this package."""

from skipsearch.deepening.network import deepen

__all__ = ["deepen"]
