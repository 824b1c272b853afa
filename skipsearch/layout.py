"""The layout notation: text <-> an immutable value, independent of tensors and channels.

conv3-bn-relu-conv3-bn + relu
|_____________________|   |__|
   residual branch        after the join; "+" is where the shortcut joins
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from skipsearch.errors import LayoutError, not_one_of, shown_value
from skipsearch.operations import OPERATIONS

PLAIN_TOKENS = tuple(word for word, each in OPERATIONS.items() if each.in_layouts)
LARGEST_KERNEL = 31
MOST_OPERATIONS = 100  # of a block: far above any real block, far below a typical mistake

_CONVOLUTION = re.compile(r"(conv|dw)(0|[1-9][0-9]{0,4})")  # one spelling per kernel


@dataclass(frozen=True)
class Layout:
    """The order of convolution, normalisation, activation and join in a block.

    ``Layout.parse(str(x)) == x`` for every layout ``x``.

    Attributes:
        branch: Operations of the residual branch, first to last, with at least one convolution.
        after: Operations on the joined signal.
        skip: Whether there is a shortcut; a plain block has none.
    """

    branch: tuple[str, ...]
    after: tuple[str, ...] = ()
    skip: bool = True

    def __post_init__(self) -> None:
        text = str(self)
        if len(self.branch) + len(self.after) > MOST_OPERATIONS:
            raise LayoutError(f"more than {MOST_OPERATIONS} operations in {shown_value(text)}")
        for token in (*self.branch, *self.after):
            check_token(token, PLAIN_TOKENS, text)
        if not any(map(is_convolution, self.branch)):
            raise LayoutError(
                f"no convolution in the branch of {shown_value(text)} (conv3 or dw3, for example)"
            )
        if self.after and not self.skip:
            raise LayoutError(
                f"a plain layout has no join, so nothing may follow it: {shown_value(self.after)}"
            )

    def __str__(self) -> str:
        branch = "-".join(self.branch)
        if not self.skip:
            return branch
        return f"{branch} + {'-'.join(self.after)}" if self.after else f"{branch} +"

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Parse a layout in the notation.

        Args:
            text: ``run ["+" [run]]`` with ``run := op ("-" op)*``; blanks are ignored.

        Returns:
            The layout; texts that differ only in blanks give equal layouts.

        Raises:
            LayoutError: If the text is empty, an operation is unknown, the branch has no
                convolution, or there is more than one ``+``.
        """
        if not isinstance(text, str):
            raise LayoutError(
                f"a layout is a text such as 'conv3-bn + relu', not {shown_value(text)}"
            )
        return _parse(text)

    @cached_property
    def opening(self) -> tuple[str, ...]:
        """The operations before the branch's first convolution: the pre-activation."""
        first = next(i for i, token in enumerate(self.branch) if is_convolution(token))
        return self.branch[:first]

    def without(self, token: str) -> Layout:
        """Return this layout without any occurrence of one operation."""
        return Layout(
            tuple(t for t in self.branch if t != token),
            tuple(t for t in self.after if t != token),
            self.skip,
        )


@lru_cache(maxsize=1024)
def _parse(text: str) -> Layout:
    if text.count("+") > 1:
        raise LayoutError(f"'+' occurs more than once in {shown_value(text)}; a block has one join")
    branch, plus, after = text.partition("+")
    if not branch.strip():
        raise LayoutError(
            f"no branch in {shown_value(text)}: write operations such as conv3-bn-relu before '+'"
        )
    return Layout(parse_run(branch), parse_run(after) if after.strip() else (), bool(plus))


def parse_run(text: str) -> tuple[str, ...]:
    """Split ``op-op-op`` into its operations, without checking them."""
    return tuple(token.strip() for token in text.split("-"))


@lru_cache(maxsize=1024)
def is_convolution(token: str) -> bool:
    """Return whether an operation is a dense or depthwise convolution."""
    return _CONVOLUTION.fullmatch(token) is not None


@lru_cache(maxsize=1024)
def split_convolution(token: str) -> tuple[str, int]:
    """Return the kind (``conv`` or ``dw``) and kernel size of a convolution."""
    match = _CONVOLUTION.fullmatch(token)
    assert match, token
    return match[1], int(match[2])


def check_token(token: str, others: tuple[str, ...], text: str) -> None:
    """Reject an operation that is neither a convolution nor one of ``others``.

    Args:
        token: Operation to check.
        others: Operations allowed beside convolutions.
        text: Whole text that contains the operation, for the message.

    Raises:
        LayoutError: If the operation is unknown, or a kernel is even, 0 or too large.
    """
    if token in others:
        return
    if is_convolution(token):
        kind, kernel = split_convolution(token)
        if kernel % 2 == 0 or kernel > LARGEST_KERNEL:
            raise LayoutError(
                f"{shown_value(token)} in {shown_value(text)}: the kernel of {kind} is an odd"
                f" number from 1 to {LARGEST_KERNEL}"
            )
        return
    if not token:
        raise LayoutError(
            f"an operation is missing in {shown_value(text)} (two '-' in a row, or one at an end)"
        )
    allowed = ("conv1", "conv3", "conv5", "conv7", "dw3", "dw5", "dw7", *others)
    hint = not_one_of(token, allowed).partition(" (did you mean")
    suffix = f" (did you mean{hint[2]}" if hint[1] else f"; known: {', '.join(allowed)}"
    raise LayoutError(f"unknown operation {shown_value(token)} in {shown_value(text)}{suffix}")
