"""A run folder and queries on it: rank, effects, report. It needs neither torch nor Ray.

``Run`` reads the folder; ``evidence`` computes the results from the records.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from skipsearch import analysis
from skipsearch.config import CONFIG, ConfirmConfig, SearchConfig
from skipsearch.design import Design
from skipsearch.errors import DamagedError, RunError
from skipsearch.gallery import Gallery
from skipsearch.record import Epoch, Trial
from skipsearch.run.choosing import find_number
from skipsearch.run.confirmations import find_leaders, judge, read_config, read_trainings
from skipsearch.run.evidence import Evidence, margin_of, varied_fields
from skipsearch.run.places import GALLERIES, STUDY, check_outside
from skipsearch.searching.records import StudyReader, without_garbage_collection
from skipsearch.space import Space

if TYPE_CHECKING:
    from skipsearch.analysis.findings import Findings
    from skipsearch.data import Data
    from skipsearch.diagram import Diagram
    from skipsearch.searching.driver import Outcome
    from skipsearch.training.diagnosis import Explanation

NOTHING = "nothing to draw: no training has reached this point"
# Advice if a file is damaged.
STUDY_LOST = (
    "tables that were written before are in report/, and 'sqlite3 {} .recover' may bring trainings"
    " back"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run folder: the configuration and the study of a search.

    Attributes:
        path: Path of the folder.
        config: Configuration of the search.
        outcome: Outcome of the session that returned this run; None for an opened run.
    """

    path: Path
    config: SearchConfig = dataclasses.field(repr=False)
    outcome: Outcome | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the folder of a search.

        Raises:
            RunError: If it is not a run folder, or its run.yaml is damaged.
        """
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise RunError(f"{path}: not a run folder: {CONFIG} not found (see skipsearch search)")
        return cls(path, SearchConfig.load(path / CONFIG))

    @property
    def space(self) -> Space:
        """Searched space, with constraints for the images of the data set."""
        return self.config.space.for_images(**self.config.image_sizes)

    def trials(self) -> list[Trial]:
        """Return the record of every training, in the order of their numbers.

        Raises:
            RunError: If the study is missing, damaged, or belongs to another search.
        """
        if self.config.storage is None and not (self.path / STUDY).is_file():
            raise RunError(f"{self.path}: {STUDY} is missing")
        try:
            return self.study.trials()
        except DamagedError as error:
            file = shlex.quote(str(self.path / STUDY))
            raise DamagedError(f"{error} ({STUDY_LOST.format(file)})") from None

    @cached_property
    def study(self) -> StudyReader:
        """Reader of the study, which reads it again when its file has changed."""
        if self.config.storage is not None:
            name = self.config.space.name
            return StudyReader(self.config.storage, name, self.config.identity())
        return StudyReader(self.path / STUDY, None, self.config.identity())

    def rank(self) -> pd.DataFrame:
        """Rank the designs at equal fidelity; see ``analysis.rank`` for the columns."""
        return self._evidence().rank()

    def pareto(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the Pareto front of the designs; see ``analysis.pareto`` for the columns.

        Args:
            objectives: Validation score, such as ``validation_accuracy``, ``params``, ``macs``,
                ``activation_bytes`` or ``latency``. None for those of the search, or for score
                and params if the search had one objective.
        """
        objectives = objectives or self.config.objectives
        score = self.config.task.metric.validation
        if tuple(objectives) == (score,):
            objectives = (score, "params")
        return self._evidence().pareto(objectives)

    def degradation(
        self, epochs: int | None = None, loss: float | None = None
    ) -> analysis.Degradation:
        """Return the effect of depth on the designs; see ``analysis.degradation``.

        Args:
            epochs: Epoch of the comparison; None for the full budget.
            loss: Training loss of ``epochs_to_loss``; None for that of the slowest.

        Raises:
            RunError: If ``epochs`` is more than the full budget.
        """
        return self._evidence().degradation(epochs, loss)

    def explain(
        self,
        design: str | Design = "best",
        *,
        epochs: int | None = None,
        device: str | None = None,
        data: str | Path | Data | None = None,
        data_root: str | Path | None = None,
        progress: Callable[[Epoch], None] | None = None,
    ) -> Explanation:
        """Train a design again, and diagnose it before and after; see ``training.explain``.

        The training uses the recipe and the seed of the search.

        Args:
            design: Design as in ``trial``.
            epochs: Number of epochs; None for that of the recipe.
            device: Device of the training; if None, CUDA if available, else the CPU.
            data: Current location of the data; None for the location used by the search.
            data_root: Folder of the data set's files; None for the folder used by the search.
            progress: Function that is called after each epoch.

        Raises:
            RunError: If the design is not in the run, or the data have changed.
        """
        from skipsearch.models import build
        from skipsearch.training import default_device, fitting_threads
        from skipsearch.training.diagnosis import explain

        trial = self.trial(design)
        images = self.load_data(device or default_device(), data, data_root).without_test()
        model = build(trial.design, images.in_channels, images.outputs, seed=trial.seed)
        images = images.for_seed(trial.seed)
        recipe = trial.recipe if epochs is None else trial.recipe.replace(epochs=epochs)
        with fitting_threads(trial.design, images, recipe):
            return explain(model, images, recipe, trial.seed, progress=progress)

    def audit(self) -> analysis.Audit:
        """Return how often early stopping was wrong; see ``analysis.audit``."""
        return analysis.audit(self.trials())

    def dominated_share(self, objectives: Sequence[str]) -> float:
        """Return the normalised hypervolume of the run; see ``analysis.dominated_share``."""
        return analysis.dominated_share(self.trials(), objectives, self.config.scale)

    def effects(
        self,
        axis: str | None = None,
        *,
        epochs: int | None = None,
        controlled: str | None = None,
        margin: float | None = None,
    ) -> pd.DataFrame:
        """Compare the levels of each axis over the whole space; see ``analysis.effects``.

        If the run is a grid over the whole space with several seeds of each design, all trained in
        full, a paired test is used, see ``analysis.paired_effects``. The column ``method`` names
        the method.

        Args:
            axis: Axis of the space, or field such as ``layout``; None for all axes.
            epochs: Budget of the scores in epochs, one of the rungs; None for the full budget. See
                ``analysis.learn``.
            controlled: Cost that is held constant: ``params``, ``macs``, ``activation_bytes`` or
                ``latency``; None for no control.
            margin: Difference between scores that is too small to matter; None for the ``margin``
                of the run.
        """
        evidence = self._evidence()
        known = evidence.learn(epochs, with_costs=controlled is not None)
        return evidence.effects(known, axis, controlled, margin)

    @property
    def margin(self) -> float:
        """Default difference between scores that is too small to matter.

        For a search that investigates axes it is the margin of the search, and otherwise that of
        the metric, 0.005 for an accuracy.
        """
        return margin_of(self.config)

    def interactions(
        self, first: str, second: str, *, epochs: int | None = None, margin: float | None = None
    ) -> pd.DataFrame:
        """Return how the effect of one axis depends on another; see ``analysis.interactions``.

        Args:
            first: First axis or field.
            second: Second axis or field.
            epochs: Rung to compare at; None for the full budget.
            margin: Difference that is too small to matter; None for that of the run.
        """
        evidence = self._evidence()
        return evidence.interactions(evidence.learn(epochs), first, second, margin)

    def importance(self, *, epochs: int | None = None) -> pd.DataFrame:
        """Return the variance shares of axes and pairs of axes; see ``analysis.importance``."""
        known = self._evidence().learn(epochs)
        return pd.DataFrame(columns=["axis"]) if known is None else analysis.importance(known)

    def _evidence(self) -> Evidence:
        return Evidence(self.config, self.space, self.trials())

    def plot_effects(
        self,
        axis: str | None = None,
        *,
        epochs: int | None = None,
        controlled: str | None = None,
        margin: float | None = None,
    ) -> Diagram:
        """Draw the difference of each level to the best of its axis; arguments as in ``effects``.

        Returns:
            Figure of matplotlib, as from all ``plot_`` methods; a notebook shows it.

        Raises:
            RunError: If ``effects`` raises it, or, as for all ``plot_`` methods, if there is
                nothing to draw.
        """
        from skipsearch.analysis.figures import plot_effects

        table = self.effects(axis, epochs=epochs, controlled=controlled, margin=margin)
        return plot_effects(self._not_empty(table), self.config.task.metric)

    def plot_interaction(self, first: str, second: str, *, epochs: int | None = None) -> Diagram:
        """Draw the mean of each combination of two axes' levels as a heat map."""
        from skipsearch.analysis.figures import plot_interaction

        table = self.interactions(first, second, epochs=epochs)
        return plot_interaction(self._not_empty(table), self.config.task.metric)

    def plot_degradation(self, epochs: int | None = None) -> Diagram:
        """Draw training and validation error against depth; ``epochs`` as for ``degradation``."""
        from skipsearch.analysis.figures import drawn_groups, plot_degradation

        table = self.degradation(epochs).table
        if not drawn_groups(table):
            raise RunError(f"{self.path}: nothing was trained at two depths, all else being equal")
        return plot_degradation(table, self.config.task.metric)

    def plot_front(self, cost: str = "params") -> Diagram:
        """Draw the score against a cost, with the Pareto front.

        Args:
            cost: Cost: ``params``, ``macs``, ``activation_bytes`` or ``latency``.
        """
        from skipsearch.analysis.figures import plot_front

        metric = self.config.task.metric
        front = self._not_empty(self.pareto((metric.validation, cost)))
        return plot_front(self.trials(), front, metric, cost)

    def plot_curves(self) -> Diagram:
        """Draw validation error against epochs, the leaders in colour."""
        from skipsearch.analysis.figures import fair_sample, leader_names, plot_curves

        leaders = leader_names(self.rank())
        shown = fair_sample(self.trials(), leaders)
        if not shown:
            raise RunError(f"{self.path}: {NOTHING}")
        return plot_curves(shown, leaders, self.config.task.metric)

    def _not_empty(self, table: pd.DataFrame) -> pd.DataFrame:
        if table.empty:
            raise RunError(f"{self.path}: {NOTHING}")
        return table

    def confirmation(self) -> analysis.Confirmation | None:
        """Return the results of ``confirm`` so far; None if it was never called."""
        asked = self.confirm_config()
        if asked is None:
            return None
        evidence = self._evidence()
        leaders = find_leaders(self.path, asked, evidence.rank(), evidence.trials)
        return self.judged(leaders, asked.seeds, self.confirmations()) if leaders else None

    def readable_confirmation(self) -> tuple[analysis.Confirmation | None, str]:
        """Return the same as ``confirmation``, with an error message if its files are damaged.

        Returns:
            Confirmation, if there is a readable one; error message, or an empty text.
        """
        try:
            return self.confirmation(), ""
        except DamagedError as error:
            return None, str(error)

    def confirm_config(self) -> ConfirmConfig | None:
        """Return the configuration of ``confirm``; None if it was never called."""
        return read_config(self.path)

    def confirmations(self) -> list[Trial]:
        """Return the record of every training of ``confirm``."""
        return read_trainings(self.path, self.config)

    def judged(
        self, leaders: list[list[Trial]], seeds: int, trainings: list[Trial]
    ) -> analysis.Confirmation:
        """Judge leaders by their results with new seeds; see ``analysis.confirmation``."""
        return judge(self.config, self.fields(), leaders, seeds, trainings)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the run as one page, ``index.html``, with all figures and tables as files.

        Args:
            out: Output folder; ``report`` in the run folder if None.

        Returns:
            Path of the page.

        Raises:
            RunError: If there are no records yet, or the folder is inside the data.
        """
        from skipsearch.analysis.report import write_report

        folder = Path(out or self.path / "report")
        data = Path(self.config.data.name)
        if out and data.is_absolute():
            check_outside(folder, data)
        with without_garbage_collection():
            return write_report(self._findings(), folder)

    def _findings(self) -> Findings:
        from skipsearch.run.reporting import findings

        evidence = self._evidence()
        if not evidence.trials:
            raise RunError(f"{self.path}: no trial has been recorded yet")
        confirmed, damage = self.readable_confirmation()
        first = evidence.rank().iloc[0]
        gallery = self._gallery(f"{first.design}-{first.recipe}" if damage else "best")
        return findings(self.path.resolve(), evidence, confirmed, damage, gallery)

    def _gallery(self, which: str) -> Gallery | None:
        """Return the per-pixel predictions of a design; None if there are none or no export."""
        if not self.config.task.per_pixel:
            return None
        return Gallery.load(self.path / GALLERIES / f"{self.trial(which).key}.npz")

    def fields(self) -> list[str]:
        """Return the fields of a design that the axes set, and the layout field."""
        return varied_fields(self.space)

    def trial(self, which: str | Design | Trial) -> Trial:
        """Return the training of a design in the search.

        Args:
            which: ``best``, which is the winner of ``confirm`` if there is one; a design; a record
                of it; or the first digits of ``DESIGN-RECIPE`` as in the columns of ``rank``. Of
                several trainings of one design, the highest-ranked is returned.

        Raises:
            RunError: If no design matches, or several do.
        """
        if which == "best":
            confirmed = self.confirmation()
            if confirmed is not None and confirmed.judged:
                return confirmed.best
        trials = {trial.number: trial for trial in self.trials()}
        return trials[find_number(self.path, self.rank(), which)]

    def load_data(
        self,
        device: str = "cpu",
        data: str | Path | Data | None = None,
        data_root: str | Path | None = None,
    ) -> Data:
        """Load the data set of the run again for trainings, and check that it is the same.

        Args:
            device: Device of the tensors.
            data: Current location of the data; None for the location used by the search.
            data_root: Folder of the data set's files; None for the folder used by the search.

        Raises:
            RunError: If its images, labels or splits differ from those of the search, or this
                version of skipsearch trains in another way.
            DataError: If it is missing.
        """
        from skipsearch.run.dataset import load_again

        images = load_again(self.path, self.config.data, device, data, data_root)
        return images.in_folds(self.config.data.folds, self.config.seed)
