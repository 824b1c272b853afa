"""Arrays of masks in an .npz file: what is read, and that the code in a message mends it."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from checked_data import assert_pairs, refusal, sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import COLOURS, mask_arrays, mask_npz, pair

from skipsearch.data import load_data
from skipsearch.data.split import IGNORED
from skipsearch.errors import DataError


def test_masks_in_an_npz(tmp_path: Path) -> None:
    images, masks = (np.stack(half) for half in zip(*map(pair, range(30)), strict=True))
    names = np.array(["sky", "road", "tree"])
    data = load_data(
        mask_npz(
            tmp_path,
            val_images=images[20:25],
            val_masks=masks[20:25],
            test_images=images[25:],
            test_masks=masks[25:],
            class_names=names,
        )
    )
    assert sizes(data) == [20, 5, 5]
    assert_pairs(data, 30)
    assert data.class_names == ("sky", "road", "tree")
    assert sizes(load_data(mask_npz(tmp_path))) == [12, 4, 4]
    first = load_data(mask_npz(tmp_path, train_images=images[:20].transpose(0, 3, 1, 2)))
    assert first.fingerprint == load_data(mask_npz(tmp_path)).fingerprint
    assert load_data(mask_npz(tmp_path, train_images=images[:20, ..., 0])).in_channels == 1


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.uint16, bool])
def test_class_numbers_of_any_type_are_taken(tmp_path: Path, kind: type) -> None:
    masks = mask_arrays()["train_masks"] % 2
    plain = load_data(mask_npz(tmp_path, train_masks=masks))
    assert (
        load_data(mask_npz(tmp_path, train_masks=masks.astype(kind))).fingerprint
        == plain.fingerprint
    )


MASKS = mask_arrays()["train_masks"]
ARRAYS = {
    "0/255": (np.where(MASKS > 0, 255, 0), "masks of 0 and 255", MASKS > 0),
    "gaps": (MASKS * 10, "hold 0, 10, 20", MASKS),
    "colours": (COLOURS[MASKS], "these are 3 colours", MASKS),
    "one channel": (MASKS[..., None], "(20, 6, 8, 1), expected class numbers", MASKS),
    "one channel first": (MASKS[:, None], "(20, 1, 6, 8)", MASKS),
    "one-hot": (np.eye(3, dtype=np.uint8)[MASKS], "(20, 6, 8, 3)", MASKS),
    "one-hot first": (np.eye(3)[MASKS].transpose(0, 3, 1, 2), "(20, 3, 6, 8)", MASKS),
    "shares": (np.where(MASKS > 0, 0.9, 0.1), "holds 0.1", MASKS > 0),
    "-1": (MASKS.astype(np.int8) - 1, "holds -1", np.where(MASKS == 0, 255, MASKS - 1)),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_another_kind_are_explained_with_the_code_that_mends_them(
    tmp_path: Path, case: str
) -> None:
    masks, words, expected = ARRAYS[case]
    message = refusal(mask_npz(tmp_path, train_masks=masks))
    assert words in message
    line = re.search(r"save (.+?)(?:, and the other|$)", message)[1]
    names = {"numpy": np, "train_masks": masks, "colours": COLOURS}
    mended = eval(line, names)
    data = load_data(mask_npz(tmp_path, train_masks=mended))
    plain = load_data(mask_npz(tmp_path, train_masks=expected))
    assert data.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_masks": MASKS[:, :5]}, ["train_masks: masks are (20, 5, 8)", "(20, 6, 8)"]),
        ({"train_masks": MASKS[:19]}, ["train_masks: masks are (19, 6, 8)"]),
        ({"train_masks": MASKS.astype(str)}, ["train_masks is <U", "expected class numbers"]),
        ({"train_masks": MASKS[0]}, ["(6, 8)", "expected class numbers (N, H, W)"]),
        ({"train_masks": MASKS * np.nan}, ["holds nan"]),
        ({"train_masks": MASKS.astype(int) * 1000}, ["holds 2000", "below 255"]),
        ({"train_masks": MASKS * 0}, ["all labelled pixels of the train masks are 0"]),
        ({"train_masks": None}, ["no labels or masks in it"]),
        ({"train_labels": np.arange(20)}, ["both labels and masks"]),
        ({"val_masks": MASKS}, ["no val_images in it"]),
        ({"class_names": np.arange(3)}, ["one text for each class"]),
        ({"class_names": np.array(["a"])}, ["1 class, expected 2 to 255"]),
        ({"class_names": np.array(["a", "b"])}, ["train_masks[0]: value 2", "in class_names"]),
    ],
)
def test_arrays_that_nothing_can_be_made_of_are_refused(
    tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    message = refusal(mask_npz(tmp_path, **changes))
    for word in words:
        assert word in message


@settings(max_examples=60)
@given(
    st.sampled_from(["uint8", "int16", "int64", "float32", "bool"]),
    st.sampled_from(
        [(6, 4, 5), (6, 5, 4), (5, 4, 5), (6, 4, 5, 1), (6, 4, 5, 3), (6, 20), (6, 0, 5)]
    ),
    st.lists(st.sampled_from([0, 1, 2, 3, 7, 254, 255, -1, 300, 0.5]), min_size=1, max_size=4),
    st.sampled_from([None, ["a", "b"], ["a", "b", "c", "d"], ["a", "a"], []]),
)
def test_any_masks_are_data_or_one_clear_line(
    dtype: str, shape: tuple[int, ...], values: list[float], names: list[str] | None
) -> None:
    random = np.random.default_rng(0)
    with np.errstate(invalid="ignore"):
        masks = random.choice(values, shape).astype(dtype)
    content = {
        "train_images": random.integers(0, 256, (6, 4, 5), np.uint8),
        "train_masks": masks,
    } | ({} if names is None else {"class_names": np.array(names, dtype=str)})
    with TemporaryDirectory() as folder:
        path = Path(folder) / "some.npz"
        np.savez(path, **content)
        try:
            data, message = load_data(path), ""
        except DataError as error:
            data, message = None, str(error)
    if data is None:
        assert message.startswith(str(path))
        assert "\n" not in message
        return
    for split in (data.train, data.validation, data.test):
        known = split.labels[split.labels != IGNORED]
        assert (known < data.classes).all()
        assert split.labels.shape[1:] == (4, 5)
    assert data.summary()
