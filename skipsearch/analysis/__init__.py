"""What the records of a run say. Reads records; knows neither torch nor the study."""

from skipsearch.analysis.ranking import interval, rank

__all__ = ["interval", "rank"]
