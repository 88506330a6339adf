"""Packed ticks come back as they were, are small, and nothing else is read as one."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import traffic

from netsonde.model.errors import ProtocolError
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.pack import pack, unpack
from netsonde.sketch.tick import Reader, Side, Tick

SIDE = Side(packets=1, ip_bytes=2, drops={"not_ip": 3})


def counted(seed: int, flows: int, lg_buckets: int, thin_shift: int) -> Tick:
    table = FlowTable(bytes(range(64)), lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
    hash_key = np.frombuffer(bytes(range(64)), "<u8").tolist()
    reader = Reader(*table.buffers(), lg_buckets=lg_buckets, cpus=1, hash_key=hash_key)
    for number, (_, data) in enumerate(traffic(seed, 500, flows) if flows else ()):
        table.count(data, number % 2)
    return reader.read(table.flip(), seed, first_id=seed or None, thin_shift=thin_shift)


def assert_same(found: Tick, tick: Tick) -> None:
    assert (found.absent is None) == (tick.absent is None)
    if found.absent is not None and tick.absent is not None:
        assert np.array_equal(found.absent.table, tick.absent.table)
        assert found.absent.placement == tick.absent.placement
    fields = set(Tick.__slots__) - {"absent"}
    assert all(getattr(found, field) == getattr(tick, field) for field in fields)


@given(
    seed=st.integers(0, 2**32),
    flows=st.sampled_from([0, 1, 20, 400]),
    lg_buckets=st.sampled_from([3, 8]),
    thin_shift=st.sampled_from([0, 2]),
)
@settings(max_examples=40, deadline=None)
def test_a_tick_comes_back_as_it_was(
    seed: int, flows: int, lg_buckets: int, thin_shift: int
) -> None:
    tick = counted(seed, flows, lg_buckets, thin_shift)
    assert_same(unpack(pack(tick), tick.placement), tick)


@given(st.binary(max_size=10 * 80).map(lambda data: data[: len(data) // 80 * 80]))
def test_any_records_come_back(records: bytes) -> None:
    tick = Tick(id=1 << 60, records=records, sides=(SIDE, SIDE))
    assert_same(unpack(pack(tick), b""), tick)


def test_flows_of_a_server_take_few_bytes() -> None:
    """Ten thousand clients that nobody saw before: 4 random bytes of address, 2 of port, counts."""
    dice, flows = np.random.default_rng(1), 10_000
    records = np.zeros(flows, _abi.RECORD)
    key = records["key"]
    key["src"][:, 10:12] = key["dst"][:, 10:12] = 0xFF
    key["src"][:, 12:] = dice.integers(0, 256, (flows, 4))
    key["dst"][:, 12:] = (10, 0, 0, 5)
    key["sport"], key["dport"], key["proto"] = dice.integers(1024, 1 << 16, flows), 443, 6
    records["packets"] = dice.pareto(1.1, flows) + 1
    records["bytes"] = records["packets"] * dice.integers(40, 1500, flows)
    tick = Tick(id=1, records=records.tobytes(), sides=(SIDE, SIDE))
    packed = pack(tick)
    assert len(packed) < 10 * flows
    assert_same(unpack(packed, b""), tick)
    empty = Tick(id=1, records=b"", sides=(SIDE, SIDE))
    assert len(pack(empty)) < 250


def test_nothing_else_is_read() -> None:
    packed = pack(counted(1, 20, 3, 0))
    plain = zstandard.ZstdDecompressor().decompress(packed)

    def squeezed(change: int, value: object) -> bytes:
        parts = msgspec.msgpack.decode(plain)
        parts[change] = value
        return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(parts))

    with pytest.raises(ProtocolError, match="cannot read a packed tick"):
        unpack(b"x", b"")
    with pytest.raises(ProtocolError, match="cannot read a packed tick"):
        unpack(packed[:-10], b"")
    with pytest.raises(ProtocolError, match="cannot read a packed tick"):
        unpack(zstandard.ZstdCompressor().compress(b"\x90"), b"")
    with pytest.raises(ProtocolError, match="of version 2"):
        unpack(squeezed(0, 2), b"")
    with pytest.raises(ProtocolError, match="another layout"):
        unpack(squeezed(1, 0), b"")
    for records in (
        [2, bytes(80), bytes([1]), b"x"],
        [1, bytes(79), b"", b""],
        [1, bytes(80), bytes([80]), b"x"],
        [-1, bytes(80), b"", b""],
        [0, b"", b"", b"x"],
    ):
        with pytest.raises(ProtocolError, match="columns of other lengths"):
            unpack(squeezed(7, records), b"")
    with pytest.raises(ProtocolError, match="more than"):
        unpack(squeezed(7, [1 << 40, bytes(80), b"", b""]), b"")
