"""Formatting of Python source as by ruff: calls, modules, and lines of at most 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from textwrap import indent

from skipsearch.layout import is_convolution
from skipsearch.operations import GROUP_CHANNELS, OPERATIONS, ordinary
from skipsearch.plan import Step

LINE_LENGTH = 100

# Emitted only if the network uses them.
HELPERS = {
    "cut": '''
def cut(x: Tensor, like: Tensor) -> Tensor:
    """Cut height and width to those of another signal: what was halved upwards is cut back."""
    return x[:, :, : like.shape[2], : like.shape[3]]
''',
    "DefaultConv2d": '''
class DefaultConv2d(nn.Conv2d):
    """Convolution with PyTorch's default initial weights."""
''',
    "AttentionGate": '''
class AttentionGate(nn.Module):
    """Weighs every pixel of a long skip (Oktay et al. 2018, arXiv:1804.03999, equations 1, 2)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.of_link = DefaultConv2d(channels, inner, 1, bias=False)
        self.of_signal = DefaultConv2d(inputs, inner, 1)
        self.weigh = DefaultConv2d(inner, 1, 1)

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        weight = F.relu(self.of_link(link) + self.of_signal(x))
        weight = torch.sigmoid(self.weigh(weight))
        return weight * link
''',
    "WeightedSum": '''
class WeightedSum(nn.Module):
    """A sum with one learned number for each term, which starts at 1."""

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(terms))

    def forward(self, terms: list[Tensor]) -> Tensor:
        out = self.weights[0] * terms[0]
        for weight, term in zip(self.weights[1:], terms[1:], strict=True):
            out = out + weight * term
        return out
''',
    "GroupNorm": '''
class GroupNorm(nn.GroupNorm):
    """GroupNorm (Wu & He 2018, arXiv:1803.08494) that takes a group of a single value."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
''',
    "LayerNorm2d": '''
class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels at each position (Liu et al. 2022, arXiv:2201.03545)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = super().forward(x)
        return x.permute(0, 3, 1, 2)
''',
    "SqueezeExcitation": '''
class SqueezeExcitation(nn.Module):
    """Weighs the channels by what all positions hold (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 16)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = x.mean((2, 3), keepdim=True)
        weight = F.relu(self.squeeze(weight))
        weight = torch.sigmoid(self.excite(weight))
        return x * weight
''',
    "Scale": '''
class Scale(nn.Module):
    """One learned factor that starts at 0 (ReZero: Bachlechner et al. 2020, arXiv:2003.04887)."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x
''',
    "DropPath": '''
class DropPath(nn.Module):
    """Stochastic depth: drops the branch of whole images in training (arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep)
        return x * mask / keep
''',
    "PadShortcut": '''
class PadShortcut(nn.Module):
    """Every stride-th pixel, and zeros for the new channels (He et al. 2015, option A)."""

    def __init__(self, new_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 1, self.stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
''',
}


def stem_of(token: str) -> str:
    """Return the name of an operation's attribute, without its number."""
    return "conv" if is_convolution(token) else ordinary(token)


def module_call(
    op: str, channels: str, *, rate: float = 0.0, size: str = "2", enlarge: int = 1
) -> str:
    """Return the expression of a module that keeps its channels.

    Args:
        op: Word of the operation in the plan.
        channels: Number of channels, or its name.
        rate: Rate of a dropout.
        size: Kernel size and stride of average pooling.
        enlarge: Factor of height and width.
    """
    code = OPERATIONS[op].code
    assert code, f"{op} is written by what knows the channels that leave it"
    groups = f"{channels} // gcd({GROUP_CHANNELS}, {channels})"
    if channels.isdecimal():
        groups = str(int(channels) // gcd(GROUP_CHANNELS, int(channels)))
    return code.format(channels=channels, groups=groups, rate=rate, size=size, enlarge=enlarge)


def convolution(inputs: str, outputs: str, kernel: int, stride: str, groups: str) -> str:
    """Return the expression of a convolution without default arguments."""
    arguments = [inputs, outputs, str(kernel)]
    if stride != "1":
        arguments.append(f"stride={stride}")
    if kernel > 1:
        arguments.append(f"padding={kernel // 2}")
    if groups != "1":
        arguments.append(f"groups={groups}")
    return f"nn.Conv2d({', '.join(arguments)}, bias=False)"


def transposed(inputs: str, step: Step) -> str:
    """Return the expression of a transposed convolution without default arguments."""
    arguments = [inputs, str(step.outputs), str(step.kernel), f"stride={step.enlarge}"]
    padding = (step.kernel - 1) // 2
    if padding:
        arguments.append(f"padding={padding}")
    if output_padding := step.enlarge - step.kernel + 2 * padding:
        arguments.append(f"output_padding={output_padding}")
    return f"nn.ConvTranspose2d({', '.join(arguments)})"


def fitted(line: str, column: int, end: str = "") -> list[str]:
    """Break a long call or list, which starts at ``column``, at its brackets.

    Args:
        line: Expression, or an assignment of one.
        column: Start column.
        end: Text that follows on the same line.
    """
    opens = min((line.find(bracket) for bracket in "([" if bracket in line), default=-1)
    if column + len(line + end) <= LINE_LENGTH or opens < 0:
        return [line + end]
    closes = max(line.rfind(bracket) for bracket in ")]")
    inside = line[opens + 1 : closes]
    lines = [inside]
    if column + 4 + len(inside) > LINE_LENGTH:
        lines = [each for part in _parts(inside) for each in fitted(part, column + 4, ",")]
    return [line[: opens + 1], *deeper(lines), line[closes:] + end]


def _parts(arguments: str) -> list[str]:
    """Split arguments at the commas outside brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def chained(name: str, modules: Sequence[str], column: int, always: bool = False) -> list[str]:
    """Return an assignment of a sequence of modules, on one line if it fits, else on one line each.

    Args:
        name: Target of the assignment.
        modules: Expressions of the modules; a single one needs no sequence.
        column: Start column of the first line.
        always: Whether to use a sequence even for a single module.
    """
    if len(modules) == 1 and not always:
        return [f"{name} = {modules[0]}"]
    line = f"{name} = nn.Sequential({', '.join(modules)})"
    if column + len(line) <= LINE_LENGTH and "\n" not in line:
        return [line]
    lines = [line for module in modules for line in f"{module},".split("\n")]
    return [f"{name} = nn.Sequential(", *deeper(lines), ")"]


def deeper(lines: Sequence[str]) -> list[str]:
    """Indent lines by one level."""
    return [f"    {line}" for line in lines]


def indented(lines: Sequence[str], columns: int) -> str:
    """Indent and join lines."""
    return indent("\n".join(lines), " " * columns)


def return_last(lines: Sequence[str]) -> list[str]:
    """Return the lines, ending in a return of x or of the expression that is assigned to x last."""
    if lines[-1].startswith("x = "):
        return [*lines[:-1], f"return {lines[-1].removeprefix('x = ')}"]
    return [*lines, "return x"]
