"""What the records of a run say. Reads records; knows neither torch nor the study."""

from skipsearch.analysis.audit import Audit, audit
from skipsearch.analysis.degradation import Degradation, degradation
from skipsearch.analysis.pareto import dominated_share, hypervolume, pareto
from skipsearch.analysis.ranking import interval, level, rank

__all__ = [
    "Audit",
    "Degradation",
    "audit",
    "degradation",
    "dominated_share",
    "hypervolume",
    "interval",
    "level",
    "pareto",
    "rank",
]
