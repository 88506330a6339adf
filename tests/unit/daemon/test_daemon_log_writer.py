"""Whatever becomes of a log's reader, whoever logs goes on, and no line is lost uncounted."""

import contextlib
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsonde.daemon import log_writer
from netsonde.daemon.log_writer import CAUSES, LineWriter

PATIENCE_S = 20
LINE = "x" * 100


@pytest.fixture(params=["thread", "at once"])
def begin(request: pytest.FixtureRequest) -> Callable[[LineWriter], LineWriter]:
    def begun(writer: LineWriter) -> LineWriter:
        if request.param == "thread":
            writer.begin()
        return writer

    return begun


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        with contextlib.suppress(OSError):  # closed by the test
            os.close(fd)


def goes_on(work: Callable[[], None]) -> None:
    """Do the work, and fail if it hangs."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def accounts(writer: LineWriter) -> bool:
    with writer._changed:  # all at one moment
        return writer.logged == writer.written + sum(writer.dropped.values()) + writer.waiting


def dropped(writer: LineWriter) -> dict[str, int]:
    return {cause: n for cause, n in writer.dropped.items() if n}


def test_lines_come_whole_and_in_order(
    begin: Callable[[LineWriter], LineWriter], tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = begin(LineWriter(file.fileno()))
        for number in range(500):
            writer.put(f"line {number} \N{SNOWMAN}\udcff")
        writer.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [f"line {number} \N{SNOWMAN}\\udcff" for number in range(500)]
    assert (writer.written, dropped(writer)) == (500, {})


@pytest.mark.parametrize("device", ["pipe", "terminal"])
def test_a_reader_that_hangs_costs_lines(
    begin: Callable[[LineWriter], LineWriter], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "LAST_S", 0.2)
    read, write = os.pipe() if device == "pipe" else pty.openpty()
    if device == "terminal":
        tty.setraw(write)
    writer = begin(LineWriter(write))
    goes_on(lambda: [writer.put(LINE) for _ in range(5000)] and None)
    assert accounts(writer)
    assert writer.waiting <= log_writer.MAX_LINES + 1
    assert writer.dropped["full"] > 0
    goes_on(writer.close)
    assert accounts(writer)
    assert writer.waiting == 0
    assert writer.dropped["late"] > 0
    assert writer.written < log_writer.MAX_LINES
    os.close(read)  # so that a thread that hangs ends
    os.close(write)


def test_what_a_slow_reader_gets_is_whole(
    begin: Callable[[LineWriter], LineWriter], pipe: tuple[int, int]
) -> None:
    read, write = pipe
    writer = begin(LineWriter(write))
    goes_on(lambda: [writer.put(f"{n} {LINE * 5}") for n in range(2000)] and None)
    got = bytearray()

    def reading() -> None:
        while chunk := os.read(read, 1 << 16):
            got.extend(chunk)

    reader = threading.Thread(target=reading)
    reader.start()
    goes_on(writer.close)
    os.close(write)
    reader.join(PATIENCE_S)
    numbers = [int(line.split()[0]) for line in got.decode().splitlines()]
    assert all(line.endswith(LINE) for line in got.decode().splitlines())
    assert numbers == sorted(set(numbers))
    assert len(numbers) == writer.written
    assert writer.written + writer.dropped["full"] == 2000


@pytest.mark.parametrize("case", ["full disk", "no reader", "closed", "none"])
def test_what_cannot_be_written_is_counted_by_cause(
    begin: Callable[[LineWriter], LineWriter], case: str, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    cause = "no_space" if case == "full disk" else "closed"
    if case == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), write)
    elif case == "no reader":
        os.close(read)
    elif case == "closed":
        os.close(write)
    writer = begin(LineWriter(-1 if case == "none" else write))
    for _ in range(10):
        writer.put(LINE)
    writer.close()
    assert (writer.written, dropped(writer)) == (0, {cause: 10})


def test_a_line_after_a_torn_one_begins_anew(
    begin: Callable[[LineWriter], LineWriter], tmp_path: Path
) -> None:
    """A limit of the file's size stands for a disk that fills up in the midst of a line."""
    path = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("wb") as file:
        writer = begin(LineWriter(file.fileno()))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
            for _ in range(2):
                writer.put(LINE)
            until(lambda: not writer.waiting)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.put("whole again")
        writer.close()
    assert path.read_text().splitlines() == [LINE, LINE[:49], "whole again"]
    assert (writer.written, dropped(writer)) == (2, {"no_space": 1})


def test_lines_and_the_queue_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    monkeypatch.setattr(log_writer, "LAST_S", 0.0)
    writer = LineWriter(pipe[1])
    for _ in range(200):
        writer.put("\N{SNOWMAN}" * (1 << 20))
    held = sum(map(len, writer._lines))
    assert held <= log_writer.MAX_BYTES
    assert held > log_writer.MAX_BYTES - log_writer.MAX_LINE_BYTES
    assert writer.dropped["full"] > 0
    first = os.read(pipe[0], 1 << 20).decode("utf-8", "ignore")
    assert first.startswith("\N{SNOWMAN}")
    assert max(map(len, writer._lines)) <= log_writer.MAX_LINE_BYTES
    assert writer._lines[0].endswith(b"cut\n")
    writer.close()


def test_a_terminal_that_somebody_else_made_impatient_gets_all(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    writer = LineWriter(write)
    writer.begin()
    goes_on(lambda: [writer.put(LINE) for _ in range(900)] and None)
    got = bytearray()
    while got.count(b"\n") < 900:
        got += os.read(read, 1 << 16)
    writer.close()
    assert (writer.written, dropped(writer)) == (900, {})
    os.close(read)
    os.close(write)


NO_THREAD = """
import os, resource, sys
from netsonde.daemon.log_writer import LineWriter
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), size + (4 << 20)))
writer = LineWriter(2)
writer.begin()
assert writer._thread is None
for number in range(50):
    writer.put(f"line {number}")
writer.close()
assert (writer.written, writer.waiting) == (50, 0), writer.dropped
"""


def test_without_a_thread_to_be_had_lines_are_written_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_THREAD], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"line {number}" for number in range(50)]


class Logs:
    """Logs from a finaliser, as a warning about a socket that nobody closed does."""

    def __init__(self, writer: LineWriter) -> None:
        self.writer = writer

    def __del__(self) -> None:
        self.writer.put("from a finaliser")


def test_a_finaliser_may_log_at_any_moment(
    begin: Callable[[LineWriter], LineWriter], tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = begin(LineWriter(file.fileno()))

        def signalled(*_: object) -> None:
            Logs(writer)

        before = signal.signal(signal.SIGALRM, signalled)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            for _ in range(3000):
                writer.put(LINE)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        goes_on(writer.close)
    assert accounts(writer)
    lines = (tmp_path / "log").read_text().splitlines()
    assert set(lines) == {LINE, "from a finaliser"}
    assert len(lines) == writer.written


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 40_000)),
        st.tuples(st.just("many"), st.integers(1, 1200)),
        st.tuples(st.just("leave out"), st.integers(1, 3)),
        st.tuples(st.just("read"), st.integers(1, 1 << 17)),
        st.tuples(st.just("begin"), st.just(0)),
    ),
    max_size=12,
)


class Story:
    """A writer, and a pipe that is read when the story says so."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.writer = LineWriter(self.write)
        self.got = bytearray()

    def step(self, step: str, size: int) -> None:
        match step:
            case "put":
                self.writer.put("x" * size)
            case "many":
                for _ in range(size):
                    self.writer.put(LINE)
            case "leave out":
                self.writer.leave_out()
            case "begin":
                self.writer.begin()
            case "read" if select.select([self.read], [], [], 0)[0]:
                self.got += os.read(self.read, size)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, reader_dies=st.booleans())
def test_every_line_is_written_dropped_or_waits(
    steps: list[tuple[str, int]], reader_dies: bool
) -> None:
    story, last_s = Story(), log_writer.LAST_S
    writer = story.writer
    log_writer.LAST_S = 0.02
    try:
        for step, size in steps:
            story.step(step, size)
            assert accounts(writer)
        if reader_dies:
            os.close(story.read)
            writer.put(LINE)
            until(lambda: not writer.waiting)
        writer.close()
    finally:
        log_writer.LAST_S = last_s
        os.close(story.write)
    assert accounts(writer)
    assert writer.waiting == 0
    assert set(writer.dropped) == set(CAUSES)
    if not reader_dies:
        os.set_blocking(story.read, False)
        with contextlib.suppress(BlockingIOError):  # a thread that hangs has the pipe still
            while chunk := os.read(story.read, 1 << 17):
                story.got += chunk
        os.close(story.read)
        assert story.got.count(b"\n") >= writer.written
