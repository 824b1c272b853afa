"""Comparison of two levels of an axis: by pairs of designs, of seeds or of folds, or by a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import log, nan, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skipsearch.analysis.linear import Array, Estimate, LinearModel, centred, effect_coded
from skipsearch.analysis.observations import codes
from skipsearch.axes import split_name
from skipsearch.metric import Scale

PAIRS, SEEDS, FOLDS, MODEL = "pairs", "seeds", "folds", "model"
ENOUGH_PAIRS = 6  # fewer pairs cannot represent the other designs
PAIRED = 1 / 3  # minimum share of the rarer level's designs in pairs; below it, a model is better
COST_STEP = 1.1  # costs within this factor count as equal in pairs
# Fields that set the size of a network: they may differ between trainings of equal cost.
SIZES = (
    *("depths", "widths", "stem_width", "head_width", "bottleneck_ratio", "groups", "growth"),
    "compression",
)


class Difference(NamedTuple):
    """Difference between two levels.

    Attributes:
        estimate: Estimate of the difference.
        method: Method of the estimate; empty if there is none.
        pairs: Number of pairs that it is based on.
        trainings: Number of trainings that it is based on.
        share: Share of the rarer level's designs that are in pairs.
    """

    estimate: Estimate = Estimate(nan)
    method: str = ""
    pairs: int = 0
    trainings: int = 0
    share: float = 0.0


class Levels:
    """The levels of an axis in the designs on which it has an effect; see ``paired_effects``.

    Attributes:
        names: Names of the levels.
        codes: Index (designs,) of the level of each design.
    """

    def __init__(
        self,
        trainings: pd.DataFrame,
        axis: str,
        others: Sequence[str],
        controlled: str | None,
        scale: Scale,
    ) -> None:
        """Group trainings by design.

        Args:
            trainings: Trainings with a value, from ``observe``.
            axis: Axis of the levels.
            others: All other axes.
            controlled: Cost that is held constant; None for none.
            scale: Metric and number of validation images; rounding to whole images is a lower
                bound of the variance of one training's score.
        """
        kept = [o for o in others if controlled is None or split_name(o).field not in SIZES]
        cells = trainings.groupby("cell")
        firsts = cells[[axis, *kept]].first()
        self._trainings = trainings
        self._design = pd.factorize(trainings["cell"], sort=True)[0]  # index for each training
        self._sizes = np.bincount(self._design)
        self._values = cells["value"].mean().to_numpy()
        self.codes, self.names = pd.factorize(firsts[axis])
        others_codes = [codes(firsts[name]) for name in kept]
        nuisance = [centred(effect_coded(each)) for each in others_codes]
        if controlled is not None:
            cost = np.log(cells[controlled].mean().to_numpy(dtype=float))
            nuisance.append(centred(cost[:, None]))
            others_codes.append(np.floor((cost - cost.min()) / log(COST_STEP)).astype(np.intp))
        columns = np.hstack([np.eye(len(self.names))[self.codes], *nuisance])
        self._model = LinearModel(columns, self._values, scale.rounding / self._sizes)
        self._scale, self._least = scale, scale.rounding
        self._others = np.array(others_codes, dtype=np.intp).reshape(-1, len(self._values))
        self._places = [self.codes == i for i in range(len(self.names))]
        # (levels, others): whether the other axis has an effect on any design of the level.
        self._matter = np.array([(self._others[:, p] >= 0).any(axis=1) for p in self._places])
        self._blocks = cache(self._new_blocks)

    def designs(self, level: int) -> int:
        """Return the number of designs with a level."""
        return int(self._places[level].sum())

    def trainings(self, level: int) -> int:
        """Return the number of trainings with a level."""
        return int(self._sizes[self._places[level]].sum())

    def mean(self, level: int) -> Estimate:
        """Return the mean of a level, adjusted by the model if possible."""
        estimate = self._model.estimate(self._contrast(level))
        if np.isnan(estimate.value):
            return Estimate(float(self._values[self._places[level]].mean()))
        return estimate

    def difference(self, level: int, other: int) -> Difference:
        """Return the difference of two levels by the first method that the data allow."""
        pairs = self._by_pairs(level, other)
        if pairs.pairs >= ENOUGH_PAIRS and pairs.share >= PAIRED:
            return pairs
        for by in (self._by_seeds, self._by_model):
            found = by(level, other)
            if found.estimate.known:
                return found
        return pairs if pairs.estimate.known else Difference()

    def _by_pairs(self, level: int, other: int) -> Difference:
        blocks = self._matched(level, other)
        counts, sums, least = [], [], np.zeros(blocks.max() + 1)
        for side in (self._places[level], self._places[other]):
            number = np.bincount(blocks[side], minlength=len(least))
            rounded = np.bincount(blocks[side], self._least / self._sizes[side], len(least))
            counts.append(number)
            sums.append(np.bincount(blocks[side], self._values[side], len(least)))
            least += rounded / np.maximum(number, 1) ** 2  # variance of the side's mean
        both = (counts[0] > 0) & (counts[1] > 0)
        differences = sums[0][both] / counts[0][both] - sums[1][both] / counts[1][both]
        if not len(differences):
            return Difference()
        model = LinearModel(np.ones((len(differences), 1)), differences, least[both])
        estimate = model.estimate(np.ones(1))
        trainings = self._sizes[(self._places[level] | self._places[other]) & both[blocks]].sum()
        rarer = self._places[min(level, other, key=self.designs)]
        share = float(both[blocks[rarer]].mean())
        return Difference(estimate, PAIRS, len(differences), int(trainings), share)

    def _by_seeds(self, level: int, other: int) -> Difference:
        sides = [self._places[side][self._design] for side in (level, other)]
        seeds = self._trainings["seed"].to_numpy()
        if np.intersect1d(*(seeds[side] for side in sides)).size < 2:
            return Difference()
        blocks, theirs = self._matched(level, other), sides[0] | sides[1]
        table = pd.DataFrame(
            {
                "block": blocks[self._design],
                "seed": seeds,
                "level": self.codes[self._design],
                "value": self._trainings["value"].to_numpy(),
            }
        )[theirs].pivot_table(index=["block", "seed"], columns="level", values="value")
        paired = (table[level] - table[other]).dropna()
        place, found = pd.factorize(paired.index.get_level_values("block"))
        wanted = table.index.get_level_values("block").nunique()
        if len(found) < wanted or np.bincount(place).min() < 2:
            return Difference()
        model = LinearModel(np.eye(wanted)[place], paired.to_numpy(), 2 * self._least)
        estimate = model.estimate(np.full(wanted, 1 / wanted))
        seeds_a_block = len(paired) / wanted
        factor = seeds_a_block * self._scale.mean_variance(seeds_a_block)  # 1 without folds
        estimate = estimate._replace(error=estimate.error * sqrt(factor))
        method = SEEDS if self._scale.folds == 1 else FOLDS
        return Difference(estimate, method, len(paired), int(theirs.sum()))

    def _by_model(self, level: int, other: int) -> Difference:
        estimate = self._model.estimate(self._contrast(level) - self._contrast(other))
        trainings = self._sizes[self._places[level] | self._places[other]].sum()
        return Difference(estimate, MODEL, 0, int(trainings))

    def _contrast(self, level: int) -> Array:
        contrast = np.zeros(self._model.size)
        contrast[level] = 1
        return contrast

    def _matched(self, level: int, other: int) -> NDArray[np.intp]:
        """Return a number for each design, equal for designs that match.

        They match if they agree in all other axes with an effect on both levels.
        """
        return self._blocks(*np.flatnonzero(self._matter[level] & self._matter[other]).tolist())

    def _new_blocks(self, *matched: int) -> NDArray[np.intp]:
        if not matched:
            return np.zeros(len(self._values), dtype=np.intp)
        _, blocks = np.unique(self._others[list(matched)], axis=1, return_inverse=True)
        return blocks.reshape(-1)
