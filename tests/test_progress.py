"""Progress: one calm line, on a terminal and on a pipe."""

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipsearch.design import Design
from skipsearch.metric import ACCURACY
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Epoch, Trial
from skipsearch.searching.progress import Progress
from skipsearch.terminal import Line, clock, cut, width_of


class Stream(io.StringIO):
    """A text in memory that is a terminal or a pipe, and counts how often it is flushed."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal
        self.flushed = 0

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.flushed += 1


def record(number: int, state: str, accuracy: float | None = None) -> Trial:
    curve = () if accuracy is None else (Epoch(1, 0.1, 1.0, 0.5, 1.0, accuracy, 2.0),)
    return Trial(
        number=number,
        design=Design(layout="conv3 +"),
        recipe=Recipe(),
        seed=0,
        state=state,
        reason="",
        curve=curve,
        params=1,
        macs=1,
        device="",
        versions={},
    )


# --- what the line says --------------------------------------------------------------------------

Ended = tuple[int, str, float | None]

LINES: list[tuple[int, list[Trial], list[Ended], int, float, str]] = [
    (
        60,
        [],
        [],
        2,
        5.4,
        "0/60 trials | 0 finished, 2 running, 0 stopped early, 0 failed | 0:05 elapsed",
    ),
    (
        60,
        [],
        [(4, COMPLETE, 0.91), (2, PRUNED, 0.99), (3, FAIL, None)],
        2,
        90.0,
        "3/60 trials | 1 finished, 2 running, 1 stopped early, 1 failed"
        " | best accuracy 91.00 % (trial 4) | 28:30 left",
    ),
    # Two trials in a minute; the ten before took their time in another session.
    (
        20,
        [record(i, PRUNED, 0.5) for i in range(9)] + [record(9, COMPLETE, 0.95)],
        [(12, COMPLETE, 0.9), (13, COMPLETE, 0.94)],
        1,
        60.0,
        "12/20 trials | 3 finished, 1 running, 9 stopped early, 0 failed"
        " | best accuracy 95.00 % (trial 9) | 4:00 left",
    ),
    (
        20,
        [record(0, FAIL), record(1, COMPLETE, 0.25)],
        [],
        4,
        0.2,
        "2/20 trials | 1 finished, 4 running, 0 stopped early, 1 failed"
        " | best accuracy 25.00 % (trial 1) | 0:00 elapsed",
    ),
    (
        2,
        [],
        [(0, COMPLETE, 0.5), (1, COMPLETE, 0.75)],
        0,
        3661.0,
        "2/2 trials | 2 finished, 0 running, 0 stopped early, 0 failed"
        " | best accuracy 75.00 % (trial 1) | 1:01:01 elapsed",
    ),
    (
        1,
        [],
        [],
        1,
        1.0,
        "0/1 trial | 0 finished, 1 running, 0 stopped early, 0 failed | 0:01 elapsed",
    ),
    (
        3,
        [],
        [(0, PRUNED, 0.5), (1, FAIL, None)],
        1,
        10.0,
        "2/3 trials | 0 finished, 1 running, 1 stopped early, 1 failed | 0:05 left",
    ),
]


@pytest.mark.parametrize(("budget", "earlier", "ended", "running", "seconds", "line"), LINES)
def test_the_line_says_what_ended_how_the_best_and_the_time(
    budget: int, earlier: list[Trial], ended: list[Ended], running: int, seconds: float, line: str
) -> None:
    progress = Progress(budget, earlier, ACCURACY, stream=io.StringIO())
    for number, state, accuracy in ended:
        progress.ended(number, "key", state, accuracy, running)
    assert progress.line(running, seconds) == line


def test_of_equal_values_the_first_stays_the_best() -> None:
    progress = Progress(9, [], ACCURACY, stream=io.StringIO())
    for number in (3, 1, 2):
        progress.ended(number, "key", COMPLETE, 0.5, 0)
    assert "best accuracy 50.00 % (trial 3)" in progress.line(0, 1.0)


def test_the_best_of_folds_is_the_best_mean_over_all_of_them() -> None:
    earlier = [record(n, COMPLETE, score) for n, score in enumerate((0.5, 0.7))]
    progress = Progress(9, earlier, ACCURACY, folds=3, stream=io.StringIO())
    progress.ended(2, "a" * 33, COMPLETE, 0.9, 0)
    progress.ended(3, "b" * 33, FAIL, None, 0)
    assert "best" not in progress.line(0, 1.0)  # of designs without all folds
    progress.ended(4, earlier[0].key, COMPLETE, 0.6, 0)
    best = f"best mean accuracy 60.00 % (design {earlier[0].design.id[:6]})"
    assert best in progress.line(0, 1.0)
    for number, score in ((5, 0.55), (6, 0.4)):
        progress.ended(number, "a" * 33, COMPLETE, score, 0)
    assert "best mean accuracy 61.67 % (design aaaaaa)" in progress.line(0, 1.0)
    progress.ended(7, "a" * 33, COMPLETE, 0.2, 0)  # of another division
    assert best in progress.line(0, 1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0:00"), (0.4, "0:00"), (9.6, "0:10"), (59.4, "0:59"), (59.6, "1:00"), (61, "1:01")),
        *((600, "10:00"), (3599, "59:59"), (3599.7, "1:00:00"), (3600, "1:00:00")),
        *((3661, "1:01:01"), (360_000, "100:00:00")),
    ],
)
def test_a_time_as_people_write_it(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@given(st.floats(0, 1e7))
def test_a_time_read_back_is_that_time(seconds: float) -> None:
    parts = [int(part) for part in clock(seconds).split(":")]
    total = 0
    for part in parts:
        total = 60 * total + part
    assert abs(total - seconds) <= 0.5
    assert all(part < 60 for part in parts[1:])


# --- where it is written -------------------------------------------------------------------------


def finish(progress: Progress, count: int) -> None:
    for number in range(count):
        progress.ended(number, "key", COMPLETE, number / 10, 1)


def resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal of 80 columns: what its user sees, and what a program writes to."""
    screen, program = pty.openpty()
    resize(program, 80)
    with open(program, "w") as stream, open(screen, "rb", closefd=True):
        yield screen, stream


def shown(screen: int, stream: TextIO) -> str:
    """What a terminal has been sent since this was called last; it may come in several parts."""
    stream.write("\0")
    stream.flush()
    sent = b""
    while not sent.endswith(b"\0"):
        sent += os.read(screen, 100_000)
    return sent.decode().removesuffix("\0").replace("\r\n", "\n")


def test_a_terminal_shows_one_line_that_is_redrawn(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen, stream = terminal
    progress = Progress(5, [], ACCURACY, stream=stream)
    progress.show(1)
    finish(progress, 2)
    progress.show(0, final=True)
    text = shown(screen, stream)
    texts = text.split("\r")
    assert texts[0] == ""
    assert [text.partition(" ")[0] for text in texts[1:]] == ["0/5", "1/5", "2/5", "2/5"]
    assert [text.endswith("\n") for text in texts[1:]] == [False, False, False, True]
    assert "\x1b" not in text  # no colours and no other escapes, whatever NO_COLOR says


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 5, 2])
def test_no_row_of_a_terminal_is_left_behind(
    columns: int, terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen, stream = terminal
    progress = Progress(100_000, [], ACCURACY, stream=stream)
    progress.show(64)
    shown(screen, stream)
    resize(screen, columns)  # between two lines
    finish(progress, 3)
    progress.show(0, final=True)
    text = shown(screen, stream)
    assert text.count("\n") == 1
    assert all(len(row.rstrip("\n")) < columns for row in text.split("\r"))
    if columns >= 40:  # what matters most is told
        assert " 20.00 %" in text
        assert "left" in text


def test_a_shorter_line_leaves_nothing_of_a_longer_one() -> None:
    stream = Stream(terminal=True)
    row = Line(stream)
    row.write("starting Ray")
    row.write("done")
    row.clear()
    assert stream.getvalue() == "\rstarting Ray\rdone        \r    \r"


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("12/20 trials", 12, "12/20 trials"),
        ("12/20 trials", 11, "12/20 tr..."),
        ("检查点", 6, "检查点"),
        ("检查点", 5, "检..."),
        ("e\u0301te\u0301", 3, "e\u0301te\u0301"),
        ("12/20", 2, ".."),
        ("12/20", 0, ""),
    ],
)
def test_a_text_is_cut_to_columns(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected
    assert width_of(expected) <= columns


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Stream(terminal=True)
    progress = Progress(1000, [], ACCURACY, stream=stream)
    progress.show(1)
    finish(progress, 500)
    assert stream.getvalue() == progress_line(0, 1000, running=1)


def test_a_pipe_gets_plain_lines_and_few_of_them() -> None:
    stream = io.StringIO()
    progress = Progress(1000, [], ACCURACY, stream=stream)
    progress.show(1)
    finish(progress, 500)  # in far less than ten seconds
    assert stream.getvalue() == progress_line(0, 1000, running=1)


def progress_line(finished: int, budget: int, running: int) -> str:
    return (
        f"{finished}/{budget:,} trials | {finished} finished, {running} running,"
        " 0 stopped early, 0 failed | 0:00 elapsed\n"
    )


def test_the_end_is_shown_at_once_and_once() -> None:
    stream = io.StringIO()
    progress = Progress(3, [], ACCURACY, stream=stream)
    progress.show(1)
    finish(progress, 3)
    lines = stream.getvalue().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["0/3", "3/3"]
    progress.show(1, final=True)
    assert stream.getvalue().splitlines() == lines


def test_a_session_that_ends_early_shows_its_last_line() -> None:
    stream = io.StringIO()
    progress = Progress(10, [], ACCURACY, stream=stream)
    progress.show(1)
    finish(progress, 3)
    progress.show(0, final=True)
    lines = stream.getvalue().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["0/10", "3/10"]
    assert "0 running" in lines[-1]
    assert stream.getvalue().endswith("\n")


def test_the_last_line_is_written_once() -> None:
    stream = io.StringIO()
    progress = Progress(2, [], ACCURACY, stream=stream)
    for number in range(2):
        progress.ended(number, "key", COMPLETE, 0.5, 0)
    progress.show(0)
    progress.show(0, final=True)
    assert stream.getvalue().count("2/2 trials") == 1


def test_it_writes_to_standard_error_and_flushes(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(4, [], ACCURACY).show(2)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", progress_line(0, 4, running=2))


@pytest.mark.parametrize("terminal", [False, True])
def test_every_line_is_seen_at_once(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Stream(terminal)
    Progress(4, [], ACCURACY, stream=stream).show(2)
    assert stream.flushed == 1
