"""Images in memory-mapped files: the same as images in memory, everywhere."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_data import arrays_of, as_folder, as_npz

from skipsearch.data import Split, array_sources, dataset, load_data, memory, split
from skipsearch.data.fingerprint import fingerprint
from skipsearch.data.loading import on_this_machine
from skipsearch.data.mapped import ArrayFile, Mapped, chunks
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
    assert isinstance(file, ArrayFile)
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
    first = images[:1]
    (tmp_path / "link.npy").hardlink_to(tmp_path / "a.npy")
    assert images[:1].equal(first), "the content is the same"
    with (tmp_path / "a.npy").open("r+b") as stream:
        stream.seek(200)
        stream.write(b"x")
        stream.truncate(1_000)
    reference = pickle.dumps(images)
    with pytest.raises(DataError, match=r"a\.npy: has changed since it was read"):
        images[:1]
    del images  # as in another process, which has not opened the file
    with pytest.raises(DataError, match=r"a\.npy: has changed since it was read"):
        pickle.loads(reference)[:1]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match="cannot be opened: No such file"):
        pickle.loads(reference)[:1]


def test_arrays_in_an_npz(tmp_path: Path) -> None:
    arrays = {"a": IMAGES, "b": IMAGES[..., 0].astype(">u2"), "c": np.asfortranarray(IMAGES)}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    for place in arrays_in(tmp_path / "packed.npz", arrays).values():
        assert place == "it is compressed: write it with numpy.savez"
    found = arrays_in(tmp_path / "plain.npz", arrays)
    assert isinstance(found["a"], ArrayFile)
    assert Mapped((found["a"],))[:].equal(torch.from_numpy(IMAGES))
    assert isinstance(found["b"], str)
    assert isinstance(found["c"], str)


# --- files of arrays -----------------------------------------------------------------------------


def same_kind(array: np.ndarray) -> np.ndarray:
    """Keep an array."""
    return array


CONVERSIONS = {
    "NHWC": same_kind,
    "NCHW": lambda array: np.ascontiguousarray(array.transpose(0, 3, 1, 2)),
    "NHW": lambda array: np.ascontiguousarray(array[..., 0]),
    "float32": lambda array: (array / 255).astype("float32"),
}


@pytest.mark.parametrize("write", [as_npz, as_folder])
@pytest.mark.parametrize("kind", ["labels", "masks"])
@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_arrays_in_files_are_those_in_memory(
    tmp_path: Path,
    write: Callable[[Path, dict[str, np.ndarray]], Path],
    kind: str,
    conversion: str,
) -> None:
    arrays = arrays_of(kind)
    for name in ("train_images", "test_images"):
        arrays[name] = CONVERSIONS[conversion](arrays[name])
    place = write(tmp_path, arrays)
    resident, in_file = load_data(place), load_data(place, in_memory=False)
    assert not resident.train.is_mapped
    assert in_file.train.is_mapped
    assert in_file.fingerprint == resident.fingerprint
    assert (in_file.mean, in_file.std) == (resident.mean, resident.std)
    assert in_file.notes == resident.notes
    assert "read from there during training" in in_file.summary()
    again = replace(in_file, train=pickle.loads(pickle.dumps(in_file.train)))
    index = torch.tensor([5, 0, 11])
    for one, other in zip(again.train.batch(index), resident.train.batch(index), strict=True):
        assert one.equal(other)
    whole = in_file.with_validation_in_training().train
    expected = resident.with_validation_in_training().train
    assert torch.cat(list(chunks(whole.images))).equal(expected.images)
    with pytest.raises(DataError, match=r"in_memory=False has no effect on arrays .* as 4 x 4$"):
        load_data(place, image_size=4, in_memory=False)
    with pytest.raises(DataError, match="digits: in_memory=False has no effect, expected"):
        load_data("digits", in_memory=False)


def test_a_folder_of_training_arrays_alone(tmp_path: Path) -> None:
    arrays = arrays_of("labels")
    alone = {"images": arrays["train_images"], "labels": arrays["train_labels"]}
    data = load_data(as_folder(tmp_path, alone), in_memory=False)
    assert data.test is not None
    assert len(data.train) + len(data.validation) + len(data.test) == 60


def of_objects(array: np.ndarray) -> np.ndarray:
    """Return an array that holds the items of another one as objects."""
    found = np.empty(len(array), object)
    found[:] = list(array)
    return found


# By kind of conversion, the reason for which an array cannot be mapped, and whether it can be read.
UNMAPPABLE = {
    "Fortran order": (np.asfortranarray, "it is in Fortran order", True),
    "byte order": (lambda array: array.astype(">u2"), r"astype\('uint16'\)", True),
    "objects": (of_objects, "it holds Python objects", False),
    "empty": (lambda array: array[:0], r"its shape is \(0, 6, 5, 3\), expected images", False),
}


@pytest.mark.parametrize("write", [as_npz, as_folder])
@pytest.mark.parametrize("why", UNMAPPABLE)
def test_an_array_that_cannot_be_mapped_is_an_error_with_its_reason_only_if_asked_for(
    tmp_path: Path, write: Callable[[Path, dict[str, np.ndarray]], Path], why: str
) -> None:
    convert, reason, is_readable = UNMAPPABLE[why]
    arrays = arrays_of("labels")
    place = write(
        tmp_path,
        {name: convert(each) if "images" in name else each for name, each in arrays.items()},
    )
    with pytest.raises(DataError, match=rf"_images cannot be read from a file: .*{reason}"):
        load_data(place, in_memory=False)
    if is_readable:
        assert not load_data(place).train.is_mapped
        return
    with pytest.raises(DataError, match=r"holds Python objects|not empty"):
        load_data(place)


def test_one_array_of_several_that_cannot_be_mapped_is_named(tmp_path: Path) -> None:
    arrays = arrays_of("masks")
    arrays["train_images"] = np.asfortranarray(arrays["train_images"])
    with pytest.raises(DataError, match=r"train_images cannot be read from a file: .* Fortran"):
        load_data(as_npz(tmp_path, arrays), in_memory=False)
    arrays = arrays_of("masks")
    arrays["test_masks"] = arrays["test_masks"].astype("int64")
    with pytest.raises(DataError, match="test_masks cannot be read from a file: it is int64"):
        load_data(as_npz(tmp_path, arrays), in_memory=False)
    np.savez_compressed(tmp_path / "a.npz", **arrays_of("labels"))
    assert not load_data(tmp_path / "a.npz").train.is_mapped
    with pytest.raises(DataError, match=r"cannot be read from a file: .*numpy\.savez"):
        load_data(tmp_path / "a.npz", in_memory=False)


@pytest.mark.parametrize(
    ("length", "start", "reason"),
    [
        (-1_000, b"", "it is damaged: 1,000 bytes at its end are missing"),
        (50, b"", "no array of numpy.save, or damaged"),
        (0, b"", "no array of numpy.save, or damaged"),
        (None, b"GIF89a", "no array of numpy.save, or damaged"),
    ],
)
def test_a_damaged_array_is_named_as_such(
    tmp_path: Path, length: int | None, start: bytes, reason: str
) -> None:
    folder = as_folder(tmp_path, arrays_of("labels"))
    file = folder / "train_images.npy"
    content = file.read_bytes()
    file.write_bytes((start + content[len(start) :])[:length])
    with pytest.raises(DataError, match=f"train_images cannot be read from a file: .*{reason}"):
        load_data(folder, in_memory=False)
    with pytest.raises(DataError, match=r"train_images\.npy: unreadable as an \.npy file"):
        load_data(folder)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("name", ["train_images", "test_images", "train_masks"])
def test_a_flipped_byte_of_an_npz_is_named_in_memory_and_mapped(
    tmp_path: Path, name: str, in_memory: bool
) -> None:
    arrays = arrays_of("masks")
    place = as_npz(tmp_path, arrays)
    content = bytearray(place.read_bytes())
    content[content.index(arrays[name].tobytes()) + 100] ^= 1
    place.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npz: unreadable .*Bad CRC-32 .*{name}\.npy"):
        load_data(place, in_memory=in_memory)


def others_of_the_same_shape(images: np.ndarray) -> np.ndarray:
    """Return other images."""
    return np.ascontiguousarray(images[::-1])


def others_of_another_type(images: np.ndarray) -> np.ndarray:
    """Return images of another type."""
    return images.astype("float32") / 255


@pytest.mark.parametrize("kind", ["labels", "masks"])
@pytest.mark.parametrize("write", [as_npz, as_folder])
@pytest.mark.parametrize("others", [others_of_the_same_shape, others_of_another_type])
def test_a_file_that_is_replaced_while_it_is_checked_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, dict[str, np.ndarray]], Path],
    kind: str,
    others: Callable[[np.ndarray], np.ndarray],
) -> None:
    arrays = arrays_of(kind)
    place = write(tmp_path, arrays)
    (tmp_path / "new").mkdir()
    new = write(
        tmp_path / "new",
        {name: others(each) if "images" in name else each for name, each in arrays.items()},
    )
    read = array_sources.read_arrays

    def replaced_meanwhile(*args: Any, **how: Any) -> Any:
        for path in [new] if new.is_file() else new.glob("*_images.npy"):
            path.rename(place if new.is_file() else place / path.name)
        return read(*args, **how)

    monkeypatch.setattr(array_sources, "read_arrays", replaced_meanwhile)
    with pytest.raises(DataError, match="has changed since it was read: load it again"):
        load_data(place, in_memory=False)


def test_labels_are_those_of_the_file_whose_images_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {
        name: CONVERSIONS["NCHW"](each) if "images" in name else each
        for name, each in arrays_of("masks").items()
    }
    place = as_npz(tmp_path, arrays)
    earlier = load_data(place, in_memory=False)
    earlier.train.batch(torch.arange(2))  # its file stays open
    (tmp_path / "new").mkdir()
    new = as_npz(tmp_path / "new", arrays | {"class_names": np.array(["a", "b", "c", "d"])})
    read = array_sources._arrays

    def replaced_meanwhile(path: Path, names: list[str]) -> dict[str, np.ndarray]:
        new.rename(path)
        return read(path, names)

    monkeypatch.setattr(array_sources, "_arrays", replaced_meanwhile)
    with pytest.raises(DataError, match="has changed since it was read: load it again"):
        load_data(place, in_memory=False)


def test_arrays_of_other_shapes_have_the_usual_reason(tmp_path: Path) -> None:
    flat = {
        name: each.reshape(len(each), -1) if "images" in name else each
        for name, each in arrays_of("labels").items()
    }
    with pytest.raises(DataError, match=r"\(20, 90\), expected \(N, H, W\) or \(N, H, W, C\)"):
        load_data(as_folder(tmp_path, flat), in_memory=False)


def test_what_exceeds_its_share_of_memory_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = as_npz(tmp_path, arrays_of("labels"))
    monkeypatch.setattr(memory, "memory_share", lambda: 1_000)
    assert load_data(place).train.is_mapped


@pytest.mark.parametrize("spare", [0, -1])
def test_what_exceeds_its_share_of_a_device_stays_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    data = load_data(as_npz(tmp_path, arrays_of("labels")), in_memory=False)
    size = sum(each.nbytes for each in (data.train, data.validation, data.test) if each)
    for module in (dataset, split):
        monkeypatch.setattr(module, "find_device", torch.device)  # a device without content
    monkeypatch.setattr(dataset, "room_for_images", lambda device: size + spare)
    there = data.to("meta")
    assert there.train.is_mapped is (spare < 0)
    index = torch.arange(3)
    for each in (there.train, there.for_seed(0).train, there.train.at(index.numpy())):
        images, labels = each.batch(index)
        assert images.device == labels.device == each.images.device == torch.device("meta")
        assert images.shape == data.train.batch(index)[0].shape
    assert pickle.loads(pickle.dumps(there.train.images)).device.type == "cpu" or not spare


def test_the_place_of_images_is_told() -> None:
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    before = memory.placed(2**41, "/a, b/c.npz", None)
    assert memory.moved(before, gpu, False, 2**42) == "2,048.0 GiB in /a, b/c.npz, copied to cuda:0"
    streamed = memory.moved(before, gpu, True, 2**34)
    assert streamed == (
        "2,048.0 GiB in /a, b/c.npz, read from there during training and copied to cuda:0 batch by"
        " batch (more than their share of its memory, 16.0 GiB)"
    )
    assert memory.moved(streamed, cpu, True, 0.0) == (
        "2,048.0 GiB in /a, b/c.npz, read from there during training"
    )


def test_a_worker_finds_or_makes_its_own_copy(tmp_path: Path) -> None:
    place = as_npz(tmp_path, arrays_of("labels"))
    data = load_data(place, in_memory=False).without_test()
    assert on_this_machine(data) is data
    content = place.read_bytes()
    place.unlink()
    with pytest.raises(DataError, match=r"there is no folder or \.npz file"):
        on_this_machine(data)
    place.write_bytes(content)
    os.utime(place, (1, 1))
    again = on_this_machine(data)
    index = torch.arange(len(data.train))
    expected = load_data(place).train.batch(index)
    assert again.train.batch(index)[0].equal(expected[0])
    assert again.test is None
    loaded, status = load_data(place, in_memory=False), place.stat()
    changed = arrays_of("labels")
    changed["train_images"][0] = 0
    as_npz(tmp_path, changed)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a copy with the same times
    assert place.stat().st_size == status.st_size
    for before in (data, loaded):
        with pytest.raises(DataError, match="has other images or labels on this machine"):
            on_this_machine(before)
