"""Designs drawn as figures: the network as a strip, and each kind of block as the papers draw it.

Two steps: what stands where is computed in points (a ``Sketch``), with text measured by its font;
then matplotlib draws it. Others use ``draw_diagram`` and ``Diagram``, and ``look`` for figures that
look alike.
"""

from skipsearch.diagram.page import draw_diagram
from skipsearch.diagram.rendering import Diagram

__all__ = ["Diagram", "draw_diagram"]
