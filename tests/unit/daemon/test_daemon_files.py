"""A state file is the old one or the new one, whatever ends the process, the power or the disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from disk import Disk, Killed
from hypothesis import given, settings
from hypothesis import strategies as st

from netsonde.daemon.files import Directory
from netsonde.model.errors import Busy, Unavailable

MAX_BYTES = 1 << 16
NAME = "agent.json"
ERRORS = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR, errno.EMFILE, errno.EROFS]
OLD, NEW = b"the state before, of some length", b"another state, which is longer than that was"


def held(path: Path) -> Directory:
    return Directory(os.open(path, os.O_DIRECTORY), str(path))


def loaded(disk: Disk) -> bytes | None:
    return Directory(-1, "/state", disk).read(NAME, MAX_BYTES)


def disk_of(old: bytes | None, leftover: bool) -> Disk:
    names = {} if old is None else {NAME: old}
    return Disk(names | ({"agent.new": b"half of so"} if leftover else {}))


def calls_of(old: bytes | None, leftover: bool, short: Callable[[int], int]) -> int:
    disk = disk_of(old, leftover)
    disk.short = short
    Directory(-1, "/state", disk).replace(NAME, NEW)
    return disk.calls


def test_ended_at_any_call_it_is_the_old_state_or_the_new_one() -> None:
    """Every call, killed and without power, with many ways for a disk to forget: 20,000 points."""
    points = 0
    for seed in range(200):
        draw = random.Random(seed)
        old, leftover = draw.choice([OLD, OLD, None]), draw.random() < 0.5
        piece = draw.choice([1, 5, 11, 1000])
        for end in range(1, calls_of(old, leftover, lambda size: min(size, piece)) + 1):  # noqa: B023
            disk = disk_of(old, leftover)
            disk.short = lambda size: min(size, piece)  # noqa: B023
            disk.at = lambda number, _: _killed_at(number, end)  # noqa: B023
            with pytest.raises(Killed):
                Directory(-1, "/state", disk).replace(NAME, NEW)
            assert loaded(disk.killed()) in (old, NEW)
            for _ in range(4):
                assert loaded(disk.power_cut(draw)) in (old, NEW), (seed, end)
                points += 1
    assert points > 10_000


def _killed_at(number: int, end: int) -> None:
    if number >= end:
        raise Killed


@given(seed=st.integers(0, 1 << 32), written=st.lists(st.binary(max_size=40), min_size=1))
@settings(deadline=None)
def test_what_was_said_to_be_kept_is_there_after_a_power_cut(
    seed: int, written: list[bytes]
) -> None:
    disk, draw = Disk({}), random.Random(seed)
    for data in written:
        Directory(-1, "/state", disk).replace(NAME, data)
        assert loaded(disk.power_cut(draw)) == data


@given(
    seed=st.integers(0, 1 << 32),
    failing=st.dictionaries(st.integers(1, 60), st.sampled_from(ERRORS), min_size=1),
    piece=st.integers(1, 50),
)
@settings(deadline=None, max_examples=500)
def test_whatever_call_fails_is_said_and_leaves_a_whole_state(
    seed: int, failing: dict[int, int], piece: int
) -> None:
    disk = disk_of(OLD, leftover=bool(seed % 2))
    disk.short = lambda size: min(size, piece)

    def fail(number: int, call: str) -> None:
        if number in failing:
            raise OSError(failing[number], os.strerror(failing[number]), call)

    disk.at = fail
    directory = Directory(-1, "/state", disk)
    allowed = {OLD, NEW}
    with suppress(Unavailable):
        directory.replace(NAME, NEW)
        allowed = {NEW}
    disk.at = lambda number, call: None
    assert loaded(disk) in allowed
    assert list(disk.left_open()) == []
    directory.replace(NAME, OLD)  # the disk has recovered
    assert loaded(disk.power_cut(random.Random(seed))) == OLD


def test_a_real_file_is_whole_wherever_its_writer_is_killed(tmp_path: Path) -> None:
    """The same on the file system of this host; a child is killed while it writes."""
    size = 1 << 20
    with held(tmp_path) as directory:
        directory.replace(NAME, b"0" * size)
    for _ in range(20):
        writer = multiprocessing.get_context("fork").Process(
            target=_write_on, args=(tmp_path, size)
        )
        writer.start()
        with held(tmp_path) as directory:
            before = directory.read(NAME, size)
            while directory.read(NAME, size) == before and writer.is_alive():
                pass
            writer.kill()
            writer.join()
            found = directory.read(NAME, size)
        assert found is not None
        assert len(found) == size
        assert len(set(found)) == 1, "torn"
    assert {path.name for path in tmp_path.iterdir()} <= {NAME, "agent.new"}


def _write_on(path: Path, size: int) -> None:
    with held(path) as directory:
        for number in range(1_000_000):
            directory.replace(NAME, bytes([ord("a") + (os.getpid() + number) % 26]) * size)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_a_file(path: Path) -> None:
    (path.parent / "other").write_bytes(b"secret")
    path.symlink_to(path.parent / "other")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _too_large(path: Path) -> None:
    path.write_bytes(b"x" * (MAX_BYTES + 1))


def _endless(path: Path) -> None:
    os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_fifo, "a FIFO"),
        (_link, "symbolic link"),
        (_link_to_a_file, "symbolic link"),
        (_socket, "cannot be read"),
        (Path.mkdir, "a directory"),
        (_too_large, f"more than {MAX_BYTES}"),
        (_endless, f"more than {MAX_BYTES}"),
    ],
)
def test_what_is_no_state_file_is_never_read_and_stays(
    tmp_path: Path, made: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / NAME
    made(path)
    before = path.lstat()
    with held(tmp_path) as directory, pytest.raises(Unavailable, match=said):
        directory.read(NAME, MAX_BYTES)
    assert path.lstat() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")
def test_a_file_of_another_user_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"forged")
    os.chown(path, 65534, 65534)
    with held(tmp_path) as directory, pytest.raises(Unavailable, match="belongs to user 65534"):
        directory.read(NAME, MAX_BYTES)


def test_a_link_in_the_place_of_what_is_written_is_replaced_and_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    for name in (NAME, "agent.new"):
        (tmp_path / name).symlink_to(victim)
    with held(tmp_path) as directory:
        directory.replace(NAME, NEW)
        assert directory.read(NAME, MAX_BYTES) == NEW
    assert victim.read_bytes() == b"untouched"
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_what_is_set_aside_is_bounded(tmp_path: Path) -> None:
    with held(tmp_path) as directory:
        names = []
        for number in range(7):
            names.append(directory.set_aside("agent", b"%d" % number, 3))
            os.utime(tmp_path / names[-1], ns=(number, number))
    assert names[:3] == ["agent.bad-1", "agent.bad-2", "agent.bad-3"]
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"agent.bad-1": b"6", "agent.bad-2": b"4", "agent.bad-3": b"5"}


def test_two_runs_cannot_share_one(tmp_path: Path) -> None:
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException), held(tmp_path) as directory:
            directory.lock("agent.lock")
            os.write(ready[1], b"x")
            os.read(go_on[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    with held(tmp_path) as directory:
        with pytest.raises(Busy, match=f"in use by process {child};"):
            directory.lock("agent.lock")
        os.kill(child, 9)
        os.waitpid(child, 0)
        directory.lock("agent.lock")
        with held(tmp_path) as other, pytest.raises(Busy, match=f"process {os.getpid()};"):
            other.lock("agent.lock")


def test_a_lock_that_is_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with held(tmp_path) as directory:
        for name in ("fifo", "link"):
            with pytest.raises(Unavailable, match="cannot be locked"):
                directory.lock(name)
    assert not (tmp_path / "elsewhere").exists()


def test_closing_twice_closes_nobody_else_s_file(tmp_path: Path) -> None:
    directory = held(tmp_path)
    number = directory.descriptor
    directory.close()
    other = os.open(tmp_path, os.O_DIRECTORY)
    try:
        assert other == number  # the kernel gives the lowest that is free
        directory.close()
        os.fstat(other)
    finally:
        os.close(other)
