"""skipsearch: neural architecture search over skip-connection designs.

import skipsearch as ss
run = ss.search("quickstart", trials=24, epochs=9, out="runs/quickstart")
run.rank()
ss.export(run, "best", out="winner")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skipsearch.anatomy import draw_design
from skipsearch.classics import CLASSICS, Classic, classic
from skipsearch.cost import Cost, cost
from skipsearch.design import Design
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import SkipSearchError
from skipsearch.layout import Layout
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch, Trial
from skipsearch.space import Space, draw_space

if TYPE_CHECKING:
    from skipsearch.artefacts.predict import predict
    from skipsearch.data import Data, load_data
    from skipsearch.deepening import deepen
    from skipsearch.diagram import draw_diagram
    from skipsearch.models import build
    from skipsearch.run import Run, compare
    from skipsearch.run.confirming import confirm
    from skipsearch.run.exporting import export
    from skipsearch.run.searching import search
    from skipsearch.searching.options import Limits, Resources
    from skipsearch.training import train, train_several
    from skipsearch.training.diagnosis import Explanation, explain

# Imported on first use: importing torch and Ray takes seconds, matplotlib a fraction of one, and
# `skipsearch show` needs none of them.
_LATE = {
    "Data": "data",
    "Explanation": "training.diagnosis",
    "Limits": "searching.options",
    "Resources": "searching.options",
    "Run": "run",
    "build": "models",
    "compare": "run",
    "confirm": "run.confirming",
    "deepen": "deepening",
    "draw_diagram": "diagram",
    "explain": "training.diagnosis",
    "export": "run.exporting",
    "load_data": "data",
    "predict": "artefacts.predict",
    "search": "run.searching",
    "train": "training",
    "train_several": "training",
}

__all__ = [
    "CLASSICS",
    "Classic",
    "Cost",
    "Data",
    "Design",
    "EarlyStopping",
    "Epoch",
    "Explanation",
    "Layout",
    "Limits",
    "Recipe",
    "Resources",
    "Run",
    "SkipSearchError",
    "Space",
    "Trial",
    "build",
    "classic",
    "compare",
    "confirm",
    "cost",
    "deepen",
    "draw_design",
    "draw_diagram",
    "draw_space",
    "explain",
    "export",
    "load_data",
    "predict",
    "search",
    "train",
    "train_several",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'skipsearch' has no attribute {name!r}")
    value = getattr(import_module(f"skipsearch.{_LATE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
