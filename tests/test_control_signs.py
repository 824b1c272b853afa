"""Line breaks and other control characters in the names of files: shown as escapes everywhere."""

import re
from pathlib import Path

import numpy as np
import pytest
from made_data import folder_of_images

from skipsearch.artefacts.page import _table
from skipsearch.cli.words import print_path, warn
from skipsearch.data import Data, cache, load_data
from skipsearch.errors import DataError, SkipSearchError, escaped

SIGNS = "\n\r\t\x1b\x85\u2028"
ODD = f"ca{SIGNS}t"
SHOWN = r"ca\n\r\t\x1b\x85\u2028t"


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with such a name, of two classes, one of which has such a name and such a file."""
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    folder = folder_of_images(tmp_path / ODD, 20, (ODD, "dog"))
    (folder / ODD / "003.png").rename(folder / ODD / f"{SIGNS}.png")
    return folder


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SIGNS, r"\n\r\t\x1b\x85\u2028"),
        ("\udcff\0", r"\udcff\x00"),
        ("Straße 東京 \u00a0 ½.png", "Straße 東京 \u00a0 ½.png"),
    ],
)
def test_control_characters_are_escaped_and_others_kept(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert str(SkipSearchError(f"{text}: no such file")) == f"{shown}: no such file"


def test_the_data_of_a_folder_are_shown_with_escapes(odd: Path, tmp_path: Path) -> None:
    other = folder_of_images(tmp_path / "plain", 20, ("ca", "dog"))
    plain = load_data(other, image_size=8, root=tmp_path / "root")
    data = load_data(odd, image_size=8)
    assert data.class_names == (SHOWN, "dog")
    assert len(data.summary().splitlines()) == len(plain.summary().splitlines())
    assert SHOWN in data.summary().splitlines()[0]
    assert not re.search(f"[{SIGNS}]", data.source)
    decoded = tmp_path / "caches/skipsearch/decoded"
    (place,) = (path for path in decoded.iterdir() if path.is_dir())
    assert place.name.startswith(SHOWN)
    written = (place / cache.FILE).stat().st_ino
    again = load_data(odd, image_size=8)
    assert again.fingerprint == data.fingerprint
    assert (again.class_names, again.source) == (data.class_names, data.source)
    assert (place / cache.FILE).stat().st_ino == written, "the cache was made again"


def test_damaged_files_are_named_with_escapes(odd: Path) -> None:
    (odd / ODD / f"{SIGNS}.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        load_data(odd, image_size=8)
    assert str(caught.value).startswith(
        f"{escaped(str(odd))}/{SHOWN}/{escaped(SIGNS)}.png: unreadable"
    )
    (line,) = (
        line
        for line in load_data(odd, image_size=8, skip_damaged=True).summary().split("\n")
        if line.startswith("left out: ")
    )
    assert line == f"left out: 1 damaged file ({SHOWN}/{escaped(SIGNS)}.png)"


def test_a_long_name_of_a_folder_has_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    folder = folder_of_images(tmp_path / ("x" * 250))
    data = load_data(folder, image_size=8, root=tmp_path / "root")
    assert "decoded in" in data.place


def test_names_of_classes_given_in_python_are_shown_with_escapes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    data = Data.from_arrays(images, np.array([ODD, "dog"] * 10))
    assert data.class_names == (SHOWN, "dog")
    with pytest.raises(DataError, match="is not a text without control characters"):
        Data.from_arrays(images, np.arange(20) % 2, name="a\nb")


def test_lines_of_the_command_line_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_path(f"Written to {ODD}")
    warn(f"{ODD}: is left out")
    printed = capsys.readouterr()
    assert printed.out == f"Written to {SHOWN}\n"
    assert printed.err == f"skipsearch: warning: {SHOWN}: is left out\n"


def test_a_table_of_a_card_keeps_its_columns() -> None:
    *_, row = _table(("class", "recall"), [("cat|dog", 0.5)]).splitlines()
    assert row == r"| cat\|dog | 0.5 |"
