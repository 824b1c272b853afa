"""The rules of construction: from the fields of a design to the plan of its network.

Five rules complete a layout:

1. Widths. The last dense convolution of the branch outputs ``width`` channels, the others
   ``bottleneck_ratio x width``; a depthwise convolution keeps its channels. ``groups`` applies to
   kernels larger than 1 (Xie et al. 2017, arXiv:1611.05431, Fig. 3c).
2. Stride. The branch's first convolution with a kernel above 1 has the stride (as in torchvision).
3. Projection. A 1x1 convolution with the same input as the branch's first convolution (He et al.
   2016, arXiv:1603.05027, section 4.1), normalised like the branch's last convolution. The
   projection of a long skip reads the output of its stage.
4. Stem and head. The stem ends with whichever of norm and activation the branch does not begin
   with; the head begins with what the branch begins with (appendix of that paper).
5. Enlarging. A stage that doubles height and width is cut to the size of the level that it returns
   to, joins its long skips with any merge, and then runs its blocks (Ronneberger et al. 2015,
   arXiv:1505.04597, Fig. 1).

The names below are the interface; the words of ``shortcut`` and ``link_shortcut`` are tables.
"""

from skipsearch.planning.block import SETTINGS
from skipsearch.planning.ends import complete_head, complete_stem, head_tokens
from skipsearch.planning.levels import levels_of, linked, names_all_stages, worded
from skipsearch.planning.network import kept_channels, needs_transition, plan_network
from skipsearch.planning.nodes import needed_nodes, node_fields, node_places
from skipsearch.planning.resizing import DOWNS
from skipsearch.planning.shortcuts import LINK_SHORTCUTS, SHORTCUTS
from skipsearch.planning.stage import StageFields

__all__ = [
    "DOWNS",
    "LINK_SHORTCUTS",
    "SETTINGS",
    "SHORTCUTS",
    "StageFields",
    "complete_head",
    "complete_stem",
    "head_tokens",
    "kept_channels",
    "levels_of",
    "linked",
    "names_all_stages",
    "needed_nodes",
    "needs_transition",
    "node_fields",
    "node_places",
    "plan_network",
    "worded",
]
