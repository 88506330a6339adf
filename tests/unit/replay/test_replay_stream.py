"""Several captures are one."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import clip, steady

from netsonde.model.errors import BadField
from netsonde.replay.stream import Stream

SECRET = bytes(range(64))


def test_ticks_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    one = clip(tmp_path / "one.pcap", steady(2, 20, 0, 2))
    two = clip(tmp_path / "two.pcap", steady(3, 30, 2, 5))
    stream = Stream([one, two], SECRET)
    ticks = [tick for tick, _ in stream.ticks(1)]
    assert [tick.id for tick in ticks] == sorted(tick.id for tick in ticks)
    assert sum(tick.sides[0].packets for tick in ticks) == 50
    assert (stream.packets, stream.broken) == (50, None)
    assert stream.size_bytes == one.stat().st_size + two.stat().st_size


def test_how_far_it_is_grows_to_the_end(tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{n}.pcap", steady(2, 20, n, n + 1)) for n in range(3)]
    stream = Stream(paths, SECRET)
    read = [read_bytes for _, read_bytes in stream.ticks()]
    assert read == sorted(read)
    assert read[-1] == stream.size_bytes


def test_a_broken_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{n}.pcap", steady(2, 10, n, n + 1)) for n in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    stream = Stream(paths, SECRET)
    assert sum(tick.sides[0].packets for tick, _ in stream.ticks()) == 29
    assert set(stream.faults) == {str(paths[1])}
    assert stream.broken is not None
    assert stream.broken.startswith(f"{paths[1]}: truncated at byte")


def test_a_file_that_is_no_capture_is_named_before_any_is_counted(tmp_path: Path) -> None:
    good = clip(tmp_path / "good.pcap", steady(2, 10, 0, 1))
    for bad in (tmp_path / "nowhere.pcap", Path(__file__)):
        with pytest.raises(BadField, match=str(bad)):
            Stream([good, bad], SECRET)
    with pytest.raises(BadField, match="1 to 10000 files"):
        Stream([], SECRET)
