"""Reading the trials of a study from its database with plain selects.

``RDBStorage.get_all_trials`` creates an object for every row, and 10,000 trainings have 400,000
rows. This module reads the same tables into the same trials, in batches, in a fraction of the time
and memory.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, MetaData, Table, inspect, select

STUDIES = "studies"
STUDY_ATTRIBUTES = "study_user_attributes"
TRIALS = "trials"
USER = "trial_user_attributes"
PARTS = (
    *("trial_params", "trial_values", "trial_intermediate_values", USER),
    "trial_system_attributes",
)
PART = 500  # trials per batch
NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


class Recorded(NamedTuple):
    """The part of a trial that this package writes, from which records are created.

    Attributes:
        number: Number of the trial in its study.
        state: State of the trial.
        user_attrs: Attributes of the trial, see ``attributes``.
    """

    number: int
    state: TrialState
    user_attrs: dict[str, Any]


def studies(engine: Engine) -> dict[str, int]:
    """Return the ids of the studies in a database, by name; none if it has no tables yet.

    Args:
        engine: Engine of the database.
    """
    if not inspect(engine).has_table(STUDIES):
        return {}
    schema = MetaData()
    schema.reflect(engine, only=(STUDIES,))
    with engine.connect() as connection:
        rows = connection.execute(select(schema.tables[STUDIES])).all()
    return {row.study_name: row.study_id for row in rows}


def read_attributes(engine: Engine, study_id: int) -> dict[str, Any]:
    """Return the user attributes of a study.

    Args:
        engine: Engine of the database.
        study_id: Id of the study in the database.
    """
    schema = MetaData()
    schema.reflect(engine, only=(STUDY_ATTRIBUTES,))
    table = schema.tables[STUDY_ATTRIBUTES]
    with engine.connect() as connection:
        rows = connection.execute(select(table).where(table.c.study_id == study_id)).all()
    return _attributes(list(rows))


def read_recorded(engine: Engine, study_id: int) -> Iterator[Recorded]:
    """Yield the recorded part of each trial, in the order of their numbers.

    Args:
        engine: Engine of the database.
        study_id: Id of the study in the database.
    """
    for head, user in _read(engine, study_id, USER):
        yield Recorded(head.number, TrialState[head.state], _attributes(user))


def read_trials(engine: Engine, study_id: int) -> Iterator[FrozenTrial]:
    """Yield the trials of a study, in the order of their numbers.

    Args:
        engine: Engine of the database.
        study_id: Id of the study in the database.
    """
    distribution = cache(json_to_distribution)  # thousands of trials share a few distributions
    for head, *rows in _read(engine, study_id, *PARTS):
        yield _trial(head, distribution, *rows)


def _read(engine: Engine, study_id: int, *names: str) -> Iterator[tuple[Any, ...]]:
    """Yield for each trial its row, and its rows in each named table."""
    schema = MetaData()
    schema.reflect(engine, only=(TRIALS, *names))
    trials, *others = (schema.tables[name] for name in (TRIALS, *names))
    with engine.connect() as connection:
        query = select(trials).where(trials.c.study_id == study_id).order_by(trials.c.trial_id)
        heads = connection.execute(query).all()
        for i in range(0, len(heads), PART):
            part = heads[i : i + PART]
            ids = part[0].trial_id, part[-1].trial_id
            rows = [_rows(connection, table, *ids) for table in others]
            for head in part:
                yield head, *(each[head.trial_id] for each in rows)


def _rows(connection: Connection, table: Table, first: int, last: int) -> dict[int, list[Any]]:
    """Return the rows of a table by trial, in the order of their creation."""
    (key,) = table.primary_key
    query = select(table).where(table.c.trial_id.between(first, last)).order_by(key)
    by_trial: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query).all():
        by_trial[row.trial_id].append(row)
    return by_trial


def _trial(
    head: Any,
    distribution: Callable[[str], BaseDistribution],
    params: list[Any],
    values: list[Any],
    reports: list[Any],
    user: list[Any],
    system: list[Any],
) -> FrozenTrial:
    distributions = {row.param_name: distribution(row.distribution_json) for row in params}
    values.sort(key=lambda row: row.objective)
    return FrozenTrial(
        number=head.number,
        state=TrialState[head.state],
        value=None,
        values=[_number(row.value, row.value_type) for row in values] or None,
        datetime_start=_local(head.datetime_start),
        datetime_complete=_local(head.datetime_complete),
        params={
            row.param_name: distributions[row.param_name].to_external_repr(row.param_value)
            for row in params
        },
        distributions=distributions,
        user_attrs=_attributes(user),
        system_attrs=_attributes(system),
        intermediate_values={
            row.step: _number(row.intermediate_value, row.intermediate_value_type)
            for row in reports
        },
        trial_id=head.trial_id,
    )


def _attributes(rows: list[Any]) -> dict[str, Any]:
    return {row.key: json.loads(row.value_json) for row in rows}


def _number(value: float | None, kind: str) -> float:
    return NOT_FINITE[kind] if value is None else value


def _local(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Return a time in local time, as Optuna does: the database has UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
