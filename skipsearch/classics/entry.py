"""Named designs from the literature, and the layouts of their blocks."""

from __future__ import annotations

from dataclasses import dataclass

from skipsearch.design import Design
from skipsearch.plan import ImageSize

ORIGINAL = "conv3-bn-relu-conv3-bn + relu"
BN_AFTER_ADDITION = "conv3-bn-relu-conv3 + bn-relu"
RELU_BEFORE_ADDITION = "conv3-bn-relu-conv3-bn-relu +"
RELU_ONLY_PREACTIVATION = "relu-conv3-bn-relu-conv3-bn +"
FULL_PREACTIVATION = "bn-relu-conv3-bn-relu-conv3 +"
PLAIN = "conv3-bn-relu-conv3-bn-relu"
BOTTLENECK = "conv1-bn-relu-conv3-bn-relu-conv1-bn + relu"
BOTTLENECK_PREACTIVATION = "bn-relu-conv1-bn-relu-conv3-bn-relu-conv1 +"
DENSE = "bn-relu-conv1-bn-relu-conv3 +"
RESIDUAL_OF_RESIDUAL = ("0>1", "1>2", "2>3", "0>3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Classic:
    """A design from the literature.

    Attributes:
        design: Design of the network.
        paper: Paper that published it.
        params: Exact number of parameters here, for the image channels and classes below.
        published_params: Number of parameters as printed in the paper, or an empty string.
        error: Published top-1 test error in %, or None if none is recorded here.
        error_source: Table or figure of the error.
        in_channels: Number of image channels in the paper.
        image_size: Image size in the paper, in pixels.
        classes: Number of classes in the paper.
    """

    design: Design
    paper: str
    params: int
    published_params: str = ""
    error: float | None = None
    error_source: str = ""
    in_channels: int = 3
    image_size: ImageSize = 32
    classes: int = 10
