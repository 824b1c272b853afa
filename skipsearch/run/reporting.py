"""Gathers all that is known of a run, for its report."""

from __future__ import annotations

import pandas as pd

from skipsearch import analysis
from skipsearch.analysis.findings import Findings
from skipsearch.run.evidence import Evidence, margin_of


def findings(
    evidence: Evidence, confirmation: analysis.Confirmation | None, damage: str
) -> Findings:
    """Return all that is known of a run.

    Args:
        evidence: What was asked, and the records.
        confirmation: What ``confirm`` has found; None for nothing.
        damage: Why what it has found cannot be read; empty where it can.
    """
    trials, known = evidence.trials, evidence.learn()
    depths = {trial.design.depths for trial in trials}
    return Findings(
        config=evidence.config,
        trials=trials,
        ranking=evidence.rank(),
        front=evidence.pareto((evidence.config.task.metric.validation, "params")),
        audit=analysis.audit(trials),
        effects=evidence.effects_of_all(known),
        importance=pd.DataFrame() if known is None else analysis.importance(known),
        interactions=(
            [] if known is None else analysis.all_interactions(known, margin_of(evidence.config))
        ),
        degradation=evidence.degradation() if len(depths) > 1 else None,
        confirmation=confirmation,
        damage=damage,
    )
