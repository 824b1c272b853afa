"""The table of a group: one row for each depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, stdev

from skipsearch.analysis.depth.groups import LEAST_SEEDS, MEASURES, Depth, Group
from skipsearch.analysis.student import t_quantile
from skipsearch.record import FAIL, PRUNED

STATISTICS = ("", "_sd", "_low", "_high")
DEPTH_COLUMNS = (
    *("depths", "layers", "design", "epochs", "n", "stopped", "failed"),
    *(f"{measure}{statistic}" for measure in MEASURES for statistic in STATISTICS),
    *("loss", "epochs_to_loss"),
)


def depth_row(depth: Depth, loss: float) -> dict[str, object]:
    """Return the row of a depth.

    Args:
        depth: Trainings at this depth.
        loss: Training loss of ``epochs_to_loss``.
    """
    reached = depth.epochs_to(loss)
    row: dict[str, object] = {
        "depths": str(list(depth.design.depths)),
        "layers": depth.layers,
        "design": depth.design.id,
        "epochs": depth.epoch,
        "n": len(depth.compared),
        "stopped": depth.count(PRUNED),
        "failed": depth.count(FAIL),
        "loss": loss,
        "epochs_to_loss": median(reached) if reached else math.nan,
    }
    for measure in MEASURES:
        metric = depth.scale.metric
        ends = (0.0, math.inf)
        if measure.endswith("_error"):
            ends = metric.lack(metric.best), metric.lack(metric.worst)
        numbers = _statistics(depth, measure, *ends)
        row |= {f"{measure}{s}": x for s, x in zip(STATISTICS, numbers, strict=True)}
    return row


def _statistics(
    depth: Depth, measure: str, least: float, most: float
) -> tuple[float, float, float, float]:
    """Return mean, deviation, and the 95 % interval of a mean between two bounds."""
    values = depth.values(measure)
    if len(values) < LEAST_SEEDS:
        return values[0] if values else math.nan, math.nan, math.nan, math.nan
    sample = depth.sample(measure)
    half = t_quantile(0.975, sample.n - 1) * math.sqrt(sample.error)
    return sample.mean, stdev(values), max(least, sample.mean - half), min(most, sample.mean + half)


def common_losses(groups: Sequence[Group], loss: float | None) -> dict[tuple[int, ...], float]:
    """Return for each depth the training loss that all compared trainings reach."""
    lowest: dict[tuple[int, ...], list[float]] = {}
    for depth in (depth for group in groups for depth in group):
        reached = lowest.setdefault(depth.design.depths, [])
        reached += [depth.lowest_loss(trial) for trial in depth.compared]
    return {
        depths: max(reached, default=math.nan) if loss is None else loss
        for depths, reached in lowest.items()
    }
