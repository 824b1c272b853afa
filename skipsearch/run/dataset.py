"""The data set of a run: loading and describing it, and loading the same again."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from math import isnan
from pathlib import Path
from statistics import fmean

from skipsearch.config import DataConfig
from skipsearch.data import Data, LoadOptions, load_data
from skipsearch.errors import DataError, RunError
from skipsearch.plan import Size
from skipsearch.task import TASKS
from skipsearch.training import do_nothing

NAMES_SHOWN = 10
LONGEST_SHOWN = 200  # characters of the names


def load_again(
    run: Path,
    asked: DataConfig,
    device: str,
    data: str | Path | Data | None = None,
    data_root: str | Path | None = None,
) -> Data:
    """Load the data set of a run again for further trainings, and check that it is the same.

    It has the fixed splits, also in a run with folds.

    Args:
        run: Run folder, for messages.
        asked: Configuration of the data set in the search.
        device: Device of the tensors.
        data: Current location of the data, or ``Data``; None for the location used by the search.
        data_root: Folder of the data set's files; None for the folder used by the search.

    Raises:
        RunError: If its images, labels, splits or class names differ from those of the search,
            given data are in folds, or this version of skipsearch trains in another way.
        DataError: If it is missing.
    """
    task = asked.judged_task
    if asked.task_version != task.version:
        other = task.difference(asked.task_version, task.version)
        raise RunError(f"{run}: {other}; search again, in another folder")
    if isinstance(data, Data):
        if data.folds is not None:
            raise RunError(f"{run}: the given data are divided into folds; give them undivided")
        _check_same(run, asked, data, f"the given data {data.name!r} are not what was searched")
        return data.to(device).judged_by(task.metric.name)
    if data is None and asked.is_given:
        raise RunError(
            f"{run}: its data {asked.name!r} were given in Python: give them again (data=...)"
        )
    try:
        images = load_data(
            asked.name if data is None else data,
            root=data_root or asked.root,
            device=device,
            image_size=asked.resized_to,
            split_seed=asked.split_seed,
            denoise=asked.sigma or None,
            cache=asked.cache,
            skip_damaged=asked.skip_damaged,
            group_folders=asked.group_folders,
        )
    except DataError as error:
        moved = "; if they have moved, say where by --data or --data-root"
        raise DataError(f"{error}{'' if data or data_root else moved}") from None
    change = f"data {asked.name} has changed since the search"
    if data is not None:
        change = f"data {data} is not what was searched, {asked.name}"
    _check_same(run, asked, images, change)
    return images.judged_by(task.metric.name)


def _check_same(run: Path, asked: DataConfig, images: Data, otherwise: str) -> None:
    if images.fingerprint != asked.fingerprint:
        raise RunError(f"{run}: {otherwise}: the images, labels or splits differ")
    names = described_names(images)
    if asked.class_names is not None and names != asked.class_names:
        raise RunError(
            f"{run}: {otherwise}: the class names are {asked.class_names} there, {names} now"
        )


def described_names(images: Data) -> str | None:
    """Return the first names of classes, labels or targets with a hash of all; None if unused.

    The text identifies the names, and is short even for thousands of classes.

    Args:
        images: Data set.
    """
    if images.task.restores:
        return None
    names = [unicodedata.normalize("NFC", name) for name in images.class_names]
    shown = ", ".join(names[:NAMES_SHOWN])[:LONGEST_SHOWN]
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=4).hexdigest()
    return f"{shown}{', ...' * (len(names) > NAMES_SHOWN)} ({len(names)}, hash {digest})"


def load_for_search(data: str | Path | Data, options: LoadOptions) -> Data:
    """Load the data of a search, unless they are given.

    Args:
        data: Name or path of a data set, or ``Data``.
        options: Options of the loading, which given data do not accept.

    Raises:
        RunError: If given data are divided into folds, or options are set for them.
        DataError: If the data cannot be loaded.
    """
    if not isinstance(data, Data):
        return load_data(data, **options.arguments())
    if data.folds is not None:
        raise RunError("data: are divided into folds already; give folds to search instead")
    for name in options.changed():
        raise RunError(
            f"{name.replace('root', 'data_root')}: has no effect on Data, which is loaded already"
        )
    return data.to("cpu")


def describe(
    images: Data,
    first: Data,
    options: LoadOptions,
    baseline: float,
    is_given: bool,
) -> DataConfig:
    """Return the configuration of the data set of a search.

    Args:
        images: Data set.
        first: Its splits in the first training.
        options: Options of the loading.
        baseline: Score of the trivial baseline on the validation images.
        is_given: Whether the data were given in Python.
    """
    metric = images.task.metric.name
    return DataConfig(
        name=images.name if images.path is None else str(images.path),
        root=None if options.root is None else str(Path(options.root).absolute()),
        resized_to=None if options.image_size is None else Size.of(options.image_size).image_size,
        split_seed=images.split_seed,
        fingerprint=images.fingerprint,
        in_channels=images.in_channels,
        image_size=images.image_size,
        classes=images.outputs,
        train_images=len(first.train),
        validation_images=len(first.validation),
        source=images.source,
        task=images.task.name,
        task_version=images.task.version,
        sigma=images.sigma,
        baseline=baseline,
        pixels=images.pixels,
        is_given=is_given,
        metric=None if metric == TASKS[images.task.name].metric.name else metric,
        folds=images.folds,
        skip_damaged=options.skip_damaged,
        group_folders=options.group_folders,
        grouped=images.groups is not None,
        cache=options.cache,
        class_names=described_names(images),
    )


def baseline_score(images: Data, seeds: Iterable[int]) -> float:
    """Return the mean score of the trivial baseline on the validation splits of some seeds.

    Raises:
        DataError: If it is undefined.
    """
    score = fmean(
        do_nothing(data, data.validation) for seed in seeds for data in [images.for_seed(seed)]
    )
    if isnan(score):
        raise DataError(
            f"{images.name}: the {images.task.metric.title} of the validation images is undefined:"
            " no class or target differs among them"
        )
    return score
