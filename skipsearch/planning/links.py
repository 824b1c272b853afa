"""Long skips between stages, and the joins where they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from skipsearch.errors import DesignError
from skipsearch.merges import LINK_MERGES
from skipsearch.plan import IMAGE, End, Join, Link, Steps
from skipsearch.planning.chains import plan_run
from skipsearch.planning.shortcuts import LINK_SHORTCUTS, Norm, enlarge, pool


class Start(NamedTuple):
    """Start of a long skip.

    Attributes:
        end: End where it starts.
        channels: Number of channels there.
        level: Number of halvings up to there.
    """

    end: End
    channels: int
    level: int


def plan_join(
    starts: Sequence[Start],
    end: End,
    channels: int,
    level: int,
    norm: Norm,
    after: Sequence[str],
    merge: str,
    shortcut: str,
    dropout: float,
) -> Join:
    """Resolve the long skips that end at one stage or node.

    Args:
        starts: Starts of the long skips.
        end: Stage or node where they end.
        channels: Number of channels of the signal that they join.
        level: Number of halvings up to that signal.
        norm: Norm of a projection.
        after: Operations of the layout on the joined signal.
        merge: Merge of the links, a word of ``LINK_MERGES``.
        shortcut: Shortcut of an added link where shapes differ, a word of ``LINK_SHORTCUTS``.
        dropout: Rate of every ``dropout``.

    Raises:
        DesignError: If the shapes cannot be made to fit.
    """
    carries = LINK_MERGES[merge].carries
    links = []
    for start in starts:
        steps = _plan_link(start, end, channels, level, norm, merge, shortcut)
        links.append(Link(start.end, steps, channels if carries else start.channels))
    outputs = channels if carries else channels + sum(link.outputs for link in links)
    return Join(tuple(links), merge, plan_run(after, outputs, dropout), channels, outputs)


def _plan_link(
    start: Start, target: End, channels: int, level: int, norm: Norm, merge: str, shortcut: str
) -> Steps:
    """Return the steps of a long skip from the shape of its start to that of the join.

    An added link is treated like the shortcut of a block (Zhang et al. 2016, arXiv:1608.02908,
    section 3); a concatenated one keeps its channels and is average-pooled. From a coarser level,
    both are enlarged at the end (Huang et al. 2020, arXiv:2004.08790, section 2.1).
    """
    inputs = start.channels
    shrink, grow = 2 ** max(0, level - start.level), 2 ** max(0, start.level - level)
    if not LINK_MERGES[merge].carries:
        return (*pool(inputs, shrink), *enlarge(inputs, grow))
    if inputs == channels and shrink == 1 and start.end != IMAGE:  # as for a block
        return enlarge(channels, grow)
    entry = LINK_SHORTCUTS[shortcut]
    if inputs > channels and not entry.narrows:
        raise DesignError(
            f"link_shortcut {shortcut!r} adds zero channels and cannot lead from {inputs} to"
            f" {channels} (link {start.end}>{target}); use proj or avg-proj"
        )
    assert entry.steps is not None
    return (*entry.steps(inputs, channels, shrink, norm), *enlarge(channels, grow))
