"""Captures of every form, whole, cut and corrupt: counted up to the break, or refused."""

from __future__ import annotations

import os
import secrets
import struct
import threading
from collections import Counter as Tally
from pathlib import Path

import pytest
from captures import (
    RAW,
    START_S,
    TCP6,
    UDP4,
    block,
    compressed,
    enhanced,
    ethernet,
    interface,
    option,
    pcap,
    pcapng,
    section,
    simple,
)
from packets import packet

from netsonde.model.errors import BadField
from netsonde.model.window import TICK_NS
from netsonde.replay import capture as capture_room
from netsonde.replay.capture import Capture

LG_BUCKETS = 3


class Count:
    """A capture counted to its end."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self._count(Capture(path, secrets.token_bytes(64), LG_BUCKETS))

    def _count(self, capture: Capture) -> None:
        self.ip_packets = self.ip_bytes = 0
        self.drops: Tally[str] = Tally()
        self.ticks: list[tuple[int, int]] = []
        for tick, _ in capture.ticks():
            self.ip_packets += tick.sides[0].packets
            self.ip_bytes += tick.sides[0].ip_bytes
            self.drops.update({k: n for k, n in tick.sides[0].drops.items() if n})
            self.ticks.append((tick.first_id or 0, tick.id))
        self.packets, self.broken = capture.packets, capture.broken


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "capture"


@pytest.mark.parametrize("content", [pcapng("<"), pcapng(">"), compressed(pcapng("<"))])
def test_pcapng_of_every_block(file: Path, content: bytes) -> None:
    count = Count(file, content)
    assert (count.packets, count.ip_packets, count.broken) == (6, 6, None)
    assert count.ip_bytes == 4 * 28 + 2 * 60
    assert count.ticks == [(START_S * 10, START_S * 10 + 10)]


def test_pcapng_sections_of_either_byte_order_follow_one_another(file: Path) -> None:
    count = Count(file, pcapng("<") + pcapng(">") + pcapng("<"))
    assert (count.packets, count.ip_packets, count.broken) == (18, 18, None)


def test_an_interface_of_another_link_type_is_a_named_drop(file: Path) -> None:
    parts = [section(), interface(link=127), interface()]
    parts += [enhanced(ethernet(UDP4), 0), enhanced(ethernet(UDP4), 0, number=1)]
    count = Count(file, b"".join(parts))
    assert (count.packets, count.ip_packets) == (2, 1)
    assert count.drops == {"unknown_link": 1}


@pytest.mark.parametrize(
    ("resolution", "units"),
    [
        (0, START_S),
        (3, START_S * 1000),
        (9, START_S * 10**9),
        (0x80, START_S),
        (0x8A, START_S << 10),
        (0xA0, START_S << 32),
    ],
)
def test_time_resolution(file: Path, resolution: int, units: int) -> None:
    options = option("<", 9, bytes([resolution]))
    count = Count(file, section() + interface(options=options) + enhanced(ethernet(UDP4), units))
    assert count.ticks == [(START_S * 10, START_S * 10)]


@pytest.mark.parametrize("offset_s", [-(2**63), 2**63 - 1])
def test_times_out_of_range_are_kept_in_range(file: Path, offset_s: int) -> None:
    options = option("<", 14, struct.pack("<q", offset_s)) + option("<", 9, b"\x13")
    frames = [enhanced(ethernet(UDP4), units) for units in (0, 2**64 - 1, 0, 2**64 - 1)]
    count = Count(file, section() + interface(options=options) + b"".join(frames))
    assert (count.packets, count.broken) == (4, None)
    tick = 0 if offset_s < 0 else (2**63 - 1) // TICK_NS
    assert count.ticks == [(tick, tick)]


def test_a_simple_packet_is_cut_to_the_snap_length(file: Path) -> None:
    content = section() + interface(link=RAW, snap_bytes=24)
    count = Count(file, content + simple(packet(UDP4)[:24], wire_bytes=28))
    assert (count.packets, count.ip_packets, count.ip_bytes) == (1, 1, 28)


CORRUPT = {
    "a block length that cannot be": struct.pack("<II", 6, 8) + bytes(4),
    "block lengths that differ": block("<", 6, bytes(20))[:-4] + bytes(4),
    "a packet of an interface not described": enhanced(b"", 0, number=9),
    "a packet longer than its block": block("<", 6, struct.pack("<5I", 0, 0, 0, 5, 5) + bytes(4)),
    "a block of more than 1048576 bytes": struct.pack("<II", 6, 1 << 21) + bytes(1 << 21),
    "an interface option that cannot be": interface(options=option("<", 9, b"\x14")),
    "a pcapng version that is not 1": section(major=2),
    "more than 4096 interfaces in a section": interface() * 4096,
}


@pytest.mark.parametrize("fault", CORRUPT)
def test_corrupt_pcapng_is_counted_up_to_there(file: Path, fault: str) -> None:
    sound = section() + interface() + enhanced(ethernet(UDP4), START_S * 10**6)
    count = Count(file, sound + CORRUPT[fault] + enhanced(ethernet(UDP4), START_S * 10**6))
    assert (count.packets, count.ip_packets) == (1, 1)
    assert count.broken is not None
    assert count.broken.startswith(f"corrupt ({fault}) at byte ")


def test_a_block_larger_than_a_window_is_skipped(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_room, "_READ_BYTES", 4096)
    big = block("<", 0x0BAD, bytes(10_000))
    packets = enhanced(ethernet(UDP4), START_S * 10**6)
    start = section() + interface() + packets
    count = Count(file, start + big + packets)
    assert (count.packets, count.broken) == (2, None)
    assert Count(file, start + big[:-4]).broken is not None
    different = Count(file, start + big[:-4] + bytes(4))
    assert different.broken is not None
    assert "block lengths that differ" in different.broken


@pytest.mark.parametrize(
    ("content", "records"),
    [(pcap([ethernet(TCP6, 30)] * 9), 9), (pcapng(), 11)],
    ids=["pcap", "ng"],
)
def test_every_cut_is_told(file: Path, content: bytes, records: int) -> None:
    counts = [Count(file, content[:size]) for size in range(28, len(content) + 1)]
    packets = [count.packets for count in counts]
    assert packets == sorted(packets)
    assert sum(count.broken is None for count in counts) == records
    for size, count in enumerate(counts, 28):
        assert count.broken is None or (
            count.broken.startswith("truncated at byte ") and count.broken.endswith(f" of {size}")
        )


def test_every_window_size_gives_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [pcapng("<") + pcapng(">"), pcap([ethernet(UDP4, i) for i in range(40)])]
    for content in contents:
        monkeypatch.setattr(capture_room, "_READ_BYTES", 4 << 20)
        whole = Count(file, content)
        for window_bytes in range(28, 300, 7):
            monkeypatch.setattr(capture_room, "_READ_BYTES", window_bytes)
            count = Count(file, content)
            assert vars(count) == vars(whole)


def test_broken_gzip_is_counted_up_to_the_break(file: Path) -> None:
    frames = [ethernet(UDP4, dice) for dice in secrets.SystemRandom().choices(range(1400), k=4000)]
    whole = compressed(pcap(frames))
    cut = Count(file, whole[: len(whole) // 2])
    assert 0 < cut.packets < 4000
    assert cut.broken is not None
    assert cut.broken.startswith("truncated (gzip) at byte ")
    bad = Count(file, whole[:-8] + bytes(8))  # its checksum
    assert bad.packets == 4000
    assert bad.broken is not None
    assert bad.broken.startswith("corrupt (gzip) at byte ")


def test_a_pipe_serves_as_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(pcapng(),))
    writer.start()
    capture = Capture(pipe, secrets.token_bytes(64), LG_BUCKETS)
    assert sum(tick.ticks for tick, _ in capture.ticks()) == 2
    writer.join()
    assert (capture.packets, capture.broken) == (6, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xd4\xc3\xb2\xa1",
        bytes(100),
        b"text " * 20,
        compressed(b"text " * 20),
        pcap([])[:23],
        compressed(pcap([]))[:20],
        b"\x1f\x8b" + bytes(50),
    ],
)
def test_what_is_no_capture_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(BadField, match=r"field 'FILE' .*a pcap or pcapng file"):
        Capture(file, secrets.token_bytes(64))


def test_a_link_type_that_is_not_parsed_is_refused(file: Path) -> None:
    file.write_bytes(pcap([], link=127))
    with pytest.raises(BadField, match="not of link type 127"):
        Capture(file, secrets.token_bytes(64))


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadField, match="a readable file"):
        Capture(tmp_path / name, secrets.token_bytes(64))


def test_a_file_without_packets_is_sound(file: Path) -> None:
    for content in (pcap([]), section()):
        count = Count(file, content)
        assert (count.packets, count.ticks, count.broken) == (0, [], None)
