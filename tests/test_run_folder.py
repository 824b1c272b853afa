"""The run folder: any path, data that moved, files that are damaged, folders that are read-only."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import skipsearch as ss
from skipsearch.analysis.command import search_command
from skipsearch.cli import main
from skipsearch.config import SearchConfig, difference
from skipsearch.data import load_data
from skipsearch.errors import DamagedError, RunError, SkipSearchError
from skipsearch.record import Environment, Epoch
from skipsearch.run import Run
from skipsearch.run.dataset import described_names
from skipsearch.run.places import check_folder, check_outside
from skipsearch.searching.clock import Clock
from skipsearch.searching.plans import Plan
from skipsearch.searching.presence import DEAD_SECONDS, DOUBT_SECONDS, Watch
from skipsearch.searching.records import load_trials
from skipsearch.searching.storage import close_storage, open_storage
from skipsearch.searching.study import SearchStudy
from skipsearch.text import dump_yaml
from skipsearch.training import do_nothing

SPACE = """
name: tiny
source: a first text
base: {widths: [8, 16], depths: [1, 1]}
recipe: {batch_size: 64}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
  shortcut: [proj, omit, pad]
"""
EPOCHS, TRIALS, SEEDS = 3, 5, 3
WHERE = Environment(
    device="cpu (1 thread)", numerics="cpu (1 thread), float32", versions={"a": "1"}
)


def identity(asked: dict[str, Any]) -> dict[str, Any]:
    return SearchConfig.from_dict(asked).identity()


def asked_for(data: str = "digits", **other: Any) -> dict[str, Any]:
    """What ``search`` would write into run.yaml."""
    images = load_data(data)
    space = ss.Space.from_yaml(SPACE).for_images(1, 8, 10)
    return {
        "format": 1,
        "space": space.to_dict(),
        "data": {
            "name": images.name if images.path is None else str(images.path),
            "root": None,
            "resized_to": None,
            "split_seed": 0,
            "fingerprint": images.fingerprint,
            "in_channels": 1,
            "image_size": images.image_size,
            "classes": images.classes,
            "train_images": len(images.train),
            "validation_images": len(images.validation),
            "source": images.source,
            "task": images.task.name,
            "task_version": images.task.version,
            "sigma": images.sigma,
            "baseline": do_nothing(images, images.validation),
            "pixels": "uint8",
            "is_given": False,
            "metric": None,
            "folds": None,
            "skip_damaged": False,
            "group_folders": False,
            "grouped": False,
            "cache": True,
            "class_names": described_names(images),
        },
        "recipe": ss.Recipe(epochs=EPOCHS, batch_size=64).resolve(images.augmentation).to_dict(),
        "seed": 0,
        "sampler": "random",
        "scheduler": "none",
        "stopping": {"grace": None, "reduction_factor": 3, "brackets": 1, "audit": 0.05},
        "rungs": [EPOCHS],
        "objectives": ["validation_accuracy"],
        "latency_batch": None,
        "trials": TRIALS,
        "seeds": 1,
        "storage": None,
        "ask": ["best"],
        "margin": None,
        "versions": {"python": "3"},
    } | other


def epochs(rng: random.Random) -> list[Epoch]:
    return [Epoch(n, 0.1, 1.0, 0.5, 1.0, rng.uniform(0.4, 0.9), 0.01) for n in range(1, EPOCHS + 1)]


def record(study: SearchStudy, rng: random.Random) -> None:
    """Record what a search would, without training."""
    while (proposal := study.ask()) is not None:
        study.report(proposal.number, epochs(rng), WHERE)
        study.finish(proposal.number, "COMPLETE")


def make_run(path: Path, asked: dict[str, Any] | None = None, seed: int = 0) -> Run:
    """A run whose trainings were recorded as by a search that is through."""
    asked = asked or asked_for()
    path.mkdir(parents=True, exist_ok=True)
    (path / "run.yaml").write_text(dump_yaml(asked))
    run, rng = Run.open(path), random.Random(seed)
    plan = Plan(
        space=run.space,
        recipe=ss.Recipe.from_dict(asked["recipe"]),
        trials=TRIALS,
        sampler="random",
    )
    with closing(SearchStudy(path / "study.db", "tiny", plan, run.config.identity())) as study:
        record(study, rng)
    return run


def confirm_by_hand(run: Run) -> None:
    """Record what ``confirm`` would, without training."""
    from skipsearch.analysis import leaders

    chosen = leaders(run.rank(), run.trials(), 2)
    keys = [first.key for first, *_ in chosen]
    (run.path / "confirm.yaml").write_text(dump_yaml({"leaders": keys, "seeds": SEEDS}))
    recipe = run.config.recipe
    plan = Plan(space=run.space, recipe=recipe, trials=0, sampler="random")
    params, rng = run.study.params(), random.Random(1)
    with closing(
        SearchStudy(run.path / "confirm.db", "tiny", plan, run.config.identity())
    ) as study:
        while wanted := run.judged(chosen, SEEDS, study.trials()).wanted:
            study.request([(params[leader.number], seed) for leader, seed in wanted])
            record(study, rng)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was searched and confirmed; not to be written to."""
    run = make_run(tmp_path_factory.mktemp("ready") / "run")
    confirm_by_hand(run)
    return run.path


@pytest.fixture
def run_path(ready: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ready, tmp_path / "run"))


def test_a_design_of_a_run_is_shown(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(ready)
    best, last = run.trial("best").design.id, run.rank().design.iloc[-1]
    assert main(["show", str(ready)]) == 0
    assert f"design {best}" in capsys.readouterr().out
    assert main(["show", str(ready), "--design", last[:8]]) == 0
    assert f"design {last}" in capsys.readouterr().out
    assert main(["show", "resnet-20", "--design", "best"]) == 2
    assert "design: is for a run, and 'resnet-20' is not a run folder" in capsys.readouterr().err


# --- any path ------------------------------------------------------------------------------------

ODD_NAMES = (
    *("a b", "a%20b", "a+b", "a%2Fb", "a?b", "a?mode=ro", "a#b", "a;b", "a&b", "'a'", 'a"b', "a`b"),
    *("{x}", "{", "{SCHEMA_VERSION}", "file:a", "sqlite:", "a[1]", "a*", "~", "-a", "$HOME", "a\n"),
    *(":memory:", "<b>", "\\", " ", "ü", "u\u0308", "日本", "\udcff", "%", "%%", "a" * 255),
)
names = st.text(
    st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))


@given(first=names, second=names)
@example(first="a b", second="a%20b")
@example(first="a?b", second="a")
@example(first="{", second="}")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_paths_never_share_a_study(first: str, second: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name / "study.db" for name in dict.fromkeys((first, second))]
        for file in files:
            file.parent.mkdir()
            storage = open_storage(file, quick=True)
            assert storage.get_all_studies() == []  # nobody else's
            storage.create_new_study([ss_maximize()], "one")
            close_storage(storage)
        for file in files:
            assert [path.name for path in file.parent.iterdir()] == ["study.db"]
            assert load_trials(file) == []
        assert sorted(Path(folder).iterdir()) == sorted(file.parent for file in files)


def ss_maximize() -> Any:
    from optuna.study import StudyDirection

    return StudyDirection.MAXIMIZE


def test_a_study_lies_at_its_path_whatever_the_name(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Run.open(ready).trials()
    monkeypatch.chdir(tmp_path)
    for name in ODD_NAMES:
        shutil.copytree(ready, tmp_path / name)
        run = Run.open(Path(name))  # relative
        check_folder(run.path)
        assert run.trials() == expected
        plan = Plan(
            space=run.space,
            recipe=run.config.recipe,
            trials=TRIALS + 1,
            sampler="random",
        )
        with closing(
            SearchStudy(Path(name, "study.db"), "tiny", plan, run.config.identity())
        ) as study:
            record(study, random.Random(2))
        assert len(run.trials()) == TRIALS + 1
        assert {path.name for path in (tmp_path / name).iterdir()} == {
            path.name for path in ready.iterdir()
        }
    assert {path.name for path in tmp_path.iterdir()} == set(ODD_NAMES)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x" * 256, "File name too long"),
        ("/".join(["x" * 99] * 5), "its files have paths of 5.. bytes; SQLite takes up to 504"),
        ("a\0b", "is no path: .*null"),
    ],
)
def test_a_path_that_cannot_be_is_refused(out: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message) as caught:
        ss.search(ss.Space.from_yaml(SPACE), trials=1, epochs=1, out=tmp_path.resolve() / out)
    assert len(str(caught.value)) < 200
    assert list(tmp_path.iterdir()) == []


def test_the_longest_path_that_is_allowed_works(tmp_path: Path) -> None:
    room = 504 - len("/confirm.db") - len(os.fsencode(tmp_path))
    name = "/" + "x" * ((room - 1) % 200 or 1)
    path = Path(f"{tmp_path}{name}{('/' + 'y' * 199) * ((room - len(name)) // 200)}")
    check_folder(path)
    run = make_run(path)
    confirm_by_hand(run)
    assert len(run.trials()) == TRIALS
    assert len(run.confirmations()) == 2 * SEEDS
    with pytest.raises(RunError, match="SQLite takes up to"):
        check_folder(path.with_name(path.name + "y" * (505 - len(str(path / "confirm.db")))))


# --- what is the same search ---------------------------------------------------------------------


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Set values of run.yaml; ``data__root`` is ``root`` in ``data``."""

    def change(asked: dict[str, Any]) -> None:
        for name, value in values.items():
            *folders, last = name.split("__")
            place = asked
            for folder in folders:
                place = place[folder]
            place[last] = value

    return change


SAME = {
    "another source": changed(space__source="another text"),
    "no source": lambda asked: asked["space"].pop("source"),
    "another name of the space": changed(space__name="mine"),
    "moved data": changed(data__name="/elsewhere/data", data__root="/here", data__source="there"),
    "more trials": changed(trials=99, seeds=2, sampler="tpe"),
    "other versions": changed(versions={}),
    "a latency batch that an older run does not tell": lambda asked: asked.pop("latency_batch"),
    "no storage, as before there were any": lambda asked: asked.pop("storage"),
    "nothing asked, as before axes could be": lambda asked: [asked.pop("ask"), asked.pop("margin")],
    "a recipe without a younger field": lambda asked: asked["recipe"].pop("precision"),
    "no version of the task": lambda asked: asked["data"].pop("task_version"),
    "no class names, as before they were recorded": lambda asked: asked["data"].pop("class_names"),
    "another spelling of a layout": changed(
        space__axes__layout=["conv3-bn-relu-conv3-bn+relu", "bn-relu-conv3-bn-relu-conv3 +"]
    ),
}
OTHER = {
    "data.resized_to": changed(data__fingerprint="0" * 16, data__resized_to=16),
    "data.split_seed": changed(data__fingerprint="0" * 16, data__split_seed=1),
    "space.axes.shortcut": changed(space__axes__shortcut=["proj", "omit"]),
    "space.base.depths": changed(space__base__depths=[1, 2]),
    "recipe.peak_lr": changed(recipe__peak_lr=0.5),
    "seed": changed(seed=1),
    "scheduler": changed(scheduler="asha"),
    "stopping.audit": changed(stopping__audit=0.1),
    "objectives": changed(objectives=["validation_accuracy", "params"]),
    "latency_batch": changed(latency_batch=8),
    "storage": changed(storage="postgresql://host/name"),
    "ask": changed(ask=["layout"], margin=0.005),
    "margin": changed(margin=0.01),
}


@pytest.mark.parametrize("case", SAME)
def test_what_is_not_searched_does_not_make_another_search(case: str) -> None:
    there, asked = asked_for(), asked_for()
    SAME[case](there)
    assert difference(there, asked) == ""
    assert difference(identity(there), identity(asked)) == ""


def test_the_command_of_a_search_leaves_searched_fields_of_the_recipe_to_the_space() -> None:
    space = ss.Space.from_yaml(SPACE + "  recipe.crop: [0, 1]\n").for_images(1, 8, 10)
    config = SearchConfig.from_dict(asked_for(space=space.to_dict()))
    words = shlex.split(search_command(config, Path("run")))
    given = {word.partition("=")[0] for word in words if "=" in word}
    assert given == {"flip", "cutout"}


def test_the_configuration_of_a_search_is_read_as_its_space(tmp_path: Path) -> None:
    path, values = tmp_path / "run.yaml", asked_for()
    path.write_text(dump_yaml(values))
    assert ss.Space.load(path) == ss.Space.from_dict(values["space"])
    path.write_text(dump_yaml(values | {"space": {"name": "a", "axis": {}}}))
    with pytest.raises(SkipSearchError, match=r"run.yaml: space: unknown key: 'axis' is not one"):
        ss.Space.load(path)
    path.write_text(dump_yaml({"space": values["space"]}))  # a mistake in a space
    with pytest.raises(SkipSearchError, match=r"run.yaml: unknown key: 'space' is not one of"):
        ss.Space.load(path)


@pytest.mark.parametrize("place", OTHER)
def test_what_is_searched_makes_another_search(place: str) -> None:
    there, asked = asked_for(latency_batch=1), asked_for(latency_batch=1)
    OTHER[place](there)
    assert difference(there, asked).startswith(f"{place} is ")


PIXELS, NAMES = {"fingerprint": "0" * 16}, {"class_names": "cat, dog (2, hash 12345678)"}
CHANGED = "data digits has changed since the search, or other data were given: "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (PIXELS, f"{CHANGED}the images, labels or splits differ"),
        (PIXELS | {"class_names": None}, f"{CHANGED}the images, labels or splits differ"),
        (NAMES, f"{CHANGED}the class names are cat, dog (2, hash 12345678) there, 0, 1, 2,"),
        (
            PIXELS | {"name": "/a/d4.npz"},
            "data is /a/d4.npz there, digits was asked for: the images, labels or splits differ",
        ),
        (
            PIXELS | NAMES | {"name": "/a/d4.npz", "resized_to": 16},
            "data is /a/d4.npz there, digits was asked for",
        ),
        (
            PIXELS | {"name": "/a/d4.npz", "task": "denoising", "class_names": None},
            "data is /a/d4.npz there, digits was asked for",
        ),
        (PIXELS | {"name": "/a/d4.npz", "resized_to": 16}, "data.resized_to is 16 there, None"),
    ],
)
def test_other_data_make_another_search(changes: dict[str, Any], message: str) -> None:
    there, asked = asked_for(), asked_for()
    there["data"] |= changes
    assert difference(there, asked).startswith(message)
    assert "fingerprint" not in difference(there, asked)
    assert difference(identity(there), identity(asked)).startswith("data")


def test_class_names_are_one_short_text_that_tells_them_apart() -> None:
    images = np.random.default_rng(0).integers(0, 256, (600, 2, 2), dtype=np.uint8)

    def described(names: list[str], **form: Any) -> str | None:
        labels = np.arange(len(images)) % len(names)
        return described_names(ss.Data.from_arrays(images, labels, class_names=names, **form))

    assert described(["cat", "dog"]) == "cat, dog (2, hash b7954266)"
    names = [f"{number:04} {'x' * 300}" for number in range(20)]
    shown = described(names)
    assert shown is not None
    assert len(shown) < 250
    assert described([*names[:-1], "another"]) != shown
    assert described(["caf\u00e9", "b"]) == described(["cafe\u0301", "b"]), "as macOS writes names"
    assert described_names(ss.load_data("digits", denoise=20)) is None


def test_the_name_of_the_space_distinguishes_studies_of_one_database() -> None:
    there, asked = asked_for(storage="postgresql://h/n"), asked_for(storage="postgresql://h/n")
    there["space"]["name"] = "another"
    assert difference(there, asked) == "space.name is 'another' there, 'tiny' was asked for"


def test_a_search_is_resumed_though_its_space_was_renamed(run_path: Path) -> None:
    asked = Run.open(run_path).config.to_dict() | {"trials": TRIALS + 1}
    asked["space"]["name"], asked["space"]["source"] = "mine", "another text"
    (run_path / "run.yaml").write_text(dump_yaml(dict(asked)))
    run = Run.open(run_path)
    plan = Plan(
        space=run.space,
        recipe=ss.Recipe.from_dict(asked["recipe"]),
        trials=TRIALS + 1,
        sampler="random",
    )
    with closing(SearchStudy(run_path / "study.db", "mine", plan, identity(asked))) as study:
        record(study, random.Random(3))
    assert len(run.trials()) == TRIALS + 1


class StoppedError(Exception):
    """Raised by ``on_data``: the search is accepted, and would start."""


def stop(data: ss.Data) -> None:
    raise StoppedError


def test_a_resumed_search_keeps_its_latency_batch_and_another_one_is_refused(
    tmp_path: Path,
) -> None:
    space = ss.Space.from_yaml(SPACE)
    recipe = ss.Recipe(**space.recipe, epochs=EPOCHS).resolve(load_data("digits").augmentation)
    asked = asked_for(
        objectives=["validation_accuracy", "latency"], latency_batch=4, recipe=recipe.to_dict()
    )
    (tmp_path / "run.yaml").write_text(dump_yaml(asked))
    resume = partial(ss.search, space, trials=TRIALS, epochs=EPOCHS, out=tmp_path, on_data=stop)
    for same in (None, 4):
        with pytest.raises(StoppedError):
            resume(latency_batch=same)
    refused = "latency_batch is 4 there, 8 was asked for; give the same, or another --out$"
    with pytest.raises(RunError, match=refused):
        resume(latency_batch=8)
    with pytest.raises(RunError, match="latency_batch: 0 is not a positive whole number"):
        resume(latency_batch=0)


def test_other_data_are_refused_before_the_folds_of_the_run_are_used_for_them(
    tmp_path: Path,
) -> None:
    asked = asked_for(seeds=3)
    asked["data"]["folds"] = 3
    (tmp_path / "run.yaml").write_text(dump_yaml(asked))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 10
    held = images[:20], labels[:20]
    other = ss.Data.from_arrays(images, labels, validation=held, test=held)
    for folds in (None, 3):
        with pytest.raises(RunError, match="holds another search: data is digits there, "):
            ss.search(ss.Space.from_yaml(SPACE), other, trials=6, folds=folds, out=tmp_path)


# --- data that moved -----------------------------------------------------------------------------


def npz(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        train_images=rng.integers(0, 256, (200, 8, 8), dtype=np.uint8),
        train_labels=np.arange(200) % 10,
        test_images=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        test_labels=np.arange(40) % 10,
    )
    return path


def test_data_that_moved_are_recognised_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = npz(tmp_path / "a" / "data.npz")
    run = make_run(tmp_path / "run", asked_for(str(file)))
    (tmp_path / "b").mkdir()
    moved = file.rename(tmp_path / "b" / "other.npz")
    with pytest.raises(ss.errors.DataError, match="if they have moved, say where by --data"):
        run.load_data()
    (tmp_path / "link.npz").symlink_to(moved)
    monkeypatch.chdir(tmp_path / "a")
    for where in (moved, str(tmp_path / "link.npz"), Path("../b/other.npz")):
        images = run.load_data(data=where)
        assert images.fingerprint == run.config.data.fingerprint
        asked = asked_for(str(where))
        assert asked["data"]["name"] != run.config.data.name
        assert difference(run.config.to_dict(), asked) == ""
    with pytest.raises(RunError, match=rf"is not what was searched, {re.escape(str(file))}: the "):
        run.load_data(data=npz(tmp_path / "c.npz", seed=1))


def test_verbs_take_data_that_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = npz(tmp_path / "data.npz")
    run = make_run(tmp_path / "run", asked_for(str(file)))
    moved = str(file.rename(tmp_path / "moved.npz"))
    explain = ["explain", str(run.path), "best", "--epochs", "1", "--device", "cpu"]
    assert main(explain) == 2
    assert main([*explain, "--data", moved]) == 0
    export = ["export", str(run.path), "--formats", "source", "--device", "cpu"]
    assert main([*export, "--data", moved]) == 0
    other = str(npz(tmp_path / "other.npz", seed=1))
    for command in (explain, export, ["confirm", str(run.path)]):
        assert main([*command, "--data", other]) == 2
        assert "is not what was searched" in capsys.readouterr().err


def test_a_word_of_the_known_data_sets_is_never_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "digits" / "class").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert asked_for() == run.config.to_dict()
    assert run.load_data().path is None
    run.report(tmp_path / "digits" / "report")  # no data lie there


# --- where a run may lie -------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["", "run", "a/b/run", "../data/run", "../link/run", "link/run"])
def test_a_run_inside_its_data_is_refused(out: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(data)
    (data / "link").symlink_to(data / "a")
    with pytest.raises(RunError, match="is inside the data"):
        check_outside(data / out, data)
    check_outside(tmp_path / "database", data)
    check_outside(data / "out", None)


def test_nothing_is_written_into_the_data(tmp_path: Path) -> None:
    from PIL import Image

    data, rng = tmp_path / "data", np.random.default_rng(0)
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            picture.save(data / name / f"{number}.png")
    before = sorted(data.rglob("*"))
    with pytest.raises(RunError, match="is inside the data"):
        ss.search(
            ss.Space.from_yaml(SPACE),
            str(data),
            image_size=8,
            trials=1,
            epochs=1,
            out=tmp_path / "x" / ".." / "data" / "run",
        )
    assert sorted(data.rglob("*")) == before


# --- a run that one may only read ----------------------------------------------------------------

TABLES = (["rank"], ["effects"], ["pareto"], ["report"])


@pytest.mark.parametrize("verb", TABLES, ids=lambda verb: str(verb[0]))
def test_a_table_is_printed_where_no_file_can_be_written(
    verb: list[str], run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_path / "report").write_text("a file where the folder would be")
    best = Run.open(run_path).rank().design.iloc[0]
    assert main([*verb, str(run_path)]) == 0
    out = capsys.readouterr().out
    assert f"No file was written: {run_path / 'report'}" in out
    assert best[:6] in out or verb == ["effects"]
    assert (
        main([*verb, str(run_path), "--out" if verb == ["report"] else "--csv", "/dev/null/x"]) == 2
    )


READ_ONLY = """
import os, sys
from skipsearch.cli import main
for verb in ("rank", "effects", "pareto", "report"):
    assert main([verb, sys.argv[1]]) == 0, verb
"""


@pytest.mark.parametrize("left", ["at rest", "by a killed driver", "without its index"])
def test_a_read_only_run_is_read_in_full_and_stays_as_it_is(left: str, run_path: Path) -> None:
    """On a mount that not even root can write to."""
    mounts = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    may = subprocess.run([*mounts, "mount -t tmpfs none /mnt"], capture_output=True, check=False)
    if may.returncode:
        pytest.skip("needs mounts of its own")
    (number,) = [t.number for t in Run.open(run_path).trials()][-1:]
    if left != "at rest":  # the last epoch of the last trial is in the log that SQLite writes ahead
        write = (
            "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
            "c.execute('PRAGMA journal_mode=WAL');"
            "c.execute('DELETE FROM trial_user_attributes WHERE trial_id ="
            " (SELECT max(trial_id) FROM trials)'); c.commit(); os._exit(9)"
        )
        subprocess.run([sys.executable, "-c", write, run_path / "study.db"], check=False)
        assert (run_path / "study.db-wal").stat().st_size
    if left == "without its index":
        (run_path / "study.db-shm").unlink()
    before = {path.name: path.read_bytes() for path in run_path.iterdir()}
    command = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [*mounts, command, "sh", run_path, sys.executable, READ_ONLY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("No file was written") == 4
    trainings = TRIALS if left == "at rest" else TRIALS - 1
    assert f"{trainings} trainings of {trainings} designs" in done.stdout
    assert {path.name: path.read_bytes() for path in run_path.iterdir()} == before
    assert number >= 0


# --- damage --------------------------------------------------------------------------------------


def read_all(path: Path) -> None:
    """Read a run in every way that needs no training."""
    run = Run.open(path)
    run.rank()
    run.effects()
    run.pareto()
    run.confirmation()
    run.confirm_config()
    run.trial("best")
    run.study.params()


def findings(path: Path) -> None:
    """Gather what a report shows."""
    Run.open(path)._findings()


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 3, 30, 300))):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def overwritten(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    size = min(rng.choice((16, 4096)), len(content) - start)
    return (
        content[:start] + rng.choice((bytes(size), rng.randbytes(size))) + content[start + size :]
    )


FILES = ("study.db", "confirm.db", "confirm.yaml", "run.yaml")


@pytest.mark.filterwarnings("ignore")  # of libraries, about values that make no sense
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [cut, flipped, overwritten], ids=lambda f: str(f.__name__))
def test_damage_is_reported_in_one_line(
    file: str,
    damage: Callable[[bytes, random.Random], bytes],
    run_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A long simulation, which reads no file.
    module = sys.modules["skipsearch.analysis.effects"]  # the package has a function of that name
    monkeypatch.setattr(module, "further_trainings", lambda *_: np.nan)
    rng, content = random.Random(f"{file} {damage.__name__}"), (run_path / file).read_bytes()
    told = []
    for number in range(16):
        (run_path / file).write_bytes(damage(content, rng))
        for read in (read_all, findings) if number < 4 else (read_all,):
            try:
                read(run_path)
            except SkipSearchError as error:
                told.append(str(error))
    assert [text for text in told if "\n" in text or len(text) > 500] == []
    assert told or file == "confirm.yaml"


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(5000), b"SQLite format 3\0"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_something_else_is_reported(file: str, content: bytes, run_path: Path) -> None:
    (run_path / file).write_bytes(content)
    if file == "study.db" and not content:
        assert Run.open(run_path).trials() == []  # as where a driver was killed at once
        return
    if file == "confirm.db" and not content:
        assert Run.open(run_path).confirmations() == []
        return
    with pytest.raises(RunError, match=file.replace(".", r"\.")):
        read_all(run_path)


def test_a_report_does_without_a_damaged_confirmation(
    run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_path / "confirm.db").write_bytes(b"garbage" * 999)
    assert main(["report", str(run_path)]) == 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"warning: the confirmation is left out: {run_path / 'confirm.db'} cannot be" in error
    page = (run_path / "report" / "index.html").read_text()
    assert "The confirmation is left out" in page
    # What the confirmation would have decided is not decided without it.
    with pytest.raises(DamagedError, match=r"confirm\.db"):
        Run.open(run_path).trial("best")


@pytest.mark.parametrize("file", ["study.db", "confirm.db", "confirm.yaml"])
def test_a_file_of_another_run_is_refused(file: str, run_path: Path, tmp_path: Path) -> None:
    asked = asked_for(seed=7)
    asked["space"]["axes"]["shortcut"] = ["proj-all", "avg-proj"]
    other = make_run(tmp_path / "other", asked)
    confirm_by_hand(other)
    shutil.copy(other.path / file, run_path / file)
    with pytest.raises(RunError, match=rf"{file}.*(is of another search|has no design)"):
        read_all(run_path)


def test_run_yaml_with_a_wrong_type_is_refused(run_path: Path) -> None:
    asked = yaml.safe_load((run_path / "run.yaml").read_text())
    for name in ("space", "data", "recipe", "seed", "rungs", "objectives", "stopping"):
        for value in (None, 3.5, [], {}, "x", True, [{}]):
            if name == "stopping" and value == {}:
                continue
            if (name, value) == ("objectives", []):
                continue
            (run_path / "run.yaml").write_text(dump_yaml(asked | {name: value}))
            with pytest.raises(SkipSearchError, match=r"run\.yaml"):
                read_all(run_path)


def test_a_run_of_an_older_version_opens_and_is_resumed(run_path: Path) -> None:
    asked = yaml.safe_load((run_path / "run.yaml").read_text())
    for name in ("latency_batch", "seeds", "storage", "objectives", "stopping"):
        del asked[name]
    for name in ("task", "class_names"):
        del asked["data"][name]
    (run_path / "run.yaml").write_text(dump_yaml(asked))
    with closing(sqlite3.connect(run_path / "study.db")) as database:
        database.execute("DELETE FROM study_user_attributes")  # it does not say what it is of
        database.commit()
    run = Run.open(run_path)
    run.report()
    assert difference(run.config.to_dict(), asked_for()) == ""
    plan = Plan(
        space=run.space,
        recipe=ss.Recipe.from_dict(asked["recipe"]),
        trials=TRIALS + 1,
        sampler="random",
    )
    with closing(SearchStudy(run_path / "study.db", "tiny", plan, run.config.identity())) as study:
        record(study, random.Random(4))
    assert len(run.trials()) == TRIALS + 1
    assert SearchConfig.load(run_path / "run.yaml").seeds == 1


# --- clocks --------------------------------------------------------------------------------------


class Hands:
    """The clocks of one machine."""

    def __init__(self, wall: float) -> None:
        self.monotonic, self.wall = 1000.0, wall

    def pass_by(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def watch(self) -> Watch:
        return Watch(lambda: self.monotonic, lambda: self.wall)


YEAR = 365 * 86400.0
NOW = 1.8e9


@pytest.mark.parametrize("wrong", [-20 * YEAR, -1000.0, 0.0, 1000.0, 20 * YEAR])
@pytest.mark.parametrize("jump", [-10 * YEAR, -3600.0, 0.0, 3600.0, 10 * YEAR])
def test_a_living_driver_is_alive_whatever_the_clocks_say(wrong: float, jump: float) -> None:
    mine, theirs = Hands(NOW), Hands(NOW + wrong)
    watch = mine.watch()
    for step in range(40):
        beat = theirs.wall
        for _ in range(3):
            assert watch.is_alive("them", beat)
            mine.pass_by(5)
            theirs.pass_by(5)
        if step == 10:
            mine.wall += jump
        if step == 20:
            theirs.wall += jump


@pytest.mark.parametrize("wrong", [-20 * YEAR, -1000.0, 0.0, 1000.0, 20 * YEAR])
@pytest.mark.parametrize("jump", [-10 * YEAR, 0.0, 10 * YEAR])
def test_a_dead_driver_is_dead_after_a_while_whatever_the_clocks_say(
    wrong: float, jump: float
) -> None:
    mine = Hands(NOW)
    watch, beat = mine.watch(), NOW + wrong
    patience = DOUBT_SECONDS if wrong else DEAD_SECONDS
    assert watch.is_alive("them", beat)
    assert watch.in_doubt("them", beat) == bool(wrong)
    mine.wall += jump
    mine.pass_by(patience - 1)
    assert watch.is_alive("them", beat)
    mine.pass_by(1)
    assert not watch.is_alive("them", beat)
    assert not watch.in_doubt("them", beat)
    assert watch.is_alive("them", beat + 15)  # it had only slept


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        (-3 * YEAR, "jumped backwards by 1095 days"),
        (7200.0, "jumped forwards by 2 hours"),
        (-90.0, "jumped backwards by 90 seconds"),
    ],
)
def test_an_error_under_a_clock_that_jumped_names_the_clock(jump: float, words: str) -> None:
    hands = Hands(NOW)
    clock = Clock(lambda: hands.wall, lambda: hands.monotonic)
    hands.pass_by(1e6)
    with pytest.raises(OSError, match="Invalid argument"), clock.named_in_errors():
        raise OSError(22, "Invalid argument")
    hands.wall += jump
    with pytest.raises(RunError, match=words) as caught, clock.named_in_errors():
        raise OSError(22, "Invalid argument")
    assert "Invalid argument" in str(caught.value)
    with pytest.raises(RunError, match="ours"), clock.named_in_errors():
        raise RunError("ours")
