"""What the records of a run say. Reads records; knows neither torch nor the study.

``importance`` stands in its own room, which imports Optuna.
"""

from skipsearch.analysis.agreement import Compared, compare
from skipsearch.analysis.answers import answers
from skipsearch.analysis.audit import Audit, audit
from skipsearch.analysis.confirm import Confirmation, chance_of_best, confirmation, leaders
from skipsearch.analysis.degradation import Degradation, degradation
from skipsearch.analysis.effects import MARGIN, effects
from skipsearch.analysis.interactions import all_interactions, interactions
from skipsearch.analysis.observations import Observations, observe
from skipsearch.analysis.pareto import dominated_share, hypervolume, pareto
from skipsearch.analysis.ranking import interval, level, rank

__all__ = [
    "MARGIN",
    "Audit",
    "Compared",
    "Confirmation",
    "Degradation",
    "Observations",
    "all_interactions",
    "answers",
    "audit",
    "chance_of_best",
    "compare",
    "confirmation",
    "degradation",
    "dominated_share",
    "effects",
    "hypervolume",
    "interactions",
    "interval",
    "leaders",
    "level",
    "observe",
    "pareto",
    "rank",
]
