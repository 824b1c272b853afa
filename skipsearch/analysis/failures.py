"""Reasons of failed trainings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from skipsearch.errors import counted
from skipsearch.record import FAIL, INTERRUPTED, Trial

NAMED = 3  # maximum number of reasons in a sentence
# Details of a single training (epoch, learning rate, memory) within its reason.
OF_ONE_TRAINING = re.compile(r" in epoch \d+ of \d+| \([^()]*\)$")


def failure_reasons(trials: Iterable[Trial]) -> pd.DataFrame:
    """Count failed trainings by their reason, without the details of single trainings.

    Interrupted trainings are not counted: they are resumed.

    Args:
        trials: Records of a run.

    Returns:
        One row for each reason, the most frequent first, with columns reason and trainings.
    """
    failed = (t for t in trials if t.state == FAIL and t.reason != INTERRUPTED)
    reasons = Counter(OF_ONE_TRAINING.sub("", trial.reason) for trial in failed)
    return pd.DataFrame(reasons.most_common(), columns=["reason", "trainings"])


def failures_in_words(reasons: pd.DataFrame) -> str:
    """Describe how many trainings failed and why; empty if none did.

    Args:
        reasons: Table of ``failure_reasons``.
    """
    if reasons.empty:
        return ""
    named = [f"{row.reason} ({row.trainings})" for row in reasons.head(NAMED).itertuples()]
    if len(reasons) > NAMED:
        named.append(counted(len(reasons) - NAMED, "other reason"))
    return f"{counted(int(reasons.trainings.sum()), 'training')} failed: {'; '.join(named)}."
