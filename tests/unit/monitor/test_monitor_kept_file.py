"""The file that a monitor keeps: whole or not there, left alone, or set aside; counting goes on."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from counted import (
    FLOW,
    LOAD,
    NOW,
    closed,
    flood,
    gap,
    kept_of_five,
    monitored,
    restored,
    task,
    tick,
)
from structlog.testing import capture_logs

from netsonde.daemon import rights
from netsonde.model.errors import Busy
from netsonde.model.task import Question
from netsonde.monitor.keep import MAX_FILE_BYTES, PAUSE_S, SCHEMA, Kept, KeptFile, beside
from netsonde.recorder.questions import finished


@pytest.fixture
def kept() -> Kept:
    return kept_of_five()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the file is, that of `file_in`."""
    return tmp_path / "monitor.kept"


def file_in(home: Path) -> KeptFile:
    return KeptFile(beside(home.with_suffix(".sock"), rights.own()))


def test_the_file_is_whole_or_not_there(home: Path, kept: Kept) -> None:
    file = file_in(home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert file.load() is None
    assert file.save(kept) >= PAUSE_S
    assert file.load() == kept
    written = home / "monitor.kept"
    assert written.stat().st_mode & 0o777 == 0o600
    whole = written.read_bytes()
    for spoiled in (b"", whole[:-1], b"\xc1", b"\x91" * 100_000):
        written.write_bytes(spoiled)
        with capture_logs() as logs:
            assert file.load() is None
        assert logs[0]["event"] == "what was kept cannot be read"
        assert (home / "monitor.bad-1").read_bytes() == spoiled
    written.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(kept, schema="2-0")))
    with capture_logs() as logs:
        assert file.load() is None
    assert logs[0]["event"] == "what was kept is of another release"
    file.save(kept)
    assert file.load() == kept, "what is no use is in nobody's way"


def _later_release(path: Path) -> None:
    path.write_bytes(msgspec.msgpack.encode(Kept(schema="3-0", load_id=LOAD, tasks=())))


def _too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_FILE_BYTES + 1)


def _zeroes(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("made", [os.mkfifo, Path.mkdir, _zeroes, _too_large, _later_release])
def test_what_cannot_be_read_stays_and_counting_goes_on_without(
    home: Path, kept: Kept, made: Callable[[Path], None]
) -> None:
    home.mkdir(mode=0o700)
    made(home / "monitor.kept")
    before = (home / "monitor.kept").lstat()
    file = file_in(home)
    with capture_logs() as logs:
        assert file.load() is None
    assert [log["event"] for log in logs] == ["counts are not kept"]
    assert file.save(kept) == PAUSE_S
    assert (home / "monitor.kept").lstat() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")
def test_no_counts_of_another_user_are_taken(home: Path, kept: Kept) -> None:
    file = file_in(home)
    file.save(kept)
    os.chown(home / "monitor.kept", 65534, 65534)
    with capture_logs() as logs:
        assert file.load() is None
    assert "belongs to user 65534" in logs[0]["reason"]


def test_two_monitors_cannot_share_one(home: Path) -> None:
    first = file_in(home)
    with pytest.raises(Busy, match=f"process {os.getpid()}"):
        file_in(home)
    del first


def test_without_a_directory_counting_goes_on(tmp_path: Path, kept: Kept) -> None:
    (tmp_path / "monitor.kept").touch()
    with capture_logs() as logs:
        file = file_in(tmp_path / "monitor.kept")
        assert file.load() is None
        assert file.save(kept) == PAUSE_S
    assert [log["event"] for log in logs] == ["counts are not kept"]


def test_a_disk_that_refuses_is_told_once(home: Path, kept: Kept) -> None:
    file = file_in(home)
    (home / "monitor.lock").unlink()
    home.rmdir()
    with capture_logs() as logs:
        file.save(kept)
        file.save(kept)
    assert [log["event"] for log in logs] == ["counts cannot be kept"]


def test_one_bad_task_begins_anew_and_the_others_go_on(home: Path) -> None:
    former = monitored()
    former.apply([task("src", number=number) for number in range(3)], NOW)
    former.absorb(closed(tick(NOW, 2), 6))
    former.catch_up()
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(former.kept(LOAD)))
    raw["tasks"][1]["epoch"] = -1
    file = file_in(home)
    (home / "monitor.kept").write_bytes(msgspec.msgpack.encode(raw))
    with capture_logs() as logs:
        found = file.load()
    assert found is not None
    assert [one.task.id for one in found.tasks] == [0, 2]
    assert [log["event"] for log in logs] == ["a task begins anew", "kept tasks begin anew"]
    aside = msgspec.msgpack.decode((home / "monitor.bad-1").read_bytes())
    assert aside["tasks"] == [raw["tasks"][1]]


def test_a_file_of_tiny_tasks_is_set_aside_whole_and_not_taken_apart(home: Path) -> None:
    file = file_in(home)
    data = msgspec.msgpack.encode({"schema": SCHEMA, "load_id": LOAD, "tasks": [0] * (1 << 20)})
    (home / "monitor.kept").write_bytes(data)
    tracemalloc.start()
    with capture_logs() as logs:
        assert file.load() is None
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [log["event"] for log in logs] == ["what was kept cannot be read"]
    assert (home / "monitor.bad-1").read_bytes() == data
    assert most_bytes < MAX_FILE_BYTES + 3 * len(data)  # it is read into so much


def test_no_mutant_of_the_file_ends_a_monitor(home: Path) -> None:
    """The attack that changes what was kept: bytes, words and lengths anywhere in it."""
    table, reader = flood(500)
    former = monitored()
    former.apply([task("src", "src_dst", FLOW), task("dport", number=1)], NOW)
    former.absorb(closed(reader.read(table.flip(), NOW)))
    former.absorb(closed(tick(NOW + 1, 3), 7))
    former.catch_up()
    good = msgspec.msgpack.encode(former.kept(LOAD))
    draw, file, taken = random.Random(5), file_in(home), 0
    for _ in range(400):
        (home / "monitor.kept").write_bytes(mutant(good, draw))
        with capture_logs():
            found = file.load()
            if found is None:
                file = file_in(_emptied(home, file))
                continue
            tasks = restored(found, gap(NOW + 2, tick(NOW + 9, 20)), NOW + 9)
            tasks.apply([task("src", "src_dst", FLOW), task("dport", number=1)], NOW + 10)
            tasks.absorb(closed(tick(NOW + 11, 1), 9))
            for number, key_type in ((0, "src"), (0, FLOW), (1, "dport")):
                question = Question(series="sketch", task_id=number, key_type=key_type)
                finished(tasks.answering(question))
            tasks.catch_up()
            msgspec.msgpack.encode(tasks.kept(LOAD))
        taken += 1
    assert 50 < taken < 400


def mutant(good: bytes, draw: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(draw.choice([1, 2, 8, 64])):
        place = draw.randrange(len(data))
        kind = draw.random()
        if kind < 0.5:
            data[place] = draw.randrange(256)
        elif kind < 0.8:
            words = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"]
            data[place : place + 4] = draw.choice(words)
        else:
            del data[place : place + draw.choice([1, 8, 100])]
    return bytes(data)


def _emptied(home: Path, file: KeptFile) -> Path:
    """Make it as new where a mutant is left alone, as one that claims to be of a later release."""
    file.close()
    (home / "monitor.kept").unlink(missing_ok=True)
    return home
