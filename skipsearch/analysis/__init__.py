"""What the records of a run say. Reads records; knows neither torch nor the study."""

from skipsearch.analysis.audit import Audit, audit
from skipsearch.analysis.confirm import Confirmation, chance_of_best, confirmation, leaders
from skipsearch.analysis.pareto import dominated_share, hypervolume, pareto
from skipsearch.analysis.ranking import interval, level, rank

__all__ = [
    "Audit",
    "Confirmation",
    "audit",
    "chance_of_best",
    "confirmation",
    "dominated_share",
    "hypervolume",
    "interval",
    "leaders",
    "level",
    "pareto",
    "rank",
]
