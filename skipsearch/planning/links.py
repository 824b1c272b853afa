"""Long skips between stages, and the joins where they end."""

from __future__ import annotations

from collections.abc import Sequence

from skipsearch.errors import DesignError
from skipsearch.merges import LINK_MERGES
from skipsearch.plan import Block, Join, Link, Steps
from skipsearch.planning.chains import plan_run
from skipsearch.planning.shortcuts import LINK_SHORTCUTS, pool, projection_norm


def plan_join(
    sources: Sequence[int],
    block: Block,
    outputs: Sequence[int],
    after: Sequence[str],
    merge: str,
    shortcut: str,
    dropout: float,
) -> Join:
    """Resolve the long skips that end at one stage.

    Args:
        sources: Source stages, 0 for the stem.
        block: Last block of the target stage.
        outputs: Output channels of the stem and of each earlier stage.
        after: Operations of the layout on the joined signal.
        merge: How the links are joined, a word of ``LINK_MERGES``.
        shortcut: What an added link carries where shapes differ.
        dropout: Rate of every ``dropout``.

    Raises:
        DesignError: If the shapes cannot be made to fit.
    """
    links = tuple(Link(i, _plan_link(block, i, outputs, merge, shortcut)) for i in sources)
    appended = 0 if LINK_MERGES[merge].carries else sum(outputs[source] for source in sources)
    channels = block.outputs + appended
    return Join(links, merge, plan_run(after, channels, dropout), block.outputs, channels)


def _plan_link(
    block: Block, source: int, outputs: Sequence[int], merge: str, shortcut: str
) -> Steps:
    """Return the steps of a long skip from the shape of its source to that of the join.

    An added link is treated like the shortcut of a block (Zhang et al. 2016, arXiv:1608.02908,
    section 3); a concatenated one keeps its channels and is average-pooled.

    Args:
        block: Last block of the target stage.
        source: Source stage.
        outputs: Output channels of the stem and of each earlier stage.
        merge: How the link is joined, a word of ``LINK_MERGES``.
        shortcut: What the link carries where shapes differ.
    """
    inputs, channels, target = outputs[source], block.outputs, len(outputs)
    factor = 2 ** (target - max(source, 1))  # every stage but the first halves
    if not LINK_MERGES[merge].carries:
        return pool(inputs, factor)
    if inputs == channels and factor == 1:
        return ()
    entry = LINK_SHORTCUTS[shortcut]
    if inputs > channels and not entry.narrows:
        raise DesignError(
            f"link_shortcut {shortcut!r} adds zero channels and cannot lead from {inputs} to"
            f" {channels} (link {source}>{target}); use proj or avg-proj"
        )
    assert entry.steps is not None
    norm = projection_norm(["conv1" if step.op == "conv" else step.op for step in block.branch])
    return entry.steps(inputs, channels, factor, norm)
