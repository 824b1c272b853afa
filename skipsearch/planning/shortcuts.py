"""Operations of skip connections where shapes change: one entry per word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skipsearch.layout import is_convolution
from skipsearch.operations import NORMS, ordinary
from skipsearch.plan import Step, Steps
from skipsearch.planning.chains import plan_run
from skipsearch.table import Table

Norm = tuple[str, ...]  # norm of a projection: one operation, or none


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """One way to change the shape of a shortcut.

    Attributes:
        steps: Function from the input channels, output channels, stride and norm of a projection
            to the operations; None if there is no shortcut.
        everywhere: Whether it applies to every shortcut, not only where shapes change.
        narrows: Whether it can reduce the number of channels.
    """

    steps: Callable[[int, int, int, Norm], Steps] | None
    everywhere: bool = False
    narrows: bool = True


def _pad(inputs: int, outputs: int, stride: int, norm: Norm) -> Steps:
    return (Step("pad", inputs, outputs, 1, stride),)


def _project(inputs: int, outputs: int, stride: int, norm: Norm) -> Steps:
    """Return a 1x1 convolution and its norm."""
    return (Step("conv", inputs, outputs, 1, stride), *plan_run(norm, outputs, 0.0))


def _pool_and_project(inputs: int, outputs: int, stride: int, norm: Norm) -> Steps:
    """Return an average pooling with the stride, and a projection."""
    return (*pool(inputs, stride), *_project(inputs, outputs, 1, norm))


def pool(channels: int, factor: int) -> Steps:
    """Return an average pooling if height and width shrink."""
    return (Step("avgpool", channels, channels, factor, factor),) if factor > 1 else ()


def enlarge(channels: int, factor: int) -> Steps:
    """Return a bilinear interpolation if height and width grow."""
    return (Step("bilinear", channels, channels, enlarge=factor),) if factor > 1 else ()


def projection_norm(tokens: Sequence[str]) -> Norm:
    """Return the norm of a projection: the one directly after the branch's last convolution.

    If no norm follows it, the projection has none either.
    """
    tokens = [token for token in tokens if token != "dropout"]
    last = max(i for i, token in enumerate(tokens) if is_convolution(token))
    following = tokens[last + 1 : last + 2]
    if following and following[0] in NORMS:
        return (ordinary(following[0]),)
    return ()


SHORTCUTS = Table(
    "shortcut",
    {
        "pad": Shortcut(steps=_pad, narrows=False),
        "proj": Shortcut(steps=_project),
        "proj-all": Shortcut(steps=_project, everywhere=True),
        "avg-proj": Shortcut(steps=_pool_and_project),
        "omit": Shortcut(steps=None),
    },
)
LINK_SHORTCUTS = Table(
    "link_shortcut", {word: SHORTCUTS[word] for word in ("pad", "proj", "avg-proj")}
)
