"""The arguments of a search: their checks, and their defaults in a run that is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from skipsearch.axes import RECIPE, Choice
from skipsearch.config import SAMPLERS, SearchConfig
from skipsearch.data.folds import check_count
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RecipeError, RunError, not_one_of
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST, COSTS
from skipsearch.searching.samplers import DEFAULT, AnySampler, sampler_name
from skipsearch.space import Space
from skipsearch.task import TASKS, Task, all_metrics


def axes_asked_about(
    ask: str | Sequence[str],
    margin: float | None,
    sampler: AnySampler | None,
    scheduler: str | EarlyStopping | None,
    objectives: Sequence[str] | None,
) -> tuple[str, ...] | None:
    """Return the axes that the search investigates; None for a search for the best design.

    Raises:
        RunError: If another argument does not suit a search that investigates axes, or one that
            does not.
    """
    axes = (ask,) if isinstance(ask, str) else tuple(ask)
    if axes == (ASK_BEST,):
        if margin is not None:
            raise RunError("margin: is for a search that is asked about axes; give ask=AXIS too")
        return None
    if not axes:
        raise RunError(f"ask: no axis is named; give {ASK_BEST}, or axes of the space")
    if ASK_BEST in axes:
        raise RunError(f"ask: {ASK_BEST} cannot be combined with axes")
    rule = scheduler.rule if isinstance(scheduler, EarlyStopping) else scheduler
    if sampler is not None:
        raise RunError(
            f"sampler: {sampler_name(sampler)!r} is not for a search that is asked about axes; the"
            " question itself proposes"
        )
    if rule not in (None, "none"):
        raise RunError(
            f"scheduler: {rule!r} is not for a search that is asked about axes; each"
            " training is run to its end"
        )
    if objectives is not None and len(objectives) > 1:
        raise RunError(f"objectives: a search about axes supports {objectives[0]} alone")
    return axes


def usual_sampler(earlier: SearchConfig | None) -> str:
    """Return the sampler of a resumed run, or the default.

    Raises:
        RunError: If the run has a sampler of the user's own class.
    """
    word = earlier.sampler if earlier else DEFAULT
    if word not in SAMPLERS:
        raise RunError(f"sampler: that of this run is {word}, which must be given again")
    return word


def usual_metric(earlier: SearchConfig | None, task: Task) -> str | None:
    """Return the metric of a resumed run; None for that of the data."""
    if earlier is None or earlier.data.task != task.name or task.metric != TASKS[task.name].metric:
        return None
    return earlier.data.metric


def usual_latency_batch(earlier: SearchConfig | None) -> int:
    """Return the batch size of the latency measurement of a resumed run, or the default."""
    return (earlier.latency_batch if earlier else None) or 1


def usual_stopping(earlier: SearchConfig | None) -> EarlyStopping:
    """Return the early stopping of a resumed run, or the default."""
    return earlier.stopping if earlier else EarlyStopping(rule="none")


def check_objectives(objectives: Sequence[str]) -> None:
    """Check that objectives are a score, and then costs.

    Raises:
        RunError: If a word is unknown or repeated, or the score does not come first.
    """
    scores = [metric.validation for metric in all_metrics()]
    words = (*scores, *COSTS)
    for word in objectives:
        if word not in words:
            raise RunError(f"objectives: {not_one_of(word, words)}")
    if not objectives or objectives[0] not in scores:
        raise RunError(f"objectives: {' or '.join(scores)} must come first")
    if len(set(objectives)) < len(objectives):
        raise RunError(f"objectives: {', '.join(objectives)} names one twice")


def check_recipe(task: Task, recipe: Recipe, space: Space) -> None:
    """Check that all fields of the recipe that are set or searched have an effect on a task.

    Raises:
        RecipeError: If one of them has no effect.
    """
    task.check_recipe(recipe.changed, [recipe.class_weights])
    axes = [name.removeprefix(RECIPE) for name in space.axes if name.startswith(RECIPE)]
    of_space = Recipe.from_dict(space.recipe)
    searched = space.axes.get(f"{RECIPE}class_weights")
    words = searched.values if isinstance(searched, Choice) else ()
    try:
        task.check_recipe([*of_space.changed, *axes], [of_space.class_weights, *words])
    except RecipeError as error:
        raise RecipeError(f"{error} (set by the space {space.name}: change it there)") from None


def joined_recipe(recipe: Recipe, space: Space, epochs: int) -> Recipe:
    """Merge the given recipe with that of the space.

    Raises:
        RunError: If both set a value.
    """
    given = {*recipe.changed} - {"epochs"}
    axes = {name.removeprefix("recipe.") for name in space.axes if name.startswith("recipe.")}
    for name in sorted(given & (axes | set(space.recipe))):
        if name in axes or getattr(recipe, name) != space.recipe[name]:
            how = "is an axis of" if name in axes else f"is {space.recipe[name]!r} in"
            raise RunError(f"recipe.{name} {how} the space {space.name}: change it there")
    return recipe.replace(**space.recipe, epochs=epochs)


def check_folds(axes: tuple[str, ...] | None, scheduler: str | EarlyStopping | None) -> None:
    """Check that a search compares no trainings on different folds.

    Raises:
        RunError: If it is asked about axes, or stops trainings early.
    """
    if axes is not None:
        raise RunError(
            "folds: is not for a search that is asked about axes; leave ask out, or give seeds"
            " instead of folds"
        )
    rule = scheduler.rule if isinstance(scheduler, EarlyStopping) else scheduler
    if rule not in (None, "none"):
        raise RunError(
            f"folds: cannot be combined with the scheduler {rule}, which would compare trainings on"
            " different folds"
        )


def seeds_of_folds(folds: int, seeds: int, trials: int | None) -> int:
    """Return the number of trainings of each design.

    Raises:
        DataError: If the number of folds is out of range.
        RunError: If a design could not be trained on all folds.
    """
    check_count(folds)
    seeds = folds if seeds == 1 else seeds
    if seeds % folds:
        raise RunError(
            f"seeds: {seeds} is not a multiple of the {folds} folds; give"
            f" {ceil(seeds / folds) * folds}"
        )
    if trials is not None and trials % seeds:
        raise RunError(
            f"trials: {trials} is not a multiple of {seeds}, the trainings of each design; give"
            f" {ceil(trials / seeds) * seeds}"
        )
    return seeds
