"""The command that repeats a search."""

from __future__ import annotations

import shlex
from pathlib import Path

from skipsearch.axes import RECIPE
from skipsearch.config import CONFIG, SearchConfig
from skipsearch.plan import ImageSize
from skipsearch.ready import ready_names
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST
from skipsearch.space import Space

NO_STOPPING = "none"  # name of the scheduler


def search_command(config: SearchConfig, path: Path) -> str:
    """Return the command of a search with the same configuration.

    A space that is not ready-made is read from the run's ``run.yaml``.

    Args:
        config: Configuration of the search.
        path: Absolute path of its run folder.
    """
    asks_best = config.ask == (ASK_BEST,)
    how: dict[str, object] = {"ask": ",".join(config.ask), "margin": config.margin}
    if asks_best:  # Otherwise the trials are chosen to answer the question.
        rule = config.stopping.rule
        details = config.stopping.details() if rule != NO_STOPPING else {}
        how = {"sampler": config.sampler, "scheduler": rule}
        how |= {name.replace("_", "-"): value for name, value in details.items()}
    options = {
        "data": config.data.name,
        "data-root": config.data.root,
        "image-size": _size_word(config.data.resized_to),
        "denoise": str(config.data.sigma).removesuffix(".0") if config.data.sigma else None,
        "metric": config.data.metric,
        "trials": config.trials,
        "epochs": config.recipe.epochs,
        **how,
        "seed": config.seed,
        "seeds": config.seeds,
        "folds": config.data.folds,
        "objectives": ",".join(config.objectives if asks_best else config.objectives[:1]),
        "latency-batch": config.latency_batch,
    }
    words = ["skipsearch", "search", _space_word(config.space, path), "--out", "NEW"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    flags = {
        "skip-damaged": config.data.skip_damaged,
        "group-folders": config.data.group_folders,
        "no-cache": not config.data.cache,
    }
    words += [f"--{name}" for name, is_set in flags.items() if is_set]
    in_space = {"epochs", *config.space.recipe}
    in_space |= {name.removeprefix(RECIPE) for name in config.space.axes}
    for name, value in config.recipe.to_dict().items():
        if name not in in_space and value != getattr(Recipe(), name):
            words += ["--recipe", f"{name}={value}"]
    return shlex.join(words)


def _size_word(size: ImageSize | None) -> str | None:
    """Return an image size as an option: one number, or HxW."""
    if size is None or isinstance(size, int):
        return None if size is None else str(size)
    return "x".join(map(str, size))


def _space_word(space: Space, path: Path) -> str:
    if space.name in ready_names():
        ready, ours = Space.load(space.name).to_dict(), space.to_dict()
        parts = ("base", "recipe", "axes", "constraints")
        if all(ready.get(part) == ours.get(part) for part in parts):
            return space.name
    return str(path / CONFIG)
