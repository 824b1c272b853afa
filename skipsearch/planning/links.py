"""Long skips between stages, and the joins that they end in."""

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
        sources: The stages that they lead from, 0 for the stem.
        block: The last of the stage that they lead to.
        outputs: Channels that leave the stem and each stage before.
        after: What the layout does to the joined signal.
        merge: How they are joined, a word of ``LINK_MERGES``.
        shortcut: What one that is added carries where shapes differ.
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
    """Resample a long skip: the shape of its source becomes the one that it is joined in.

    Added, it is carried as the shortcut of a block would be (Zhang et al. 2016, arXiv:1608.02908,
    section 3); concatenated, it keeps its channels and is average-pooled.

    Args:
        block: The last of the stage that it leads to.
        source: The stage that it leads from.
        outputs: Channels that leave the stem and each stage before.
        merge: How it is joined, a word of ``LINK_MERGES``.
        shortcut: What it carries where shapes differ.
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
