"""Closed streams, other encodings, homes and networks that are missing: one line, never silence."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import skipsearch as ss
from skipsearch.cli import main
from skipsearch.cli.console import LONGEST, one_line
from skipsearch.errors import RunError, counted, hide_passwords, shown_value
from skipsearch.run.lock import LOCK, locked
from skipsearch.searching.options import Resources
from skipsearch.searching.requirements import check_machine

SPACE = "base: {widths: [4], depths: [1]}\naxes: {layout: [conv3 +, conv3-bn +]}\n"
SEARCH = ["search", "space.yaml", "--trials", "1", "--epochs", "1", "--out", "run"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)


def shell(
    command: str, environment: Mapping[str, str] | None = None, python: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a shell's line, in which ``$S`` is the program."""
    program = f"{sys.executable} {python} -m skipsearch"
    return subprocess.run(
        ["bash", "-c", command.replace("$S", program)],
        capture_output=True,
        check=False,
        env={**os.environ, **(environment or {})},
        timeout=300,
    )


# --- streams -------------------------------------------------------------------------------------

STREAMS = [
    # An answer that nobody sees is said to be lost.
    ("$S show conv3+ 1>&-", 0, b"", b"skipsearch: warning: standard output is closed"),
    # An error goes where it can still be read.
    ("$S show conv3-bnn 2>&-", 2, b"skipsearch: error: unknown operation 'bnn'", b""),
    ("$S show 2>&-", 2, b"skipsearch: error: the following arguments are required", b""),
    ("$S show conv3+ 2>&- | head -1", 0, b"stage 1, block 1: conv3 +", b""),
    ("$S show conv3-bnn 0<&- 1>&- 2>&-", 2, b"", b""),
    ("$S show conv3+ >/dev/full", 2, b"", b"skipsearch: error: No space left on device"),
]


@pytest.mark.parametrize(("command", "code", "out", "err"), STREAMS)
def test_closed_and_full_streams(command: str, code: int, out: bytes, err: bytes) -> None:
    done = shell(command)
    assert done.returncode == code
    for written, expected in ((done.stdout, out), (done.stderr, err)):
        assert written.startswith(expected)
        assert written.count(b"\n") == bool(expected)


def test_a_closed_stream_is_not_taken_by_the_next_file() -> None:
    # What is written to the number of a closed stream would end in whatever was opened next.
    Path("program.py").write_text(
        "import os, sys\n"
        "from skipsearch.cli import main\n"
        "sys.argv = ['skipsearch', 'show', 'conv3 +']\n"
        "main()\n"
        "with open('seen', 'w') as file:\n"
        "    print(os.readlink('/proc/self/fd/2'), file.fileno(), file=file)\n"
    )
    subprocess.run(
        ["bash", "-c", f"{sys.executable} program.py 2>&-"], check=True, capture_output=True
    )
    where, number = Path("seen").read_text().split()
    assert where == os.devnull
    assert int(number) > 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_drawing_suits_every_encoding(encoding: str) -> None:
    done = shell("$S show 'bn-relu-conv3 +'", {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode(encoding).splitlines()
    assert lines[3].strip() == ("├" if encoding == "utf-8" else "+") + lines[3].strip()[1:]
    if encoding != "utf-8":
        assert lines[3].strip() == "+" + "-" * (len(lines[3].strip()) - 2) + "+"
        done.stdout.decode("ascii")


def test_other_characters_become_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    done = shell("$S show 検査", {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"})
    assert done.returncode == 2
    assert done.stderr.startswith(rb"skipsearch: error: '\u691c\u67fb' is neither")
    # In a process that is not its own the streams stay as they were.
    before = sys.stdout.errors
    assert main(["show", "conv3 +"]) == 0
    assert sys.stdout.errors == before
    capsys.readouterr()


def test_an_unexpected_exception_keeps_its_traceback_and_says_that_it_is_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A class of another library stands for a bug: no verb raises it for what a user gave.
    monkeypatch.setattr(
        "skipsearch.cli.designs.describe_size", lambda space, listing: {}[space.name]
    )
    with pytest.raises(KeyError) as caught:
        main(["check", "space.yaml"])
    assert caught.value.__notes__ == [
        "This is a bug in skipsearch: please report it with these lines."
    ]


# --- what Ray needs ------------------------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[bytes], words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"skipsearch: error: ")
    assert words in done.stderr.decode(errors="surrogateescape")
    assert done.stderr.count(b"\n") == 1
    # At most what was read stands there: the data are read before Ray starts.
    assert done.stdout.decode() in ("", ss.load_data("digits").summary() + "\n")
    assert not Path("run").exists()


def test_python_without_docstrings_is_refused_where_ray_is_needed() -> None:
    refused(shell(f"$S {' '.join(SEARCH)}", python="-OO"), "python -OO: Ray cannot run")
    assert shell("$S check space.yaml", python="-OO").returncode == 0


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs another user")
def test_a_user_without_home_is_told_to_set_one() -> None:
    # A user without an entry, as containers have; root's right to read the packages stays.
    rights = "+dac_override,+dac_read_search"
    user = (
        "env -u HOME setpriv --reuid 54321 --regid 54321 --clear-groups"
        f" --inh-caps {rights} --ambient-caps {rights}"
    )
    Path().absolute().chmod(0o777)
    refused(
        shell(f"{user} $S {' '.join(SEARCH)}"), "there is no home folder, which Ray needs: set HOME"
    )
    assert shell(f"{user} $S check space.yaml").returncode == 0


@pytest.mark.skipif(
    subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs a network of its own",
)
def test_a_machine_without_loopback_is_refused_at_once() -> None:
    refused(shell(f"unshare -n $S {' '.join(SEARCH)}"), "there is no loopback interface")


def test_a_machine_with_loopback_passes() -> None:
    check_machine()
    with socket.create_server(("127.0.0.1", 0)):
        pass


@pytest.mark.parametrize(
    "words",
    [
        *([*SEARCH, flag, "r\udcff"] for flag in ("--out", "--data", "--data-root")),
        ["rank", "run", "--csv", "\ud800"],
        ["export", "run", "--design", "x\udcff.yaml"],
        ["pareto", "run\udcff"],
    ],
)
def test_a_word_that_is_not_utf8_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "is not UTF-8: rename" in err
    assert list(Path().iterdir()) == [Path("space.yaml")]


def test_a_working_directory_that_is_not_utf8_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("d\udcff").mkdir()
    monkeypatch.chdir("d\udcff")
    assert main([*SEARCH[:1], "../space.yaml", *SEARCH[2:]]) == 2
    assert "is not UTF-8: rename" in capsys.readouterr().err
    with pytest.raises(RunError, match="working directory"):
        check_machine()


# --- addresses, passwords, long values -----------------------------------------------------------


@pytest.mark.parametrize("address", ["auto", "h:1", "10.0.0.1:6379", "[::1]:65535", "a-b.c_d:80"])
def test_addresses_that_may_be(address: str) -> None:
    assert Resources(address=address).address == address


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "host",
            "host:",
            ":1",
            "host:0",
            "host:65536",
            "host:999999999",
            "host:-1",
            "host:1 ",
        ),
        *(
            "a b:1",
            "[::1",
            "[::1]",
            "::1:80:",
            "ray://h:1",
            "h:1\n",
            "h:\uff11",
            "x" * 300 + ":1",
            "AUTO",
        ),
    ],
)
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(RunError, match="neither auto nor host:port") as caught:
        Resources(address=address)
    assert len(str(caught.value)) < 200


PASSWORDS = [
    "postgresql://u:s3cret@h/d",
    "postgresql://u:s3cr/e:t@s3cret@h/d",
    "postgresql://u:s3cret with blanks@h",
    "redis://:s3cret@h:1",
    "foo:/u:s3cret@h",  # what pathlib makes of it
    "redis::s3cret@h",  # no URL, and yet
    "u:s3cret@h/d",
    "https://h/d?user=u&password=s3cret&x=1",
    "see a://u:s3cret@h and b://v:s3cret@h.",
    f"postgresql://u:{'x' * 5_000}s3cret@h",
]


@pytest.mark.parametrize("text", PASSWORDS)
def test_no_message_shows_a_password(text: str) -> None:
    shown = (
        *(hide_passwords(text), one_line(text), str(RunError(text)), shown_value(text)),
        *(shown_value([text]), shown_value({"storage": text})),
    )
    assert not [message for message in shown if "s3cret" in message]
    assert hide_passwords(hide_passwords(text)) == hide_passwords(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:80/x, such as postgresql://USER@HOST/NAME",
        "a: b@c",
        "git@h:x",
        "C:/x",
        "12:30:45",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert hide_passwords(text) == text


@pytest.mark.parametrize(
    "flag",
    [
        *("--out", "--data", "--data-root", "--address", "--log", "--sampler", "--scheduler"),
        *("--ask", "--margin"),
        *("--storage", "--trials", "--seed", "--recipe", "--objectives", "--time-budget"),
    ],
)
def test_a_url_at_the_wrong_flag_is_refused_without_its_password(
    flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    words = [*SEARCH, "--address", "localhost:1", flag, "postgresql://u:s3cret@127.0.0.1:port/d"]
    try:
        code: object = main(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    captured = capsys.readouterr()
    assert "s3cret" not in captured.out + captured.err
    assert captured.err.count("\n") == 1
    assert list(Path().iterdir()) == [Path("space.yaml")]


def test_long_messages_are_cut_to_one_line() -> None:
    text = one_line("a\n" * 10_000 + "the end")
    assert len(text) <= LONGEST
    assert text.startswith("a a a ")
    assert text.endswith("the end")


@pytest.mark.parametrize(
    "given", ["--address=--", "--storage=--", "--log=--", "--out=--", "--seed=--", "--recipe=--"]
)
def test_a_flag_takes_no_flag_for_its_value(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([given], given.split("=")):
        with pytest.raises(SystemExit) as caught:
            main([*SEARCH, *words])
        assert caught.value.code == 2
        assert "expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ["epoch"], "0 epochs"),
        (1, ["epoch"], "1 epoch"),
        (2_000, ["epoch"], "2,000 epochs"),
        (1, ["class", "classes"], "1 class"),
        (2, ["class", "classes"], "2 classes"),
    ],
)
def test_numbers_with_their_nouns(number: int, words: list[str], text: str) -> None:
    assert counted(number, *words) == text


# --- nothing is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--log", "tensorbord"],
        ["--storage", "postgresql://u:p@127.0.0.1:port/d"],
        ["--storage", "foo://u@127.0.0.1/d"],
        ["--storage", "postgresql+psycopg://u:p@127.0.0.1:1/d"],
        ["--address", "localhost:1"],
        ["--cpus-per-trial", "4096"],
    ],
)
def test_a_refused_search_leaves_no_folder_and_no_lock(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert main([*SEARCH[:-1], "runs/new/run", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(Path().iterdir()) == [Path("space.yaml")]


def begin_and_fail(folder: Path) -> None:
    (folder / "run.yaml").write_text("what was begun stays")
    (folder / "missing").unlink()


def test_a_lock_goes_with_the_error_and_takes_only_what_it_made(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    folder = tmp_path / "runs" / "new" / "run"
    with pytest.raises(KeyError), locked(folder):
        raise KeyError
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(FileNotFoundError), locked(folder):
        begin_and_fail(folder)
    assert [path.name for path in folder.iterdir()] == ["run.yaml"]
    with locked(folder):
        with pytest.raises(RunError, match="another search is writing"), locked(folder):
            pass
        assert (folder / LOCK).exists()  # whoever is refused leaves the other's lock alone


def test_an_unwritable_checkpoint_is_refused_before_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file, message in (("space.yaml/c.pt", "Not a directory"), (".", "Is a directory")):
        assert main(["train", "conv3 +", "--epochs", "1", "--checkpoint", file]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""


def test_words_in_a_list_may_have_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SEARCH, "--objectives", " validation_accuracy , params,", "--cpus-per-trial", "4096"]
    assert main(words) == 2
    assert "cpus-per-trial" in capsys.readouterr().err


def test_a_path_object_is_data(tmp_path: Path) -> None:
    with pytest.raises(ss.SkipSearchError, match=r"nothing\.npz"):
        ss.search("orders", tmp_path / "nothing.npz", trials=1, epochs=1, out=tmp_path / "run")
