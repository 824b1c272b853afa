"""Diagnosis of long skips: the signal that each carries, and the cost of its removal."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from skipsearch.data import Split
from skipsearch.metric import Metric
from skipsearch.models import Network
from skipsearch.models.links import LINKINGS
from skipsearch.models.links.add import AddLinks
from skipsearch.models.network import LinkedNetwork, MapNetwork
from skipsearch.plan import OUTPUT
from skipsearch.training.engine import Trainer

ALL = "all"  # the row of the lesion of all long skips at once
ADDED = "add"  # merge of a long skip with the output
LINK_COLUMNS = (
    *("moment", "link", "merge", "size", "link_norm", "signal_norm", "ratio", "weight"),
    *("lesion_score", "lesion_drop"),
)
MOST = 8  # long skips in a sentence


def links(model: Network) -> dict[str, nn.Module]:
    """Return the modules of the long skips of a network by name, such as ``1>7``."""
    named: dict[str, nn.Module] = {}
    for name, join in model.joins.items():
        target = name.removeprefix("stage").removeprefix("node_").replace("_", ".")
        for source, link in zip(*_of(join), strict=True):
            named[f"{source}>{target}"] = link
    if isinstance(model, MapNetwork):
        for source, link in zip(model.output_sources, model.output_links, strict=True):
            named[f"{source}>{OUTPUT}"] = link
    return named


def _of(join: nn.Module) -> tuple[Sequence[object], Iterable[nn.Module]]:
    return cast("AddLinks", join).sources, cast("AddLinks", join).links


def carried(model: Network, inputs: Tensor) -> list[dict[str, Any]]:
    """Return for each long skip the columns of ``explain`` that one forward pass yields.

    Args:
        model: Network, whose batch statistics change in training mode.
        inputs: Inputs (N, C, H, W) on its device.
    """
    if not isinstance(model, LinkedNetwork):
        return []
    rows: list[dict[str, Any]] = []

    def note(join: nn.Module, entered: tuple[Any, ...], _joined: Tensor) -> None:
        assert isinstance(join, AddLinks)
        terms, weights = join.terms(*entered), join.weights(*entered)
        rows.extend(_signals(_merge_of(join), terms, weights))

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for join in model.joins.values():
            hooks.enter_context(join.register_forward_hook(note))
        last, ends = model.features(inputs)
        if isinstance(model, MapNetwork):
            rows.extend(_signals(ADDED, model.terms(last, ends), []))
    return [{"link": name, **row} for name, row in zip(links(model), rows, strict=True)]


def _merge_of(join: AddLinks) -> str:
    return next(word for word, linking in LINKINGS.items() if linking.build is type(join))


def _signals(
    merge: str, terms: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[dict[str, Any]]:
    signal, *parts = terms
    return [
        {
            "merge": merge,
            "size": "x".join(map(str, part.shape[2:])),
            "link_norm": float(part.norm()),
            "signal_norm": float(signal.norm()),
            "ratio": float(part.norm() / signal.norm()),
            "weight": float(weights[i].mean()) if weights else math.nan,
        }
        for i, part in enumerate(parts)
    ]


def link_lesions(trainer: Trainer, split: Split) -> dict[str, float]:
    """Return the score on a split without each long skip in turn, and without all of them.

    Args:
        trainer: Trainer of a ``Network``, which stays unchanged.
        split: Split that is evaluated on, in evaluation mode.
    """
    assert isinstance(trainer.model, Network)
    named = links(trainer.model)
    removed = {name: [link] for name, link in named.items()}
    if len(named) > 1:
        removed[ALL] = list(named.values())
    scores = {}
    for name, modules in removed.items():
        with contextlib.ExitStack() as hooks:
            for module in modules:
                hooks.enter_context(module.register_forward_hook(_nothing))
            scores[name] = trainer.evaluate(split)[1]
    return scores


def _nothing(_module: nn.Module, _entered: tuple[Tensor, ...], left: Tensor) -> Tensor:
    return torch.zeros_like(left)


def lesioned(
    rows: list[dict[str, Any]], lesions: dict[str, float], score: float
) -> list[dict[str, Any]]:
    """Return the rows with the columns of the lesions, and a last row for that of all long skips.

    Args:
        rows: Rows of ``carried``.
        lesions: Scores of ``link_lesions``.
        score: Score of the whole network.
    """
    seen = {row["link"]: row for row in rows}
    return [
        {"link": name, **seen.get(name, {}), "lesion_score": left, "lesion_drop": score - left}
        for name, left in lesions.items()
    ]


# --- in words ------------------------------------------------------------------------------------


def link_words(table: pd.DataFrame, when: str, metric: Metric) -> Iterable[str]:
    """Derive the sentences from the rows of one moment of the table of long skips.

    Args:
        table: Rows of one moment, not empty.
        when: Moment in words, such as ``After training``.
        metric: Metric of the scores.
    """
    each = table[table.link != ALL]
    shown = each.head(MOST)
    columns = (shown.link, shown.ratio, shown["size"], shown.weight)
    listed = ", ".join(
        f"{link} {ratio:.3g} (at {size}{_weight(weight)})"
        for link, ratio, size, weight in zip(*columns, strict=True)
    )
    yield f"{when} long skips carry, times the signal that they join: {listed}{_more(each)}."
    if each.lesion_drop.isna().all():
        return
    drops = zip(shown.link, map(metric.number, shown.lesion_drop), strict=True)
    costs = ", ".join(f"{link} {drop}" for link, drop in drops)
    at_once = map(metric.number, table[table.link == ALL].lesion_drop)
    together = "".join(f"; all at once {drop}" for drop in at_once)
    yield (
        f"Removing one long skip costs, in {metric.differences_in(f'validation {metric.title}')}:"
        f" {costs}{_more(each)}{together}. The rest was trained with them: what a network reaches"
        " that was trained without, a search over links can tell."
    )


def _weight(weight: float) -> str:
    return "" if math.isnan(weight) else f", mean weight {weight:.3g}"


def _more(rows: pd.DataFrame) -> str:
    return f", and {len(rows) - MOST} more" if len(rows) > MOST else ""
