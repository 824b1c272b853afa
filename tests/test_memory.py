"""Memory: foreseen, measured, and really running out."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from skipsearch.data import load_data
from skipsearch.design import Design
from skipsearch.plan import Size
from skipsearch.ram import available_ram
from skipsearch.recipe import Recipe
from skipsearch.searching.job import Job
from skipsearch.searching.messages import Request
from skipsearch.training import (
    CheckpointWriter,
    Folder,
    foreseen_parts,
    free_memory,
    is_out_of_memory,
)
from skipsearch.training.checkpoint import load_checkpoint
from skipsearch.training.evaluation import images_at_once

MIB = 1 << 20


@pytest.mark.parametrize(
    ("mib_an_image", "batch", "free_mib", "parts"),
    [
        (1, 128, 128, 1),
        (1, 128, 127, 2),
        (10, 128, 100, 16),
        (1e6, 100, 1, 64),  # never more parts than images
        (1, 128, 0, 128),
        (1, 1, 0, 1),
        (1, 128, math.inf, 1),
    ],
)
def test_as_many_parts_as_fit(mib_an_image: float, batch: int, free_mib: float, parts: int) -> None:
    assert foreseen_parts(int(mib_an_image * MIB), batch, free_mib * MIB) == parts


@pytest.mark.parametrize(
    ("size", "at_once"), [((8, 8), 256), ((64, 64), 256), ((96, 128), 85), ((360, 480), 6)]
)
def test_evaluation_computes_fewer_large_images_at_once(
    size: tuple[int, int], at_once: int
) -> None:
    assert images_at_once(Size(*size).pixels, torch.device("cpu")) == at_once
    assert images_at_once(10**9, torch.device("cpu")) == 1


@pytest.mark.parametrize("files", [("max", "7"), ("5000000", "2000000"), None, ("x", "y")])
def test_memory_is_that_of_the_machine_or_the_cgroup(
    tmp_path: Path, files: tuple[str, str] | None
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    if files:
        for name, text in zip(("memory.max", "memory.current"), files, strict=True):
            (tmp_path / name).write_text(text + "\n")
    expected = 3_000_000 if files == ("5000000", "2000000") else 8000 * 1024
    assert available_ram(tmp_path / "meminfo", tmp_path) == expected
    assert available_ram(tmp_path / "none", tmp_path) == math.inf


def test_pages_of_files_that_a_cgroup_has_read_are_available(tmp_path: Path) -> None:
    files = {"max": "5000000", "current": "4500000"}
    files["stat"] = "anon 500000\nfile 4000000\nactive_file 1000000\ninactive_file 2500000"
    for name, text in files.items():
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    (tmp_path / "meminfo").write_text("MemAvailable:    8000 kB\n")
    assert available_ram(tmp_path / "meminfo", tmp_path) == 4_000_000


def test_the_limit_of_a_process_bounds_its_memory(tmp_path: Path) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (used + 200 * MIB, hard))
        assert 100 * MIB < available_ram(tmp_path / "none", tmp_path) <= 300 * MIB
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_this_machine_has_memory() -> None:
    assert 50 * MIB < free_memory(torch.device("cpu")) < math.inf


def run_python(code: str) -> Any:
    """Run code in a process of its own; returns what it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["resnet-20", "densenet-bc-100"])
def test_the_count_is_a_close_upper_bound_of_what_training_holds(name: str) -> None:
    grew, counted = run_python(
        f"""
        import json, torch
        import skipsearch as ss
        from skipsearch.data import Split
        from skipsearch.training import Trainer, tune_process
        tune_process(1)
        def peak():
            # Not getrusage: its peak may be that of the process that started this one.
            status = open("/proc/self/status").read()
            return 1024 * int(status.partition("VmHWM:")[2].split()[0])
        design = ss.classic("{name}").design
        split = Split(torch.zeros(32, 3, 32, 32, dtype=torch.uint8), torch.zeros(32).long())
        data = ss.Data(
            name="black", train=split, validation=split, test=None, class_names=("a", "b"),
            mean=(0.5,) * 3, std=(0.5,) * 3, split_seed=0, origin="", fingerprint="0" * 16,
            augmentation={{"crop": 0, "flip": False, "cutout": 0}},
        )
        recipe = ss.Recipe(batch_size=32, precision="float32")
        small = ss.Recipe(batch_size=2, precision="float32")
        Trainer(ss.build(design, classes=2), data, small).run_step(0)  # libraries
        trainer = Trainer(ss.build(design, classes=2), data, recipe)
        before = peak()
        trainer.run_step(0)
        grew = peak() - before
        print(json.dumps([grew, 32 * ss.cost(design, classes=2).activation_bytes]))
        """
    )
    assert 0.5 * counted < grew < 1.1 * counted


def test_a_lack_of_memory_is_recognised() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    for words in (
        "could not create a primitive",
        "CUDA error: out of memory\nCUDA kernel errors might be reported later",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "std::bad_alloc",
        "GET was unable to find an engine to execute this computation",
        "Unable to find an engine to execute this computation",
    ):
        assert is_out_of_memory(RuntimeError(words)), words
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def request(**changes: Any) -> Request:
    """A request for a network that computes little, and whose batch holds more than a gigabyte."""
    design = Design(layout="bn-relu-conv1-bn-relu-conv1 +", depths=(9,), widths=(64,))
    recipe = Recipe(epochs=2, batch_size=1024, precision="float32")
    return replace(Request(design=design, recipe=recipe, seeds=(0,), checkpoint="c.pt"), **changes)


def test_where_memory_runs_out_a_training_continues_in_parts(tmp_path: Path) -> None:
    # The limit leaves room for the libraries and a part of the batch, and is not foreseen: what
    # the machine has free says nothing of it.
    results = run_python(
        f"""
        import json, resource
        from dataclasses import replace
        from skipsearch.data import load_data
        from skipsearch.searching.job import Job
        from skipsearch.searching.messages import Request
        from skipsearch.training import Folder, tune_process
        tune_process(1)
        data = load_data("digits").without_test()
        folder = Folder({str(tmp_path)!r})
        request = Request.from_config({request().to_config()!r})
        less = request.recipe.replace(batch_size=16, images=64)
        small = Job(replace(request, recipe=less), data, folder)
        assert not small.step().failure
        small.close()
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + {800 * MIB}, -1))
        job = Job(request, data, folder)
        reports = [job.step(), job.step()]
        print(json.dumps([[r.failure, r.numerics, r.epoch, r.done] for r in reports]))
        """
    )
    (failure, numerics, first, _), (other_failure, _, second, done) = results
    assert (failure, other_failure) == ("", "")
    assert "parts" in numerics
    assert (first, second, done) == (1, 2, True)


def test_what_never_fits_fails_with_what_it_wanted(tmp_path: Path) -> None:
    wide = Design(layout="conv3-bn-relu", depths=(2,), widths=(100_000,), stem_width=1)
    job = Job(request(design=wide), load_data("digits").without_test(), Folder(tmp_path))
    report = job.step()
    assert report.done
    assert "RuntimeError" in report.failure
    assert "allocate" in report.failure
    assert not (tmp_path / "c.pt").exists()


def test_a_lack_that_is_foreseen_is_met_before_the_first_step(tmp_path: Path) -> None:
    share = 100 * MIB / free_memory(torch.device("cpu"))
    job = Job(request(memory_fraction=share), load_data("digits").without_test(), Folder(tmp_path))
    parts = int(job.step().numerics.partition(" in ")[2].partition(" parts")[0])
    assert parts in (8, 16)  # what is free changes from moment to moment


# --- checkpoints behind the caller's back --------------------------------------------------------


def test_a_checkpoint_is_of_the_moment_that_it_was_asked_for(tmp_path: Path) -> None:
    writer = CheckpointWriter(Folder(tmp_path))
    tensor, inner = torch.ones(3), {"list": [1, torch.zeros(2)], "tuple": (2, torch.ones(1))}
    writer.write("c.pt", {"tensor": tensor, "inner": inner, "number": 7})
    tensor.fill_(5)
    inner["list"][1].fill_(5)  # type: ignore[index, union-attr]
    writer.wait()
    state = load_checkpoint(tmp_path / "c.pt", torch.device("cpu"))
    assert state["tensor"].tolist() == [1, 1, 1]
    assert state["inner"]["list"][1].tolist() == [0, 0]
    assert state["number"] == 7


def test_the_last_of_several_checkpoints_stays(tmp_path: Path) -> None:
    writer = CheckpointWriter(Folder(tmp_path))
    for number in range(20):
        writer.write("c.pt", {"number": number})
    writer.wait()
    assert load_checkpoint(tmp_path / "c.pt", torch.device("cpu"))["number"] == 19
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_a_checkpoint_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = CheckpointWriter(Folder(tmp_path / "file"))
    writer.write("c.pt", {"number": 1})
    with pytest.raises(OSError, match="file"):
        writer.wait()
    writer.wait()  # told once
    (tmp_path / "file").unlink()
    writer.write("c.pt", {"number": 1})
    writer.wait()
    assert (tmp_path / "file" / "c.pt").exists()


def test_a_checkpoint_is_written_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        Path, "mkdir", lambda *_, **__: seen.append(threading.current_thread().name)
    )
    writer = CheckpointWriter(Folder(tmp_path))
    writer.write("c.pt", {"number": 1})
    writer.wait()
    assert seen
    assert threading.current_thread().name not in seen


def test_a_job_forgets_its_checkpoint_or_leaves_it(tmp_path: Path) -> None:
    design = Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    recipe = Recipe(epochs=3, batch_size=64)
    data = load_data("digits").without_test()
    for discard in (False, True):
        job = Job(request(design=design, recipe=recipe), data, Folder(tmp_path))
        assert job.step().epoch == (2 if discard else 1)  # it goes on from what was left
        job.discard() if discard else job.close()
        assert (tmp_path / "c.pt").exists() is not discard


def test_what_recorded_graphs_hold_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given back before it is looked at: what PyTorch still holds then belongs to live graphs.
    done: list[object] = []

    @contextlib.contextmanager
    def on(device: torch.device) -> Iterator[None]:
        done.append(("enter", device))
        yield

    def look(device: torch.device) -> tuple[int, int]:
        done.append(("look", device))
        return 7, 10

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("give back"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", look)
    second = torch.device("cuda", 1)
    assert free_memory(second) == 7.0
    assert done == [("enter", second), "give back", ("look", second)]
