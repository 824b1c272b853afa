"""Arrays in an .npz file: what is understood, and that the line of numpy in a message mends it."""

import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_data import arrays, npz

from skipsearch.data import load_data
from skipsearch.data.arrays import _axes
from skipsearch.errors import DataError

PLAIN = arrays()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def obey(message: str, content: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Change arrays as a message says: the one that it names, and all others of its kind."""
    found = re.search(r"save (.+?)(?:, and the other| for the labels|$)", message)
    assert found is not None, message
    kind = name.rpartition("_")[2]
    return {
        key: eval(found[1], {"numpy": np, **content, name: array}) if kind in key else array
        for key, array in content.items()
    }


# --- the axes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_that_come_first_are_recognised(tmp_path: Path, channels: int) -> None:
    content = arrays(shape=(6, 6, channels))
    expected = load_data(npz(tmp_path, **content))
    first = {key: content[key].transpose(0, 3, 1, 2) for key in ("train_images", "test_images")}
    data = load_data(npz(tmp_path, **content | first))
    assert data.fingerprint == expected.fingerprint
    assert "read as (N, C, H, W)" in data.source
    assert "(N, C, H, W)" not in expected.source


@given(st.sampled_from([1, 3, 4]), st.integers(5, 300), st.integers(5, 300))
def test_the_usual_channels_are_told_from_height_and_width(c: int, h: int, w: int) -> None:
    assert _axes("x", None, np.empty((2, h, w, c), np.uint8)) == "NHWC"
    assert _axes("x", None, np.empty((2, h, w), np.uint8)) == "NHWC"
    if c > 1 or h < 8 * w:  # else it could be a long signal of several channels
        assert _axes("x", None, np.empty((2, c, h, w), np.uint8)) == "NCHW"


@pytest.mark.parametrize(
    "shape", [(6, 6, 2), (8, 8, 5), (6, 6, 3), (4, 4, 3), (3, 3, 1), (64, 1, 3)]
)
def test_the_documented_order_is_kept(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    content = arrays(shape=shape)
    assert load_data(npz(tmp_path, **content)).in_channels == shape[2]


@pytest.mark.parametrize(
    "shape",
    [
        *[(2, 8, 8), (13, 16, 16), (7, 20, 20), (1, 48, 6)],
        *[(3, 9, 3), (1, 9, 3), (4, 9, 1), (2, 9, 3)],  # a narrow image in both orders
        *[(3, 3, 3), (9, 9, 9)],  # a cube
        *[(28, 3, 3), (3, 3, 64)],  # a square of many channels, or a long image
    ],
)
def test_channels_that_could_be_any_axis_are_asked_for(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    content = arrays(shape=shape)
    message = refusal(npz(tmp_path, **content))
    assert message.endswith(": add an array axes ('NHWC' or 'NCHW') to the file")
    for axes, channels in (("NCHW", shape[0]), ("NHWC", shape[2])):
        assert load_data(npz(tmp_path, **content, axes=axes)).in_channels == channels
    assert "axes 'NCH' is not one of NHWC, NCHW" in refusal(npz(tmp_path, **content, axes="NCH"))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 3, 3), (4, 3, 3)])
def test_a_small_square_is_told_from_its_channels(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    data = load_data(npz(tmp_path, **arrays(shape=shape)))
    assert (data.in_channels, data.image_size) == (shape[0], shape[1])
    assert "read as (N, C, H, W)" in data.source


# --- pixels --------------------------------------------------------------------------------------


def changed(what: str) -> dict[str, np.ndarray]:
    """The plain arrays, with images as another program may leave them."""
    change = {
        "float in 0..1": lambda x: x / 255,
        "float32 in 0..1": lambda x: (x / 255).astype(np.float32),
        "float in -1..1": lambda x: x / 127.5 - 1,
        "whole floats": lambda x: x.astype(np.float32),
        "standardised": lambda x: x / 50.0 - 2.0,
        "int64": lambda x: x.astype(np.int64),
        "uint16 of bytes": lambda x: x.astype(np.uint16),
        "uint16": lambda x: x.astype(np.uint16) * 257,
        "12 bits": lambda x: x.astype(np.uint16) * 16,
    }[what]
    return {key: change(PLAIN[key]) for key in ("train_images", "test_images")}


@pytest.mark.parametrize("what", ["float32 in 0..1", "whole floats", "uint16", "12 bits"])
def test_pixels_of_a_known_type_are_kept(tmp_path: Path, what: str) -> None:
    content = PLAIN | changed(what)
    data = load_data(npz(tmp_path, **content))
    assert data.pixels == str(content["train_images"].dtype)
    assert np.array_equal(data.test.images.numpy(), content["test_images"].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("what", ["float in 0..1", "float in -1..1", "standardised", "int64"])
def test_pixels_of_another_type_are_refused_with_the_line_that_mends_them(
    tmp_path: Path, what: str
) -> None:
    content = PLAIN | changed(what)
    message = refusal(npz(tmp_path, **content))
    assert f"train_images is {content['train_images'].dtype} (40, 6, 6, 3), expected" in message
    mended = obey(message, content, "train_images")
    assert load_data(npz(tmp_path, **mended)).pixels == "float32"


def test_splits_of_two_types_are_refused(tmp_path: Path) -> None:
    message = refusal(npz(tmp_path, test_images=PLAIN["test_images"].astype("float32")))
    assert "test_images is float32 (8, 6, 6, 3) and train_images uint8, expected one" in message


def test_numbers_that_are_all_equal_are_refused(tmp_path: Path) -> None:
    equal = {key: np.full(PLAIN[key].shape, 7.5, "f4") for key in ("train_images", "test_images")}
    assert "all 36 training images are the same picture" in refusal(npz(tmp_path, **equal))


def test_pixels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    images = (PLAIN["train_images"] / 255).astype("float32")
    images[3, 2, 1, 0] = np.nan
    message = refusal(npz(tmp_path, train_images=images))
    assert "not finite (NaN or infinite)" in message
    assert "numpy.nan_to_num(train_images)" in message


@pytest.mark.parametrize("first", [True, False])
def test_an_alpha_channel_that_says_nothing_is_refused(tmp_path: Path, first: bool) -> None:
    content = dict(arrays(shape=(6, 6, 4)))
    for key in ("train_images", "test_images"):
        content[key][..., 3] = 255
        content[key] = content[key].transpose(0, 3, 1, 2) if first else content[key]
    message = refusal(npz(tmp_path, **content))
    assert "the fourth channel of train_images is 255 everywhere" in message
    assert load_data(npz(tmp_path, **obey(message, content, "train_images"))).in_channels == 3


def test_flat_images_are_refused_with_the_line_that_makes_squares_of_them(tmp_path: Path) -> None:
    plain = arrays(shape=(6, 6))
    content = plain | {key: plain[key].reshape(-1, 36) for key in ("train_images", "test_images")}
    message = refusal(npz(tmp_path, **content))
    mended = obey(message, content, "train_images")
    assert load_data(npz(tmp_path, **mended)).fingerprint == (
        load_data(npz(tmp_path, **plain)).fingerprint
    )


def test_images_counted_by_the_last_axis_are_refused_with_the_line_that_mends_them(
    tmp_path: Path,
) -> None:
    last = {key: np.moveaxis(PLAIN[key], 0, -1) for key in ("train_images", "test_images")}
    message = refusal(npz(tmp_path, **last))
    mended = obey(message, PLAIN | last, "train_images")
    assert load_data(npz(tmp_path, **mended)).fingerprint == load_data(npz(tmp_path)).fingerprint


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_python_objects_are_refused_with_the_line_that_mends_them(
    tmp_path: Path, kind: str
) -> None:
    content = dict(PLAIN)
    for key in (f"train_{kind}", f"test_{kind}"):
        content[key] = np.empty(len(PLAIN[key]), dtype=object)
        for index, value in enumerate(PLAIN[key]):
            content[key][index] = value
    message = refusal(npz(tmp_path, **content))
    assert f"train_{kind} holds Python objects" in message
    mended = obey(message, content, f"train_{kind}")
    assert load_data(npz(tmp_path, **mended)).fingerprint == load_data(npz(tmp_path)).fingerprint


def test_complex_images_are_refused(tmp_path: Path) -> None:
    message = refusal(npz(tmp_path, train_images=PLAIN["train_images"].astype(complex)))
    assert "train_images is complex128" in message
    assert "expected uint8" in message


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels[:, None],
        lambda labels: labels.astype(float),
        lambda labels: labels.astype(np.float32)[:, None],
        lambda labels: labels.astype(np.uint8),
        lambda labels: labels.astype(np.uint64),
        lambda labels: labels.astype(str),
        lambda labels: labels.astype(str)[:, None],
    ],
    ids=["(N, 1)", "floats", "floats (N, 1)", "uint8", "uint64", "texts", "texts (N, 1)"],
)
def test_labels_of_any_usual_kind_are_taken(tmp_path: Path, change) -> None:
    expected = load_data(npz(tmp_path)).fingerprint
    labels = {key: change(PLAIN[key]) for key in ("train_labels", "test_labels")}
    data = load_data(npz(tmp_path, **labels))
    assert data.fingerprint == expected
    assert data.class_names == ("0", "1", "2", "3")


def test_yes_and_no_are_two_classes(tmp_path: Path) -> None:
    labels = {key: PLAIN[key] > 1 for key in ("train_labels", "test_labels")}
    assert load_data(npz(tmp_path, **labels)).classes == 2


def test_texts_are_numbered_by_the_names_of_the_classes(tmp_path: Path) -> None:
    animals = np.array(["dog", "ant", "cow", "bee"])
    labels = {key: animals[PLAIN[key]] for key in ("train_labels", "test_labels")}
    assert load_data(npz(tmp_path, **labels)).class_names == ("ant", "bee", "cow", "dog")
    data = load_data(npz(tmp_path, **labels, class_names=animals))
    assert data.class_names == ("dog", "ant", "cow", "bee")
    assert data.fingerprint == load_data(npz(tmp_path)).fingerprint


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(4)[labels]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (one_hot, "save train_labels.argmax(1)"),
        (lambda labels: labels.astype("S"), "save train_labels.astype(str)"),
        (lambda labels: labels + 1, "label 4 is not in 0..3"),
        (lambda labels: labels * 7, "label 21 is not in 0..3"),
    ],
    ids=["one-hot", "bytes", "from 1 on", "with gaps"],
)
def test_labels_of_another_kind_are_refused_with_the_line_that_mends_them(
    tmp_path: Path, change, line: str
) -> None:
    content = PLAIN | {key: change(PLAIN[key]) for key in ("train_labels", "test_labels")}
    message = refusal(npz(tmp_path, **content))
    assert line in message
    name = "labels" if "of each split" in message else "train_labels"
    mended = obey(message, content, name)
    assert load_data(npz(tmp_path, **mended)).fingerprint == load_data(npz(tmp_path)).fingerprint


@pytest.mark.parametrize("change", [lambda x: x + 1.0, lambda x: x + 1, lambda x: 18 + 20 * x])
def test_class_numbers_that_may_be_targets_are_refused_with_the_name_that_makes_them_so(
    tmp_path: Path, change
) -> None:
    labels = {key: change(PLAIN[key]) for key in ("train_labels", "test_labels")}
    message = refusal(npz(tmp_path, **labels))
    assert message.endswith("; or give target_names if they are numbers to predict (regression)")
    data = load_data(npz(tmp_path, **labels, target_names=["stars"]))
    assert data.task.name == "regression"


def test_fractions_beside_class_numbers_are_refused_with_the_name_that_makes_targets_of_them(
    tmp_path: Path,
) -> None:
    labels = {key: PLAIN[key].astype(float) for key in ("train_labels", "test_labels")}
    labels["test_labels"][3] = 1.5
    assert "holds 1.5, expected integers (N,); or give target_names if they" in refusal(
        npz(tmp_path, **labels)
    )
    assert load_data(npz(tmp_path, **labels, target_names=["stars"])).task.name == "regression"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(40, np.nan), "train_labels is float64 (40,) and holds nan"),
        (np.full(40, 1e300), "1 class, expected 2 or more"),
        (np.full(40, 0.5), "the target 'target' is 0.5 for all 36 train images"),
        (np.ones((40, 4)), "test_labels is int64 (8,), expected a matrix (N, 4) of 0 and 1"),
        (np.full((40, 4), 2), "one label for each image; several labels are a matrix"),
        (np.zeros(40, complex), "train_labels is complex128"),
        (np.zeros(0, int), "not empty"),
        (np.array("cat"), "expected integers (N,)"),
        (np.array(["cat", "dog"] * 20), "test_labels is int64 and train_labels <U3"),
    ],
)
def test_labels_that_nothing_can_be_made_of_are_refused(
    tmp_path: Path, labels: np.ndarray, words: str
) -> None:
    assert words in refusal(npz(tmp_path, train_labels=labels))


def test_a_text_that_no_training_image_has_is_refused_with_the_nearest(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cow", "doe"])
    content = {key: names[PLAIN[key]] for key in ("train_labels", "test_labels")}
    content["test_labels"][3] = "bea"
    message = refusal(npz(tmp_path, **content))
    assert "test_labels: 'bea' is not a class" in message
    assert "did you mean 'bee'?" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["ant", "bee", "ant", "doe"], "class_names has 'ant' twice"),
        ([b"ant", b"bee", b"cow", b"doe"], "save class_names.astype(str)"),
        ([["ant", "bee", "cow", "doe"]], "expected one text for each class"),
        ([0, 1, 2, 3], "save class_names.astype(str)"),
    ],
)
def test_names_that_are_not_one_for_each_class_are_refused(
    tmp_path: Path, names: list, words: str
) -> None:
    assert words in refusal(npz(tmp_path, class_names=np.array(names)))


# --- the keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["val", "validation"])
def test_validation_images_of_a_file_are_used(tmp_path: Path, prefix: str) -> None:
    own = arrays(train=12)
    path = npz(
        tmp_path,
        **{f"{prefix}_images": own["train_images"], f"{prefix}_labels": own["train_labels"]},
    )
    data = load_data(path)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 12, 8)
    assert np.array_equal(data.validation.images.permute(0, 2, 3, 1), own["train_images"])
    assert load_data(path, split_seed=7).fingerprint == data.fingerprint
    with pytest.raises(DataError, match="the data have their own validation images"):
        load_data(path, validation_fraction=0.3)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("train_image", "'train_image' is not one of train_images, train_labels"),
        ("train_image", "did you mean 'train_images'?"),
        ("x_train", "'x_train' is not one of train_images"),
        ("valid_images", "did you mean 'val_images'?"),
        ("arr_0", "'arr_0' is not one of"),
        ("val_images", "no val_labels in it"),
        ("val_labels", "no val_images in it"),
    ],
)
def test_an_array_that_would_not_be_used_is_refused(tmp_path: Path, extra: str, words: str) -> None:
    assert words in refusal(npz(tmp_path, **{extra: PLAIN["train_images"]}))


def test_two_validation_splits_are_refused(tmp_path: Path) -> None:
    both = {f"{word}_images": PLAIN["test_images"] for word in ("val", "validation")}
    both |= {f"{word}_labels": PLAIN["test_labels"] for word in ("val", "validation")}
    assert "both val_images and validation_images" in refusal(npz(tmp_path, **both))


@pytest.mark.parametrize(
    ("shape", "first", "words"),
    [
        (
            (5, 5, 3),
            False,
            "val_images are (5, 5, 3) and train_images (6, 6, 3), expected the same size",
        ),
        ((6, 6, 2), False, "expected the same number of channels, not 2 and 3"),
        ((6, 6), False, "expected the same number of channels, not 1 and 3"),
        ((2, 6, 6), True, "expected the same number of channels, not 2 and 3"),
        ((3, 5, 5), True, "expected the same size"),
    ],
)
def test_validation_images_of_another_shape_are_refused(
    tmp_path: Path, shape: tuple[int, ...], first: bool, words: str
) -> None:
    content = arrays(shape=(3, 6, 6) if first else (6, 6, 3))
    other = arrays(shape=shape)
    content |= {"val_images": other["test_images"], "val_labels": other["test_labels"]}
    assert words in refusal(npz(tmp_path, **content))


# --- the file ------------------------------------------------------------------------------------


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    assert "an empty file" in refusal(empty)
    alone = tmp_path / "alone.npy"
    np.save(alone, PLAIN["train_images"])
    assert "numpy.savez" in refusal(alone)
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("cat/0.png", b"")
    assert "unpack it and name its folder" in refusal(packed)


def test_arrays_that_no_memory_holds_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = npz(tmp_path)
    # As of a small file that unpacks to 2**60 bytes: the directory at its end says so.
    with zipfile.ZipFile(path, "a") as archive:
        archive.infolist()[0].file_size = 2**60
        archive.writestr("class_names.npy", b"")  # so that the directory is written again
    assert "GiB of memory" in refusal(path)


# --- anything ------------------------------------------------------------------------------------

DTYPES = ["u1", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "?", "c8", "U3", "S2", "M8[s]", "u1,f4"]
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(SHAPES)
    size = int(np.prod(shape)) * dtype.itemsize
    if dtype.kind == "U":
        return np.array(draw(st.lists(st.sampled_from("abc"), min_size=3, max_size=3)))
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*PLAIN, "val_images", "val_labels", "class_names"]),
        any_array(),
        min_size=1,
    ),
    st.none() | st.integers(1, 9),
)
def test_any_arrays_are_data_or_one_clear_line(
    changes: dict[str, np.ndarray], image_size: int | None
) -> None:
    with TemporaryDirectory() as folder:
        try:
            load_data(npz(Path(folder), **changes), image_size=image_size)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017
