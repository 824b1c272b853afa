"""Code of Ray's worker processes that train: one trial at a time, or several as an engine."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from skipsearch.data import Data, on_this_machine
from skipsearch.searching.front_end import Stays
from skipsearch.searching.job import Job
from skipsearch.searching.messages import Report, Request
from skipsearch.training import CompileChoice, Store, Streams, tune_process, versions

HANG_SECONDS = 60.0  # after a time-out, until a hanging worker is ended


class RemoteStore:
    """Checkpoints in a folder of another machine, without a shared file system.

    Args:
        actor: Actor there, of the class ``Folder``.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def read(self, name: str) -> bytes | None:
        """Return the content of a checkpoint; None if it does not exist."""
        content: bytes | None = self._call("read", name)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a checkpoint."""
        self._call("write", name, content)

    def remove(self, name: str) -> None:
        """Remove a checkpoint if it exists."""
        self._call("remove", name)

    def _call(self, what: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(self._actor, what).remote(*arguments))
        except RayTaskError as error:
            raise error.cause from None  # as for a local folder


class Watchdog:
    """A watchdog that ends this process if a training hangs.

    It is needed because a job checks its time limit only between steps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadlines: dict[object, float] = {}

    @contextlib.contextmanager
    def watch(self, timeout: float | None) -> Iterator[None]:
        """Watch the body of a ``with`` statement; several threads may be watched at once.

        Args:
            timeout: Time limit of the training in seconds; None for no limit.
        """
        if timeout is None:
            yield
            return
        key = object()
        with self._lock:
            self._deadlines[key] = time.monotonic() + timeout + HANG_SECONDS
            self._set()
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[key]
                self._set()

    def _set(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._deadlines:
            left = min(self._deadlines.values()) - time.monotonic()
            faulthandler.dump_traceback_later(max(0.001, left), exit=True)


def end_process() -> None:
    """End this process at once, so that Ray starts another: all calls to its device fail."""
    os._exit(1)


class DesignTrainable(Stays):
    """A worker that trains one design after another; the data stay on its device."""

    def setup(self, config: dict[str, Any], data: Data, store: Store) -> None:
        """Prepare the worker once."""
        on_gpu = bool(ray.get_gpu_ids())
        self._data = on_this_machine(data).to("cuda" if on_gpu else "cpu")
        self._store = store
        self._compiling = CompileChoice() if on_gpu else None  # never worth it on the CPU
        self._versions = versions()
        self._watchdog = Watchdog()
        self._device_lost = False
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        request = Request.from_config(config)
        tune_process(request.threads)
        self._job = Job(request, self._data, self._store, self._compiling)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another training in this process; the previous one has ended."""
        self._job.discard()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        if self._device_lost:
            end_process()  # in a step of the training that lost it, not of the next one
        with self._watchdog.watch(self._job.timeout):
            report = self._job.step()
        self._device_lost = report.device_lost
        done = report.done and not report.device_lost  # else retried in another process
        return replace(report, done=done, versions=self._versions).to_result()

    def cleanup(self) -> None:
        """Release memory; the training may be resumed later."""
        self._job.close()


class Engine:
    """A process with a GPU that trains several trials on it at once, each on its own stream.

    If a training loses the device, the process ends with all its trainings, and it is unknown which
    one was the cause. Therefore, in the next process that Ray starts, they take turns: one epoch of
    one training at a time. The training that loses the device again then fails alone.

    Args:
        data: List with a reference to the data on the CPU; the device has one copy for all
            trainings.
        store: Store of checkpoints.
    """

    def __init__(self, data: list[Any], store: Store) -> None:
        device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        tune_process(1)
        (self._data,) = (on_this_machine(each).to(device) for each in ray.get(data))
        self._store = store
        self._versions = versions()
        self._streams = Streams(device)
        self._watchdog = Watchdog()
        self._jobs: dict[str, Job] = {}
        self._turns = threading.Lock()
        self._takes_turns = ray.get_runtime_context().was_current_actor_reconstructed

    def step(self, request: Request) -> Report:
        """Train one epoch; the first call starts the training, or resumes from its checkpoint."""
        key = request.checkpoint
        if key not in self._jobs:
            self._jobs[key] = Job(request, self._data, self._store, streams=self._streams)
        job = self._jobs[key]
        with contextlib.ExitStack() as turn:
            if self._takes_turns:
                turn.enter_context(self._turns)
            turn.enter_context(self._watchdog.watch(job.timeout))
            report = job.step()
            if report.device_lost:
                if not self._takes_turns:
                    end_process()
                turn.pop_all()  # no further turns: the process ends after the report
        return replace(report, versions=self._versions)

    def discard(self, request: Request) -> None:
        """End a training that will not be resumed."""
        job = self._jobs.pop(request.checkpoint, None)
        if job is not None:
            job.discard()

    def close(self, request: Request) -> None:
        """Release memory."""
        job = self._jobs.pop(request.checkpoint, None)
        if job is not None:
            job.end()
