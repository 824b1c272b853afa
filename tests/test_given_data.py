"""Data that are given in Python, and pixels other than bytes, from the arrays to the prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import skipsearch as ss
from skipsearch.cli import main
from skipsearch.data import Data, load_data, normalise
from skipsearch.errors import DataError, RunError
from skipsearch.intervals import wilson
from skipsearch.run import Run

RNG = np.random.default_rng(0)
TYPES = ("uint8", "uint16", "float16", "float32")
SPACE = {
    "name": "tiny",
    "base": {"widths": [4, 8], "depths": [1, 1]},
    "recipe": {"batch_size": 32},
    "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
}


def arrays(
    kind: str = "uint8", shape: Sequence[int] = (6, 6, 3), n: int = 60, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, *shape) of a class each, which differ in their mean."""
    labels = np.arange(n) % classes
    images = RNG.random((n, *shape)) / 2 + (labels / classes / 2).reshape(n, *[1] * len(shape))
    scale = np.iinfo(kind).max if kind.startswith("u") else 1.0
    return (images * scale).astype(kind), labels


# --- pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_images_keep_their_type_and_are_normalised(kind: str) -> None:
    images, labels = arrays(kind)
    data = Data.from_arrays(images, labels)
    assert data.pixels == kind
    assert (data.in_channels, data.image_size, data.classes) == (3, 6, 3)
    raw = data.train.images
    entering = normalise(raw, torch.tensor(data.mean), torch.tensor(data.std), torch.float32)
    assert entering.mean((0, 2, 3)).abs().max() < 1e-3
    assert (entering.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-3
    assert (kind in data.summary()) == (kind != "uint8")


def test_mean_and_std_of_numbers_are_those_of_bytes_of_the_same_values() -> None:
    images, labels = arrays()
    of_bytes = Data.from_arrays(images, labels)
    of_numbers = Data.from_arrays(images.astype("float32") / 255, labels)
    assert of_bytes.mean == pytest.approx(of_numbers.mean, abs=1e-6)
    assert of_bytes.std == pytest.approx(of_numbers.std, abs=1e-6)
    assert of_bytes.fingerprint != of_numbers.fingerprint


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "size"),
    [
        ((6, 6), None, 1, 6),
        ((1, 500), None, 1, (1, 500)),
        ((1, 500, 6), "NHWC", 6, (1, 500)),
        ((8, 9, 5), None, 5, (8, 9)),
        ((13, 16, 16), "NCHW", 13, 16),
        ((3, 12, 20), None, 3, (12, 20)),
    ],
)
def test_any_shape(shape: tuple[int, ...], axes: str | None, channels: int, size: Any) -> None:
    images, labels = arrays("float32", shape)
    data = Data.from_arrays(images, labels, axes=axes)
    assert (data.in_channels, data.image_size) == (channels, size)
    assert "the shape suggests" not in data.summary()


@pytest.mark.parametrize(
    ("shape", "axes", "remark"),
    [
        ((16, 12, 3), "NCHW", "NCHW, with 16 channels, though the shape suggests NHWC, with 3"),
        ((1, 12, 12), "NHWC", "NHWC, with 12 channels, though the shape suggests NCHW, with 1"),
        ((13, 8, 6), "NCHW", ""),
    ],
)
def test_axes_that_the_shape_contradicts_are_named(
    shape: tuple[int, ...], axes: str, remark: str
) -> None:
    images, labels = arrays("float32", shape)
    summary = Data.from_arrays(images, labels, axes=axes).summary()
    assert ("images are read as" in summary) == bool(remark)
    assert remark in summary


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((9, 4, 4), "float64"), "x: train_images is float64 (9, 4, 4), expected uint8, "),
        (np.full((9, 4, 4), np.nan, "float32"), "with 144 values not finite"),
        (
            np.zeros((9, 1, 500, 6), "uint8"),
            "in which the channels could be the first or the last axis of an image: give"
            " axes='NHWC' or axes='NCHW'",
        ),
        (np.zeros((8, 4, 4), "uint8"), "9 labels for 8 images"),
        ([[1, 2], [3]], "train images: [[1, 2], [3]] is not an array of numbers"),
        (
            [np.zeros((12, 14)), np.zeros((5, 14))],
            "train images: image 1 is 5 x 14, image 0 is 12 x 14, expected one size",
        ),
        (
            [torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.zeros(3, 4, 5)],
            "train images: image 2 is 3 x 4 x 5, image 0 is 3 x 4 x 4, expected one size",
        ),
        ([Image.new("L", (14, 12)), Image.new("L", (14, 5))], "image 1 is 5 x 14, image 0 is 12 x"),
        (["a.png"] * 9, "train images: ['a.png', 'a.png', "),
        (torch.zeros(9, 4, 4, dtype=torch.bfloat16), "train images: bfloat16, which NumPy"),
    ],
)
def test_wrong_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_arrays(images, np.arange(9) % 3, name="x")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a"], ["a", "b"], ["b"]] * 3, "train labels: lists of 1 to 2 values, expected one len"),
        ([{"a"}, {"b"}, {"c"}] * 3, "with no value missing; number 0 is {'a'}"),
        (np.ones((9, 4, 4, 1), int), "expected masks (N, H, W): give train_labels[..., 0]"),
        (np.ones((9, 1, 4, 4), int), "expected masks (N, H, W): give train_labels[:, 0]"),
    ],
)
def test_wrong_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_arrays(np.zeros((9, 4, 4), "uint8"), labels)
    assert message in str(caught.value)


def test_a_class_without_training_images_is_refused_and_without_others_named() -> None:
    images = RNG.integers(0, 256, (150, 4, 4), dtype=np.uint8)
    labels = np.arange(150) % 3
    two = np.where(labels == 1, 0, labels)
    names = ["a", "b", "c"]

    def load(train: Any, validation: Any, test: Any, own: bool = True) -> Data:
        splits = {"test": (images[120:], test[120:])} if own else {}
        if own:
            splits["validation"] = (images[100:120], validation[100:120])
        return Data.from_arrays(images[:100], train[:100], class_names=names, **splits)

    for own in (True, False):
        with pytest.raises(DataError, match="no training image has the class 'b', which cannot be"):
            load(two, labels, labels, own)
    assert (
        "note: no validation image has the class b\n" in f"{load(labels, two, labels).summary()}\n"
    )
    assert "note: no test image has the class b\n" in f"{load(labels, labels, two).summary()}\n"
    assert "has the class" not in load(labels, labels, labels).summary()


def test_splits_of_another_type_are_refused() -> None:
    images, labels = arrays("uint16")
    with pytest.raises(DataError, match=r"test_images is uint8 .* and train_images uint16"):
        Data.from_arrays(images, labels, test=(images.astype("uint8"), labels))


def test_a_constant_channel_is_named() -> None:
    images, labels = arrays("float32", (6, 6, 5))
    images[..., 2] = 7
    assert (
        "channel 2 has one value in all training images"
        in Data.from_arrays(images, labels).summary()
    )


@pytest.mark.parametrize("unit", [1e-10, 1e-30, 1e10])
def test_images_in_any_unit_are_normalised(unit: float) -> None:
    images, labels = arrays("float32")
    data = Data.from_arrays((images * unit).astype("float32"), labels)
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    entering = normalise(data.train.images, mean, std, torch.float32)
    assert (entering.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-3
    assert "one value" not in data.summary()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-10, 12_345.678])
def test_a_constant_channel_has_the_deviation_of_one_level(value: float) -> None:
    images, labels = arrays("float32", (6, 6, 5))
    images[..., 2] = value
    data = Data.from_arrays(images, labels)
    assert data.std[2] == 1.0
    assert 1.0 not in data.std[:2] + data.std[3:]
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    entering = normalise(data.train.images, mean, std, torch.float32)
    assert entering[:, 2].abs().max() <= 1e-6 * value
    assert "channel 2 has one value in all training images" in data.summary()


@pytest.mark.parametrize("name", ["digits", "a/b", ""])
def test_a_name_of_other_data_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="name: "):
        Data.from_arrays(*arrays(), name=name)


def test_an_npz_takes_the_same_arrays(tmp_path: Path) -> None:
    images, labels = arrays("uint16", (13, 16, 16))
    test = arrays("uint16", (13, 16, 16))
    path = tmp_path / "a.npz"
    content = {"train_images": images, "train_labels": labels}
    content |= {"test_images": test[0], "test_labels": test[1]}
    np.savez(path, **content)
    with pytest.raises(DataError, match=r"add an array axes \('NHWC' or 'NCHW'\) to the file$"):
        load_data(path)
    np.savez(path, **content, axes="NCHW")
    given = Data.from_arrays(images, labels, test=test, axes="NCHW")
    assert load_data(path).fingerprint == given.fingerprint
    with pytest.raises(DataError, match="pixels of uint16, and denoising is of uint8"):
        load_data(path, denoise=25)


# --- groups --------------------------------------------------------------------------------------


def groups_of(data: Data, images: np.ndarray, groups: np.ndarray) -> list[set[object]]:
    """Groups of the images of each split."""
    known = {image.tobytes(): group for image, group in zip(images, groups, strict=True)}
    splits = [data.train, data.validation, data.test]
    return [
        {known[image.permute(1, 2, 0).numpy().tobytes()] for image in split.images}
        for split in splits
        if split is not None
    ]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("names", [False, True])
def test_images_of_a_group_stay_in_one_split(tmp_path: Path, seed: int, names: bool) -> None:
    images, labels = arrays(n=600)
    groups = RNG.integers(60, size=600)
    groups = np.array([f"patient {group}" for group in groups]) if names else groups
    data = Data.from_arrays(images, labels, groups=groups, split_seed=seed)
    train, validation, test = groups_of(data, images, groups)
    assert sorted([*train, *validation, *test]) == sorted(set(groups))  # each in one of them
    assert data.test is not None
    for split in (data.validation, data.test):
        assert 110 <= len(split) <= 130
        assert torch.bincount(split.labels).tolist() == pytest.approx([len(split) / 3] * 3, abs=6)
    for split in (data.train, data.validation, data.test):
        assert set(split.labels.tolist()) == {0, 1, 2}
    assert "images of one group are in one split" in data.source
    # Another seed draws other validation images, of the same test images.
    other = Data.from_arrays(images, labels, groups=groups, split_seed=seed + 1)
    assert other.test is not None
    assert torch.equal(other.test.images, data.test.images)
    assert not np.array_equal(other.validation.images, data.validation.images)

    # Without classes, and through a file.
    path = tmp_path / "a.npz"
    np.savez(path, train_images=images, train_groups=groups)
    train, validation, test = groups_of(
        load_data(path, denoise=25, split_seed=seed), images, groups
    )
    assert sorted([*train, *validation, *test]) == sorted(set(groups))


def test_the_groups_of_the_drawn_splits_are_kept() -> None:
    images, labels = arrays(n=300)
    groups = np.array([f"patient {number // 6}" for number in range(300)])
    known = {image.tobytes(): group for image, group in zip(images, groups, strict=True)}

    def of(split: Any) -> list[str]:
        return [known[image.permute(1, 2, 0).numpy().tobytes()] for image in split.images]

    data = Data.from_arrays(images, labels, groups=groups)
    assert data.test_groups is not None
    assert data.validation_groups is not None
    assert data.test_groups.tolist() == of(data.test)
    assert data.validation_groups.tolist() == of(data.validation)
    assert data.with_validation_in_training().test_groups is data.test_groups
    assert data.without_test().test_groups is None
    plain = Data.from_arrays(images, labels)
    assert (plain.test_groups, plain.validation_groups) == (None, None)
    # The groups of given splits are unknown.
    own = arrays(n=30)
    tested = Data.from_arrays(images, labels, groups=groups, test=own)
    assert tested.test_groups is None
    assert tested.validation_groups is not None
    assert tested.validation_groups.tolist() == of(tested.validation)
    validated = Data.from_arrays(images, labels, groups=groups, validation=own)
    assert validated.validation_groups is None
    assert validated.test_groups is not None
    assert validated.test_groups.tolist() == of(validated.test)


@pytest.mark.parametrize("kind", ["str", "object", "category", "string"])
def test_labels_and_groups_may_be_columns_of_pandas(kind: str) -> None:
    images, labels = arrays(n=600)
    names, patients = np.array(["a", "b", "c"])[labels], np.arange(600) // 6
    table = pd.DataFrame({"name": names, "patient": [f"patient {n}" for n in patients]})
    table = table.astype(kind)
    data = Data.from_arrays(images, table.name, groups=table.patient)
    plain = Data.from_arrays(images, names, groups=[f"patient {n}" for n in patients])
    assert data.fingerprint == plain.fingerprint
    assert data.class_names == ("a", "b", "c")
    table.loc[3, "patient"] = None
    with pytest.raises(DataError, match="groups: expected numbers, or texts alone, with no value"):
        Data.from_arrays(images, table.name, groups=table.patient)


def test_the_columns_of_a_data_frame_name_labels_and_targets() -> None:
    images, labels = arrays(n=120)
    several = np.stack([labels == 0, labels < 2], axis=1).astype(int)
    for values, task in ((several, "multi-label"), (several + RNG.random((120, 2)), "regression")):
        table = pd.DataFrame(values, columns=["scratch", "dent"])
        data = Data.from_arrays(images, table)
        assert (data.task.name, data.class_names) == (task, ("scratch", "dent"))
        key = "class_names" if task == "multi-label" else "target_names"
        given = Data.from_arrays(images, table, **{key: ["a", "b"]})
        assert given.class_names == ("a", "b")
        unnamed = Data.from_arrays(images, pd.DataFrame(values)).class_names
        assert unnamed == Data.from_arrays(images, values).class_names
    assert Data.from_arrays(images, pd.DataFrame({"kind": labels})).class_names == ("0", "1", "2")


def test_groups_that_make_no_sense_are_refused() -> None:
    images, labels = arrays()
    with pytest.raises(
        DataError, match=r"train_groups is int64 \(3,\), expected integers or texts"
    ):
        Data.from_arrays(images, labels, groups=[1, 2, 3])
    with pytest.raises(DataError, match=r"train_groups is float64"):
        Data.from_arrays(images, labels, groups=np.linspace(0, 1, 60))
    with pytest.raises(DataError, match="class '0' has images in 1 group, too few to set 12 of 60"):
        Data.from_arrays(images, labels, groups=np.zeros(60, dtype=int))
    only = np.where(labels == 1, 99, np.arange(60) // 2)  # class 1 lies in one group
    with pytest.raises(DataError, match="class '1' has images in 1 group, too few to set 12 of 60"):
        Data.from_arrays(images, labels, groups=only)
    masks = RNG.integers(0, 2, (60, 6, 6))
    with pytest.raises(
        DataError, match="2 groups, the largest of 59 images: whole groups near to the 12"
    ):
        Data.from_arrays(images, masks, groups=np.minimum(np.arange(60), 1))
    with pytest.raises(DataError, match="too few to set 0 of 48 images aside"):
        Data.from_arrays(images, labels, groups=np.arange(60), validation_fraction=0.001)
    with pytest.raises(DataError, match="groups have no effect, since the data have their own"):
        Data.from_arrays(
            images, labels, groups=labels, validation=(images, labels), test=(images, labels)
        )


def test_a_large_group_stays_in_training() -> None:
    images, labels = arrays(n=600)
    groups = np.maximum(np.arange(600) - 295, 0) // 5  # one of 300 images, sixty of five
    data = Data.from_arrays(images, labels, groups=groups)
    assert data.test is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (360, 120, 120)


# --- datasets ------------------------------------------------------------------------------------


class Torch(torch.utils.data.Dataset[Any]):
    """As those of torchvision, with ToTensor."""

    classes = ("a", "b", "c")

    def __init__(self, kind: str = "uint8", noise: float = 0.0, flip: float = 0.0) -> None:
        self.images, self.labels = arrays(kind)
        self.noise, self.flip = noise, flip
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        if self.random.random() < self.flip:
            image = image.flip(2)
        return image + self.noise * torch.rand(()), int(self.labels[index])


class Unreadable:
    """A dataset of which one item cannot be read."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if index == 2:
            raise OSError("cannot read 2.png")
        return np.zeros((4, 4)), 0


def test_a_dataset_of_torch_is_the_arrays_of_its_items() -> None:
    dataset = Torch()
    data = Data.from_dataset(dataset)
    stacked = torch.stack([dataset[i][0] for i in range(len(dataset))])
    given = Data.from_arrays(stacked, dataset.labels, axes="NCHW")
    assert data.fingerprint == given.fingerprint
    assert data.class_names == ("a", "b", "c")


def test_items_may_be_mappings_of_pictures() -> None:
    images, labels = arrays()
    items = [
        {"img": Image.fromarray(image), "label": int(label)}
        for image, label in zip(images, labels, strict=True)
    ]
    data = Data.from_dataset(items, image="img")
    assert data.fingerprint == Data.from_arrays(images, labels).fingerprint
    with pytest.raises(DataError, match=r"dataset: train\[0\]: no key 'image' among img, label"):
        Data.from_dataset(items)


NARROW = np.random.default_rng(0).integers(0, 256, (30, 3, 9, 3), dtype=np.uint8)


def items_of(kind: str) -> list[tuple[Any, int]]:
    """Return images (3, 9, 3) of a kind, and their labels."""
    convert = {"arrays": np.asarray, "tensors": torch.from_numpy, "pictures": Image.fromarray}[kind]
    return [(convert(image), number % 3) for number, image in enumerate(NARROW)]


@pytest.mark.parametrize(
    ("kind", "axes", "size"),
    [
        ("tensors", None, (9, 3)),
        ("pictures", None, (3, 9)),
        ("tensors", "NHWC", (3, 9)),
        ("arrays", "NHWC", (3, 9)),
        ("arrays", "NCHW", (9, 3)),
    ],
)
def test_the_kind_of_items_or_a_word_gives_their_axes(
    kind: str, axes: str | None, size: tuple[int, int]
) -> None:
    assert Data.from_dataset(items_of(kind), axes=axes).image_size == size


def test_axes_that_nothing_gives_are_asked_for() -> None:
    expected = (
        r"\(30, 3, 9, 3\), in which the channels could be the first or the last axis .*: give"
    )
    with pytest.raises(DataError, match=rf"{expected} axes='NHWC' or axes='NCHW'$"):
        Data.from_dataset(items_of("arrays"))
    with pytest.raises(DataError, match="dataset: test: images of another kind than in train"):
        Data.from_dataset(items_of("tensors"), test=items_of("pictures"))


def test_a_word_for_axes_is_checked_though_it_has_no_effect() -> None:
    images, labels = arrays()
    for axes, near in (("HWC", "NHWC"), ("nchw", "NCHW")):
        expected = rf"axes '{axes}' is not one of NHWC, NCHW \(did you mean '{near}'\?\)"
        with pytest.raises(DataError, match=expected):
            Data.from_arrays(images[..., 0], labels, axes=axes)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Torch(noise=1.0), "reading the image twice gives different pixels"),
        (Torch(flip=0.5), "reading the image twice gives different pixels"),
        (
            [(np.zeros((3, 3, 3), "float32"), 0), (torch.zeros(3, 3, 3), 1)],
            "train[1]: some images are tensors with channels first, pictures of Pillow, or arrays,",
        ),
        (iter([]), "has no length; give a map-style dataset"),
        ([], "the dataset is empty"),
        ([(np.zeros((4, 4)), 0), (np.zeros((4, 5)), 1)], r"train[1]: the image is float64 (4, 5)"),
        ([np.zeros(3)], "train[0]: ndarray is not a pair of image and label"),
        ([("a.png", 0)] * 5, "train[0]: image: 'a.png' is not an array of numbers, a tensor or a"),
        ([(None, 0)] * 5, "train[0]: image: None is not an array of numbers, a tensor or a"),
        (
            [(np.zeros((4, 4)), 0), (np.zeros((4, 4)), None)],
            "train[1]: the label is None, expected",
        ),
        (
            [(np.zeros((4, 4)), label) for label in ("a", 1.5, {})],
            "labels: expected numbers, or texts alone, with no value missing; number 1 is 1.5",
        ),
        (
            [{"pixel": np.zeros((4, 4)), "target": 0}],
            "train[0]: no key 'image' among pixel, target: give the key of the image as image=...,"
            " such as image='pixel'",
        ),
        (
            [{"image": np.zeros((4, 4)), "target": 0}],
            "give the key of the label as label=..., such as label='target'",
        ),
        (Unreadable(), "dataset: train[2]: OSError: cannot read 2.png"),
    ],
)
def test_wrong_datasets_are_refused(dataset: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Data.from_dataset(dataset)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the whole way -------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray")
def test_an_export_of_grouped_images_resamples_whole_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = RNG.random((90, 6, 6)).astype("float32")  # nothing to learn, so that errors occur
    data = Data.from_arrays(images, np.arange(90) % 2, groups=np.arange(90) // 3)
    space = ss.Space.from_dict(SPACE)
    run = ss.search(space, data, trials=1, epochs=1, out=tmp_path / "run")
    assert run.config.scale.grouped
    assert main(["rank", str(run.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The interval of one seed treats the images of a group as independent" in said
    exported = ss.export(run, "best", out=tmp_path / "winner", data=data, formats=())
    assert exported.validation is not None
    for found in (exported.test, exported.validation):
        assert (found.images, found.groups) == (18, 6)
        assert not math.isnan(found.interval[0])
        assert found.interval != wilson(found.score, found.images)
    page = (exported.path / "card.md").read_text()
    assert "Test: 18 images in 6 groups; the interval resamples whole groups, and is too" in page


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("kind", "shape", "axes"), [("float32", (13, 8, 6), "NCHW"), ("uint16", (1, 40), None)]
)
def test_given_data_go_the_whole_way(
    tmp_path: Path, kind: str, shape: tuple[int, ...], axes: str | None
) -> None:
    images, labels = arrays(kind, shape)

    def data() -> Data:
        return Data.from_arrays(images, labels, axes=axes, class_names=["a", "b", "c"])

    space = ss.Space.from_dict(SPACE)
    out = tmp_path / "run"
    run = ss.search(space, data(), trials=2, epochs=1, out=out)
    assert len(run.rank()) == 2
    again = ss.search(space, data(), trials=2, epochs=1, out=out)
    assert [t.number for t in again.trials()] == [t.number for t in run.trials()]
    other = Data.from_arrays(images[::-1].copy(), labels, axes=axes, class_names=["a", "b", "c"])
    with pytest.raises(RunError, match="data arrays has changed since the search, or other"):
        ss.search(space, other, trials=2, epochs=1, out=out)

    other = Data.from_arrays(images, labels, axes=axes, class_names=["a", "b", "d"])
    line = r"the class names are a, b, c \(3, hash \w+\) there, a, b, d \(3, hash \w+\) now"
    with pytest.raises(RunError, match=line):
        ss.search(space, other, trials=2, epochs=1, out=out)
    with pytest.raises(RunError, match=line):
        Run.open(out).load_data(data=other)

    run = Run.open(out)
    with pytest.raises(RunError, match="'arrays' were given in Python: give them again"):
        ss.export(run, "best", out=tmp_path / "none")
    with pytest.raises(RunError, match="the given data 'arrays' are not what was searched"):
        ss.export(run, "best", out=tmp_path / "none", data=other)
    with pytest.raises(RunError, match="the given data have no test split"):
        ss.export(run, "best", out=tmp_path / "none", data=data().without_test())
    exported = ss.export(run, "best", out=tmp_path / "winner", data=data())
    assert exported.test.images == len(data().test or ())

    file = tmp_path / "one.npy"
    np.save(file, images[0])
    found = ss.predict(exported.path, file)
    assert set(found.label) == {"a", "b", "c"}
    np.save(file, images[0].astype("float16"))
    with pytest.raises(DataError, match=f"of float16 in .*, and the network takes {kind}"):
        ss.predict(exported.path, file)
    with pytest.raises(DataError, match=r"one\.png: no such file"):
        ss.predict(exported.path, tmp_path / "one.png")
    scale = "value" if kind == "float32" else "value / 65535"
    assert f"({scale} - mean) / std" in (exported.path / "card.md").read_text()


@pytest.mark.usefixtures("ray")
def test_what_was_loaded_in_another_size_must_be_given_again(tmp_path: Path) -> None:
    # Its path or name alone would be read in its own size.
    data = load_data("digits", image_size=10)
    run = ss.search(ss.Space.from_dict(SPACE), data, trials=1, epochs=1, out=tmp_path / "run")
    with pytest.raises(RunError, match="'digits' were given in Python: give them again"):
        run.load_data()
    assert run.load_data(data=data).image_size == 10
