"""What the records of a run say. Reads records; knows neither torch nor the study."""

from skipsearch.analysis.ranking import interval, level, rank

__all__ = ["interval", "level", "rank"]
