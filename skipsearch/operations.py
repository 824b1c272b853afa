"""The operations of a network: one entry for each word that a step of a plan can have.

The table holds everything about operations that needs no torch: notation, cost, drawings, exported
source and the deepening of trained networks use it. Their modules are entries of ``models.ops``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from skipsearch.plan import Step, Steps
from skipsearch.ranges import ANY, ZERO, Range
from skipsearch.table import Table

GROUP_CHANNELS = 16  # channels per group of gn: Wu & He 2018, arXiv:1803.08494, Table 3, right
INDEX_BYTES = 8  # int64
SE_REDUCTION = 16  # Hu et al. 2018, arXiv:1709.01507, section 6.1


class Kind(Enum):
    """The purpose of an operation.

    The word of an activation is the name of its function in ``torch.nn.functional``, which exported
    source calls.
    """

    CONVOLUTION = auto()
    NORM = auto()
    ACTIVATION = auto()
    POOLING = auto()
    ENLARGING = auto()
    OTHER = auto()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    The values saved for the backward pass are those that PyTorch's gradient formulas read
    (``tools/autograd/derivatives.yaml``); statistics and weights are not counted.

    The fields from ``behind`` on are used only by ``deepening``, which needs weights that make an
    operation the identity.

    Attributes:
        kind: Purpose, which determines the colour in drawings.
        in_layouts: Whether the word belongs to the notation, where a convolution's word includes
            its kernel; other words occur in stems, shortcuts and transitions.
        ordinary: For a norm whose weight starts at 0, the word of the same norm with the usual
            initialisation; empty for all others. Only branches use the start at 0.
        params: Number of trainable parameters.
        macs: Multiply-adds for a number of output pixels.
        saves_input: Whether its gradient needs its input.
        saves_output: Whether its gradient needs its output.
        saves_beside: Number of further bytes per output pixel that its gradient needs, given the
            bytes of a value.
        label: Text in drawings.
        code: Module in exported source, with ``{channels}``, ``{groups}`` of gn, ``{rate}``,
            ``{size}`` (kernel and stride) and ``{enlarge}``; empty for convolutions and ``pad``,
            which the exporter writes.
        behind: Function from the bounds of the input to those of the output.
        keeps: Whether a signal within bounds stays unchanged, whatever the weights are.
        obstacle: Reason why no weights make it the identity, for a message that begins with its
            word.
        mendable: Whether ``f(x) - f(-x)`` is x, so that a pair of channels can restore x.
        dead_at_zero: Whether the gradient is 0 where the input is 0.
    """

    kind: Kind
    in_layouts: bool = True
    ordinary: str = ""
    params: Callable[[Step], int] = lambda step: 0
    macs: Callable[[Step, int], int] = lambda step, pixels: 0
    saves_input: bool = True
    saves_output: bool = False
    saves_beside: Callable[[Step, int], int] = lambda step, itemsize: 0
    label: Callable[[Step], str] = lambda step: step.op
    code: str
    behind: Callable[[Range], Range] = lambda signal: ANY  # weights may have either sign
    keeps: Callable[[Range], bool] = lambda signal: False
    obstacle: str = ""
    mendable: bool = False
    dead_at_zero: bool = False


def through(steps: Steps, signal: Range) -> Range:
    """Return the bounds of a signal after a run of operations."""
    for step in steps:
        signal = OPERATIONS[step.op].behind(signal)
    return signal


def ordinary(word: str) -> str:
    """Return the word of an operation for use outside a branch, where nothing starts at 0."""
    return OPERATIONS[word].ordinary or word


# --- convolution ----------------------------------------------------------------------------------


def _conv_params(step: Step) -> int:
    return step.outputs * (step.inputs // step.groups) * step.kernel**2


def _conv_label(step: Step) -> str:
    depthwise = step.groups == step.inputs > 1
    name = f"{'dw' if depthwise else 'conv'}{step.kernel} {step.inputs}->{step.outputs}"
    name += f" /{step.stride}" if step.stride > 1 else ""
    return name + (f" groups {step.groups}" if step.groups > 1 and not depthwise else "")


CONV = Operation(
    kind=Kind.CONVOLUTION,
    in_layouts=False,
    params=_conv_params,
    macs=lambda step, pixels: _conv_params(step) * pixels,
    label=_conv_label,
    code="",
)

# --- norms ----------------------------------------------------------------------------------------


def _norm(code: str, ordinary: str = "", obstacle: str = "") -> Operation:
    """Return a norm with a weight and a bias per channel."""
    return Operation(
        kind=Kind.NORM,
        ordinary=ordinary,
        params=lambda step: 2 * step.outputs,
        code=code,
        obstacle=obstacle,
    )


ANEW = "normalises every image anew, whatever its weights are"

# --- activations ----------------------------------------------------------------------------------

RELU = Operation(
    kind=Kind.ACTIVATION,
    saves_input=False,
    saves_output=True,
    code="nn.ReLU()",
    behind=lambda signal: signal.clamped(0.0, inf),
    keeps=lambda signal: signal.low >= 0,
    obstacle="cuts off what is below 0, as the signal there can be",
    mendable=True,
    dead_at_zero=True,
)
RELU6 = Operation(
    kind=Kind.ACTIVATION,
    code="nn.ReLU6()",
    behind=lambda signal: signal.clamped(0.0, 6.0),
    keeps=lambda signal: signal.low >= 0 and signal.high <= 6,
    obstacle="cuts off what is not between 0 and 6, as the signal there need not be",
    dead_at_zero=True,
)


def _bent(code: str, low: float) -> Operation:
    """Return an activation with a dip below 0.

    Args:
        code: Module in exported source.
        low: Bound below its minimum.
    """
    return Operation(
        kind=Kind.ACTIVATION,
        code=code,
        behind=lambda signal: Range(0.0 if signal.low >= 0 else low, max(signal.high, 0.0)),
        obstacle="bends every signal",
        mendable=True,
    )


# --- others ---------------------------------------------------------------------------------------


def se_width(channels: int) -> int:
    """Return the channels inside squeeze-and-excitation, at least 1."""
    return max(1, channels // SE_REDUCTION)


def _se_params(step: Step) -> int:
    inner = se_width(step.inputs)
    return 2 * step.inputs * inner + inner + step.inputs


SE = Operation(
    kind=Kind.OTHER,
    params=_se_params,
    macs=lambda step, pixels: 2 * step.inputs * se_width(step.inputs),
    code="SqueezeExcitation({channels})",
    behind=lambda signal: signal.hull(ZERO),
    obstacle="weighs by less than 1, and nears 1 only where its gradient vanishes",
)
SCALE = Operation(kind=Kind.OTHER, params=lambda step: 1, code="Scale()")
DROPOUT = Operation(
    kind=Kind.OTHER,
    saves_input=False,
    saves_beside=lambda step, itemsize: step.outputs * itemsize,  # its mask
    code="nn.Dropout({rate!r})",
    behind=lambda signal: signal,
    keeps=lambda signal: True,
)
PAD = Operation(
    kind=Kind.OTHER,
    in_layouts=False,
    label=lambda step: f"pad {step.inputs}->{step.outputs} /{step.stride}",
    code="",
    behind=lambda signal: signal.hull(ZERO),
)


def _pooling(code: str, index_bytes: int = 0) -> Operation:
    """Return a pooling.

    Args:
        code: Module in exported source.
        index_bytes: Bytes of the index of each maximum.
    """
    return Operation(
        kind=Kind.POOLING,
        in_layouts=False,
        saves_beside=lambda step, itemsize: step.outputs * index_bytes,
        label=lambda step: f"{step.op.rstrip('2')} {step.kernel}x{step.kernel} /{step.stride}",
        code=code,
        behind=lambda signal: signal,
    )


# --- enlarging ------------------------------------------------------------------------------------


def _up_params(step: Step) -> int:
    return step.inputs * step.outputs * step.kernel**2 + step.outputs


def _up_macs(step: Step, pixels: int) -> int:
    """Multiply every input pixel by the whole kernel, as torch's FLOP counter does."""
    return step.inputs * step.outputs * step.kernel**2 * (pixels // step.enlarge**2)


# A transposed convolution with a bias, as in Ronneberger et al. 2015, arXiv:1505.04597.
UP = Operation(
    kind=Kind.CONVOLUTION,
    in_layouts=False,
    params=_up_params,
    macs=_up_macs,
    label=lambda step: f"{step.op} {step.inputs}->{step.outputs}",
    code="",
)


def _resizing(code: str) -> Operation:
    return Operation(
        kind=Kind.ENLARGING,
        in_layouts=False,
        saves_input=False,
        label=lambda step: f"{step.op} x{step.enlarge}",
        code=code,
        behind=lambda signal: signal,
    )


# --- the table ------------------------------------------------------------------------------------

OPERATIONS = Table(
    "operation",
    {
        "conv": CONV,
        "bn": _norm("nn.BatchNorm2d({channels})"),
        "bn0": _norm("nn.BatchNorm2d({channels})", ordinary="bn"),
        "gn": _norm("GroupNorm({groups}, {channels})", obstacle=ANEW),
        "ln": _norm("LayerNorm2d({channels})", obstacle=ANEW),
        "relu": RELU,
        "relu6": RELU6,
        "gelu": _bent("nn.GELU()", low=-0.2),
        "silu": _bent("nn.SiLU()", low=-0.3),
        "se": SE,
        "scale": SCALE,
        "dropout": DROPOUT,
        "pad": PAD,
        "maxpool": _pooling("nn.MaxPool2d(3, stride=2, padding=1)", INDEX_BYTES),
        "maxpool2": _pooling("nn.MaxPool2d({size}, ceil_mode=True)", INDEX_BYTES),
        "avgpool": _pooling("nn.AvgPool2d({size}, ceil_mode=True, count_include_pad=False)"),
        "up2": UP,
        "up3": UP,
        "up4": UP,
        "nearest": _resizing("nn.Upsample(scale_factor={enlarge})"),
        "bilinear": _resizing('nn.Upsample(scale_factor={enlarge}, mode="bilinear")'),
        "shuffle": _resizing("nn.PixelShuffle({enlarge})"),
    },
)
NORMS = tuple(word for word, each in OPERATIONS.items() if each.kind is Kind.NORM)
TRANSPOSED = ("up2", "up3", "up4")  # convolutions that enlarge, with the kernel in their name
ENLARGING = (
    *TRANSPOSED,
    *(word for word, each in OPERATIONS.items() if each.kind is Kind.ENLARGING),
)
ACTIVATIONS = tuple(word for word, each in OPERATIONS.items() if each.kind is Kind.ACTIVATION)
