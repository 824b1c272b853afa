"""Analysis of the records of a run, independent of torch and of the study."""

from skipsearch.analysis.agreement import Compared, compare
from skipsearch.analysis.answers import answers
from skipsearch.analysis.audit import Audit, audit
from skipsearch.analysis.confirm.confirmation import Confirmation
from skipsearch.analysis.confirm.judging import confirmation, leaders
from skipsearch.analysis.depth.answer import Degradation, degradation
from skipsearch.analysis.effects import effects
from skipsearch.analysis.importance import importance
from skipsearch.analysis.interactions import all_interactions, interactions
from skipsearch.analysis.knowledge import Knowledge, learn
from skipsearch.analysis.observations import Observations, observe
from skipsearch.analysis.paired import paired_effects
from skipsearch.analysis.pareto import dominated_share, pareto
from skipsearch.analysis.ranking import interval, level, rank

__all__ = [
    "Audit",
    "Compared",
    "Confirmation",
    "Degradation",
    "Knowledge",
    "Observations",
    "all_interactions",
    "answers",
    "audit",
    "compare",
    "confirmation",
    "degradation",
    "dominated_share",
    "effects",
    "importance",
    "interactions",
    "interval",
    "leaders",
    "learn",
    "level",
    "observe",
    "paired_effects",
    "pareto",
    "rank",
]
