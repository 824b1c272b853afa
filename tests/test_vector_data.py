"""Several labels or numbers for each image: what they are taken for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from vector_data import matrices, multi_label, numbers, regression

from skipsearch.data import Data, load_data
from skipsearch.errors import DataError

IMAGES, LABELS = matrices()
TARGETS = numbers()[1]
CLASSES = np.arange(120) % 3


@pytest.mark.parametrize(
    ("labels", "names", "task", "outputs"),
    [
        (LABELS, {}, "multi-label", 3),
        (LABELS.astype(bool), {}, "multi-label", 3),
        (LABELS.astype(float), {}, "multi-label", 3),
        (torch.tensor(LABELS), {"class_names": ["a", "b", "c"]}, "multi-label", 3),
        (pd.DataFrame(LABELS), {}, "multi-label", 3),
        (LABELS, {"target_names": ["a", "b", "c"]}, "regression", 3),
        (TARGETS, {}, "regression", 2),
        (TARGETS[:, 0].astype(np.float32), {}, "regression", 1),
        (TARGETS[:, :1], {}, "regression", 1),
        (CLASSES + 0.5, {}, "regression", 1),
        (CLASSES * 10.0 + 5, {"target_names": ["age"]}, "regression", 1),
        (CLASSES.astype(float), {"target_names": ["age"]}, "regression", 1),
        (CLASSES[:, None].astype(np.float32), {}, "classification", 3),
        (np.stack([CLASSES, CLASSES[::-1]], 1).astype(float), {}, "regression", 2),
        (CLASSES, {"target_names": ["age"]}, "regression", 1),
        (CLASSES, {}, "classification", 3),
        (CLASSES.astype(float), {}, "classification", 3),
        (CLASSES.astype(str), {}, "classification", 3),
    ],
)
def test_labels_decide_the_task(
    labels: Any, names: dict[str, list[str]], task: str, outputs: int
) -> None:
    data = Data.from_arrays(IMAGES, labels, **names)
    assert (data.task.name, data.outputs) == (task, outputs)
    splits = torch.cat([data.train.labels, data.validation.labels, data.test.labels])
    assert len(splits) == 120
    given = np.sort(np.asarray(labels, dtype=float).reshape(120, -1), axis=0)
    assert np.array_equal(np.sort(splits.numpy().reshape(120, -1), axis=0), given)
    if task == "regression":
        train = data.train.labels.numpy()
        assert data.target_mean == pytest.approx(train.mean(0))
        assert data.target_std == pytest.approx(train.std(0))


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=int)[CLASSES]


def changed(array: np.ndarray, value: float, at: Any = (5, 1)) -> np.ndarray:
    array = np.array(array, dtype=float if value != 2 else array.dtype)
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        (one_hot(CLASSES), {}, "each image has one class: save train_labels.argmax(1)"),
        (changed(LABELS, 2), {}, "several labels are a matrix (N, K) of 0 and 1, and numbers"),
        (changed(TARGETS, np.nan), {}, "holds nan (row 5), expected finite numbers"),
        (changed(TARGETS, -np.inf), {}, "holds -inf (row 5), expected finite numbers"),
        (changed(TARGETS, 7, np.s_[:, 1]), {}, "the target 'target 1' is 7 for all"),
        (changed(LABELS, 0, np.s_[:, 1]), {}, "no training image has the label '1'"),
        (changed(LABELS, 1, np.s_[:, 1]), {}, "every training image has the label '1'"),
        (LABELS, {"class_names": ["a", "b"]}, "class_names has 2 names, expected 3"),
        (LABELS, {"class_names": ["a", "b", "a"]}, "class_names has 'a' twice"),
        (TARGETS, {"target_names": ["a", "a"]}, "target_names has 'a' twice, expected one for"),
        (TARGETS, {"target_names": ["a"]}, "target_names has 1 name, expected 2"),
        (TARGETS, {"class_names": ["a", "b"]}, "expected integers (N,): one label for each image"),
        (
            TARGETS,
            {"class_names": ["a"], "target_names": ["a", "b"]},
            "both class_names and target_names",
        ),
        (CLASSES.astype(str), {"target_names": ["a"]}, "expected numbers to predict"),
        (CLASSES + 1.0, {}, "label 3 is not in 0..2"),  # as other tools number classes
        (CLASSES * 10.0, {}, "or give target_names if they are numbers to predict"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    labels: np.ndarray, names: dict[str, list[str]], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, labels, **names)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


NOTE = (
    "note: the labels are whole numbers of float64, taken as classes: give target_names if they are"
    " numbers to predict (regression)"
)


@pytest.mark.parametrize(
    ("labels", "names", "is_noted"),
    [
        (CLASSES.astype(float), {}, True),
        (CLASSES, {}, False),
        (CLASSES.astype(float), {"class_names": ["a", "b", "c"]}, False),
        (CLASSES.astype(float), {"target_names": ["age"]}, False),
        (LABELS.astype(float), {}, False),
    ],
)
def test_floating_point_labels_that_are_taken_as_classes_are_noted(
    labels: np.ndarray, names: dict[str, list[str]], is_noted: bool
) -> None:
    assert (NOTE in Data.from_arrays(IMAGES, labels, **names).summary()) == is_noted


def test_numbers_that_denoising_does_not_use_are_not_noted(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.npz", CLASSES.astype(float)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(path, **dict(zip(names, (IMAGES, labels, IMAGES, labels), strict=True)))
    assert NOTE in load_data(path).summary()
    assert "target_names" not in load_data(path, denoise=25).summary()


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.full(120, 7), "; give target_names if they are numbers to predict (regression)"),
        (np.full(120, 7.0), "; give target_names if they are numbers to predict (regression)"),
        (np.full(120, "seven"), ""),
    ],
)
def test_constant_numbers_may_be_targets(labels: np.ndarray, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, labels)
    assert str(caught.value) == f"arrays: 1 class, expected 2 or more{hint}"
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, np.zeros(120, dtype=int), class_names=["seven"])
    assert str(caught.value) == "arrays: 1 class, expected 2 or more"


@pytest.mark.parametrize(
    ("rare", "groups", "words"),
    [
        (1, None, "class '3' has 1 of 120 images, too few to set"),
        (10, np.arange(120) // 10, "class '3' has images in 1 group, too few to set"),
        (5, None, "class '3' has 4 images for training and validation, too few for 5 folds"),
    ],
)
def test_numbers_that_are_rare_as_classes_may_be_targets(
    rare: int, groups: np.ndarray | None, words: str
) -> None:
    labels = CLASSES.astype(float)
    labels[:rare] = 3
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, labels, groups=groups).in_folds(5)
    message = str(caught.value)
    assert words in message
    assert message.endswith("; give target_names if they are numbers to predict (regression)")
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, labels, groups=groups, class_names=list("0123")).in_folds(5)
    assert words in str(caught.value)
    assert "target_names" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "may_be_targets"),
    [(np.r_[[3], CLASSES[1:]], False), (np.r_[[24], np.arange(119) % 24], True)],
)
def test_few_whole_numbers_are_classes(labels: np.ndarray, may_be_targets: bool) -> None:
    with pytest.raises(DataError, match="has 1 of 120 images, too few to set") as caught:
        Data.from_arrays(IMAGES, labels)
    assert ("target_names" in str(caught.value)) == may_be_targets


@pytest.mark.parametrize(
    ("labels", "test", "words"),
    [
        (LABELS, LABELS[:, :2], "expected a matrix (N, 3) of 0 and 1 as train_labels"),
        (LABELS, 2 * LABELS, "holds other numbers than 0 and 1, unlike train_labels"),
        (TARGETS, TARGETS[:, 0], "and train_labels (120, 2), expected as many targets"),
        (TARGETS, 0 * TARGETS + [3, 4], "the target 'target 0' is 3 for all 120 test images"),
        (LABELS, 0 * LABELS, "no test image has a label, expected some"),
        (TARGETS, TARGETS[:9], "9 labels for 120 images"),
    ],
)
def test_splits_of_another_kind_are_refused(
    labels: np.ndarray, test: np.ndarray, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_arrays(IMAGES, labels, test=(IMAGES, test))
    assert words in str(caught.value)


def test_summaries_name_labels_and_targets() -> None:
    labelled = multi_label().summary()
    assert "data arrays: multi-label, 3 labels, images of 1 x 6 x 6" in labelled
    assert "rarest label: 'a', 38 images (23 train, 6 validation, 9 test)" in labelled
    assert "labels of an image: 1.06 on average" in labelled
    assert "note: the drawn splits are not stratified" in labelled
    targets = regression().summary()
    assert "data arrays: regression, 2 targets, images of 1 x 6 x 6" in targets
    assert (
        "'first' in training: mean 1132.72, standard deviation 63.8846, from 1011.67 to 1232.17"
        in targets
    )
    assert "class" not in labelled + targets


def test_labels_that_a_split_lacks_are_named() -> None:
    pairs = {"validation": (IMAGES[:20], LABELS[:20] * [1, 0, 1]), "test": (IMAGES, LABELS)}
    data = Data.from_arrays(IMAGES[20:], LABELS[20:], class_names=["a", "b", "c"], **pairs)
    assert "no validation image has the label b" in data.summary()
    assert "stratified" not in data.summary()


def test_one_image_with_two_answers_is_reported() -> None:
    images = np.concatenate([IMAGES, IMAGES[:2]])
    data = Data.from_arrays(images, np.concatenate([TARGETS, TARGETS[:2] + 1]))
    assert "4 images also in the data with other targets" in data.summary()


@pytest.mark.parametrize("labels", [LABELS, TARGETS])
def test_groups_stay_together(labels: np.ndarray) -> None:
    groups = np.arange(120) // 4
    data = Data.from_arrays(IMAGES, labels, groups=groups)
    places = {image.tobytes(): group for image, group in zip(IMAGES, groups, strict=True)}
    found = [
        {places[image.numpy().tobytes()] for image in split.images[:, 0]}
        for split in (data.train, data.validation, data.test)
    ]
    assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]


@pytest.mark.parametrize("make", [multi_label, regression])
def test_a_file_gives_the_same_data(make: Callable[[], Data], tmp_path: Path) -> None:
    data, path = make(), tmp_path / "some.npz"
    key = "target_names" if data.target_mean else "class_names"
    splits = {"train": data.train, "val": data.validation, "test": data.test}
    arrays = {f"{name}_images": s.images[:, 0].numpy() for name, s in splits.items()}
    arrays |= {f"{name}_labels": s.labels.numpy() for name, s in splits.items()}
    np.savez(path, **arrays, **{key: np.array(data.class_names)})
    found = load_data(path)
    assert (found.task, found.fingerprint) == (data.task, data.fingerprint)
    assert found.class_names == data.class_names
    assert found.target_std == pytest.approx(data.target_std)
    denoised = load_data(path, denoise=25)
    assert (denoised.task.name, denoised.class_names) == ("denoising", ())


def test_datasets_of_several_labels_and_of_numbers() -> None:
    class Labelled(list[Any]):
        classes = ("a", "b", "c")

    items = Labelled((image, torch.tensor(row)) for image, row in zip(IMAGES, LABELS, strict=True))
    data = Data.from_dataset(items, name="arrays")
    assert data.class_names == ("a", "b", "c")
    assert data.fingerprint == multi_label().fingerprint
    items = [{"image": i, "label": row.tolist()} for i, row in zip(IMAGES, TARGETS, strict=True)]
    data = Data.from_dataset(items, target_names=["first", "second"])
    assert (data.task.name, data.class_names) == ("regression", ("first", "second"))


@pytest.mark.parametrize("make", [multi_label, regression])
def test_folds_of_several_labels_and_of_numbers_are_drawn_at_random(
    make: Callable[[], Data],
) -> None:
    data = make().in_folds(4)
    folds = [data.for_seed(seed) for seed in range(4)]
    held = torch.cat([fold.validation.images for fold in folds]).flatten(1)
    pool = torch.cat([data.train.images, data.validation.images]).flatten(1)
    assert sorted(map(tuple, held.tolist())) == sorted(map(tuple, pool.tolist()))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (1e9 + np.arange(60.0) % 5, "values up to 1e+09, which float32 cannot resolve"),
        (1e302 * np.arange(60.0), "which float32 cannot resolve"),
        (1e-308 * np.arange(60.0), "which float32 cannot resolve"),
    ],
)
def test_targets_that_float32_cannot_resolve_are_refused(targets: np.ndarray, said: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    with pytest.raises(DataError) as caught:
        Data.from_arrays(images, targets, target_names=("t",))
    assert said in str(caught.value)
