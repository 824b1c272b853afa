"""What runs in Ray's worker processes: trials on devices of their own, or on engines they share."""

from __future__ import annotations

import json
from typing import Any

import ray
import torch
from ray import tune

from skipsearch.data import Data
from skipsearch.search.job import Job
from skipsearch.training import CompileChoice, Residents, tune_process, versions


class DesignTrainable(tune.Trainable):
    """Trains one design after another in one worker; the data stay on its device."""

    def setup(self, config: dict[str, Any], data: Data) -> None:
        """Prepare the worker, once."""
        on_gpu = bool(ray.get_gpu_ids())
        self._data = data.to("cuda" if on_gpu else "cpu")
        self._compiling = CompileChoice() if on_gpu else None  # on the CPU it never pays
        self._versions = json.dumps(versions())  # a text: Tune flattens mappings
        self._job = self._begin(config)

    def _begin(self, config: dict[str, Any]) -> Job:
        task = json.loads(config["task"])
        tune_process(task["threads"])
        return Job(task, self._data, self._compiling)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to another training, with no new process; the one before has ended."""
        self._job.forget()
        self._job = self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        return self._job.step() | {"versions": self._versions}

    def cleanup(self) -> None:
        """Give memory back; the training may go on another time."""
        self._job.close()


class FrontEnd(tune.Trainable):
    """A trial as Tune sees it, which an engine trains."""

    def setup(self, config: dict[str, Any], engines: list[Any]) -> None:
        """Prepare the worker, once."""
        self._engines = engines
        self._task = json.loads(config["task"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to another training, with no new process; the one before has ended."""
        self._ask("forget")
        self._task = json.loads(new_config["task"])
        return True

    def step(self) -> dict[str, Any]:
        """Let the engine train one epoch."""
        result: dict[str, Any] = self._ask("step")
        return result

    def cleanup(self) -> None:
        """Let the engine give memory back; the training may go on another time."""
        self._ask("close")

    def _ask(self, what: str) -> Any:
        engine = self._engines[self._task["engine"]]
        return ray.get(getattr(engine, what).remote(self._task))


class Engine:
    """One process that holds a GPU and trains several trials on it at once, each on its own stream.

    Args:
        data: On the CPU; the device holds it once, for all of them.
        residents: Trials at once.
    """

    def __init__(self, data: Data, residents: int) -> None:
        device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        tune_process(1)
        self._data = data.to(device)
        self._versions = json.dumps(versions())
        self._residents = Residents(device, residents)
        self._jobs: dict[str, Job] = {}

    def step(self, task: dict[str, Any]) -> dict[str, Any]:
        """Train one epoch; the first one begins the training, or goes on from its checkpoint."""
        key = task["checkpoint"]
        if key not in self._jobs:
            self._jobs[key] = Job(task, self._data, residents=self._residents)
        return self._jobs[key].step() | {"versions": self._versions}

    def forget(self, task: dict[str, Any]) -> None:
        """End a training that will not go on."""
        job = self._jobs.pop(task["checkpoint"], None)
        if job is not None:
            job.forget()

    def close(self, task: dict[str, Any]) -> None:
        """Give memory back."""
        job = self._jobs.pop(task["checkpoint"], None)
        if job is not None:
            job.close()
