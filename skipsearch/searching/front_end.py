"""Code of Ray's worker processes that train nothing themselves: an engine trains their trials.

There is one such process for each trial, so this file does not import torch, which takes seconds
and hundreds of megabytes.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from skipsearch.searching.messages import Report, Request


class Stays(tune.Trainable):
    """A trial that keeps the working directory, since paths of users are relative to it.

    Tune reads this option from the environment, but sets it only for trials in new processes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        super().__init__(*arguments, **options)


class FrontEnd(Stays):
    """A trial for Tune, which an engine trains.

    Tune may start a front end, then assign its trial to another one and end the first. The first
    must not end the training of the other.
    """

    def setup(self, config: dict[str, Any], engines: list[Any]) -> None:
        """Prepare the worker once."""
        self._engines = engines
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._request = Request.from_config(config)
        self._trains = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another training in this process; the previous one has ended."""
        self._leave("discard")
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the engine train one epoch."""
        self._trains = True
        report: Report = self._ask("step")
        if report.device_lost:
            ray.kill(self._engine, no_restart=False)
        return report.to_result()

    def cleanup(self) -> None:
        """Let the engine release memory; the training may be resumed later."""
        self._leave("close")

    @property
    def _engine(self) -> Any:
        assert self._request.engine is not None
        return self._engines[self._request.engine]

    def _ask(self, what: str) -> Any:
        return ray.get(getattr(self._engine, what).remote(self._request))

    def _leave(self, what: str) -> None:
        if self._trains:
            with contextlib.suppress(RayActorError):  # a restarted engine does not have it
                self._ask(what)
