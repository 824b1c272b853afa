"""The configurations of a search and of its confirmation, and the comparison of two searches.

A search is identified by its settings and by the content of its data, not by the location of the
data, nor by the name or source of the space.
"""

from skipsearch.config.confirm import ConfirmConfig
from skipsearch.config.data import DataConfig
from skipsearch.config.difference import difference
from skipsearch.config.search import CONFIG, SAMPLERS, SearchConfig

__all__ = ["CONFIG", "SAMPLERS", "ConfirmConfig", "DataConfig", "SearchConfig", "difference"]
