"""What one monitor keeps and the next one goes on with; what is missing is known to the tick."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from packets import Flow, packet
from structlog.testing import capture_logs

from netsonde.model.task import Counter, Filter, Interface, Question, Task
from netsonde.monitor.keep import PAUSE_S, Kept, KeptFile, directory_beside
from netsonde.monitor.takeover import Gap
from netsonde.monitor.tasks import Span, Tasks
from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import placement
from netsonde.sketch.tick import Reader, Side, Tick

NOW = 17_000_000_000
FLOW = "src_dst_sport_dport_proto"
KEY = list(range(1, 9))
PLACES = placement(KEY, 3)
LOAD = 99


def tick(number: int, packets: int, source: int = 1) -> Tick:
    """A tick of one flow with this many packets of 100 bytes, received."""
    record = np.zeros(1, _abi.RECORD)
    record["packets"], record["bytes"] = packets, 100 * packets
    record["key"]["proto"], record["key"]["src"][0, 15] = 6, source
    quiet = Side(packets=0, ip_bytes=0, drops={"not_ip": 0})
    busy = Side(packets=packets, ip_bytes=100 * packets, drops={"not_ip": 0})
    return Tick(id=number, records=record.tobytes(), sides=(busy, quiet))


def task(*counters: str, number: int = 0) -> Task:
    counted = tuple(Counter(key_type=name) for name in counters)
    return Task(series="sketch", id=number, filter=Filter(), counters=counted, since_tick=NOW)


def gap(first_tick: int, *ticks: Tick, load_id: int = LOAD, epoch: int = 7, whole: bool = True):
    return Gap(load_id=load_id, after_epoch=epoch, first_tick=first_tick, ticks=ticks, whole=whole)


@pytest.fixture
def kept() -> Kept:
    """What a monitor kept that counted five packets until NOW + 10, epoch 7."""
    former = Tasks()
    former.apply([task("src")], NOW)
    former.absorb(tick(NOW, 2))
    former.absorb(tick(NOW + 9, 3, source=2))
    return former.kept(LOAD, 7, NOW + 10)


def answer(tasks: Tasks, key_type: str | None = "src") -> tuple[int, dict[bytes, int], Span]:
    summary, span = tasks.answer(Question(series="sketch", task_id=0, key_type=key_type))
    rows = {bytes(row.key)[15:16]: row.count.estimate for row in summary.rows()}
    return summary.total_packets.estimate, rows, span


def resumed(kept: Kept, passed: Gap | None, now_tick: int) -> Tasks:
    tasks = Tasks(began_tick=now_tick + 1)
    tasks.restore(kept, passed, PLACES, now_tick)
    tasks.apply([task("src")], now_tick + 2)  # as the agent does when it is connected again
    tasks.absorb(tick(now_tick + 2, 100))
    return tasks


def test_a_clean_restart_over_pins_loses_nothing(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20, source=2)), NOW + 60)
    assert answer(tasks) == (125, {b"\1": 102, b"\2": 23}, Span(NOW))
    assert answer(tasks, None)[2] == Span(NOW)


def test_a_killed_monitor_loses_what_it_had_not_kept(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 44, tick(NOW + 60, 20), epoch=340), NOW + 60)
    assert answer(tasks) == (125, {b"\1": 122, b"\2": 3}, Span(NOW, missed_ticks=34))
    again = tasks.kept(LOAD, 400, NOW + 70)
    tasks = resumed(again, gap(NOW + 70, tick(NOW + 80, 1), epoch=400), NOW + 80)
    assert answer(tasks)[2] == Span(NOW, missed_ticks=34)


def test_without_pins_the_time_between_is_missing(kept: Kept) -> None:
    tasks = resumed(kept, None, NOW + 60)
    assert answer(tasks) == (105, {b"\1": 102, b"\2": 3}, Span(NOW, missed_ticks=50))


def test_a_gap_of_another_table_is_not_added(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW, tick(NOW + 60, 20), load_id=LOAD + 1), NOW + 60)
    assert answer(tasks)[::2] == (105, Span(NOW, missed_ticks=50))


def test_a_gap_that_did_not_see_all_is_added_and_told(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20), whole=False), NOW + 60)
    assert answer(tasks)[::2] == (125, Span(NOW, missed_ticks=50))


def test_a_restart_within_one_tick_still_tells_that_something_is_missing(kept: Kept) -> None:
    assert answer(resumed(kept, None, NOW + 10))[2].missed_ticks == 1
    lost = gap(NOW + 10, tick(NOW + 10, 1), epoch=8)
    assert answer(resumed(kept, lost, NOW + 10))[2].missed_ticks == 1


def test_a_counter_that_was_not_kept_begins_anew(kept: Kept) -> None:
    tasks = Tasks(began_tick=NOW + 61)
    tasks.restore(kept, gap(NOW + 10, tick(NOW + 60, 20)), PLACES, NOW + 60)
    tasks.apply([task("src", "dst")], NOW + 62)
    tasks.absorb(tick(NOW + 62, 1))
    assert answer(tasks)[0] == 26
    assert answer(tasks, "dst")[2] == Span(NOW + 62, missed_ticks=62)


def flood(count: int) -> tuple[_core.FlowTable, Reader]:
    """A table so small that some flows of a flood are in no record."""
    table = _core.FlowTable(np.array(KEY, "<u8").tobytes(), 3, _abi.SAMPLE_SHIFT_LEAST)
    for number in range(count):
        table.count(packet(Flow("10.0.0.1", "10.0.0.2", 1000 + number, 53, 17), 100), _abi.IN)
    return table, Reader(*table.buffers(), lg_buckets=3, cpus=1, hash_key=KEY)


def test_bounds_of_a_flood_go_on_over_the_same_table_and_not_over_another() -> None:
    table, reader = flood(500)
    whole, former = Tasks(), Tasks()
    inputs = Task(
        series="sketch",
        id=0,
        filter=Filter(interface=Interface.INPUT),
        counters=(Counter(key_type=FLOW),),
        since_tick=NOW,
    )
    for tasks in (whole, former):
        tasks.apply([inputs], NOW)
    first = reader.read(table.flip(), NOW)
    assert first.absent is not None
    for tasks in (whole, former):
        tasks.absorb(first)
    kept = former.kept(LOAD, 1, NOW + 1)
    later = Tasks(began_tick=NOW + 2)
    later.restore(kept, gap(NOW + 1, first, epoch=1), PLACES, NOW + 1)
    whole.absorb(first)
    question = Question(series="sketch", task_id=0, key_type=FLOW)
    expected, got = whole.answer(question)[0], later.answer(question)[0]
    assert msgspec.msgpack.decode(got.to_bytes()) == msgspec.msgpack.decode(expected.to_bytes())
    other = Tasks(began_tick=NOW + 2)
    other.restore(kept, None, PLACES, NOW + 1)
    assert len(other) == 0  # hidden flows of one table cannot be looked for in another


def test_the_file_is_whole_or_not_there(tmp_path: Path, kept: Kept) -> None:
    directory = directory_beside(tmp_path / "monitor.sock", -1, -1)
    assert directory.stat().st_mode & 0o777 == 0o700
    file = KeptFile(directory)
    assert file.load() is None
    assert file.save(kept) >= PAUSE_S
    assert file.load() == kept
    (written,) = directory.iterdir()
    for spoiled in (b"", written.read_bytes()[:-1], b"\xc1"):
        written.write_bytes(spoiled)
        with capture_logs() as logs:
            assert file.load() is None
        assert logs[0]["event"] == "what was kept cannot be read"
    written.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(kept, schema="2")))
    with capture_logs() as logs:
        assert file.load() is None
    assert logs[0]["event"] == "what was kept is of another release"


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, kept: Kept) -> None:
    file = KeptFile(tmp_path / "gone")
    with capture_logs() as logs:
        file.save(kept)
        file.save(kept)
    assert [log["event"] for log in logs] == ["counts cannot be kept"]


def test_what_cannot_be_a_window_begins_anew(kept: Kept) -> None:
    (one,) = kept.tasks
    for window in (
        msgspec.structs.replace(one.window, tables={}),
        msgspec.structs.replace(
            one.window, totals=msgspec.structs.replace(one.window.totals, entries=b"x")
        ),
    ):
        bad = msgspec.structs.replace(kept, tasks=(msgspec.structs.replace(one, window=window),))
        tasks = Tasks(began_tick=NOW + 61)
        tasks.restore(bad, gap(NOW + 10, tick(NOW + 60, 20)), PLACES, NOW + 60)
        assert len(tasks) == 0


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsonde.monitor.tasks.MAX_KEPT_BYTES", 2 * 4 * _abi.ENTRY.itemsize)
    former = Tasks()
    former.apply([task("src", number=number) for number in range(3)], NOW)
    former.absorb(tick(NOW, 2))
    former.absorb(tick(NOW + 1, 3, source=2))
    kept = former.kept(LOAD, 7, NOW + 10)
    assert [one.task.id for one in kept.tasks] == [0, 1]
    tasks = Tasks(began_tick=NOW + 61)
    tasks.restore(kept, gap(NOW + 10, tick(NOW + 60, 20)), PLACES, NOW + 60)
    tasks.apply([task("src", number=number) for number in range(3)], NOW + 62)
    spans = [tasks.answer(Question(series="sketch", task_id=number))[1] for number in range(3)]
    assert spans == [Span(NOW), Span(NOW), Span(NOW + 62, missed_ticks=62)]
