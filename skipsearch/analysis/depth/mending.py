"""Effect of long skips on degradation, in comparison with the same designs without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from skipsearch.analysis.depth.groups import Depth, Group
from skipsearch.analysis.depth.samples import Sample, contrast
from skipsearch.analysis.depth.verdict import DEGRADES, GAINS, TIED
from skipsearch.metric import Scale

ERROR = "validation_error"


class Mending(NamedTuple):
    """Difference that long skips make to the effect of depth on the validation error.

    Attributes:
        links: Names of the long skips, and of the operation that joins them.
        shallow: Number of layers of the shallowest networks that both groups have.
        deep: Number of layers of the deepest networks that both groups have.
        n: Smallest number of seeds.
        change: Rise of the error from ``shallow`` to ``deep`` without long skips, minus the rise
            with them.
        low: Lower end of the 95 % interval of the change (Welch, of this change alone).
        high: Upper end of this interval.
        verdicts: Verdicts on the groups without and with long skips.
    """

    links: str
    shallow: int
    deep: int
    n: int
    change: float
    low: float
    high: float
    verdicts: tuple[str, str]


def mendings(groups: Sequence[Group], verdicts: Sequence[str]) -> Iterator[Mending]:
    """Compare each group with long skips with the group of the same designs without them.

    Args:
        groups: Groups of trainings that differ only in depth.
        verdicts: Verdict on each group.
    """
    for group, verdict in zip(groups, verdicts, strict=True):
        design = group[-1].design
        if not design.links:
            continue
        without = design.replace(links=()).id
        for base, of_base in zip(groups, verdicts, strict=True):
            if (found := _mending(base, group, without, (of_base, verdict))) is not None:
                yield found
                break  # a network may be in several groups


def _mending(base: Group, group: Group, without: str, verdicts: tuple[str, str]) -> Mending | None:
    """Return the change; None if the groups differ in more than long skips, or lack seeds."""
    bare = {depth.design.depths: depth for depth in base if depth.is_judged}
    recipes = {depth.trials[0].recipe.id for depth in (base[-1], group[-1])}
    if len(recipes) > 1 or without not in {depth.design.id for depth in base}:
        return None
    both = [(bare[d.design.depths], d) for d in group if d.is_judged and d.design.depths in bare]
    if len(both) < 2:
        return None
    (bare_shallow, shallow), (bare_deep, deep) = both[0], both[-1]
    change, low, high = contrast(
        [_errors(bare_deep), _errors(shallow)], [_errors(bare_shallow), _errors(deep)]
    )
    four = (bare_shallow, shallow, bare_deep, deep)
    n = min(len(depth.compared) for depth in four)
    design = deep.design
    merge = design.link_merge if design.has_effect("link_merge") else "add"
    joined = merge if isinstance(merge, str) else ", ".join(merge)
    name = f"{', '.join(design.worded_links)} ({joined})"
    return Mending(name, shallow.layers, deep.layers, n, change, low, high, verdicts)


def _errors(depth: Depth) -> Sample:
    return depth.sample(ERROR)


def told(mending: Mending, scale: Scale) -> str:
    """Describe in a sentence whether long skips reduce degradation.

    Args:
        mending: Result of the comparison of two groups.
        scale: Metric of the scores, and number of folds.
    """
    metric = scale.metric
    without, present = mending.verdicts
    change, low, high = mending.change, mending.low, mending.high
    by, answer = "less", ""
    if low > 0:
        answer = "make depth pay more"
        if without == DEGRADES:
            mended = present in (GAINS, TIED)
            answer = f"{'mend' if mended else 'lessen'} the degradation"
    elif high < 0:
        by, answer = "more", "make depth pay less"
        change, low, high = -change, -high, -low
    rise, least, most = map(metric.number, (change, low, high))
    rise = metric.with_unit(rise)
    seen = (
        f"from {mending.shallow} to {mending.deep} layers, validation {metric.error} rises by"
        f" {rise} {by} with them than without ({least} to {most},"
        f" n = {mending.n} {scale.repeat}s or more)"
    )
    if answer:
        return f"Long skips {mending.links} {answer}: {seen}."
    return f"Whether long skips {mending.links} change what depth does is open: {seen}."
