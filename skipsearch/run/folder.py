"""A run folder and what can be asked of it: rank, effects, report. Needs neither torch nor Ray.

``Run`` reads the folder; ``evidence`` holds what follows from the records.
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
from skipsearch.config import ConfirmConfig, SearchConfig
from skipsearch.design import Design
from skipsearch.errors import DamagedError, RunError
from skipsearch.record import Epoch, Trial
from skipsearch.run.choosing import find_number
from skipsearch.run.confirmations import find_leaders, judge, read_config, read_trainings
from skipsearch.run.evidence import Evidence, margin_of, varied_fields
from skipsearch.run.places import STUDY, check_outside
from skipsearch.searching.records import StudyReader, without_garbage_collection
from skipsearch.space import Space

if TYPE_CHECKING:
    from skipsearch.analysis.findings import Findings
    from skipsearch.data import Data
    from skipsearch.diagram import Diagram
    from skipsearch.searching.driver import Outcome
    from skipsearch.training.diagnosis import Explanation

NOTHING = "nothing to draw: no training has got so far"
# What is left where a file is damaged.
STUDY_LOST = (
    "tables that were written before are in report/, and 'sqlite3 {} .recover' may bring trainings"
    " back"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run folder: what was asked, and the study of what came of it.

    Attributes:
        path: The folder.
        config: What was asked of the search.
        outcome: How the session that returned this run ended; None for one that was opened.
    """

    path: Path
    config: SearchConfig = dataclasses.field(repr=False)
    outcome: Outcome | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the folder of a search.

        Raises:
            RunError: If it is no run folder, or its run.yaml is damaged.
        """
        path = Path(path)
        if not (path / "run.yaml").is_file():
            raise RunError(f"{path}: no run folder: it holds no run.yaml (see skipsearch search)")
        return cls(path, SearchConfig.load(path / "run.yaml"))

    @property
    def space(self) -> Space:
        """The space that was searched, with its constraints for the images of the data set."""
        return self.config.space.for_images(**self.config.image_sizes)

    def trials(self) -> list[Trial]:
        """Return the record of every training, in the order of their numbers.

        Raises:
            RunError: If the study is not there, is damaged, or is of another search.
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
        """What reads the study of the search, and reads it anew when its file has changed."""
        if self.config.storage is not None:
            name = self.config.space.name
            return StudyReader(self.config.storage, name, self.config.identity())
        return StudyReader(self.path / STUDY, None, self.config.identity())

    def rank(self) -> pd.DataFrame:
        """Rank the designs at equal fidelity; see ``analysis.rank`` for the columns."""
        return self._evidence().rank()

    def pareto(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the designs that no other beats in all objectives; see ``analysis.pareto``.

        Args:
            objectives: The validation score, such as ``validation_accuracy``, ``params``,
                ``macs``, ``activation_bytes`` or ``latency``; those of the search if None,
                or score and params where that had one.
        """
        objectives = objectives or self.config.objectives
        score = self.config.task.metric.validation
        if tuple(objectives) == (score,):
            objectives = (score, "params")
        return self._evidence().pareto(objectives)

    def degradation(
        self, epochs: int | None = None, loss: float | None = None
    ) -> analysis.Degradation:
        """Tell what becomes of the designs as they get deeper; see ``analysis.degradation``.

        Args:
            epochs: After which trainings are compared; the full budget if None.
            loss: The training loss to which epochs are counted; that of the slowest if None.

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
        data: str | Path | None = None,
        data_root: str | Path | None = None,
        progress: Callable[[Epoch], None] | None = None,
    ) -> Explanation:
        """Train a design anew and look inside it before and after; see ``training.explain``.

        It is trained with the recipe and the seed that it had in the search.

        Args:
            design: As in ``trial``.
            epochs: Of the training; those of the recipe if None.
            device: To train on; CUDA where there is one if None.
            data: Where the data are now; where they were at the search if None.
            data_root: Folder of the data set's files, likewise.
            progress: Called after each epoch.

        Raises:
            RunError: If the design is not in the run, or the data have changed.
        """
        from skipsearch.models import build
        from skipsearch.training import default_device, fitting_threads
        from skipsearch.training.diagnosis import explain

        trial = self.trial(design)
        images = self.load_data(device or default_device(), data, data_root).without_test()
        model = build(trial.design, images.in_channels, images.classes, seed=trial.seed)
        recipe = trial.recipe if epochs is None else trial.recipe.replace(epochs=epochs)
        with fitting_threads(trial.design, images, recipe):
            return explain(model, images, recipe, trial.seed, progress=progress)

    def audit(self) -> analysis.Audit:
        """Tell how often early stopping was wrong; see ``analysis.audit``."""
        return analysis.audit(self.trials())

    def dominated_share(self, objectives: Sequence[str]) -> float:
        """Return how much of what is possible the run covers; see ``analysis.dominated_share``."""
        return analysis.dominated_share(self.trials(), objectives, self.config.task.metric)

    def effects(
        self,
        axis: str | None = None,
        *,
        epochs: int | None = None,
        controlled: str | None = None,
        margin: float | None = None,
    ) -> pd.DataFrame:
        """Compare the levels of each axis over the whole space; see ``analysis.effects``.

        A grid over the whole space with several seeds of each design, all trained in full, is a
        plan of pairs: there the paired test answers, see ``analysis.paired_effects``, and
        ``method`` says so.

        Args:
            axis: An axis of the space, or a field such as ``layout``; None for all axes.
            epochs: The budget to answer for, a rung; None for the full one, see ``analysis.learn``.
            controlled: A cost to be equal: ``params``, ``macs``, ``activation_bytes`` or
                ``latency``.
            margin: A difference between scores that is too small to matter; None for ``margin`` of
                the run.
        """
        evidence = self._evidence()
        known = evidence.learn(epochs, with_costs=controlled is not None)
        return evidence.effects(known, axis, controlled, margin)

    @property
    def margin(self) -> float:
        """The difference between scores that is too small to matter, if nobody gives another.

        That of a search that was asked about axes, and 0.005 for others.
        """
        return margin_of(self.config)

    def interactions(self, first: str, second: str, *, epochs: int | None = None) -> pd.DataFrame:
        """Tell whether what one axis does depends on another; see ``analysis.interactions``."""
        evidence = self._evidence()
        return evidence.interactions(evidence.learn(epochs), first, second)

    def importance(self, *, epochs: int | None = None) -> pd.DataFrame:
        """Tell how much each axis and each pair of axes explain; see ``analysis.importance``."""
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
        """Draw what each level gives away to the best of its axis; arguments as for ``effects``.

        Returns:
            A figure of matplotlib, as of all ``plot_`` methods; a notebook shows it.

        Raises:
            RunError: As ``effects``, and if there is nothing to draw, as all ``plot_`` methods.
        """
        from skipsearch.analysis.figures import plot_effects

        table = self.effects(axis, epochs=epochs, controlled=controlled, margin=margin)
        return plot_effects(self._not_empty(table), self.config.task.metric)

    def plot_interaction(self, first: str, second: str, *, epochs: int | None = None) -> Diagram:
        """Draw the mean of each combination of two axes' levels as a map."""
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
        """Draw the score against a cost, and the designs that no other beats in both.

        Args:
            cost: ``params``, ``macs``, ``activation_bytes`` or ``latency``.
        """
        from skipsearch.analysis.figures import plot_front

        metric = self.config.task.metric
        front = self._not_empty(self.pareto((metric.validation, cost)))
        return plot_front(self.trials(), front, metric, cost)

    def plot_curves(self) -> Diagram:
        """Draw validation error against the epoch, the leaders in colour."""
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
        """Return what ``confirm`` has found so far; None where it was never called."""
        asked = self.confirm_config()
        if asked is None:
            return None
        evidence = self._evidence()
        leaders = find_leaders(self.path, asked, evidence.rank(), evidence.trials)
        return self.judged(leaders, asked.seeds, self.confirmations()) if leaders else None

    def readable_confirmation(self) -> tuple[analysis.Confirmation | None, str]:
        """Return what ``confirmation`` does, and why it cannot be read where its files are damaged.

        Returns:
            The confirmation, if there is one that reads; what is wrong with it, or an empty text.
        """
        try:
            return self.confirmation(), ""
        except DamagedError as error:
            return None, str(error)

    def confirm_config(self) -> ConfirmConfig | None:
        """Return which leaders ``confirm`` trains, and with how many seeds; None for none."""
        return read_config(self.path)

    def confirmations(self) -> list[Trial]:
        """Return the record of every training that ``confirm`` has done."""
        return read_trainings(self.path, self.config)

    def judged(
        self, leaders: list[list[Trial]], seeds: int, trainings: list[Trial]
    ) -> analysis.Confirmation:
        """Judge leaders by what became of them with new seeds; see ``analysis.confirmation``."""
        return judge(self.config, self.fields(), leaders, seeds, trainings)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the run as one page, ``index.html``, with all figures and tables as files.

        Args:
            out: The folder; ``report`` in the run folder if None.

        Returns:
            The page.

        Raises:
            RunError: If nothing was recorded yet, or the folder is inside the data.
        """
        from skipsearch.analysis.report import write_report

        folder = Path(out or self.path / "report")
        data = Path(self.config.data.name)
        if out and data.is_absolute():
            check_outside(folder, data)
        with without_garbage_collection():
            return write_report(self._findings(), folder, self.path.resolve().name)

    def _findings(self) -> Findings:
        from skipsearch.run.reporting import findings

        evidence = self._evidence()
        if not evidence.trials:
            raise RunError(f"{self.path}: no trial has been recorded yet")
        return findings(evidence, *self.readable_confirmation())

    def fields(self) -> list[str]:
        """Name the fields of a design that the axes set, and the layout."""
        return varied_fields(self.space)

    def trial(self, which: str | Design | Trial) -> Trial:
        """Find the training of a design in the search.

        Args:
            which: ``best``, which is the winner of ``confirm`` where there is one; a design; a
                record of it; or the first digits of ``DESIGN-RECIPE`` as the columns of ``rank``
                have them. Of several trainings of one design the highest-ranked is taken.

        Raises:
            RunError: If there is none, or several designs fit.
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
        data: str | Path | None = None,
        data_root: str | Path | None = None,
    ) -> Data:
        """Load the data set of the run again, and make sure that it is the same.

        Args:
            device: Where its tensors shall live.
            data: Where the data are now; where they were at the search if None.
            data_root: Folder of the data set's files, likewise.

        Raises:
            RunError: If its images, labels or splits differ from those that were searched on.
            DataError: If it is gone.
        """
        from skipsearch.run.dataset import load_again

        return load_again(self.path, self.config.data, device, data, data_root)
