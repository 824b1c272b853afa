"""The rules of construction: from the fields of a design to the plan of its network.

The four rules that complete a layout:

1. Widths. A dense convolution of the branch that is not its last outputs
   ``bottleneck_ratio x width``, the last ``width``; a depthwise one keeps its input. ``groups``
   applies to kernels larger than 1 (Xie et al. 2017, arXiv:1611.05431, Fig. 3c).
2. Stride sits in the branch's first convolution with a kernel larger than 1 (as torchvision).
3. A projection is a 1x1 convolution that reads what the branch's first convolution reads
   (He et al. 2016, arXiv:1603.05027, section 4.1) and is normalised as the branch's last is.
   That of a long skip reads the output of its stage.
4. Stem and head complete the block: the stem ends with whichever of norm and activation the
   branch does not open with; the head opens with what the branch opens with (appendix there).

Others use the names below; the words of ``shortcut`` and ``link_shortcut`` are tables.
"""

from skipsearch.planning.block import SETTINGS
from skipsearch.planning.ends import complete_head, complete_stem, head_tokens
from skipsearch.planning.network import kept_channels, needs_transition, plan_network
from skipsearch.planning.shortcuts import LINK_SHORTCUTS, SHORTCUTS
from skipsearch.planning.stage import StageFields

__all__ = [
    "LINK_SHORTCUTS",
    "SETTINGS",
    "SHORTCUTS",
    "StageFields",
    "complete_head",
    "complete_stem",
    "head_tokens",
    "kept_channels",
    "needs_transition",
    "plan_network",
]
