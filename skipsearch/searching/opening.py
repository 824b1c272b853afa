"""Opening or creation of the Optuna study of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from skipsearch.config import difference
from skipsearch.errors import RunError
from skipsearch.searching.attributes import kept_in_memory
from skipsearch.searching.drivers import Alone, Drivers, Shared
from skipsearch.searching.records import ASKED, check_identity
from skipsearch.searching.storage import (
    Place,
    close_storage,
    damage_named,
    open_storage,
    quiet_optuna,
)
from skipsearch.searching.write_behind import WriteBehind

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
Opened = tuple[optuna.Study, BaseStorage, Drivers]


def open_study(
    place: Place | BaseStorage,
    name: str,
    objectives: Sequence[str],
    identity: Mapping[str, Any] | None,
) -> Opened:
    """Open a study for writing, and create it if it is missing.

    Args:
        place: Storage as for ``SearchStudy``.
        name: Name of the study; a study in a file keeps its name.
        objectives: Objectives as in ``Plan``.
        identity: Identity as for ``SearchStudy``.

    Returns:
        Study, storage and drivers.

    Raises:
        RunError: If the storage cannot be opened, or its study belongs to another search.
    """
    if isinstance(place, BaseStorage):
        return _opened(place, place, name, objectives, identity)
    storage = open_storage(place, quick=True)
    try:
        with damage_named(place):
            return _opened(place, storage, name, objectives, identity)
    except RunError:
        close_storage(storage)
        raise


def _opened(
    place: Place | BaseStorage,
    storage: BaseStorage,
    name: str,
    objectives: Sequence[str],
    identity: Mapping[str, Any] | None,
) -> Opened:
    directions = [MAXIMIZE] + [MINIMIZE] * (len(objectives) - 1)
    with quiet_optuna():
        if isinstance(place, Path):
            name = next(iter(optuna.get_all_study_names(storage)), name)
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        if study.directions != directions:
            raise RunError(f"study {name!r} in the storage is of other objectives")
        if identity is not None:
            _check(study, json.loads(json.dumps(identity)), place)
        if identity is not None and not isinstance(place, Path):
            return study, storage, Shared(study)
        if not isinstance(storage, RDBStorage):
            return study, storage, Alone()
        memory = WriteBehind(storage, name, kept_in_memory)
        return optuna.load_study(study_name=name, storage=memory), storage, Alone(memory)


def _check(study: optuna.Study, identity: Mapping[str, Any], place: Place | BaseStorage) -> None:
    """Raise an error for the study of another search; store the identity in a new study."""
    there = study.user_attrs.get(ASKED)
    if there is None:
        study.set_user_attr(ASKED, dict(identity))
    elif isinstance(place, Path):
        check_identity(place, there, identity)
    elif other := difference(there, identity):
        raise RunError(
            f"study {study.study_name!r} in the storage is of another search: {other}; give"
            " this one another name, in the space's YAML"
        )
