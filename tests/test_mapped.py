"""Images in memory-mapped files: the same as images in memory, everywhere."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from skipsearch.data import Split
from skipsearch.data.fingerprint import fingerprint
from skipsearch.data.mapped import Mapped, chunks
from skipsearch.data.npy_headers import array_in, arrays_in
from skipsearch.errors import DataError
from skipsearch.task import CLASSIFICATION

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 5, 4, 3), dtype=np.uint8)  # N H W C
FORMS = {  # by layout: how the images lie in the file, and as tensors
    "first": (IMAGES.transpose(0, 3, 1, 2), IMAGES.transpose(0, 3, 1, 2)),
    "last": (IMAGES, IMAGES.transpose(0, 3, 1, 2)),
    "grey": (IMAGES[..., 0], IMAGES[:, None, ..., 0]),
    "uint16": (IMAGES.astype("uint16") * 257, IMAGES.transpose(0, 3, 1, 2).astype("uint16") * 257),
}


def mapped(path: Path, images: np.ndarray, *, last: bool = False) -> Mapped:
    """Write images to a file, and map it."""
    np.save(path, np.ascontiguousarray(images))
    file = array_in(path)
    assert file is not None
    if images.ndim == 3:
        file = replace(file, form=(1, *file.form))
    if last:
        file = replace(file, form=(file.shape[3], *file.shape[1:3]), channels_last=True)
    return Mapped((file,))


@pytest.mark.parametrize("form", FORMS)
def test_mapped_images_are_those_in_memory(tmp_path: Path, form: str) -> None:
    stored, expected = FORMS[form]
    images = mapped(tmp_path / "a.npy", stored, last=form in ("last", "uint16"))
    resident = torch.from_numpy(np.ascontiguousarray(expected))
    assert images.shape == resident.shape
    assert (images.dtype, images.nbytes) == (resident.dtype, resident.nbytes)
    index = torch.tensor([3, 49, 3, 0])
    assert images[index].equal(resident[index])
    assert images[7:9].equal(resident[7:9])
    assert torch.cat(list(chunks(images))).equal(resident)
    rows = np.array([8, 2, 40])
    assert images.at(rows)[:].equal(resident[rows])
    assert images.at(rows).at(np.array([2, 0]))[torch.tensor([1])].equal(resident[[8]])


def test_images_in_several_files(tmp_path: Path) -> None:
    one, other = (mapped(tmp_path / f"{n}.npy", FORMS["first"][0] + n) for n in (0, 1))
    both = one.at(np.arange(40, 50)).followed_by(other)
    expected = torch.cat([one[40:50], other[:]])
    assert both[:].equal(expected)
    assert both[torch.tensor([59, 0, 10])].equal(expected[[59, 0, 10]])
    again = both.followed_by(both.at(np.array([3])))
    assert again.files == both.files
    assert again[60:].equal(expected[[3]])


def test_a_mapped_split_is_pickled_as_a_reference(tmp_path: Path) -> None:
    images = np.tile(IMAGES, (200, 1, 1, 1))
    labels = torch.arange(len(images)) % 2
    split = Split(mapped(tmp_path / "a.npy", images, last=True), labels)
    small = split.at(np.arange(4, 40))
    written = pickle.dumps(small)
    assert len(written) < 4_000 < images.nbytes
    again = pickle.loads(written)
    assert again.is_mapped
    for one, other in zip(
        small.batch(torch.arange(36)), again.batch(torch.arange(36)), strict=True
    ):
        assert one.equal(other)
    resident = Split(small.images[:], small.labels)
    prints = [
        fingerprint({"train": (each.images, each.labels)}, CLASSIFICATION, 0.0)
        for each in (small, again, resident)
    ]
    assert len(set(prints)) == 1


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    images = mapped(tmp_path / "a.npy", IMAGES, last=True)
    images[:1]
    with (tmp_path / "a.npy").open("r+b") as stream:
        stream.seek(200)
        stream.write(b"x")
        stream.truncate(1_000)
    for each in (images, pickle.loads(pickle.dumps(images))):
        with pytest.raises(DataError, match=r"a\.npy: has changed since it was read"):
            each[:1]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match="cannot be opened: No such file"):
        pickle.loads(pickle.dumps(images))[:1]


def test_arrays_in_an_npz(tmp_path: Path) -> None:
    arrays = {"a": IMAGES, "b": IMAGES[..., 0].astype(">u2"), "c": np.asfortranarray(IMAGES)}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    assert not arrays_in(tmp_path / "packed.npz")
    (name,) = found = arrays_in(tmp_path / "plain.npz")
    assert name == "a"
    assert Mapped((found["a"],))[:].equal(torch.from_numpy(IMAGES))
