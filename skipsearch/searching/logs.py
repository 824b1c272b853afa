"""Curves of a search for TensorBoard and MLflow, written to the run folder by Ray's loggers.

By themselves, Ray's loggers would write a single text instead of hyperparameters, a running number
and a temporary folder. ``Translator`` gives them the names and values of this package.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import LoggerCallback, TBXLoggerCallback
from ray.tune.result import TRAINING_ITERATION

from skipsearch.errors import RunError, not_one_of
from skipsearch.metric import Metric
from skipsearch.searching.messages import ENDED, REPORT, Request

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}
# Read by a package at import.
ENVIRONMENT = {"mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}}
EVENTS = "events.out.tfevents.*"


def loggers(words: Iterable[str], folder: str | Path, metric: Metric) -> list[Callback]:
    """Return Tune callbacks that write logs of a search.

    Every training is logged as ``DESIGN-RECIPE-SEED``, as in the table that ``rank`` prints, so
    that an interrupted one keeps its name. The session that resumes it writes its complete curve,
    each epoch once. If a pack is resumed without some of its seeds, only the others are logged.

    Args:
        words: Names of ``LOGGERS``: ``tensorboard`` (files in ``folder/tensorboard/TRAINING``) or
            ``mlflow`` (``folder/mlflow/mlflow.db``, an experiment with the folder's name, a run for
            each training; its SQLite takes a tenth of a second or more per epoch).
        folder: Run folder, which no other search is writing to.
        metric: Metric that names the logged scores.

    Raises:
        RunError: If a word is unknown, its package is not installed, or MLflow cannot write to a
            path.
    """
    check_loggers(words)
    return [
        Translator(LOGGERS[word](Path(folder)), Path(folder) / word, metric)
        for word in dict.fromkeys(words)
    ]


def check_loggers(words: Iterable[str]) -> None:
    """Check the names of loggers without writing anything.

    Args:
        words: Names as for ``loggers``.

    Raises:
        RunError: If a word is unknown, or its package is not installed.
    """
    for word in words:
        if word not in LOGGERS:
            raise RunError(f"log: {not_one_of(word, LOGGERS)}")
        _package(word)


def _tensorboard(folder: Path) -> LoggerCallback:
    return TBXLoggerCallback()


def _mlflow(folder: Path) -> LoggerCallback:
    mlflow = _package("mlflow")
    # Imported here, since importing MLflow takes seconds.
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    home = folder.absolute() / "mlflow"
    odd = sorted(set(str(home)) & set("?#%"))
    if odd:  # MLflow requires a URL, and its releases parse these differently.
        raise RunError(f"log mlflow: the path {home} holds {' '.join(odd)}: give another --out")
    home.mkdir(parents=True, exist_ok=True)
    url, name = f"sqlite:///{home}/mlflow.db", folder.absolute().name
    client = mlflow.MlflowClient(tracking_uri=url)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:  # Left open by a killed driver.
        for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
            client.set_terminated(run.info.run_id, "KILLED")
    return MLflowLoggerCallback(tracking_uri=url, experiment_name=name)


def _package(word: str) -> Any:
    """Import the package of a logger."""
    for name, value in ENVIRONMENT.get(word, {}).items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module(PACKAGES[word])
    except ImportError:
        raise RunError(
            f"log {word}: {PACKAGES[word]} is not installed: pip install 'skipsearch[{word}]'"
        ) from None


LOGGERS: dict[str, Callable[[Path], LoggerCallback]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}


class Translator(Callback):
    """A callback that passes trainings and epochs to one of Ray's loggers.

    Args:
        logger: Logger of Ray.
        folder: Folder of its files for all trainings.
        metric: Metric of the scores.
    """

    def __init__(self, logger: LoggerCallback, folder: Path, metric: Metric) -> None:
        self._logger = logger
        self._metric = metric
        self._folder = folder
        # Running trainings, by Tune's trial and by place in its pack.
        self._trainings: dict[str, dict[int, LoggedTraining]] = {}

    def setup(self, *args: Any, **info: Any) -> None:
        """Prepare the logger, once per session."""
        self._logger.setup(*args, **info)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Log the epochs that were not logged yet: a retried trial repeats some."""
        if trial.trial_id not in self._trainings:
            # Not earlier: only the first result has the curve of previous sessions.
            request = Request.from_config(trial.config)
            pack = {
                place: LoggedTraining(request, seed, self._folder)
                for place, seed in enumerate(request.seeds)
                if seed in request.recorded
            }
            self._trainings[trial.trial_id] = pack
            for training in pack.values():
                self._logger.log_trial_start(training)
        report, pack = result[REPORT], self._trainings[trial.trial_id]
        for place, training in list(pack.items()):
            member = report.members[place]
            for epoch in member.curve[training.logged :]:
                scalars = {
                    self._metric.validation: self._metric.value(epoch.validation_score),
                    "validation_loss": epoch.validation_loss,
                    self._metric.train: self._metric.value(epoch.train_score),
                    "train_loss": epoch.train_loss,
                    "learning_rate": epoch.learning_rate,
                }
                step = {TRAINING_ITERATION: epoch.epoch}
                self._logger.log_trial_result(iteration, training, step | scalars)
                training.logged = epoch.epoch
            training.failed = bool(member.failure)
            if place in result[ENDED]:  # while others continue
                self._close(pack.pop(place))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close the log of a training that ended, or failed with a reason."""
        self._end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close the log of a training whose worker died."""
        self._end(trial.trial_id, failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Close the logs of trainings that were interrupted."""
        for trial_id in list(self._trainings):
            self._end(trial_id, failed=True)

    def _end(self, trial_id: str, failed: bool = False) -> None:
        for training in self._trainings.pop(trial_id, {}).values():
            self._close(training, failed)

    def _close(self, training: LoggedTraining, failed: bool = False) -> None:
        self._logger.log_trial_end(training, failed=failed or training.failed)


class LoggedTraining:
    """A trial as Ray's loggers read it: its name, its folder and its hyperparameters.

    Args:
        request: Request to the worker.
        seed: Seed of the training.
        folder: Folder of all trainings.
    """

    def __init__(self, request: Request, seed: int, folder: Path) -> None:
        design, recipe = request.design, request.recipe
        self._name = f"{design.id}-{recipe.id}-{seed}"
        self.local_path = str(folder / self._name)
        recipe_values = {f"recipe.{name}": value for name, value in recipe.to_dict().items()}
        values = design.to_dict() | recipe_values | {"seed": seed}
        self.config = self.evaluated_params = {
            name: json.dumps(value) if isinstance(value, list) else value
            for name, value in values.items()
            if value is not None
        }
        self.logged = 0  # epochs
        self.failed = False

    def __str__(self) -> str:
        return self._name

    def init_local_path(self) -> None:
        """Create its folder without the logs of an interrupted session, which are repeated."""
        path = Path(self.local_path)
        path.mkdir(parents=True, exist_ok=True)
        for earlier in path.glob(EVENTS):
            earlier.unlink()
