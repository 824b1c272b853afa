"""Logs of a search: the real Tune calls the real loggers, and what they wrote is read back."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, tune
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import skipsearch as ss
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY
from skipsearch.record import Epoch
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.logs import LOGGERS, loggers
from skipsearch.searching.messages import Member, Report, Request
from skipsearch.searching.options import Resources

DESIGN = ss.Design(layout="bn-relu-conv3-bn-relu-conv3 +", shortcut="pad", depths=(1, 2, 1))
RECIPE = ss.Recipe(epochs=4, peak_lr=0.25)
NAME = f"{DESIGN.id}-{RECIPE.id}-7"


class Toy(tune.Trainable):
    """Reports what a worker reports, without training; ``fate`` says what befalls it."""

    def setup(self, config: dict[str, Any]) -> None:
        self.fate = json.loads(config["fate"])
        self.curve = [scalars(n + 1) for n in range(self.fate.get("epochs_before", 0))]

    def step(self) -> dict[str, Any]:
        epoch = len(self.curve) + 1
        marker = Path(self.fate.get("dies_once", "/"))
        if epoch == 3 and not marker.exists():
            marker.touch()
            raise OSError("the worker is gone")
        if epoch == self.fate.get("diverges_at"):
            return self.report(done=True, failure="NaN")
        self.curve.append(scalars(epoch))
        return self.report(done=epoch >= RECIPE.epochs)

    def report(self, done: bool, failure: str = "") -> dict[str, Any]:
        member = Member(tuple(map(Epoch.from_dict, self.curve)), failure)
        return Report(members=(member,), done=done, device="cpu").to_result()


class CtrlC(tune.Callback):
    """Interrupts the session at a trial's second result."""

    def on_trial_result(self, iteration, trials, trial, result, **info):  # type: ignore[no-untyped-def]
        if result["report"].epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)


# By the name in a log, the field of an epoch.
FIELDS = {
    "validation_accuracy": "validation_score",
    "validation_loss": "validation_loss",
    "train_accuracy": "train_score",
    "train_loss": "train_loss",
    "learning_rate": "learning_rate",
}


def scalars(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "seconds": 0.1} | {
        field: epoch + number / 8 for number, field in enumerate(FIELDS.values())
    }


CURVES = {name: [(n, scalars(n)[field]) for n in range(1, 5)] for name, field in FIELDS.items()}


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it
    with ray_session(Resources()):
        yield


def search(word: str, run: Path, *also: tune.Callback, **befalls: Any) -> None:
    request = Request(design=DESIGN, recipe=RECIPE, seeds=(7,), recorded=(7,), checkpoint="c.pt")
    results = tune.Tuner(
        Toy,
        param_space=request.to_config() | {"fate": json.dumps(befalls)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            callbacks=[*loggers([word], run, ACCURACY), *also],
            storage_path=str(run.parent / "tune"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    ).fit()
    assert not results.errors


def events(folder: Path) -> Iterator[Event]:
    """Read TensorBoard's files: records of length, checksum, event, checksum."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def tensorboard_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    curves = defaultdict(list)
    for event in events(run / "tensorboard" / NAME):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                name = value.tag.removeprefix("ray/tune/")
                curves[name].append((event.step, value.simple_value))
    return dict(curves)


def tensorboard_parameters(run: Path) -> dict[str, Any]:
    for event in events(run / "tensorboard" / NAME):
        for value in event.summary.value:
            if value.tag == "_hparams_/session_start_info":
                content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                given = content.session_start_info.hparams
                return {name: getattr(v, v.WhichOneof("kind")) for name, v in given.items()}
    return {}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one training whose worker died in its third epoch."""
    folder = tmp_path_factory.mktemp("logs")
    search("tensorboard", folder / "run", dies_once=str(folder / "died"))
    assert (folder / "died").exists()
    return folder / "run"


def test_a_training_is_logged_under_its_own_name_into_the_run_folder(run: Path) -> None:
    assert [path.name for path in run.iterdir()] == ["tensorboard"]
    assert [path.name for path in (run / "tensorboard").iterdir()] == [NAME]


def test_epochs_that_a_retried_trial_reports_again_are_not_logged_again(run: Path) -> None:
    assert tensorboard_curves(run) == CURVES


def test_hyperparameters_have_the_names_of_design_and_recipe(run: Path) -> None:
    shown = tensorboard_parameters(run)
    expected = {"layout": "bn-relu-conv3-bn-relu-conv3 +", "shortcut": "pad", "merge": "add"}
    expected |= {"depths": "[1, 2, 1]", "seed": 7}
    expected |= {"recipe.peak_lr": 0.25, "recipe.schedule": "cosine"}
    assert {name: shown.get(name) for name in expected} == expected
    assert not {"request", "fate"} & set(shown)


def test_the_session_that_resumes_writes_the_whole_curve_and_no_epoch_twice(tmp_path: Path) -> None:
    search("tensorboard", tmp_path / "run", CtrlC())
    interrupted = tensorboard_curves(tmp_path / "run")
    assert interrupted["train_loss"] == CURVES["train_loss"][:2]
    # Its checkpoint was one epoch further than its log.
    search("tensorboard", tmp_path / "run", epochs_before=3)
    assert tensorboard_curves(tmp_path / "run") == CURVES


@pytest.mark.parametrize("folder", ["a?b", "a#b", "a%20b"])
def test_a_path_that_mlflow_would_misread_is_refused(folder: str, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(RunError, match="log mlflow: the path"):
        loggers(["mlflow"], tmp_path / folder, ACCURACY)
    assert list(tmp_path.iterdir()) == []


# MLflow's own libraries deprecate parts of each other.
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_a_run_for_each_training_with_the_state_that_it_ended_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "orders"
    search("mlflow", run)
    search("mlflow", run, diverges_at=3)
    search("mlflow", run, CtrlC())
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("orders").experiment_id
    left = client.create_run(experiment, run_name="left by kill -9").info.run_id
    loggers(["mlflow"], run, ACCURACY)
    assert client.get_run(left).info.status == "KILLED"

    found = client.search_runs([experiment], order_by=["attributes.start_time"])
    assert [each.info.run_name for each in found[:3]] == [NAME] * 3
    assert [each.info.status for each in found[:3]] == ["FINISHED", "FAILED", "FAILED"]
    assert [each.data.params["recipe.peak_lr"] for each in found[:3]] == ["0.25"] * 3
    assert found[0].data.params["depths"] == "[1, 2, 1]"
    for each, epochs in zip(found[:3], (4, 2, 2), strict=True):
        for name, curve in CURVES.items():
            history = client.get_metric_history(each.info.run_id, name)
            assert [(point.step, point.value) for point in history] == curve[:epochs]
    assert {path.name for path in tmp_path.iterdir()} == {"orders", "tune"}


@pytest.mark.parametrize("word", LOGGERS)
def test_a_logger_without_its_package_says_what_to_install(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"tensorboard": "tensorboardX"}.get(word, word)
    monkeypatch.setitem(sys.modules, package, None)  # as Python holds a package that is missing
    with pytest.raises(RunError) as caught:
        loggers([word], tmp_path, ACCURACY)
    assert str(caught.value) == (
        f"log {word}: {package} is not installed: pip install 'skipsearch[{word}]'"
    )


def test_a_logger_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        loggers(["tensorbord"], tmp_path, ACCURACY)
    assert str(caught.value) == (
        "log: 'tensorbord' is not one of tensorboard, mlflow (did you mean 'tensorboard'?)"
    )
