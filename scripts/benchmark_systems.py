"""The searches that ``benchmark_search.py`` compares, each replayed on a table of trainings.

A replay trains nothing: the result of an epoch is looked up and returned at once, so that only the
work of the system itself is measured. Everything else is real: Ray, its workers, Tune, Optuna, and
our own driver with its study in SQLite.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from benchmark_samplers import Setting, luck, trainings
from benchmark_tables import CORES
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

import skipsearch as ss
from skipsearch.early_stopping import EarlyStopping
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, SCORE, Epoch
from skipsearch.searching.cluster import Allocation, ray_session
from skipsearch.searching.driver import run_trials
from skipsearch.searching.messages import Member, Report, Request
from skipsearch.searching.options import Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space

AT_ONCE = 2  # concurrent trials, if a system can train several
CHANCE = 0.1  # accuracy of a diverged network, which an ordinary loop continues to report
REDUCTION = 3  # reduction factor of all early stopping; the first rung is 1 epoch
# Defaults of Tune, which our own session overrides.
TUNES_DEFAULTS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "auto",
    "RAY_CHDIR_TO_TRIAL_DIR": "1",
}

Curves = Mapping[str, Sequence[float]]  # accuracy after each epoch, by design and recipe


class Trained(NamedTuple):
    """One epoch of a replay: its trial, key, value, process and times."""

    trial: str
    key: str
    epoch: int
    value: float
    process: int
    began: float
    ended: float


@dataclass
class Replay:
    """Record of one search.

    Attributes:
        budget: Number of epochs after which nothing more may start.
        epochs: Epochs in the order in which the search received them.
        asked: Time of the call of the search.
        returned: Time of its end.
        best: Best value, as reported by the system itself.
    """

    budget: int
    epochs: list[Trained] = field(default_factory=list)
    asked: float = field(default_factory=time.monotonic)
    returned: float = 0.0
    best: float = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether the budget is used up."""
        return len(self.epochs) >= self.budget

    def end(self, best: float) -> None:
        """Record the end of the search and its best value."""
        self.returned, self.best = time.monotonic(), best


class Budget(tune.Stopper, tune.Callback):
    """Recorder of the epochs that Tune receives; it ends the session when the budget is used up.

    Args:
        replay: Record of the search.
    """

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for a restore that is not used

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Record an epoch."""
        self._replay.epochs.append(Trained(trial.trial_id, *result["replayed"]))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: single trials are left to the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Return whether the session must end."""
        return self._replay.is_spent


def replaying(
    curves: Curves, epochs: int, key_of: Callable[[dict[str, Any]], str]
) -> type[tune.Trainable]:
    """Return a trainable as a user of Tune writes it: a class that can be reused for other trials.

    Args:
        curves: Curves to replay. As the class is created here, Ray ships them with it.
        epochs: Full budget.
        key_of: Function from a trial's configuration to the key of what it trains.
    """

    class Replaying(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._key, self._epoch = key_of(config), 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._key, self._epoch = key_of(new_config), 0
            return True

        def step(self) -> dict[str, Any]:
            began = time.monotonic()
            curve = curves[self._key]
            self._epoch += 1
            value = curve[self._epoch - 1] if self._epoch <= len(curve) else CHANCE
            return {
                SCORE: value,
                "done": self._epoch == epochs,
                "replayed": [self._key, self._epoch, value, os.getpid(), began, time.monotonic()],
            }

    return Replaying


def ours_replaying(curves: Curves, epochs: int) -> type[tune.Trainable]:
    """Return a replacement of ``worker.DesignTrainable`` with the same interface.

    Args:
        curves: Curves to replay.
        epochs: Full budget.
    """

    class Replaying(tune.Trainable):
        def setup(self, config: dict[str, Any], data: Any, store: Any) -> None:
            self._begin(config)

        def _begin(self, config: dict[str, Any]) -> None:
            request = Request.from_config(config)
            self._key = request.checkpoint.removesuffix(f"-{request.seeds[0]}.pt")
            self._curve: tuple[Epoch, ...] = ()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._begin(new_config)
            return True

        def step(self) -> dict[str, Any]:
            began = time.monotonic()
            known, epoch = curves[self._key], len(self._curve) + 1
            value, failure = CHANCE, "the loss is no longer finite"
            if epoch <= len(known):
                value, failure = known[epoch - 1], ""
                self._curve += (Epoch(epoch, 0.0, 0.0, 0.0, 0.0, value, 0.0),)
            report = Report(
                members=(Member(self._curve, failure),),
                done=epoch == epochs or bool(failure),
                device="",
            )
            replayed = [self._key, epoch, value, os.getpid(), began, time.monotonic()]
            return report.to_result() | {"replayed": replayed}

    return Replaying


class Budgeted(SearchStudy):
    """A study that proposes nothing more when the budget of a replay is spent."""

    replay: Replay

    def ask(self) -> Any:
        """Propose a training; None if the budget is spent."""
        return None if self.replay.is_spent else super().ask()


def ours(setting: Setting, curves: Curves, budget: int, seed: int) -> Replay:
    """Search with skipsearch: driver, study, sampler and early stopping with their defaults."""
    known = trainings(setting)
    recipe = Recipe.from_dict(known.space.recipe)
    data = ss.load_data(setting.data).without_test()
    # The space is finite and no training is repeated, so it may hold less than the budget.
    plan = Plan(space=known.space, recipe=recipe, trials=len(known.truth), seed=seed)
    replay = Replay(budget)
    with session() as allocation, tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        with contextlib.closing(Budgeted(url, "replay", plan)) as study:
            study.replay = replay
            run_trials(
                study,
                data,
                Path(folder) / "checkpoints",
                allocation=allocation,
                stopping=EarlyStopping(rule="none"),  # the default of ``search``
                callbacks=[Budget(replay)],
                worker=ours_replaying(curves, known.epochs),
            )
            trials = [trial for trial in study.trials() if trial.state == COMPLETE]
            best = max((trial.curve[-1].validation_score for trial in trials), default=0.0)
            replay.end(best)
    return replay


def tune_optuna(setting: Setting, curves: Curves, budget: int, seed: int) -> Replay:
    """Search with Tune's OptunaSearch and ASHA, with reused actors, which is not the default."""
    return _tune_optuna(setting, curves, budget, seed, reuse=True)


def tune_as_it_comes(setting: Setting, curves: Curves, budget: int, seed: int) -> Replay:
    """Search with Tune's OptunaSearch and ASHA, and a new actor for each trial."""
    return _tune_optuna(setting, curves, budget, seed, reuse=False)


def _tune_optuna(setting: Setting, curves: Curves, budget: int, seed: int, reuse: bool) -> Replay:
    config = tune.TuneConfig(
        metric=SCORE,
        mode="max",
        search_alg=OptunaSearch(seed=seed),
        scheduler=ASHAScheduler(
            max_t=trainings(setting).epochs, grace_period=1, reduction_factor=REDUCTION
        ),
        num_samples=budget,  # more than the budget allows
        reuse_actors=reuse,
    )
    return _with_tune(setting, curves, budget, config)


def random_search(setting: Setting, curves: Curves, budget: int, seed: int) -> Replay:
    """Search with Tune's own random search, each trial trained to the end."""
    config = tune.TuneConfig(
        metric=SCORE,
        mode="max",
        search_alg=BasicVariantGenerator(random_state=seed),
        num_samples=budget,
        reuse_actors=True,
    )
    return _with_tune(setting, curves, budget, config)


def _with_tune(setting: Setting, curves: Curves, budget: int, config: tune.TuneConfig) -> Replay:
    known = trainings(setting)
    parameters, keys = known.space.parameters, flat(known.space)
    trainable = replaying(
        curves, known.epochs, lambda config: keys[tuple(config[name] for name in parameters)]
    )
    os.environ |= TUNES_DEFAULTS
    replay = Replay(budget)
    ends = Budget(replay)
    with session() as allocation, tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(trainable, allocation.each),
            param_space={name: tune.choice(each.labels) for name, each in parameters.items()},
            tune_config=config,
            run_config=tune.RunConfig(
                storage_path=folder,
                stop=ends,
                callbacks=[ends],
                # A replay has no weights to save, in any of the systems.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
        assert not results.errors, results.errors[0]
        replay.end(results.get_best_result().metrics[SCORE])
    return replay


def optuna_alone(setting: Setting, curves: Curves, budget: int, seed: int) -> Replay:
    """Search with Optuna's TPE and Hyperband, one training after another in this process."""
    known = trainings(setting)
    parameters, keys = known.space.parameters, flat(known.space)
    replay = Replay(budget)

    def objective(trial: optuna.Trial) -> float:
        values = [trial.suggest_categorical(n, each.labels) for n, each in parameters.items()]
        key = keys[tuple(values)]
        value = CHANCE
        for epoch in range(1, known.epochs + 1):
            began = time.monotonic()
            value = curves[key][epoch - 1] if epoch <= len(curves[key]) else CHANCE
            ended = time.monotonic()
            replay.epochs.append(
                Trained(str(trial.number), key, epoch, value, os.getpid(), began, ended)
            )
            trial.report(value, epoch)
            if epoch < known.epochs and trial.should_prune():
                raise optuna.TrialPruned
        return value

    def end(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        if replay.is_spent:
            study.stop()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=known.epochs, reduction_factor=REDUCTION
        ),
    )
    study.optimize(objective, callbacks=[end])
    replay.end(study.best_value)
    return replay


def session() -> contextlib.AbstractContextManager[Allocation]:
    """Start Ray for the concurrent trials, the same for all systems; nothing is left behind."""
    return ray_session(Resources(cpus_per_trial=CORES / AT_ONCE, concurrency=AT_ONCE))


def flat(space: Space) -> dict[tuple[Any, ...], str]:
    """Return the key of what each combination of all axes trains; several are the same.

    As in most searches, every axis is chosen independently, whether or not it matters.
    """
    parameters = space.parameters
    return {
        tuple(json.dumps(v) if isinstance(v, tuple) else v for v in values): space.candidate(
            dict(zip(parameters, values, strict=True))
        ).key
        for values in product(*(parameter.values for parameter in parameters.values()))
    }


class System(NamedTuple):
    """One contender.

    Attributes:
        search: Function that replays one search.
        judges_any_epoch: Whether it returns the trial with the best last value, wherever that was
            stopped; otherwise, the trial with the best value at the full budget.
    """

    search: Callable[[Setting, Curves, int, int], Replay]
    judges_any_epoch: bool = False


SYSTEMS = {
    "ours": System(ours),
    "Tune, OptunaSearch, ASHA": System(tune_optuna, judges_any_epoch=True),
    "Optuna, Hyperband": System(optuna_alone),
    "random, no stopping": System(random_search, judges_any_epoch=True),
    "Tune as it comes": System(tune_as_it_comes, judges_any_epoch=True),
}


def replay(name: str, setting: Setting, budget: int, seed: int) -> Replay:
    """Run one search of a system."""
    keys = trainings(setting).curves
    curves = {key: luck(setting, key, seed) for key in keys}
    return SYSTEMS[name].search(setting, curves, budget, seed)
