"""Designs drawn as figures: the network as a strip or a U, and each kind of block as in the papers.

There are two steps: the positions are computed in points (a ``Sketch``), with text measured by its
font, and then drawn with matplotlib. ``draw_diagram`` and ``Diagram`` are public, and so is
``look`` for figures in the same style.
"""

from skipsearch.diagram.page import draw_diagram
from skipsearch.diagram.rendering import Diagram

__all__ = ["Diagram", "draw_diagram"]
