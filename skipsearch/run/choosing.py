"""Finding the training of a run that a name refers to."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd

from skipsearch.design import Design
from skipsearch.errors import RunError, shown_value
from skipsearch.ids import is_meant
from skipsearch.record import COMPLETE, Trial


def find_number(run: Path, ranking: pd.DataFrame, which: str | Design | Trial) -> int:
    """Return the number of the highest-ranked matching training.

    Args:
        run: Run folder, for messages.
        ranking: Ranking of the run.
        which: ``best``, a design, a record of it, or the first digits of ``DESIGN-RECIPE``.

    Raises:
        RunError: If no design matches, or several do.
    """
    if which == "best":
        table = ranking[ranking.state == COMPLETE]
        if table.empty:
            raise RunError(f"{run}: no training has reached the full budget yet")
        return int(table.trial.iloc[0])
    match which:
        case Trial():
            digits = which.key
        case Design():
            digits = which.id
        case _:
            digits = which
    keys = ranking.design + "-" + ranking.recipe
    table = ranking[[is_meant(key, digits) for key in keys]]
    if table.empty or not digits:
        raise RunError(
            f"{run}: no design {shown_value(digits)}; to list them:"
            f" {shlex.join(['skipsearch', 'rank', str(run)])}"
        )
    if table.design.nunique() > 1:
        raise RunError(f"{run}: several designs begin with {shown_value(digits)}")
    return int(table.trial.iloc[0])
