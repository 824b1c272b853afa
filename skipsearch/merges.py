"""Merges: the ways of joining branch and shortcut of a block, and of joining long skips.

The tables have one entry per merge, with everything that needs no torch: shapes, cost, drawings and
exported source use them. Modules of ``models.merges`` and ``models.links`` apply merges to tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skipsearch.plan import Block, Join, identifier
from skipsearch.table import Table

ADDED, CONCATENATED = "+", "[,]"


class Weights(NamedTuple):
    """The text of a join in drawings.

    Attributes:
        branch: Factor of the branch; empty if there is none.
        shortcut: Factor of the shortcut; empty if there is none.
        note: Further text.
    """

    branch: str = ""
    shortcut: str = ""
    note: str = ""


class Code(NamedTuple):
    """The join in exported source, where ``x`` is the output of the branch.

    Attributes:
        lines: Lines of ``forward``.
        made: Lines of ``__init__`` that create the modules and parameters of ``lines``.
        uses: Names of the channel counts that the lines of ``__init__`` use.
    """

    lines: Sequence[str]
    made: Sequence[str] = ()
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Merge:
    """One way of joining the branch and the shortcut of a block.

    Attributes:
        done: Description of the join, as in "the shortcut is added".
        sign: Symbol of the join in drawings.
        carries: Whether the shortcut is brought to the shape of the branch. If not, the block's
            input is joined unchanged, no block changes height and width, and each stage begins
            with a transition.
        appends: Whether channels of the branch are concatenated.
        fields: Fields of a design that have an effect with this merge but not with every merge.
        params: Number of trainable parameters of the join.
        macs: Multiply-adds of the join per pixel.
        writes: Number of channels that the operations of the join write.
        saves_branch: Whether its gradient needs the output of the branch.
        saves_shortcut: Whether its gradient needs that of the shortcut.
        saves_further: Number of further channels that its gradient needs.
        weights: Text in drawings.
        code: Lines in exported source.
    """

    done: str
    sign: str = ADDED
    carries: bool = True
    appends: bool = False
    fields: frozenset[str]
    params: Callable[[Block], int] = lambda block: 0
    macs: Callable[[Block], int] = lambda block: 0
    writes: Callable[[Block], int] = lambda block: block.outputs
    saves_branch: bool = False
    saves_shortcut: bool = False
    saves_further: Callable[[Block], int] = lambda block: 0
    weights: Callable[[Block], Weights] = lambda block: Weights()
    code: Callable[[Block], Code]


# --- add ------------------------------------------------------------------------------------------


def _scaled(block: Block) -> Weights:
    scales = (block.branch_scale, block.shortcut_scale)
    return Weights(*("" if scale == 1.0 else f"{scale:g}" for scale in scales))


def _added(block: Block) -> Code:
    made, lines = [], []
    if block.shortcut_dropout:
        made.append(f"self.shortcut_dropout = nn.Dropout({block.shortcut_dropout!r})")
        lines.append("shortcut = self.shortcut_dropout(shortcut)")
    scales = (("x", block.branch_scale), ("shortcut", block.shortcut_scale))
    branch, shortcut = (name if scale == 1.0 else f"{scale!r} * {name}" for name, scale in scales)
    return Code([*lines, f"x = {branch} + {shortcut}"], made)


ADD = Merge(
    done="added",
    fields=frozenset({"shortcut", "shortcut_scale", "branch_scale", "shortcut_dropout"}),
    writes=lambda block: block.outputs * (2 if block.shortcut_dropout else 1),
    saves_further=lambda block: block.outputs if block.shortcut_dropout else 0,  # a mask
    weights=_scaled,
    code=_added,
)

# --- cat ------------------------------------------------------------------------------------------

CAT = Merge(
    done="concatenated",
    sign=CONCATENATED,
    carries=False,
    appends=True,
    fields=frozenset({"compression"}),
    code=lambda block: Code(["x = torch.cat([shortcut, x], dim=1)"]),
)

# --- gates ----------------------------------------------------------------------------------------

ONE_LESS = "1 - g"


def _gate_note(block: Block) -> str:
    shape = f"{block.outputs}->{block.outputs}"
    return f"g = sigmoid(conv1 {shape} of the shortcut), bias {block.gate_bias:g}"


def _gated(branch: str) -> Callable[[Block], Code]:
    def code(block: Block) -> Code:
        return Code(
            [
                "gate = torch.sigmoid(self.gate(shortcut))",
                f"x = {branch} + (1 - gate) * shortcut",
            ],
            [
                "self.gate = nn.Conv2d(out_channels, out_channels, 1)",
                f"nn.init.constant_(self.gate.bias, {block.gate_bias!r})",
            ],
            ("out_channels",),
        )

    return code


def _gate(branch_factor: str, branch_code: str) -> Merge:
    """Return a merge with a gate: a 1x1 convolution of the shortcut, with a bias."""
    return Merge(
        done="gated",
        fields=frozenset({"shortcut", "gate_bias"}),
        params=lambda block: block.outputs**2 + block.outputs,
        macs=lambda block: block.outputs**2,
        writes=lambda block: 2 * block.outputs,  # gate after the sigmoid, then the weighted sum
        saves_branch=bool(branch_factor),
        saves_shortcut=True,
        saves_further=lambda block: 2 * block.outputs,  # the gate, and 1 minus it
        weights=lambda block: Weights(branch_factor, ONE_LESS, _gate_note(block)),
        code=_gated(branch_code),
    )


# --- weighted -------------------------------------------------------------------------------------


def _weighted(block: Block) -> Code:
    names = ("branch_weight", "shortcut_weight")
    made = [f"self.{name} = nn.Parameter(torch.ones(()))" for name in names]
    return Code(["x = self.branch_weight * x + self.shortcut_weight * shortcut"], made)


WEIGHTED = Merge(
    done="added with a learned weight",
    fields=frozenset({"shortcut"}),
    params=lambda block: 2,
    saves_branch=True,
    saves_shortcut=True,
    weights=lambda block: Weights("a", "b", "a, b learned"),
    code=_weighted,
)

# --- dual -----------------------------------------------------------------------------------------


def _dual(block: Block) -> Code:
    lines = [
        "added = x[:, : self.width] + shortcut[:, : self.width]",
        "x = torch.cat([added, shortcut[:, self.width :], x[:, self.width :]], dim=1)",
    ]
    return Code(lines, ["self.width = width"], ("width",))


DUAL = Merge(
    done="added and concatenated",
    appends=True,
    fields=frozenset({"shortcut", "growth"}),
    writes=lambda block: block.outputs + block.added,  # the sum, then the concatenation
    weights=lambda block: Weights(note=f"first {block.added} added, rest concatenated"),
    code=_dual,
)

# --- max ------------------------------------------------------------------------------------------

MAX = Merge(
    done="joined as the elementwise maximum",
    sign="max",
    saves_branch=True,
    saves_shortcut=True,
    fields=frozenset({"shortcut"}),
    code=lambda block: Code(["x = torch.maximum(x, shortcut)"]),
)

# --- the tables -----------------------------------------------------------------------------------

MERGES = Table(
    "merge",
    {
        "add": ADD,
        "cat": CAT,
        "gate": _gate("g", "gate * x"),
        "shortcut-gate": _gate("", "x"),
        "weighted": WEIGHTED,
        "dual": DUAL,
        "max": MAX,
    },
)


@dataclass(frozen=True, kw_only=True)
class LinkMerge:
    """One way of joining long skips to a signal.

    Attributes:
        sign: Symbol of the join in drawings.
        carries: Whether a link is brought to the shape of that signal. If not, it keeps its
            channels; if it must shrink, it is average-pooled.
        note: Further text in drawings.
        params: Number of trainable parameters of a join, without those of its links.
        macs: Multiply-adds of a join per pixel, without those of its links.
        writes: Number of channels that the operations of a join write.
        saves_all: Whether its gradient needs the signal and the links.
        saves_further: Number of further channels that its gradient needs.
        code: Function that returns the exported source. Its arguments are the join, an expression
            for each link, which is joined to ``x``, and the name of the stage or node.
    """

    sign: str
    carries: bool
    note: str = ""
    params: Callable[[Join], int] = lambda join: 0
    macs: Callable[[Join], int] = lambda join: 0
    writes: Callable[[Join], int] = lambda join: join.outputs
    saves_all: bool = False
    saves_further: Callable[[Join], int] = lambda join: 0
    code: Callable[[Join, list[str], str], Code]


def attention_width(channels: int) -> int:
    """Return the channels inside the attention gate of a link, at least 1."""
    return max(1, channels // 2)


def _attention_params(join: Join) -> int:
    """Count two 1x1 convolutions to the inner channels and one from them; two have a bias."""
    total = 0
    for link in join.links:
        inner = attention_width(link.outputs)
        total += (link.outputs + join.inputs + 1) * inner + inner + 1
    return total


def _attention_macs(join: Join) -> int:
    widths = ((link.outputs, attention_width(link.outputs)) for link in join.links)
    return sum((outputs + join.inputs + 1) * inner for outputs, inner in widths)


def _attention_writes(join: Join) -> int:
    """Count two projections, their sum and ReLU, the weight and sigmoid, and the weighted link."""
    each = (4 * attention_width(link.outputs) + 2 + link.outputs for link in join.links)
    return sum(each) + join.outputs


def _attention_saves(join: Join) -> int:
    """Count the values of the ReLU and of the weight."""
    return sum(attention_width(link.outputs) + 1 for link in join.links)


def _attention_code(join: Join, terms: list[str], end: str) -> Code:
    names = [f"attention{identifier(link.source)}to{end}" for link in join.links]
    made = [
        f"self.{name} = AttentionGate({join.inputs}, {link.outputs})"
        for name, link in zip(names, join.links, strict=True)
    ]
    gated = [f"self.{name}(x, {term})" for name, term in zip(names, terms, strict=True)]
    return Code([f"x = torch.cat([x, {', '.join(gated)}], dim=1)"], made)


def _weighted_code(join: Join, terms: list[str], end: str) -> Code:
    made = [f"self.sum{end} = WeightedSum({len(terms) + 1})"]
    return Code([f"x = self.sum{end}([x, {', '.join(terms)}])"], made)


LINK_MERGES = Table(
    "link_merge",
    {
        "add": LinkMerge(
            sign=ADDED,
            carries=True,
            writes=lambda join: len(join.links) * join.outputs,  # added one by one
            code=lambda join, terms, end: Code([f"x = x + {term}" for term in terms]),
        ),
        "cat": LinkMerge(
            sign=CONCATENATED,
            carries=False,
            code=lambda join, terms, end: Code([f"x = torch.cat([x, {', '.join(terms)}], dim=1)"]),
        ),
        "attention": LinkMerge(
            sign=CONCATENATED,
            carries=False,
            note="attention",
            params=_attention_params,
            macs=_attention_macs,
            writes=_attention_writes,
            saves_all=True,
            saves_further=_attention_saves,
            code=_attention_code,
        ),
        "weighted": LinkMerge(
            sign=ADDED,
            carries=True,
            note="learned weights",
            params=lambda join: len(join.links) + 1,
            writes=lambda join: (2 * len(join.links) + 1) * join.outputs,  # weighted, then added
            saves_all=True,
            code=_weighted_code,
        ),
    },
)
