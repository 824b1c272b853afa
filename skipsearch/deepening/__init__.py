"""Trained networks made deeper; only the public face imports this room."""

from skipsearch.deepening.network import deepen

__all__ = ["deepen"]
