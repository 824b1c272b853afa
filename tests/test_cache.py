"""Folders that are decoded once: the cache is checked, can fail, and never changes a result."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from skipsearch.data import Data, Split, cache, load_data, memory, progress, pruning
from skipsearch.data.loading import on_this_machine
from skipsearch.data.mapped import Mapped
from skipsearch.errors import DataError, UnreadableError

SIZE = 8
CLASSES, NUMBER = ("cat", "dog"), 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folders of any size below a home of its own."""
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


def classes(folder: Path) -> Path:
    """Write a folder of two classes."""
    rng = np.random.default_rng(1)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(NUMBER):
            pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder


def pairs(folder: Path) -> Path:
    """Write a folder of images and masks."""
    rng = np.random.default_rng(2)
    for half in ("images", "masks"):
        (folder / half).mkdir(parents=True)
    for number in range(NUMBER):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(pixels[..., 0] % 3).save(folder / "masks" / f"{number:02}.png")
    return folder


MAKERS = {"classes": classes, "pairs": pairs}


def splits(data: Data) -> list[Split]:
    """Return all splits."""
    assert data.test is not None
    return [data.train, data.validation, data.test]


def load(folder: Path, **how: object) -> Data:
    """Load a folder."""
    return load_data(folder, image_size=SIZE, **how)  # type: ignore[arg-type]


def decoded(home: Path) -> list[Path]:
    """Return the folders in the cache."""
    return [path for path in (home / ".cache/skipsearch/decoded").glob("*") if path.is_dir()]


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_all_ways_give_the_same_data(
    tmp_path: Path, home: Path, maker: Callable[[Path], Path]
) -> None:
    folder = maker(tmp_path / "images")
    plain = load(folder, cache=False)
    assert not decoded(home)
    assert not plain.place
    ways = [load(folder), load(folder), load(folder, in_memory=False), load(folder)]
    (place,) = decoded(home)
    for data in ways:
        assert data.fingerprint == plain.fingerprint
        assert (data.mean, data.std, data.notes) == (plain.mean, plain.std, plain.notes)
        assert str(place) in data.summary()
        for one, other in zip(splits(data), splits(plain), strict=True):
            index = torch.arange(len(other)).flip(0)
            for read, expected in zip(one.batch(index), other.batch(index), strict=True):
                assert read.equal(expected)
    assert [data.train.is_mapped for data in ways] == [False, False, True, False]
    assert "read from there during training" in ways[2].summary()


def test_the_second_load_decodes_nothing(tmp_path: Path, home: Path) -> None:
    folder = classes(tmp_path / "images")
    load(folder)
    (place,) = decoded(home)
    before = (place / cache.FILE).stat()
    load(folder)
    assert (place / cache.FILE).stat().st_ino == before.st_ino


def other_pixels(folder: Path) -> None:
    """Replace an image by another one."""
    Image.new("RGB", (10, 12), (9, 9, 9)).save(folder / "cat" / "00.png")


def another_name(folder: Path) -> None:
    """Rename an image, so that the order changes."""
    (folder / "cat" / "00.png").rename(folder / "cat" / "99.png")


def one_less(folder: Path) -> None:
    """Remove an image."""
    (folder / "cat" / "00.png").unlink()


def older(folder: Path) -> None:
    """Change the time of an image to another one, and its content at equal size."""
    path = folder / "cat" / "00.png"
    shutil.copy(folder / "cat" / "01.png", path)
    os.utime(path, (1, 1))


def with_the_same_size_and_time(path: Path, content: bytes) -> None:
    """Replace the content of a file, so that only the time of its attributes tells."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    folder = classes(tmp_path / "images")
    one, other = (folder / "cat" / f"0{number}.png" for number in (0, 1))
    content = other.read_bytes().ljust(1_000, b"\0")  # a PNG file ends before
    one.write_bytes(one.read_bytes().ljust(1_000, b"\0"))
    before = load(folder)
    with_the_same_size_and_time(one, content)
    after = load(folder)
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == load(folder, cache=False).fingerprint


@pytest.mark.parametrize("change", [other_pixels, another_name, one_less, older])
def test_a_stale_cache_is_made_anew(
    tmp_path: Path, home: Path, change: Callable[[Path], None]
) -> None:
    folder = classes(tmp_path / "images")
    before = load(folder, in_memory=False)
    before.train.batch(torch.arange(3))
    change(folder)
    after = load(folder)
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == load(folder, cache=False).fingerprint
    assert len(decoded(home)) == 1
    before.train.batch(torch.arange(3))  # an open file stays as it was


def damage_json(place: Path) -> None:
    """Truncate the description."""
    (place / cache.FILE).write_text("{")


def damage_array(place: Path) -> None:
    """Truncate the images."""
    with (place / "train_images.npy").open("r+b") as stream:
        stream.truncate(300)


def change_array(place: Path) -> None:
    """Change a pixel without a trace in size and time."""
    content = bytearray((place / "train_images.npy").read_bytes())
    content[-1] ^= 1
    with_the_same_size_and_time(place / "train_images.npy", bytes(content))


def remove_labels(place: Path) -> None:
    """Remove the labels."""
    (place / "train_labels.npy").unlink()


def leave_a_rest(place: Path) -> None:
    """Leave the folder of a process that was killed."""
    place.rename(place.with_name(f"{place.name}.part"))


@pytest.mark.parametrize(
    "damage", [damage_json, damage_array, change_array, remove_labels, leave_a_rest]
)
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, home: Path, damage: Callable[[Path], None]
) -> None:
    folder = classes(tmp_path / "images")
    fingerprint = load(folder).fingerprint
    (place,) = decoded(home)
    damage(place)
    assert load(folder).fingerprint == fingerprint
    assert decoded(home) == [place]


def test_a_folder_is_not_removed_while_it_is_opened(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pairs(tmp_path / "images")
    load(folder)
    (place,) = decoded(home)
    opening, removed = cache._mapped, []

    def while_opened(path: Path, *args: Any) -> Mapped:
        removed.append(pruning._remove(place))
        return opening(path, *args)

    monkeypatch.setattr(cache, "_mapped", while_opened)
    kept = (place / "train_images.npy").stat().st_ino
    assert load(folder, in_memory=False).train.is_mapped
    assert set(removed) == {False}
    assert (place / "train_images.npy").stat().st_ino == kept


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_folder_that_is_deleted_while_it_is_opened_is_made_anew(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    folder = classes(tmp_path / "images")
    expected = load(folder).fingerprint
    (place,) = decoded(home)
    opening, deleted = cache._mapped, []

    def deleted_meanwhile(*args: Any) -> Mapped:
        found = opening(*args) if when == "after" or deleted else None
        if not deleted:
            shutil.rmtree(place)
            deleted.append(place)
        return found or opening(*args)

    monkeypatch.setattr(cache, "_mapped", deleted_meanwhile)
    again = load(folder, in_memory=False)
    assert deleted == [place]
    assert again.train.is_mapped
    assert again.fingerprint == expected


def test_an_array_that_changes_while_it_is_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = classes(tmp_path / "images")
    expected = load(folder).fingerprint
    opening, changed = cache._open, []

    def changed_meanwhile(place: Path, *args: Any) -> Any:
        if not changed:
            change_array(place)
            changed.append(place)
        return opening(place, *args)

    monkeypatch.setattr(cache, "_open", changed_meanwhile)
    assert load(folder, in_memory=False).fingerprint == expected
    assert changed


def test_sizes_and_roots_have_caches_of_their_own(tmp_path: Path, home: Path) -> None:
    folder = classes(tmp_path / "images")
    load(folder)
    load_data(folder, image_size=4)
    load_data(folder, image_size=SIZE, denoise=20)
    load(folder, root=tmp_path / "root")
    assert len(decoded(home)) == 3
    (place,) = (path for path in (tmp_path / "root/decoded").iterdir() if path.is_dir())
    assert json.loads((place / cache.FILE).read_text())["folder"] == str(folder)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("{}/own", "own/skipsearch"),
        ("", "home/.cache/skipsearch"),
        ("own", "home/.cache/skipsearch"),
    ],
)
def test_the_cache_is_where_the_user_has_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, place: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given.format(tmp_path))
    data = load(classes(tmp_path / "images"))
    assert f"decoded in {tmp_path / place / 'decoded'}" in data.place
    with pytest.raises(DataError, match=f"{tmp_path / place / 'data'}"):
        load_data("cifar10", download=False)


def test_a_cache_that_cannot_be_written_is_a_line(tmp_path: Path, home: Path) -> None:
    folder = classes(tmp_path / "images")
    home.mkdir()
    (home / ".cache").touch()
    data = load(folder)
    assert data.fingerprint == load(folder, cache=False).fingerprint
    (line,) = (line for line in data.summary().splitlines() if line.startswith("place: "))
    assert line.startswith("place: not cached, so decoded each time (")
    assert "Not a directory" in line
    with pytest.raises(DataError, match="cannot be read from a file: not cached"):
        load(folder, in_memory=False)
    with pytest.raises(DataError, match="cannot be read from a file: the cache is switched off"):
        load(folder, in_memory=False, cache=False)


# --- limit ---------------------------------------------------------------------------------------


def test_the_least_recently_used_folders_are_removed_for_a_new_one(
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("open", "old", "older", "used")
    held = load(classes(tmp_path / "open"), in_memory=False)
    for name in names[1:]:
        load(classes(tmp_path / name))
    places = {place.name.rpartition("-")[0]: place for place in decoded(home)}
    for time, name in enumerate(("open", "used", "older", "old")):
        os.utime(places[name] / cache.FILE, (time, time))
    load(tmp_path / "used")
    foreign = places["old"].with_name("mine")
    foreign.mkdir()
    rest = places["old"].with_name("rest-0.part")
    rest.mkdir()
    pruning.lock_of(rest).touch()
    size = sum(path.stat().st_size for path in places["old"].iterdir())
    usage = shutil.disk_usage(home)._replace(free=4 * size)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    images = 2 * NUMBER * 3 * SIZE**2
    monkeypatch.setattr(pruning, "SHARE", (3.1 * size + images) / (8 * size))  # with three others
    assert capsys.readouterr().err == ""
    load(classes(tmp_path / "new"))
    assert {place.name.rpartition("-")[0] for place in decoded(home)} == {
        "",  # not of the cache
        *("open", "old", "used", "new"),
    }
    assert capsys.readouterr().err == (
        f"cache: removed 2 folders ({memory.shown_bytes(size)}), least recently used first:"
        f" rest-0.part, {places['older'].name}\n"
    )
    monkeypatch.setattr(pruning, "SHARE", 0.0)
    load(tmp_path / "new", skip_damaged=True)  # in the cache already
    assert len(decoded(home)) == 5
    load(classes(tmp_path / "newest"), in_memory=False)
    left = {place.name.rpartition("-")[0] for place in decoded(home)}
    assert left == {"", "open", "newest"}, "what is open is kept"
    del held
    load(tmp_path / "old")
    left = {place.name.rpartition("-")[0] for place in decoded(home)}
    assert left == {"", "old"}


# --- damaged files -------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Truncate a file in the middle of its pixels."""
    path.write_bytes(path.read_bytes()[:-60])


def test_a_damaged_file_is_named_or_left_out(tmp_path: Path, home: Path) -> None:
    folder = classes(tmp_path / "images")
    for name in ("cat/03.png", "dog/00.png", "dog/19.png"):
        damage(folder / name)
    for how in ({}, {"cache": False}):
        with pytest.raises(UnreadableError, match=r"cat/03\.png: unreadable .*--skip-damaged"):
            load(folder, **how)
    assert not decoded(home)
    ways = [load(folder, skip_damaged=True, cache=use) for use in (True, True, False)]
    shutil.rmtree(folder / "cat")
    shutil.rmtree(folder / "dog")
    classes(folder)
    for name in ("cat/03.png", "dog/00.png", "dog/19.png"):
        (folder / name).unlink()
    left = load(folder)
    for data in ways:
        assert data.fingerprint == left.fingerprint
        assert "3 damaged files (cat/03.png, dog/00.png, dog/19.png)" in data.summary()


def test_a_cache_without_the_damaged_files_does_not_hide_them(tmp_path: Path) -> None:
    folder = classes(tmp_path / "images")
    damage(folder / "cat" / "03.png")
    load(folder, skip_damaged=True)
    with pytest.raises(UnreadableError, match=r"cat/03\.png"):
        load(folder)


@pytest.mark.parametrize("names", [["images/03.png"], ["masks/00.png", "images/19.png"]])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_damaged_half_leaves_out_the_pair(
    tmp_path: Path, names: list[str], in_memory: bool
) -> None:
    folder = pairs(tmp_path / "images")
    for name in names:
        damage(folder / name)
    with pytest.raises(UnreadableError, match="unreadable image"):
        load(folder)
    data = load(folder, skip_damaged=True, in_memory=in_memory)
    assert data.train.is_mapped is not in_memory
    for name in names:
        for half in ("images", "masks"):
            (folder / half / Path(name).name).unlink()
    assert data.fingerprint == load(folder).fingerprint
    assert all(name in data.summary() for name in names)


def test_a_class_that_is_all_damaged_is_an_error(tmp_path: Path) -> None:
    folder = classes(tmp_path / "images")
    for path in (folder / "dog").iterdir():
        damage(path)
    with pytest.raises(DataError, match="all train images of class 'dog' are damaged"):
        load(folder, skip_damaged=True)
    for path in (folder / "cat").iterdir():
        damage(path)
    with pytest.raises(DataError, match="images are damaged"):
        load(folder, skip_damaged=True)


def test_mapped_masks_and_images_lie_in_files(tmp_path: Path) -> None:
    data = load(pairs(tmp_path / "images"), in_memory=False)
    for split in splits(data):
        assert isinstance(split.images, Mapped)
        assert isinstance(split.labels, Mapped)


def test_another_machine_makes_its_own_copy(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(pairs(tmp_path / "images"), in_memory=False)
    index = torch.arange(len(data.train))
    expected = data.train.batch(index)
    shutil.rmtree(home)
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    again = on_this_machine(data)
    assert {file.path.parent for file in again.files()} == set(decoded(tmp_path / "other"))
    for one, other in zip(again.train.batch(index), expected, strict=True):
        assert one.equal(other)


# --- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal without a size."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_a_long_reading_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, end in ((io.StringIO(), "\n"), (Terminal(), "")):
        display = progress.Progress(20_000, "image", stream=stream)
        display.add(10)
        assert not stream.getvalue(), "a moment shows nothing"
        display._due = 0.0
        display.add(4_990)
        line = stream.getvalue()
        assert line.strip("\r").startswith("reading 5,000/20,000 images | 0:0")
        assert line.endswith(f" left{end}")
        display.close()
        assert (stream.getvalue() == line) == (end != "")
    assert display.line(30.0) == "reading 5,000/20,000 images | 1:30 left"


def test_nothing_is_removed_for_a_folder_that_does_not_fit(tmp_path: Path, home: Path) -> None:
    load(classes(tmp_path / "old"))
    (place,) = decoded(home)
    pruning.make_room(place.with_name("huge-0.part"), 10**18)
    assert decoded(home) == [place]


def test_the_folder_that_is_replaced_does_not_count(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(classes(tmp_path / "stale"))
    (stale,) = decoded(home)
    load(classes(tmp_path / "valid"))
    both = decoded(home)
    size = sum(path.stat().st_size for path in stale.iterdir())
    usage = shutil.disk_usage(home)._replace(free=4 * size)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(pruning, "SHARE", 2.1 * size / (5 * size))  # with one other
    pruning.make_room(stale.with_name(f"{stale.name}.part"), size)
    assert decoded(home) == both
