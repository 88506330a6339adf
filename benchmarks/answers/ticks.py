"""Ticks as a monitor reads them, made without a kernel; and the tasks that fold them."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from netsonde.model.task import Counter, Filter, Increment, Interface, Task
from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import placement
from netsonde.sketch.tick import Reader, Tick

_SECRET = tuple(range(1, 9))
_LG_BUCKETS = 12
_KEY_TYPES = ("src", "dst", "src_dst", "dport", "src_dport", "src/24", "dst/16", "sport", "proto")
_FILTERS = (
    Filter(interface=Interface.INPUT),
    Filter(interface=Interface.INPUT, proto=6),
    Filter(interface=Interface.INPUT, src="10.0.0.0/9"),
    Filter(interface=Interface.INPUT, dport="80,443,8000-8999"),
    Filter(interface=Interface.BOTH),
)


def fifty_tasks(count: int = 50) -> tuple[Task, ...]:
    """Give tasks with three counters each; key types and filters take turns."""
    return tuple(
        Task(
            series="sketch",
            id=number,
            filter=_FILTERS[number % len(_FILTERS)],
            counters=tuple(
                Counter(
                    key_type=_KEY_TYPES[(number + 3 * place) % len(_KEY_TYPES)],
                    increment=list(Increment)[place % 2],
                )
                for place in range(3)
            ),
            since_tick=0,
        )
        for number in range(count)
    )


class Maker:
    """Makes ticks of so many flows."""

    def __init__(self, flows: int) -> None:
        secret = struct.pack("<8Q", *_SECRET)
        table = _core.FlowTable(secret, _LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST)
        reader = Reader(*table.buffers(), lg_buckets=_LG_BUCKETS, cpus=1, hash_key=_SECRET)
        for flow in range(flows):
            table.count(_packet(flow), _abi.IN)
        self._first = reader.read(table.flip(), 0)
        self.placement = placement(_SECRET, _LG_BUCKETS)

    def tick(self, number: int, generation: int = 0) -> Tick:
        """Give a tick; the flows of another generation have other sources."""
        if not generation:
            return replace(self._first, id=number)
        records = np.frombuffer(self._first.records, _abi.RECORD).copy()
        sources = records["key"]["src"][:, 12:].copy().view(">u4")
        sources += np.uint32(generation << 14)
        records["key"]["src"][:, 12:] = sources.view(np.uint8)
        return replace(self._first, id=number, records=records.tobytes())


def _packet(flow: int) -> bytes:
    """Give an IPv4 packet of TCP or UDP from another source and to another port."""
    proto = 6 if flow % 3 else 17
    head = struct.pack(">BBHHHBBH", 0x45, 0, 40 + flow % 1000, 0, 0, 64, proto, 0)
    addresses = struct.pack(">II", 0x0A000000 + flow, 0x0A800001 + flow % 64)
    return (
        head
        + addresses
        + struct.pack(">HHIIBBHHH", 1024 + flow % 5000, flow % 9000, 1, 1, 80, 24, 99, 0, 0)
    )
