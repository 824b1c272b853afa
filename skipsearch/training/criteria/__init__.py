"""Criteria of the tasks: inputs and targets, loss and score in training; one file per task."""

from __future__ import annotations

from collections.abc import Callable

from skipsearch.data import Data
from skipsearch.recipe import Recipe
from skipsearch.table import Table
from skipsearch.task import CLASSIFICATION, DENOISING, MULTI_LABEL, REGRESSION, SEGMENTATION
from skipsearch.training.criteria.classification import classification_criterion
from skipsearch.training.criteria.criterion import Criterion, Figures
from skipsearch.training.criteria.denoising import DenoisingCriterion
from skipsearch.training.criteria.multi_label import multi_label_criterion
from skipsearch.training.criteria.regression import RegressionCriterion
from skipsearch.training.criteria.segmentation import SegmentationCriterion

__all__ = ["CRITERIA", "Criterion", "Figures"]

CRITERIA: Table[Callable[[Data, Recipe], Criterion]] = Table(
    "task",
    {
        CLASSIFICATION.name: classification_criterion,
        SEGMENTATION.name: SegmentationCriterion,
        DENOISING.name: DenoisingCriterion,
        MULTI_LABEL.name: multi_label_criterion,
        REGRESSION.name: RegressionCriterion,
    },
)
