"""Effects in words: one or two sentences an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from skipsearch.analysis.comparison import PAIRS, SEEDS
from skipsearch.analysis.effects import TIED, UNKNOWN, WORSE

HOPELESS = 100_000  # further trainings; of more, no number is told

Row = Mapping[Any, Any]


def answers(table: pd.DataFrame) -> list[str]:
    """Say what a table of effects says.

    Args:
        table: As ``effects`` returns it.

    Returns:
        One text an axis, in the order of the table.
    """
    axes = dict.fromkeys(table["axis"])
    return [_answer(axis, table[table["axis"] == axis].to_dict("records")) for axis in axes]


def _answer(axis: str, rows: Sequence[Row]) -> str:
    first, *others = rows
    name = _name(first)
    if not others:
        return f"{axis}: only {name} was seen; there is nothing to compare."
    worse, tied, unknown = (
        [row for row in others if row["verdict"] == verdict] for verdict in (WORSE, TIED, UNKNOWN)
    )
    sentences = []
    if worse:
        sentences.append(f"{name} beats {_beaten(worse)}.")
    if tied:
        differ = "they differ" if len(tied) > 1 else "it differs"
        sentences.append(f"{name} is tied with {_names(tied)}: {differ} by less than what matters.")
    if unknown and sentences:
        sentences.append(f"Against {_names(unknown)}: {_missing(unknown)}.")
    elif unknown:
        sentences.append(f"{_missing(unknown)} ({name} leads).")
    return f"{axis}: {' '.join(sentences)}"


def _beaten(worse: Sequence[Row]) -> str:
    """Name the nearest that is beaten with all its figures, the others with the difference."""
    nearest, *others = worse
    texts = [f"{_name(nearest)} by {-100 * nearest['difference']:.1f} points ({_span(nearest)})"]
    texts += [f"{_name(row)} by {-100 * row['difference']:.1f}" for row in others]
    return ", ".join(texts)


def _span(row: Row) -> str:
    how = {PAIRS: f"{row['pairs']} pairs", SEEDS: f"{row['pairs']} pairs of seeds"}
    by = how.get(row["method"], "by the model")
    return f"{-100 * row['d_high']:.1f} to {-100 * row['d_low']:.1f}; {by}"


def _missing(unknown: Sequence[Row]) -> str:
    """Say what would settle the hardest of the questions that are open."""
    further = [row["further"] for row in unknown if not isnan(row["further"])]
    alone = [row for row in unknown if isnan(row["further"])]
    if not further:
        return "not enough data; nothing that was trained compares them yet"
    others = f"; nothing that was trained compares {_names(alone)} yet" if alone else ""
    if max(further) > HOPELESS:
        return f"not enough data, and no affordable number of trainings would tell{others}"
    return f"not enough data; about {_rounded(max(further))} further trainings would tell{others}"


def _rounded(number: float) -> str:
    return f"{float(f'{number:.1e}'):,.0f}"


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(map(_name, rows))


def _name(row: Row) -> str:
    name = str(row["level"]) or "nothing"
    return f"'{name}'" if " " in name and name[0] != "[" else name
