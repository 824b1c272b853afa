"""A run folder and what can be asked of it: search, rank, export. Joins the rooms below."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from filelock import FileLock, Timeout

from skipsearch import analysis
from skipsearch.analysis.importance import importance
from skipsearch.axes import split_name
from skipsearch.data import Data, load_data
from skipsearch.design import Design
from skipsearch.errors import RunError, not_one_of
from skipsearch.export.artefacts import FORMATS, TOLERANCES, check_request, write_artefacts
from skipsearch.export.card import Card
from skipsearch.intervals import wilson
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, COSTS, VALIDATION_ACCURACY, Epoch, Trial
from skipsearch.search.cluster import Resources, ray_session
from skipsearch.search.driver import Limits, Outcome, ended, run_trials, sweep_checkpoints
from skipsearch.search.folder import sweep
from skipsearch.search.logs import loggers
from skipsearch.search.records import load_params, load_trials
from skipsearch.search.rounds import train_rounds
from skipsearch.search.samplers import make_sampler
from skipsearch.search.stopping import EarlyStopping
from skipsearch.search.storage import without_password
from skipsearch.search.study import Plan, SearchStudy
from skipsearch.space import Space
from skipsearch.text import dump_yaml, parse_yaml, read_text, write_atomically
from skipsearch.training import Folder, Trainer, default_device, versions
from skipsearch.training.diagnosis import Explanation, explain

FORMAT = 1
CONFIRM = "confirm.yaml"  # the leaders that are trained again, and with how many seeds
NEW_SEEDS = 1_000_000  # so far above the search's are those that leaders are trained again with
TRAIN_ON = ("train", "train+validation")
# What must be the same when a search goes on.
SAME_DATA = ("name", "resized_to", "split_seed", "fingerprint")
FIXED = ("space", "data", "recipe", "seed", "scheduler", "stopping", "objectives", "storage")
# What older runs do not say of themselves.
ADDED = {
    "stopping": EarlyStopping().details(),
    "objectives": [VALIDATION_ACCURACY],
    "storage": None,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run folder: what was asked, and the study of what came of it.

    Attributes:
        path: The folder.
        asked: What ``run.yaml`` holds: space, data, recipe, seed, sampler, scheduler, stopping,
            rungs, objectives, trials, seeds, storage, versions.
        outcome: How the session that returned this run ended; None for one that was opened.
    """

    path: Path
    asked: Mapping[str, Any] = dataclasses.field(repr=False)
    outcome: Outcome | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the folder of a search.

        Raises:
            RunError: If it is no run folder.
        """
        path = Path(path)
        if not (path / "run.yaml").is_file():
            raise RunError(f"{path}: no run folder: it holds no run.yaml (see skipsearch search)")
        asked = parse_yaml(read_text(path / "run.yaml", RunError), f"{path}/run.yaml", RunError)
        if asked.get("format") != FORMAT:
            raise RunError(f"{path}: run.yaml has format {asked.get('format')}, not {FORMAT}")
        asked = ADDED | asked
        for key in ("rungs", *FIXED):
            if key not in asked:
                raise RunError(f"{path}/run.yaml: {key} is missing")
        return cls(path, asked)

    @property
    def space(self) -> Space:
        """The space that was searched, with its constraints for the images of the data set."""
        data = self.asked["data"]
        space = Space.from_dict(self.asked["space"], f"{self.path}/run.yaml")
        return space.for_images(data["in_channels"], data["image_size"], data["classes"])

    def trials(self) -> list[Trial]:
        """Return the record of every training, in the order of their numbers."""
        return load_trials(*self._study())

    def _study(self) -> tuple[str, str | None]:
        """Return where the study of the search is, and its name where there may be others."""
        if self.asked["storage"] is not None:
            return self.asked["storage"], self.asked["space"]["name"]
        if not (self.path / "study.db").is_file():
            raise RunError(f"{self.path}: study.db is missing")
        return _url(self.path), None

    def rank(self) -> pd.DataFrame:
        """Rank the designs at equal fidelity; see ``analysis.rank`` for the columns."""
        images = self.asked["data"]["validation_images"]
        return analysis.rank(self.trials(), self.asked["rungs"], images, self._fields())

    def pareto(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the designs that no other beats in all objectives; see ``analysis.pareto``.

        Args:
            objectives: ``validation_accuracy``, ``params``, ``macs``, ``activation_bytes`` or
                ``latency``; those of the search if None, or accuracy and params where that had
                one.
        """
        objectives = objectives or self.asked["objectives"]
        if len(objectives) == 1 and objectives[0] == VALIDATION_ACCURACY:
            objectives = (VALIDATION_ACCURACY, "params")
        return analysis.pareto(
            self.trials(), objectives, self.asked["data"]["validation_images"], self._fields()
        )

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
        budget = self.asked["recipe"]["epochs"]
        if epochs is not None and not 1 <= epochs <= budget:
            raise RunError(f"epochs: {epochs} is not from 1 to the full budget of {budget}")
        axes = [field for field in self._fields() if field != "depths"]
        images = (self.asked["data"]["train_images"], self.asked["data"]["validation_images"])
        return analysis.degradation(self.trials(), *images, epochs=epochs, loss=loss, axes=axes)

    def explain(
        self,
        design: str | Design = "best",
        *,
        epochs: int | None = None,
        device: str | None = None,
        progress: Callable[[Epoch], None] | None = None,
    ) -> Explanation:
        """Train a design anew and look inside it before and after; see ``training.explain``.

        It is trained with the recipe and the seed that it had in the search.

        Args:
            design: As in ``trial``.
            epochs: Of the training; those of the recipe if None.
            device: To train on; CUDA where there is one if None.
            progress: Called after each epoch.

        Raises:
            RunError: If the design is not in the run, or the data have changed.
        """
        trial = self.trial(design)
        data = self.load_data(device or default_device()).without_test()
        model = build(trial.design, data.in_channels, data.classes, seed=trial.seed)
        recipe = trial.recipe if epochs is None else trial.recipe.replace(epochs=epochs)
        return explain(model, data, recipe, trial.seed, progress=progress)

    def audit(self) -> analysis.Audit:
        """Tell how often early stopping was wrong; see ``analysis.audit``."""
        return analysis.audit(self.trials())

    def dominated_share(self, objectives: Sequence[str]) -> float:
        """Return how much of what is possible the run covers; see ``analysis.dominated_share``."""
        return analysis.dominated_share(self.trials(), objectives)

    def effects(
        self,
        axis: str | None = None,
        *,
        epochs: int | None = None,
        controlled: str | None = None,
        margin: float = analysis.MARGIN,
    ) -> pd.DataFrame:
        """Compare the levels of each axis at equal fidelity; see ``analysis.effects``.

        Args:
            axis: An axis of the space, or a field such as ``layout``; None for all axes.
            epochs: A rung; None for the highest that every training reached which did not fail.
            controlled: A cost to be equal: ``params``, ``macs``, ``activation_bytes`` or
                ``latency``.
            margin: A difference in accuracy that is too small to matter.
        """
        axes = list(self.space.parameters)
        rungs = self.asked["rungs"]
        return analysis.effects(self.trials(), rungs, axes, axis, epochs, controlled, margin)

    def interactions(self, first: str, second: str, *, epochs: int | None = None) -> pd.DataFrame:
        """Tell whether what one axis does depends on another; see ``analysis.interactions``."""
        axes = list(self.space.parameters)
        return analysis.interactions(
            self.trials(), self.asked["rungs"], axes, first, second, epochs
        )

    def importance(self, *, epochs: int | None = None) -> pd.DataFrame:
        """Tell how much each axis matters at equal fidelity; see ``importance``."""
        axes = list(self.space.parameters)
        return importance(self.trials(), self.asked["rungs"], axes, epochs)

    def confirm(
        self,
        top: int = 5,
        seeds: int = 5,
        *,
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float | None = None,
        concurrency: int | None = None,
        address: str | None = None,
        insecure: bool = False,
        dashboard: bool = False,
        time_budget: float | None = None,
        trial_timeout: float | None = None,
        max_failures: int = 10,
        deterministic: bool = False,
        verbose: bool = False,
    ) -> analysis.Confirmation:
        """Train the leaders again with new seeds, until one is separated or the seeds are used up.

        Each is trained to the full budget, without early stopping. A round is one new seed, the
        same for all leaders: they see the images in one order, augmented alike. The first rounds
        are trained at once; from the third on the leaders are judged after each. Called again it
        goes on where it ended or was interrupted, and nothing is trained twice; with more ``seeds``
        or ``top`` it goes further. Who was a leader once stays one.

        Args:
            top: How many leaders: the highest-ranked designs, those that the search stopped early
                after those that it did not.
            seeds: New seeds at most, at least 2.
            cpus_per_trial: As for ``search``, and so are the others.
            gpus_per_trial: GPUs of each trial, or a share of one; None for one where there are any.
            concurrency: Trials at once at most.
            address: Of a Ray cluster to join, ``host:port`` or ``auto``.
            insecure: Whether the cluster may do without token authentication.
            dashboard: Whether Ray shows its dashboard, to this machine alone.
            time_budget: Seconds after which the session stops.
            trial_timeout: Seconds of training after which a trial fails.
            max_failures: Trials in a row that may fail before it stops.
            deterministic: Whether a GPU must give the same bits again, for less speed.
            verbose: Whether to show what Ray prints.

        Returns:
            What came out. Where the time was up, ``wanted`` is what is left to do.

        Raises:
            RunError: If there is nothing to confirm, the folder is in use, the data have changed,
                the resources do not exist, the disk is full, or too many trials in a row fail.
            KeyboardInterrupt: If it was interrupted; call it again to go on.
        """
        for name, value, least in (("top", top, 1), ("seeds", seeds, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise RunError(f"{name}: {value!r} is not a whole number from {least}")
        resources = Resources(
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            concurrency=concurrency,
            address=address,
            insecure=insecure,
            dashboard=dashboard,
        )
        try:
            with FileLock(self.path / ".lock", timeout=0):
                earlier = self._asked_to_confirm()
                kept = earlier["leaders"] if earlier else ()
                leaders = analysis.leaders(self.rank(), self.trials(), top, kept)
                if not leaders:
                    raise RunError(f"{self.path}: nothing to confirm: no training has ended well")
                keys = [first.key for first, *_ in leaders]
                text = dump_yaml({"leaders": keys, "seeds": seeds})
                found = self._judged(leaders, seeds, self._confirmations())
                if not found.wanted:
                    write_atomically(self.path / CONFIRM, text)
                    return found
                data, params = self.load_data(), load_params(*self._study())
                plan = Plan(
                    space=self.space,
                    recipe=Recipe.from_dict(self.asked["recipe"]),
                    trials=0,
                    seed=self.asked["seed"],
                    sampler="random",  # it proposes nothing
                )
                with ray_session(resources, verbose) as share:
                    write_atomically(self.path / CONFIRM, text)
                    outcome = train_rounds(
                        _url(self.path, "confirm.db"),
                        plan,
                        lambda trainings: [
                            (params[leader.number], seed)
                            for leader, seed in self._judged(leaders, seeds, trainings).wanted
                        ],
                        data.without_test(),
                        (self.path / "checkpoints").absolute(),
                        share=share,
                        limits=Limits(
                            time_budget=time_budget,
                            trial_timeout=trial_timeout,
                            max_failures=max_failures,
                        ),
                        deterministic=deterministic,
                        verbose=verbose,
                    )
        except Timeout:
            raise RunError(f"{self.path}: another search is writing to this run folder") from None
        if outcome.interrupted and not outcome.out_of_time:
            raise KeyboardInterrupt
        return self._judged(leaders, seeds, self._confirmations())

    def confirmation(self) -> analysis.Confirmation | None:
        """Return what ``confirm`` has found so far; None where it was never called."""
        asked = self._asked_to_confirm()
        if asked is None:
            return None
        leaders = analysis.leaders(self.rank(), self.trials(), 0, asked["leaders"])
        return self._judged(leaders, asked["seeds"], self._confirmations()) if leaders else None

    def _asked_to_confirm(self) -> dict[str, Any] | None:
        path = self.path / CONFIRM
        if not path.is_file():
            return None
        asked = parse_yaml(read_text(path, RunError), str(path), RunError)
        for key in ("leaders", "seeds"):
            if not asked.get(key):
                raise RunError(f"{path}: {key} is missing")
        return asked

    def _confirmations(self) -> list[Trial]:
        """Return the records of what was trained with new seeds."""
        there = (self.path / "confirm.db").is_file()
        return load_trials(_url(self.path, "confirm.db")) if there else []

    def _judged(
        self, leaders: list[list[Trial]], seeds: int, trainings: list[Trial]
    ) -> analysis.Confirmation:
        images = self.asked["data"]["validation_images"]
        first = self.asked["seed"] + NEW_SEEDS
        return analysis.confirmation(leaders, trainings, first, seeds, images, self._fields())

    def report(self, out: str | Path | None = None) -> Path:
        """Write the run as one page, ``index.html``, with all figures and tables as files.

        Args:
            out: The folder; ``report`` in the run folder if None.

        Returns:
            The page.

        Raises:
            RunError: If nothing was recorded yet.
        """
        from skipsearch.analysis.page import Findings, write_page

        trials, rungs, fields = self.trials(), self.asked["rungs"], self._fields()
        if not trials:
            raise RunError(f"{self.path}: no trial has been recorded yet")
        images, axes = self.asked["data"]["validation_images"], list(self.space.parameters)
        accuracy_and_size = (VALIDATION_ACCURACY, "params")
        found = Findings(
            asked=self.asked,
            trials=trials,
            ranking=analysis.rank(trials, rungs, images, fields),
            front=analysis.pareto(trials, accuracy_and_size, images, fields),
            audit=analysis.audit(trials),
            effects=analysis.effects(trials, rungs, axes),
            importance=importance(trials, rungs, axes),
            interactions=analysis.all_interactions(trials, rungs, axes, fields),
            degradation=analysis.degradation(
                trials,
                self.asked["data"]["train_images"],
                images,
                axes=[field for field in fields if field != "depths"],
            )
            if len({trial.design.depths for trial in trials}) > 1
            else None,
            confirmation=self.confirmation(),
        )
        return write_page(found, Path(out or self.path / "report"), self.path.resolve().name)

    def _fields(self) -> list[str]:
        """Name what the axes set, and the layout."""
        fields = [split_name(name).field for name in self.space.axes]
        return list(dict.fromkeys([*fields, "layout"]))

    def trial(self, which: str | Design | Trial) -> Trial:
        """Find the training of a design in the search.

        Args:
            which: ``best``, which is the winner of ``confirm`` where there is one; a design; a
                record of it; or the first digits of ``DESIGN-RECIPE`` as the columns of ``rank``
                have them. Of several trainings of one design the highest-ranked is taken.

        Raises:
            RunError: If there is none, or several designs fit.
        """
        table = self.rank()
        trials = {trial.number: trial for trial in self.trials()}
        if isinstance(which, Trial):
            which = which.key
        if which == "best":
            confirmed = self.confirmation()
            if confirmed is not None and confirmed.judged:
                return confirmed.best
            table = table[table.state == COMPLETE]
            if table.empty:
                raise RunError(f"{self.path}: no training has reached the full budget yet")
        else:
            digits = which.id if isinstance(which, Design) else which
            table = table[(table.design + "-" + table.recipe).str.startswith(digits)]
            if table.empty or not digits:
                raise RunError(
                    f"{self.path}: no design {digits!r}; 'skipsearch rank {self.path}' lists them"
                )
            if table.design.nunique() > 1:
                raise RunError(f"{self.path}: several designs begin with {digits!r}")
        return trials[int(table.trial.iloc[0])]

    def load_data(self, device: str = "cpu") -> Data:
        """Load the data set of the run again, and make sure that it is the same.

        Raises:
            RunError: If its images, labels or splits differ from those that were searched on.
            DataError: If it is gone.
        """
        asked = self.asked["data"]
        data = load_data(
            asked["name"],
            root=asked["root"],
            device=device,
            image_size=asked["resized_to"],
            split_seed=asked["split_seed"],
        )
        if data.fingerprint != asked["fingerprint"]:
            raise RunError(
                f"{self.path}: data {asked['name']} has changed since the search"
                f" (fingerprint {data.fingerprint}, {asked['fingerprint']} then)"
            )
        return data


def compare(runs: Sequence[Run]) -> pd.DataFrame:
    """Tell how far runs agree on what is best; see ``analysis.compare`` for the columns.

    Args:
        runs: Two or more, on other data or with another budget.

    Raises:
        RunError: If there are fewer than two, or one has nothing to compare.
    """
    names = [str(run.path) for run in runs]
    if len(set(names)) < len(names):
        raise RunError("compare: a run is named twice")
    return analysis.compare(
        {
            name: analysis.Compared(run.trials(), run.asked["rungs"], run._fields())
            for name, run in zip(names, runs, strict=True)
        }
    )


def search(
    space: Space | str | Path,
    data: str = "digits",
    *,
    trials: int | None,
    epochs: int,
    out: str | Path,
    seed: int = 0,
    recipe: Recipe | None = None,
    sampler: str = "tpe",
    scheduler: str | EarlyStopping = "asha",
    seeds: int = 1,
    objectives: Sequence[str] = (VALIDATION_ACCURACY,),
    latency_batch: int = 1,
    data_root: str | Path | None = None,
    image_size: int | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    insecure: bool = False,
    dashboard: bool = False,
    storage: str | None = None,
    log: Sequence[str] = (),
    time_budget: float | None = None,
    trial_timeout: float | None = None,
    max_failures: int = 10,
    deterministic: bool = False,
    verbose: bool = False,
) -> Run:
    """Search a space: Optuna proposes designs, Ray Tune trains them and stops the weak ones early.

    Called again with the same arguments it goes on where it ended or was interrupted; with more
    ``trials`` it goes further. No design is trained twice with the same recipe and seed.

    Args:
        space: What to search, or its YAML file.
        data: A data set's name, or a path; see ``load_data``.
        trials: Trainings that the run shall hold at the end: finished, stopped early or failed.
            None, with the sampler ``grid``, for all of the space, each with all ``seeds``.
        epochs: The full budget of one training.
        out: The run folder; made where it is missing.
        seed: Of the sampler and of the first training of each design.
        recipe: How designs are trained; what the space's ``recipe`` or an axis sets cannot be set
            here as well.
        sampler: ``tpe``, ``random``, ``grid``, ``gp``, ``nsga2``, ``evolution`` or ``local``.
        scheduler: ``asha``, ``median``, ``none``, or these in detail.
        seeds: Trainings of one design at most: where a design is proposed again, and all its
            neighbours are known, it is trained with the next seed.
        objectives: ``validation_accuracy``, alone or before any of ``params``, ``macs``,
            ``activation_bytes`` and ``latency``, which are to be kept small.
        latency_batch: Images of the batch whose latency is measured, where it is an objective.
        data_root: Folder of the data set's files.
        image_size: Height and width to resize images to, in pixels; needed for a folder of images.
        cpus_per_trial: CPU cores of each trial.
        gpus_per_trial: GPUs of each trial, or a share of one; None for one where there are any.
        concurrency: Trials at once at most.
        address: Of a Ray cluster to join, ``host:port`` or ``auto``.
        insecure: Whether the cluster may do without token authentication.
        dashboard: Whether Ray shows its dashboard, to this machine alone.
        storage: Of the study, as Optuna takes it, such as ``postgresql+psycopg://USER@HOST/NAME``;
            several searches of one space, each with a folder of its own, then share the work.
            None for a file in the run folder.
        log: ``tensorboard`` or ``mlflow``, or both: curves written into the run folder.
        time_budget: Seconds after which the session stops.
        trial_timeout: Seconds of training after which a trial fails.
        max_failures: Trials in a row that may fail before the search stops.
        deterministic: Whether a GPU must give the same bits again, for less speed; the CPU does.
        verbose: Whether to show what Ray prints.

    Returns:
        The run.

    Raises:
        RunError: If the folder holds another search or is in use, the resources do not exist, the
            disk is full, or too many trials in a row fail.
        SpaceError: If the space is wrong or empty.
        DataError: If the data cannot be loaded.
    """
    positive = {"epochs": epochs, "seeds": seeds, "max_failures": max_failures}
    if trials is not None:
        positive["trials"] = trials
    elif sampler != "grid":
        raise RunError(f"trials: a number is needed with the sampler {sampler}; grid tries all")
    for name, value in (positive | {"latency_batch": latency_batch}).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RunError(f"{name}: {value!r} is not a positive whole number")
    _check_seed(seed)
    _check_objectives(objectives)
    if storage is not None and storage.startswith("sqlite"):
        raise RunError(
            "storage: SQLite is for one search, which has it in its run folder; several need a"
            " database server, such as postgresql+psycopg://USER@HOST/NAME"
        )
    stopping = EarlyStopping(rule=scheduler) if isinstance(scheduler, str) else scheduler
    rungs = stopping.rungs(epochs)
    resources = Resources(
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        concurrency=concurrency,
        address=address,
        insecure=insecure,
        dashboard=dashboard,
    )
    space = space if isinstance(space, Space) else Space.load(space)
    images = load_data(data, root=data_root, image_size=image_size)
    space = space.for_images(images.in_channels, images.image_size, images.classes)
    recipe = _joined(recipe or Recipe(), space, epochs).resolve(images.augmentation)
    # Refused before anything is written: an empty space, and a sampler that cannot search it.
    space.sample(0)
    make_sampler(sampler, space, seed, len(objectives))
    if trials is None:
        trials = seeds * sum(1 for _ in space.candidates())
    plan = Plan(
        space=space,
        recipe=recipe,
        trials=trials,
        seed=seed,
        sampler=sampler,
        seeds=seeds,
        objectives=tuple(objectives),
    )
    asked = {
        "format": FORMAT,
        "space": space.to_dict(),
        "data": _describe(images, data, data_root, image_size),
        "recipe": recipe.to_dict(),
        "seed": seed,
        "sampler": sampler,
        "scheduler": stopping.rule,
        "stopping": stopping.details(),
        "rungs": list(rungs),
        "objectives": list(objectives),
        "trials": trials,
        "seeds": seeds,
        "storage": None if storage is None else without_password(storage),
        "versions": versions(),
    }
    out = Path(out)
    _check_folder(out, asked)
    out.mkdir(parents=True, exist_ok=True)
    url, common = (_url(out), None) if storage is None else (storage, _shared(asked))
    try:
        with FileLock(out / ".lock", timeout=0):
            finished = ended(_recorded(out, storage, space.name))
            if len(finished) >= trials:
                # The driver that had enough may have been killed before it tidied up.
                sweep_checkpoints(Folder(out / "checkpoints"), finished)
                sweep()
                return Run(out, asked, Outcome())
            # First: what is not installed, and resources that do not exist, are refused before
            # anything is written of the search.
            callbacks = loggers(log, out)
            with ray_session(resources, verbose) as share:
                write_atomically(out / "run.yaml", dump_yaml(asked))
                with contextlib.closing(SearchStudy(url, space.name, plan, common)) as study:
                    outcome = run_trials(
                        study,
                        images.without_test(),
                        (out / "checkpoints").absolute(),
                        share=share,
                        stopping=stopping,
                        limits=Limits(
                            time_budget=time_budget,
                            trial_timeout=trial_timeout,
                            max_failures=max_failures,
                        ),
                        latency_batch=latency_batch if "latency" in objectives else None,
                        deterministic=deterministic,
                        callbacks=callbacks,
                        verbose=verbose,
                    )
    except Timeout:
        raise RunError(f"{out}: another search is writing to this run folder") from None
    return Run(out, asked, outcome)


def _check_objectives(objectives: Sequence[str]) -> None:
    words = (VALIDATION_ACCURACY, *COSTS)
    for word in objectives:
        if word not in words:
            raise RunError(f"objectives: {not_one_of(word, words)}")
    if not objectives or objectives[0] != VALIDATION_ACCURACY:
        raise RunError(f"objectives: {VALIDATION_ACCURACY} must stand first")
    if len(set(objectives)) < len(objectives):
        raise RunError(f"objectives: {', '.join(objectives)} names one twice")


def _recorded(out: Path, storage: str | None, name: str) -> list[Trial]:
    """Return the trainings that there are, without making a storage."""
    if storage is not None:
        return load_trials(storage, name)
    return load_trials(_url(out)) if (out / "study.db").exists() else []


def _shared(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same for all who work on one study."""
    shared = {name: asked[name] for name in FIXED if name != "storage"}
    return shared | {"data": {name: asked["data"][name] for name in SAME_DATA}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote, and how good it is.

    Attributes:
        path: The folder.
        design: The network.
        search_accuracy: Validation accuracy that the design was ranked by in the search.
        validation_accuracy: Of the exported weights; None if they were trained on that split.
        test_accuracy: Of the exported weights, on the test split, which was opened once.
        test_interval: 95 % interval of the test accuracy that its number of images leaves.
        test_images: Their number.
        differences: By file, the largest absolute difference of its logits from the module's.
        tolerance: The largest that was allowed, relative to the largest logit.
    """

    path: Path
    design: Design
    search_accuracy: float
    validation_accuracy: float | None
    test_accuracy: float
    test_interval: tuple[float, float]
    test_images: int
    differences: Mapping[str, float]
    tolerance: float


def export(
    run: Run | str | Path,
    design: str | Design | Trial = "best",
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = tuple(FORMATS),
    precision: str = "fp32",
    train_on: str = "train",
    seed: int | None = None,
    device: str | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> Exported:
    """Train a design of a run to the full budget, test it once, and write it as files.

    Args:
        run: The run, or its folder.
        design: ``best``, a design, a record of it such as ``Confirmation.best``, or the first
            digits of its id; see ``Run.trial``.
        out: The folder to write; ``RUN/export/DESIGN`` if None, with the recipe's
            id behind it where recipes were searched.
        formats: Any of ``source``, ``program``, ``onnx``; weights, design and card always.
        precision: Of the files: ``fp32``, ``fp16``, or ``bf16`` (not for ONNX); see
            ``write_artefacts``. The accuracies are those of the network before it is rounded.
        train_on: ``train``, or ``train+validation``.
        seed: Of this training; the search's if None.
        device: To train on; CUDA where there is one if None.
        progress: Called after each epoch.

    Raises:
        RunError: If the design is not in the run, or the data have changed.
        ExportError: If the folder holds something else, or an artefact differs from the module.
        TrainingError: If the training diverges.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if train_on not in TRAIN_ON:
        raise RunError(f"train-on {not_one_of(train_on, TRAIN_ON)}")
    trial = run.trial(design)
    if out is None:
        searched = any(name.startswith("recipe.") for name in run.space.axes)
        name = trial.key if searched else trial.design.id
        out = run.path / "export" / name
    out = Path(out)
    check_request(out, formats, precision)
    data = run.load_data(device or default_device())
    chosen = data if train_on == "train" else data.with_validation_in_training()
    seed = trial.seed if seed is None else seed
    _check_seed(seed)
    model = build(trial.design, data.in_channels, data.classes, seed=seed)
    trainer = Trainer(model, chosen.without_test(), trial.recipe, seed)
    while trainer.epoch < trial.recipe.epochs:
        epoch = trainer.run_epoch()
        if progress is not None:
            progress(epoch)
    assert data.test is not None
    _, test_accuracy = trainer.evaluate(data.test)
    validation_accuracy = epoch.validation_accuracy if train_on == "train" else None
    ranking = run.rank()
    place = ranking[ranking.trial == trial.number].iloc[0]
    card = Card(
        name=f"{run.space.name}-{trial.design.id}",
        data=f"{run.asked['data']['name']}: {run.asked['data']['source']}",
        mean=data.mean,
        std=data.std,
        class_names=data.class_names,
        run=run.path.name,
        space=run.space.name,
        trials=len(run.trials()),
        designs=int(ranking.design.nunique()),
        search_epochs=run.asked["recipe"]["epochs"],
        search_seed=run.asked["seed"],
        search_accuracy=float(place.validation_accuracy) if place.epochs else None,
        **_confirmed(run, trial),
        recipe=trial.recipe,
        seed=seed,
        trained_on=train_on,
        train_images=len(chosen.train),
        validation_accuracy=validation_accuracy,
        validation_images=None if validation_accuracy is None else len(data.validation),
        test_accuracy=test_accuracy,
        test_images=len(data.test),
        device=trainer.numerics,
        versions=versions(),
    )
    differences = write_artefacts(
        model,
        trial.design,
        out,
        in_channels=data.in_channels,
        image_size=data.image_size,
        classes=data.classes,
        formats=formats,
        precision=precision,
        card=card,
    )
    return Exported(
        path=out,
        design=trial.design,
        search_accuracy=float(place.validation_accuracy),
        validation_accuracy=validation_accuracy,
        test_accuracy=test_accuracy,
        test_interval=wilson(test_accuracy, len(data.test)),
        test_images=len(data.test),
        differences=differences,
        tolerance=TOLERANCES[precision],
    )


def _confirmed(run: Run, trial: Trial) -> dict[str, Any]:
    """Return what a card says of the trainings of a design with new seeds, if there were any."""
    found = run.confirmation()
    accuracies = found.accuracies(trial) if found is not None else ()
    if found is None or not found.judged or not accuracies:
        return {}
    row = found.row(trial)
    return {
        "confirmations": accuracies,
        "confirmed_interval": (float(row.low), float(row.high)),
        "chance_of_best": float(row.chance),
        "leaders": len(found.table),
    }


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"seed: {seed!r} is not a whole number from 0 to 2**32 - 1")


def _joined(recipe: Recipe, space: Space, epochs: int) -> Recipe:
    """Join the recipe given with the space's; refuse what both set."""
    given = {
        name for name, value in recipe.to_dict().items() if value != getattr(Recipe(), name)
    } - {"epochs"}
    axes = {name.removeprefix("recipe.") for name in space.axes if name.startswith("recipe.")}
    for name in sorted(given & (axes | set(space.recipe))):
        if name in axes or getattr(recipe, name) != space.recipe[name]:
            how = "is an axis of" if name in axes else f"is {space.recipe[name]!r} in"
            raise RunError(f"recipe.{name} {how} the space {space.name}: change it there")
    return recipe.replace(**space.recipe, epochs=epochs)


def _check_folder(out: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else than the search that is asked for."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: not a folder")
    if "?" in str(out):
        raise RunError(f"{out}: '?' cannot stand in the path of a run folder")
    if not out.exists() or {path.name for path in out.iterdir()} <= {".lock"}:
        return
    if not (out / "run.yaml").exists():
        raise RunError(f"{out}: holds files but no run.yaml; give an empty or a new folder")
    there = Run.open(out).asked
    for name in FIXED:
        old, new = there[name], asked[name]
        if name == "data":  # Where it lies, and how it is described, may change.
            old, new = ({key: side.get(key) for key in SAME_DATA} for side in (old or {}, new))
        if name == "recipe":  # A field that is younger than the run has its default.
            old = Recipe.from_dict(old or {}).to_dict()
        if old != new:
            raise RunError(
                f"{out}: holds another search: {_difference(name, old, new)};"
                " give the same or another --out"
            )


def _difference(name: str, old: Any, new: Any) -> str:
    """Name the first place where two plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*new, *old):
            if old.get(key) != new.get(key):
                return _difference(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} is {old!r} there, {new!r} was asked for"


def _describe(
    images: Data, name: str, root: str | Path | None, image_size: int | None
) -> dict[str, Any]:
    is_path = Path(name).exists() and images.name == name
    return {
        "name": str(Path(name).absolute()) if is_path else name,
        "root": None if root is None else str(Path(root).absolute()),
        "resized_to": image_size,
        "split_seed": images.split_seed,
        "fingerprint": images.fingerprint,
        "in_channels": images.in_channels,
        "image_size": images.image_size,
        "classes": images.classes,
        "train_images": len(images.train),
        "validation_images": len(images.validation),
        "source": images.source,
    }


def _url(path: Path, file: str = "study.db") -> str:
    return f"sqlite:///{path / file}"
