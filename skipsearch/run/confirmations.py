"""Files of ``confirm`` in a run folder: the leaders that it trains again, and the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from skipsearch import analysis
from skipsearch.config import ConfirmConfig, SearchConfig
from skipsearch.errors import DamagedError, RunError
from skipsearch.ids import is_meant
from skipsearch.record import Trial
from skipsearch.run.places import CONFIRM, CONFIRMATIONS
from skipsearch.run.seeds import first_new_seed
from skipsearch.searching.records import load_trials

LOST = "the search is intact; move confirm.yaml and confirm.db away to confirm again"


def read_config(folder: Path) -> ConfirmConfig | None:
    """Return the configuration of ``confirm``; None if it was never called.

    Args:
        folder: Run folder.

    Raises:
        DamagedError: If the file cannot be read.
    """
    path = folder / CONFIRM
    if not path.is_file():
        return None
    try:
        return ConfirmConfig.load(path)
    except RunError as error:
        raise DamagedError(f"{error} ({LOST})") from None


def read_trainings(folder: Path, config: SearchConfig) -> list[Trial]:
    """Return the record of every training with a new seed.

    Args:
        folder: Run folder.
        config: Configuration of its search.

    Raises:
        DamagedError: If the study cannot be read, or belongs to another search.
    """
    file = folder / CONFIRMATIONS
    if not file.is_file():
        return []
    try:
        return load_trials(file, None, config.identity())
    except RunError as error:
        raise DamagedError(f"{error} ({LOST})") from None


def find_leaders(
    folder: Path, asked: ConfirmConfig, ranking: pd.DataFrame, trials: Sequence[Trial]
) -> list[list[Trial]]:
    """Return the trainings in the search of each leader that is trained again.

    Args:
        folder: Run folder.
        asked: Configuration from ``read_config``.
        ranking: Ranking of the search.
        trials: Records of the search.

    Raises:
        DamagedError: If a leader is not in the search.
    """
    keys = {trial.key for trial in trials}
    for name in asked.leaders:
        if not any(is_meant(key, name) for key in keys):
            raise DamagedError(f"{folder / CONFIRM}: this run has no design {name} ({LOST})")
    return analysis.leaders(ranking, trials, 0, asked.leaders)


def judge(
    config: SearchConfig,
    fields: Sequence[str],
    leaders: Sequence[Sequence[Trial]],
    seeds: int,
    trainings: Sequence[Trial],
) -> analysis.Confirmation:
    """Judge leaders by their results with new seeds.

    Args:
        config: Configuration of the search.
        fields: Fields of the design to show as columns.
        leaders: Trainings in the search of each leader.
        seeds: Maximum number of new seeds.
        trainings: Records with new seeds.
    """
    first, scale = first_new_seed(config), config.scale
    return analysis.confirmation(leaders, trainings, first, seeds, scale, fields)
