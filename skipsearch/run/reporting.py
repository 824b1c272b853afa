"""Collection of all results of a run for its report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from skipsearch import analysis
from skipsearch.analysis.findings import Findings
from skipsearch.gallery import Gallery
from skipsearch.run.evidence import Evidence, margin_of


def findings(
    path: Path,
    evidence: Evidence,
    confirmation: analysis.Confirmation | None,
    damage: str,
    gallery: Gallery | None = None,
) -> Findings:
    """Return all results of a run.

    Args:
        path: Absolute path of the run folder.
        evidence: Configuration and records.
        confirmation: Result of ``confirm``; None if there is none.
        damage: Reason why the confirmation cannot be read; empty if it can be.
        gallery: Predictions of the leader, if it was exported.
    """
    trials, known = evidence.trials, evidence.learn()
    depths = {trial.design.depths for trial in trials}
    return Findings(
        path=path,
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
        gallery=gallery,
    )
