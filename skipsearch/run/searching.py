"""Search: Optuna proposes designs, Ray Tune trains them; run.yaml stores the configuration."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, isnan, nan
from pathlib import Path

from skipsearch.config import CONFIG, DataConfig, SearchConfig, difference
from skipsearch.data import Data, LoadOptions
from skipsearch.data.paths import check_name
from skipsearch.defaults import DATA, TRIALS
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, counted
from skipsearch.metric import Metric
from skipsearch.plan import ImageSize
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST, Trial
from skipsearch.run.dataset import baseline_score, describe, load_for_search
from skipsearch.run.folder import Run
from skipsearch.run.lock import locked
from skipsearch.run.places import STUDY, check_folder, check_outside
from skipsearch.run.requests import (
    axes_asked_about,
    check_folds,
    check_objectives,
    check_recipe,
    joined_recipe,
    seeds_of_folds,
    usual_latency_batch,
    usual_metric,
    usual_sampler,
    usual_stopping,
)
from skipsearch.run.seeds import check_seed
from skipsearch.searching.asking import trainings
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.driver import Outcome, ended, run_trials, sweep_checkpoints
from skipsearch.searching.folder import sweep
from skipsearch.searching.logs import check_loggers, loggers
from skipsearch.searching.options import Limits, Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.records import load_params, load_trials
from skipsearch.searching.requirements import check_utf8
from skipsearch.searching.samplers import (
    AnySampler,
    make_sampler,
    sampler_name,
)
from skipsearch.searching.storage import without_password
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.surrogate.inquiry import Inquiry
from skipsearch.text import dump_yaml, write_atomically
from skipsearch.training import Folder, packs, versions


def search(
    space: Space | str | Path,
    data: str | Path | Data = DATA,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    ask: str | Sequence[str] = ASK_BEST,
    margin: float | None = None,
    sampler: AnySampler | None = None,
    scheduler: str | EarlyStopping | None = None,
    seeds: int = 1,
    metric: str | None = None,
    objectives: Sequence[str] | None = None,
    latency_batch: int | None = None,
    data_root: str | Path | None = None,
    image_size: ImageSize | None = None,
    denoise: float | None = None,
    cache: bool = True,
    skip_damaged: bool = False,
    group_folders: bool = False,
    folds: int | None = None,
    resources: Resources = Resources(),
    limits: Limits = Limits(),
    storage: str | None = None,
    log: Sequence[str] = (),
    deterministic: bool = False,
    verbose: bool = False,
    on_data: Callable[[Data], None] | None = None,
) -> Run:
    """Search a space: Optuna proposes designs, and Ray Tune trains them.

    A further call with the same arguments resumes; with more ``trials`` it continues beyond the
    previous end. No design is trained twice with the same recipe and seed.

    Args:
        space: Space to search, its YAML file, or the name of a ready space, such as
            ``quickstart``.
        data: Name or path of a data set, see ``load_data``; or ``Data``, which must be given again
            to resume.
        trials: Required number of trainings of the run: finished, stopped early or failed. None for
            60 or, with the sampler ``grid``, for all designs of the space, each with all ``seeds``.
        epochs: Full budget of one training; None for that of the recipe, by default 20.
        out: Run folder, created if it is missing; None for ``runs/NAME``, with the name of the
            space.
        seed: Seed of the sampler and of the first training of each design.
        recipe: Recipe of the trainings; it must not set values that the space's ``recipe`` or an
            axis sets.
        ask: ``best`` to search for the best design; or axes of the space, or fields that several
            of them set, whose levels are compared. The next training is then the most informative
            one about the differences between their levels, and the search ends when each level is
            known to be worse than the best or tied with it; see ``Run.outcome``.
        margin: Difference in mean score that is too small to matter, for a search that
            investigates axes; None for that of the metric: 0.005 for an accuracy, 0.01 for R2, and
            0.5 % of the error of the baseline for RMSE and MAE.
        sampler: ``surrogate`` (default), ``tpe``, ``random``, ``grid``, ``gp``, ``nsga2``,
            ``evolution`` or ``local``; or any ``optuna.samplers.BaseSampler``, whose class is
            recorded, and which must be given again to resume. None for the sampler of the run, or
            the default for a new run. A search that investigates axes chooses its trainings itself
            and accepts no sampler.
        scheduler: ``none`` (default), ``asha``, ``median``, or an ``EarlyStopping`` with further
            settings. None for that of the run, or the default for a new run. A search that
            investigates axes stops no training early.
        seeds: Maximum number of trainings of one design. A small network is trained with all seeds,
            up to 8 at once as one packed network, see ``training.packs``. Any other network is
            trained with the next seed if it is proposed again and all its neighbours are known. A
            search that investigates axes trains each seed alone, and uses a further seed if that is
            more informative than any new design.
        metric: Metric by which networks are judged: for classification ``accuracy`` (default),
            ``balanced_accuracy``, ``macro_f1`` or ``auroc``; for several labels
            ``mean_average_precision`` (default), ``macro_f1`` or ``auroc``; for regression ``r2``
            (default), ``rmse`` or ``mae``. None for that of the run, or of the task for a new run.
        objectives: Validation score under the name of the task's metric, such as
            ``validation_accuracy`` (the default), alone or before any of ``params``, ``macs``,
            ``activation_bytes`` and ``latency``, which are minimised. None for those of the run,
            or the default for a new run.
        latency_batch: Number of images whose latency is measured, if it is an objective. None for
            that of the run, or 1 for a new run.
        data_root: Folder of the data set's files.
        image_size: Side of resized square images in pixels, or (height, width); required for a
            folder of classes of 8-bit pictures.
        denoise: Standard deviation of the noise that networks are to remove from the images, in
            grey levels of 0..255; None for the task of the data.
        cache: Whether a folder of images is decoded once, see ``load_data``.
        skip_damaged: Whether image files of a folder that cannot be read are left out.
        group_folders: Whether the folders inside the folder of a class are groups, such as
            patients, of which all images stay in one split.
        folds: Number of folds for cross-validation: each design is trained as many times, with
            another fold as the validation split, before the next design is proposed. For data in
            which a tenth of the images tells little. None for those of the run or, for a new run,
            for a fixed validation split.
        resources: Resources of the trials: cores, GPUs, trials at once, a cluster to join.
        limits: Limits of time and failures.
        storage: Optuna storage of the study, such as ``postgresql+psycopg://USER@HOST/NAME``;
            several searches of one space, each with a separate folder, then share the work.
            None for a file in the run folder.
        log: ``tensorboard`` or ``mlflow``, or both: curves are written to the run folder.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed; the CPU always
            does.
        verbose: Whether to show the output of Ray.
        on_data: Function that is called with the data before any training; see ``Data.summary``.

    Returns:
        Run of the search.

    Raises:
        RunError: If the folder belongs to another search, is in use or inside the data, ``ask``
            names no axis with levels to compare, the resources do not exist, the disk is full, or
            too many trials in a row fail.
        SpaceError: If the space is invalid or empty.
        DataError: If the data cannot be loaded.
    """
    space = space if isinstance(space, Space) else Space.load(space)
    out = Path("runs", space.name) if out is None else out
    epochs = (recipe or Recipe()).epochs if epochs is None else epochs
    if objectives is not None:
        check_objectives(objectives)
    axes = axes_asked_about(ask, margin, sampler, scheduler, objectives)
    if not isinstance(data, Data):
        check_name(data)
    paths = {"out": out, "data-root": data_root or "."}
    for name, path in (paths if isinstance(data, Data) else {**paths, "data": data}).items():
        check_utf8(name, path)
    out = Path(out)
    check_folder(out)
    earlier = Run.open(out).config if (out / CONFIG).exists() else None
    sampler = usual_sampler(earlier) if sampler is None else sampler
    latency_batch = usual_latency_batch(earlier) if latency_batch is None else latency_batch
    positive = {"epochs": epochs, "seeds": seeds}
    if trials is not None:
        positive["trials"] = trials
    for name, value in (positive | {"latency_batch": latency_batch}).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RunError(f"{name}: {value!r} is not a positive whole number")
    folds = earlier.data.folds if folds is None and earlier is not None else folds
    if folds is not None:
        seeds = seeds_of_folds(folds, seeds, trials)
        check_folds(axes, scheduler)
    if trials is None and sampler != "grid":
        trials = TRIALS if folds is None else ceil(TRIALS / seeds) * seeds
    check_seed(seed)
    check_loggers(log)
    if storage is not None and storage.startswith("sqlite"):
        raise RunError(
            "storage: SQLite is for one search, which has it in its run folder; several need a"
            " database server, such as postgresql+psycopg://USER@HOST/NAME"
        )
    stopping = EarlyStopping(rule=scheduler) if isinstance(scheduler, str) else scheduler
    stopping = usual_stopping(earlier) if stopping is None else stopping
    rungs = stopping.rungs(epochs)
    options = LoadOptions(
        root=data_root,
        image_size=image_size,
        denoise=denoise,
        cache=cache,
        skip_damaged=skip_damaged,
        group_folders=group_folders,
    )
    images = load_for_search(data, options)
    is_given = isinstance(data, Data)
    if earlier is not None:
        _check_same_data(out, earlier.data, describe(images, images, options, nan, is_given))
    metric = usual_metric(earlier, images.task) if metric is None else metric
    images = images.judged_by(metric).in_folds(folds, seed)
    first = images.for_seed(seed)
    check_outside(out, images.path)
    if objectives is None and earlier is not None and earlier.task.metric == images.task.metric:
        objectives = earlier.objectives
    objectives = tuple(objectives or (images.task.metric.validation,))
    if objectives[0] != images.task.metric.validation:
        raise RunError(
            f"objectives: {objectives[0]} is not the metric of {images.task.name}:"
            f" {images.task.metric.validation} (metric sets another one)"
        )
    check_recipe(images.task, recipe or Recipe(), space)
    for head in space.values("head"):
        images.task.check_head(head)
    space = space.for_images(images.in_channels, images.image_size, images.outputs)
    recipe = joined_recipe(recipe or Recipe(), space, epochs).resolve(images.augmentation)
    recipe.check_augmentation(images.image_size)
    # Checked before anything is written: an empty space, and a sampler that cannot search it.
    space.sample(0)
    baseline = baseline_score(images, range(seed, seed + (folds or 1)))
    described = describe(images, first, options, baseline, is_given)
    scale = described.scale
    inquiry = None
    if axes:
        inquiry = Inquiry(
            dataclasses.replace(space, recipe=recipe.to_dict()),
            axes,
            margin=scale.margin if margin is None else margin,
            scale=scale,
            seed=seed,
            seeds=seeds,
        )
    else:
        make_sampler(sampler, space, seed, objectives)
    if trials is None:
        trials = seeds * sum(1 for _ in space.candidates())
    timed = latency_batch if "latency" in objectives else None
    plan = Plan(
        space=space,
        recipe=recipe,
        trials=trials,
        seed=seed,
        sampler=sampler,
        seeds=seeds,
        objectives=objectives,
        inquiry=inquiry,
        scale=scale,
        complete=folds is not None,
    )
    config = SearchConfig(
        space=space,
        data=described,
        recipe=recipe,
        seed=seed,
        sampler=sampler_name(sampler),
        stopping=stopping,
        rungs=rungs,
        objectives=objectives,
        latency_batch=timed,
        trials=trials,
        seeds=seeds,
        storage=None if storage is None else without_password(storage),
        ask=axes or (ASK_BEST,),
        margin=None if inquiry is None else inquiry.margin,
        versions=versions(),
    )
    _check_same(out, config)
    if on_data is not None:
        on_data(images)
    place = out / STUDY if storage is None else storage
    with locked(out):
        known = _recorded(place, config)
        finished = ended(known)
        found = _found(inquiry, place, space, known, images.task.metric)
        if len(finished) >= trials or (found.settled and len(finished) == len(known)):
            # The driver that completed it may have been killed before its cleanup.
            sweep_checkpoints(Folder(out / "checkpoints"), finished)
            sweep()
            return Run(out, config, found)
        # Started first, so that missing resources raise an error before anything is written.
        with ray_session(resources, verbose) as allocation:
            callbacks = loggers(log, out, images.task.metric)
            write_atomically(out / CONFIG, dump_yaml(config.to_dict()))
            divided = partial(packs, images)
            study = SearchStudy(place, space.name, plan, config.identity(), divided)
            with contextlib.closing(study):
                outcome = run_trials(
                    study,
                    images.without_test(),
                    (out / "checkpoints").absolute(),
                    allocation=allocation,
                    stopping=stopping,
                    limits=limits,
                    latency_batch=timed,
                    deterministic=deterministic,
                    callbacks=callbacks,
                    verbose=verbose,
                )
        if inquiry is not None:
            known = _recorded(place, config)
            found = _found(inquiry, place, space, known, images.task.metric)
            outcome = dataclasses.replace(
                outcome, settled=found.settled, answers=found.answers, further=found.further
            )
    return Run(out, config, outcome)


def _found(
    inquiry: Inquiry | None, place: str | Path, space: Space, known: Sequence[Trial], metric: Metric
) -> Outcome:
    """Return the answers about the axes of the inquiry, given the trainings so far."""
    if inquiry is None or not known:
        return Outcome()
    name = space.name if isinstance(place, str) else None
    seen = trainings(space, known, load_params(place, name), inquiry.guess)
    answers, further = inquiry.answers(seen), inquiry.further(seen)
    if answers is None:
        ended = sum(training.score is not None for training in seen)
        text = f"Not enough data: {counted(ended, 'training')} of at least {inquiry.fewest} ended."
        return Outcome(answers=(text,), further=inquiry.fewest - ended)
    return Outcome(
        settled=inquiry.is_settled(seen),
        answers=tuple(
            answer.sentence(metric, more) for answer, more in zip(answers, further, strict=True)
        ),
        further=max((more for more in further if not isnan(more)), default=nan),
    )


def _recorded(place: str | Path, config: SearchConfig) -> list[Trial]:
    """Return the existing trainings, without creating a storage."""
    if isinstance(place, str):
        return load_trials(place, config.space.name)
    return load_trials(place, None, config.identity()) if place.exists() else []


def _check_same(out: Path, config: SearchConfig) -> None:
    """Check that a folder has no other content than the requested search."""
    if not out.exists() or {path.name for path in out.iterdir()} <= {".lock"}:
        return
    if not (out / CONFIG).exists():
        raise RunError(f"{out}: holds files but no {CONFIG}; give an empty or a new folder")
    _check_equal(out, difference(Run.open(out).config.to_dict(), config.to_dict()))


def _check_same_data(out: Path, there: DataConfig, asked: DataConfig) -> None:
    """Check that the data are those of a run, before its metric and folds are used for them."""
    asked = dataclasses.replace(asked, metric=there.metric, folds=there.folds)
    _check_equal(out, difference({"data": there.to_dict()}, {"data": asked.to_dict()}))


def _check_equal(out: Path, other: str) -> None:
    if other:
        raise RunError(f"{out}: holds another search: {other}; give the same, or another --out")
