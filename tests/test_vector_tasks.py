"""Several labels and numbers for each image: scores equal scikit-learn's, and the whole way."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn import metrics
from torch import Tensor
from torch.nn import functional as F
from vector_data import multi_label, regression

import skipsearch as ss
from skipsearch.artefacts import program
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.sentences import allowed
from skipsearch.artefacts.units import Standard, in_units
from skipsearch.artefacts.writing import write_artefacts
from skipsearch.cli.parser import read_arguments
from skipsearch.data import Data
from skipsearch.errors import DataError, ExportError, RecipeError, RunError
from skipsearch.metric import R2, Scale
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.run import Run
from skipsearch.searching.records import ASKED
from skipsearch.surrogate.warp import Warp, modelled
from skipsearch.task import MULTI_LABEL, REGRESSION, TASKS, metric_words
from skipsearch.text import dump_yaml, parse_yaml
from skipsearch.training import Trainer, do_nothing, train_several
from skipsearch.training.criteria import CRITERIA, Criterion
from skipsearch.training.criteria.per_class import positive_weights
from skipsearch.training.tallies import Tallies

TINY = ss.Design(layout="conv3-bn-relu +", depths=(1,), widths=(4,), stem_width=4)
RECIPE = Recipe(epochs=2, batch_size=32)
MULTI_LABEL_METRICS = ("mean_average_precision", "macro_f1", "auroc")
LABELLED, NUMBERED = multi_label(), regression()


def tallied(criterion: Criterion, outputs: Tensor, target: Tensor) -> Tallies:
    """Tallies of outputs and targets (n, networks, ...), batch by batch."""
    tallies = Tallies(criterion, outputs.shape[1], len(outputs))
    for start in range(0, len(outputs), 7):
        part = slice(start, start + 7)
        tallies.add(criterion.tally(outputs[part], target[part]))
    return tallies


def drawn(seed: int, n: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Outputs (n, 2, outputs) of two networks with ties, and labels that they resemble."""
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(n, outputs, generator=generator) < 0.4).float()
    noise = torch.randn(n, 2, outputs, generator=generator)
    return (2 * (noise + target[:, None])).round() / 2 - 0.75, target


@given(st.integers(0, 1000), st.integers(5, 40))
def test_scores_of_labels_are_those_of_scikit_learn(seed: int, n: int) -> None:
    outputs, target = drawn(seed, n, 3)
    truth = target.numpy().astype(int)
    judged = target[:, None].expand(-1, 2, -1)
    there = [k for k in range(3) if 0 < truth[:, k].sum() < n]
    used = [k for k in range(3) if truth[:, k].any()]
    for name in MULTI_LABEL_METRICS:
        criterion = CRITERIA[MULTI_LABEL.name](LABELLED.judged_by(name), RECIPE)
        found = tallied(criterion, outputs, judged).scores(n)
        for network, score in enumerate(found):
            logits = outputs[:, network].numpy()
            if name == "macro_f1":
                counted = [k for k in range(3) if truth[:, k].any() or (logits[:, k] > 0).any()]
                expected = [metrics.f1_score(truth[:, k], logits[:, k] > 0) for k in counted]
            elif name == "auroc":
                expected = [metrics.roc_auc_score(truth[:, k], logits[:, k]) for k in there]
            else:
                average = metrics.average_precision_score
                expected = [average(truth[:, k], logits[:, k]) for k in used]
            mean = np.mean(expected) if expected else np.nan
            assert score == pytest.approx(mean, abs=1e-12, nan_ok=True)


def test_the_score_of_all_labels_is_the_macro_mean_of_scikit_learn() -> None:
    outputs, target = drawn(0, 200, 3)
    for name, expected in (
        ("mean_average_precision", metrics.average_precision_score),
        ("auroc", metrics.roc_auc_score),
    ):
        criterion = CRITERIA[MULTI_LABEL.name](LABELLED.judged_by(name), RECIPE)
        (score, _) = tallied(criterion, outputs, target[:, None].expand(-1, 2, -1)).scores(200)
        assert score == pytest.approx(expected(target, outputs[:, 0], average="macro"))


@given(st.integers(0, 1000), st.integers(2, 40))
def test_figures_of_numbers_are_those_of_scikit_learn(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(n, 2, generator=generator)
    outputs = target[:, None] + torch.randn(n, 2, 2, generator=generator)
    criterion = CRITERIA[REGRESSION.name](NUMBERED, RECIPE)
    judged = target[:, None].expand(-1, 2, -1)
    scores = tallied(criterion, outputs, judged).scores(n)
    losses = criterion.losses(outputs, judged)
    std = np.array(NUMBERED.target_std)
    for network, score in enumerate(scores):
        found, truth = outputs[:, network].double().numpy(), target.double().numpy()
        assert score == pytest.approx(metrics.r2_score(truth, found), abs=1e-9)
        for name, function in (
            ("rmse", metrics.root_mean_squared_error),
            ("mae", metrics.mean_absolute_error),
        ):
            judging = CRITERIA[REGRESSION.name](NUMBERED.judged_by(name), RECIPE)
            by_error = tallied(judging, outputs, judged).scores(n)[network]
            assert -by_error == pytest.approx(function(truth * std, found * std), rel=1e-12)
        off = np.abs(truth - found)
        loss = np.where(off < 1, off**2 / 2, off - 0.5).mean()
        assert losses[:, network].mean().item() == pytest.approx(loss, rel=1e-5)
        sums = criterion.tally(outputs, judged).sum(0)[network]
        _, of_targets = criterion.figures(sums, n)
        for name, function in (
            ("rmse", metrics.root_mean_squared_error),
            ("mae", metrics.mean_absolute_error),
        ):
            each = function(truth * std, found * std, multioutput="raw_values")
            assert list(of_targets[name].values()) == pytest.approx(each, rel=1e-5)


@pytest.mark.parametrize("name", MULTI_LABEL_METRICS)
def test_the_baseline_is_the_frequency_of_each_label(name: str) -> None:
    truth = LABELLED.validation.labels.numpy()
    frequencies = np.broadcast_to(LABELLED.train.labels.double().mean(0), truth.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "mean_average_precision": metrics.average_precision_score(truth, frequencies),
            "macro_f1": metrics.f1_score(truth, frequencies > 0.5, average="macro"),
            "auroc": 0.5,
        }
    assert do_nothing(LABELLED.judged_by(name), LABELLED.validation) == pytest.approx(
        expected[name]
    )


def test_the_baseline_of_numbers_is_the_best_constant_in_training() -> None:
    truth = NUMBERED.validation.labels.numpy()
    expected = metrics.r2_score(truth, np.broadcast_to(NUMBERED.target_mean, truth.shape))
    assert do_nothing(NUMBERED, NUMBERED.validation) == pytest.approx(expected, abs=1e-6)
    assert expected < 0
    median = np.percentile(NUMBERED.train.labels.numpy(), 50, axis=0, method="lower")
    for name, function, constant in (
        ("rmse", metrics.root_mean_squared_error, NUMBERED.target_mean),
        ("mae", metrics.mean_absolute_error, median),
    ):
        error = function(truth, np.broadcast_to(constant, truth.shape))
        score = do_nothing(NUMBERED.judged_by(name), NUMBERED.validation)
        assert score == pytest.approx(-error, rel=1e-6)


@pytest.mark.parametrize("data", [LABELLED, NUMBERED], ids=["labels", "numbers"])
def test_a_pack_trains_as_its_members(data: Data) -> None:
    def trained(packed: bool) -> list[float]:
        models = [build(TINY, 1, data.outputs, seed=seed) for seed in range(2)]
        *_, last = train_several(models, data, RECIPE, packed=packed)
        return [score for epoch in last for score in (epoch.train_score, epoch.validation_loss)]

    assert trained(packed=True) == pytest.approx(trained(packed=False), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("data", [LABELLED, NUMBERED], ids=["labels", "numbers"])
def test_fields_of_other_tasks_are_refused(data: Data) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.label_smoothing: is for classification, seg"):
        Trainer(build(TINY, 1, 3), data, Recipe(label_smoothing=0.1))
    with pytest.raises(RunError, match=r"metric: 'accuracy' is not one of (mean_average|r2)"):
        data.judged_by("accuracy")


@pytest.mark.parametrize("metric", MULTI_LABEL_METRICS)
def test_class_weights_balance_the_images_with_and_without_a_label(metric: str) -> None:
    truth = LABELLED.train.labels
    positives = truth.sum(0)
    weights = (len(truth) - positives) / positives
    outputs = torch.randn(len(truth), 2, 3, generator=torch.Generator().manual_seed(0))
    target = torch.stack([truth, truth.flip(0)], dim=1).float()
    balanced = Recipe(class_weights="balanced")
    criterion = CRITERIA[MULTI_LABEL.name](LABELLED.judged_by(metric), balanced)
    losses = criterion.losses(outputs, target)
    for network in range(2):
        expected = F.binary_cross_entropy_with_logits(
            outputs[:, network], target[:, network], pos_weight=weights
        )
        torch.testing.assert_close(losses[:, network].mean(), expected)
    # Both sides pull equally on outputs that know nothing.
    nothing = torch.zeros(len(truth), 1, 3, requires_grad=True)
    criterion.losses(nothing, truth[:, None].float()).sum().backward()
    torch.testing.assert_close(nothing.grad.sum(0), torch.zeros(1, 3), atol=1e-5, rtol=0)
    with pytest.raises(RecipeError, match=r"recipe\.class_weights: is for classification, seg"):
        Trainer(build(TINY, 1, 2), NUMBERED, balanced)


@pytest.mark.parametrize("layout", ss.Space.load("orders").values("layout"))
def test_no_layout_of_a_regression_diverges_at_the_default_learning_rate(layout: str) -> None:
    design = ss.Design(layout=layout, widths=(8, 16, 32), depths=(3, 3, 3), shortcut="pad")
    *_, last = ss.train(build(design, 1, 2), NUMBERED, Recipe(epochs=6, batch_size=16))
    assert last.train_loss < 0.5


def test_the_help_names_the_metrics_of_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert "regression: r2, rmse, mae" in metric_words()
    with pytest.raises(SystemExit):
        read_arguments(["search", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, task in TASKS.items():
        assert f"{name}: {task.metric.name}" in shown


# --- R2 has no lower limit -----------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1 - 1e-6), min_size=2, max_size=20), st.integers(1, 100))
def test_scores_without_a_limit_are_modelled_by_their_error(
    scores: list[float], images: int
) -> None:
    scale = Scale(R2, images)
    warp = Warp.of(scores, scale)
    values = warp.values(scores)
    assert np.isfinite(values).all()
    assert (np.diff(values[np.argsort(scores)]) >= -1e-9).all()
    assert warp.scores(values) == pytest.approx(np.array(scores), rel=1e-6, abs=1e-6)
    assert np.isfinite(warp.scores([-1e9, -60.0, 60.0])).all()
    assert (warp.scores([-1e9, 1e9]) <= 1).all()
    assert modelled(np.array([1.0]), scale) == pytest.approx(np.log(1e9))


# --- outputs in units ----------------------------------------------------------------------------


def test_an_allowed_difference_has_its_unit() -> None:
    words = "0.0001 of the largest output, in standard deviations of the targets"
    assert allowed(1e-4, REGRESSION) == words
    assert allowed(1e-4, MULTI_LABEL) == "0.0001 of the largest output"


def test_the_last_layer_converts_to_units() -> None:
    network = build(TINY, 1, 2).eval()
    mean, std = (5.0, -300.0), (0.25, 10.0)
    images = torch.randn(4, 1, 6, 6)
    with torch.no_grad():
        before, after = network(images), in_units(network, mean, std)(images)
    torch.testing.assert_close(after, before * torch.tensor(std) + torch.tensor(mean))


def test_a_small_target_far_from_0_is_judged_by_its_deviation() -> None:
    expected = torch.tensor([[1e6], [1e6 + 2]])
    standard = Standard((1e6,), (1.0,))
    assert standard.largest(expected) == 2
    assert standard.difference(expected + 0.125, expected) == 0  # two steps of float32
    assert standard.difference(expected + 2, expected) > 1
    assert Standard().difference(expected + 2, expected) == 2


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    ("mean", "std"), [((1e4, -3e6), (0.5, 7.0)), ((0.0, 0.0), (1e6, 1e-6))], ids=["far", "wide"]
)
def test_half_precision_keeps_offset_and_scale_of_targets(
    precision: str, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    network = in_units(build(TINY, 1, 2).eval(), mean, std)
    formats = ["source", "program"] + ["onnx"] * (precision == "fp16")
    card = Card(task=REGRESSION, target_mean=mean, target_std=std)
    sizes = {"in_channels": 1, "image_size": 6, "classes": 2}
    write_artefacts(
        network, TINY, tmp_path / "out", **sizes, formats=formats, precision=precision, card=card
    )
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    kinds = {
        name: value.dtype
        for name, value in load_file(tmp_path / "out/model.safetensors").items()
        if value.is_floating_point()
    }
    rounded = {name for name, kind in kinds.items() if kind == half}
    assert kinds.keys() - rounded == {"classifier.weight", "classifier.bias"}
    images = torch.randn(4, 1, 6, 6)
    with torch.no_grad():
        expected = network(images)
    found = program.load(tmp_path / "out/model.pt2")(images)
    assert found.dtype == torch.float32
    assert ((found - expected) / torch.tensor(std)).abs().max() < 0.5
    assert "The last layer stays in float32." in (tmp_path / "out/card.md").read_text()


# --- the whole way -------------------------------------------------------------------------------

SPACE = {
    "name": "tiny",
    "base": {"widths": [4, 8], "depths": [1, 1]},
    "recipe": {"batch_size": 16, "precision": "bfloat16"},  # other figures than those of the files
    "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
}


def exported_outputs(folder: Path, images: Tensor) -> Tensor:
    """Outputs of the ONNX file for raw images."""
    import onnxruntime

    card = json.loads((folder / "card.json").read_text())["input"]
    pixels = (images.float() / 255 - card["mean"][0]) / card["std"][0]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (outputs,) = session.run(None, {"images": pixels.numpy()})
    return torch.from_numpy(outputs)


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("make", [multi_label, regression])
def test_the_whole_way(make: Callable[[], Data], tmp_path: Path) -> None:
    data = make()
    is_regression = data.task.name == "regression"
    name = "rmse" if is_regression else None
    how = {"trials": 8, "seeds": 4, "epochs": 4, "out": tmp_path / "run"}
    run = ss.search(ss.Space.from_dict(SPACE), data, metric=name, **how)
    run = Run.open(run.path)
    metric = run.config.task.metric
    assert run.config.objectives == (metric.validation,)
    assert run.config.data.baseline == do_nothing(data.judged_by(name), data.validation)
    assert (run.rank()[metric.validation] > 0).all()
    assert (run.rank()[metric.validation].is_monotonic_increasing) == is_regression
    assert not run.effects().empty
    page = run.report().read_text()
    assert metric.title in page
    for word in ("accuracy", " class ", "classes"):
        assert word not in page

    exported = ss.export(run, "best", out=tmp_path / "winner", data=data)
    low, high = exported.test.interval
    assert low <= exported.test.score <= high
    card = json.loads((exported.path / "card.json").read_text())
    outputs, truth = exported_outputs(exported.path, data.test.images), data.test.labels.numpy()
    figures = card["figures"]["test"]
    words = (exported.path / "card.md").read_text() + (exported.path / "model.py").read_text()
    files = []
    for number, image in enumerate(data.test.images[:3, 0]):
        files.append(tmp_path / f"{number}.npy")
        np.save(files[-1], image.numpy())
    table = ss.predict(exported.path, files)
    np.save(tmp_path / "long.npy", np.tile(image.numpy(), (1, 3)))
    assert "an array must have the size of the training images" in card["input"]["pictures"]
    with pytest.raises(DataError, match="on which it was trained without resizing: crop or resize"):
        ss.predict(exported.path, tmp_path / "long.npy")
    if is_regression:
        assert "for 2 targets" in words
        rmse = metrics.root_mean_squared_error(truth, outputs)
        assert figures["rmse"] == pytest.approx(rmse, rel=1e-5)
        assert -exported.test.score == figures["rmse"] < figures["baseline"]
        r2 = metrics.r2_score(truth, outputs, multioutput="raw_values")
        assert list(figures["targets"]["r2"].values()) == pytest.approx(r2, abs=1e-5)
        assert card["training"]["loss"] == "Huber loss of standardised targets"
        assert not {"loss", "label_smoothing", "class_weights"} & set(card["training"]["recipe"])
        assert "cross-entropy" not in words
        assert list(table.columns) == ["image", "target", "value"]
        assert table.target.tolist() == ["first", "second"] * 3
        assert table.value.to_numpy() == pytest.approx(outputs[:3].flatten().numpy(), rel=1e-5)
        with pytest.raises(ExportError, match="top: has no effect on regression"):
            ss.predict(exported.path, files, top=1)
    else:
        assert "for 3 labels" in words
        assert card["training"]["loss"] == "binary cross-entropy"
        precision = metrics.average_precision_score(truth, outputs)
        assert figures["mean_average_precision"] == pytest.approx(precision, abs=1e-6)
        assert set(figures["labels"]) == {"average_precision", "auroc", "f1"}
        assert list(table.columns) == ["image", "rank", "label", "probability", "present"]
        assert len(table) == 9
        shown = table[table["image"] == str(files[0])].set_index("label").probability
        assert shown["b"] == pytest.approx(outputs[0, 1].sigmoid().item(), abs=1e-5)
        assert (table.present == (table.probability > 0.5)).all()
        assert len(ss.predict(exported.path, files, top=2)) == 6
    assert "network in float32" in words
    assert "classes" not in words.replace("classes: int", "").replace(", classes)", "")


@pytest.mark.usefixtures("ray")
def test_a_run_whose_networks_were_trained_in_another_way_is_read_and_not_continued(
    tmp_path: Path,
) -> None:
    space, data, out = ss.Space.from_dict(SPACE), regression(), tmp_path / "run"
    run = ss.search(space, data, trials=1, epochs=1, out=out)
    assert run.config.data.task_version == REGRESSION.version == 2
    # As before versions were recorded.
    values = parse_yaml((out / "run.yaml").read_text(), "run.yaml", ValueError)
    del values["data"]["task_version"]
    (out / "run.yaml").write_text(dump_yaml(values))
    with closing(sqlite3.connect(out / "study.db")) as base, base:
        ((text,),) = base.execute(
            "SELECT value_json FROM study_user_attributes WHERE key = ?", (ASKED,)
        )
        identity = json.loads(text)
        assert identity["data"].pop("task_version") == 2
        base.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE key = ?",
            (json.dumps(identity), ASKED),
        )
    old = Run.open(out)
    assert len(old.rank()) == 1
    old.report()
    other = (
        r"regression was trained in another way there \(version 1, now 2: the Huber loss replaced"
        r" the squared error\)"
    )
    with pytest.raises(RunError, match=f"holds another search: {other}; give "):
        ss.search(space, data, trials=2, epochs=1, out=out)
    for go_on in (
        lambda: ss.confirm(old, top=2, seeds=2, data=data),
        lambda: ss.export(old, "best", out=tmp_path / "winner", data=data),
        lambda: old.explain(data=data),
    ):
        with pytest.raises(RunError, match=f"{other}; search again, in another folder"):
            go_on()
    trainer = Trainer(build(old.trial("best").design, 1, 2), data, old.config.recipe)
    assert "by version 2 of regression" in trainer.state_dict()["belongs_to"]


def test_a_label_that_no_training_image_has_leaves_the_loss_finite() -> None:
    labels = torch.tensor([[1, 0], [0, 0], [0, 0]])
    assert positive_weights(labels).tolist() == [2.0, 1.0]
