"""The verdict on a group: the effect of depth on its designs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from skipsearch.analysis.depth.groups import Depth, Group
from skipsearch.analysis.depth.samples import difference, holm

# The possible answers. The first and the second are distinguished as in He et al. 2015
# (arXiv:1512.03385, section 1): "such degradation is not caused by overfitting".
DEGRADES = "degrades"
OVERFITS = "overfits"
GAINS = "gains"
TIED = "tied"
UNKNOWN = "not enough data"

VERDICT_COLUMNS = (
    *("verdict", "n", "shallowest", "deepest"),
    *("train_best", "train_least", "train_rise", "train_rise_low", "train_rise_high"),
    *(
        "validation_best",
        "validation_least",
        "validation_rise",
        "validation_rise_low",
        "validation_rise_high",
    ),
    *("best", "enough"),
)


def verdict_row(group: Group) -> dict[str, object]:
    """Return the row of a group: its verdict, and the differences that it is based on."""
    judged = [depth for depth in group if depth.is_judged]
    shallower = [depth for depth in judged if depth.layers < judged[-1].layers]
    if not shallower:
        seeds = min((len(depth.compared) for depth in group), default=0)
        return {"verdict": UNKNOWN, "n": seeds}
    deepest = judged[-1]
    row: dict[str, object] = {
        "verdict": _judge(shallower, deepest),
        "n": min(len(depth.compared) for depth in judged),
        "shallowest": shallower[0].layers,
        "deepest": deepest.layers,
        "best": min(judged, key=lambda depth: depth.mean("validation_error")).layers,
        "enough": _enough(judged),
    }
    for name, measure in (("train", "train_error"), ("validation", "validation_error")):
        best = min(shallower, key=lambda depth: depth.mean(measure))
        row |= {f"{name}_best": best.layers, f"{name}_least": best.mean(measure)}
        rise, low, high = difference(best.sample(measure), deepest.sample(measure))
        row |= {f"{name}_rise": rise, f"{name}_rise_low": low, f"{name}_rise_high": high}
    return row


def _judge(shallower: Sequence[Depth], deepest: Depth) -> str:
    claims = [
        (measure, depth, deepest)
        for measure in ("train_error", "validation_error")
        for depth in shallower
    ]
    claims.append(("validation_error", deepest, shallower[0]))
    *rises, falls = holm([(low.scores(m), high.scores(m)) for m, low, high in claims])
    trains_worse = any(rises[: len(shallower)])
    risen = list(itertools.compress(shallower, rises[len(shallower) :]))
    if trains_worse and (risen or not falls):
        return DEGRADES
    if risen:
        least = min(risen, key=lambda depth: depth.mean("validation_error"))
        fits_better = deepest.mean("train_error") <= least.mean("train_error")
        return OVERFITS if fits_better else UNKNOWN
    return GAINS if falls else TIED


def _enough(judged: Sequence[Depth]) -> int:
    """Return the smallest number of layers that is not worse than the best."""
    samples = [depth.scores("validation_error") for depth in judged]
    pairs = list(itertools.permutations(range(len(judged)), 2))
    holds = holm([(samples[i], samples[j]) for i, j in pairs])
    better = {pair for pair, held in zip(pairs, holds, strict=True) if held}
    best = min(range(len(judged)), key=lambda i: judged[i].mean("validation_error"))
    return next(depth.layers for i, depth in enumerate(judged) if (best, i) not in better)
