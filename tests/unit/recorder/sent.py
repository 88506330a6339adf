"""Ticks for tests of the recorder, written flow by flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netsonde.model.address import mapped
from netsonde.sketch import _abi
from netsonde.sketch.tick import Side, Tick

SYN = 0x02 | 1 << 8
SYN_ACK = 0x12
ACK = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One record of a tick."""

    src: str = "10.0.0.6"
    dst: str = "10.0.0.5"
    sport: int = 40000
    dport: int = 80
    proto: int = 6
    tcp: int = SYN
    packets: int = 1
    size: int = 40
    """Bytes of each packet."""
    others: int = 0
    label: bool = False
    out: bool = False


def tick_of(tick_id: int, flows: Sequence[Flow] = (), *, hidden: int = 0) -> Tick:
    """Give a tick of flows to or from the host; `hidden` packets to it are in no record."""
    records = np.zeros(len(flows), _abi.RECORD)
    for record, flow in zip(records, flows, strict=True):
        key = record["key"]
        key["src"] = np.frombuffer(mapped(flow.src), np.uint8)
        key["dst"] = np.frombuffer(mapped(flow.dst), np.uint8)
        key["sport"], key["dport"], key["proto"] = flow.sport, flow.dport, flow.proto
        key["direction"], key["flags"] = int(flow.out), _abi.KEY_HAS_PORTS
        record["packets"], record["bytes"] = flow.packets, flow.packets * flow.size
        record["tcp"], record["others"], record["kind"] = flow.tcp, flow.others, int(flow.label)
    seen = int(records["packets"].sum()) + hidden
    side = Side(
        packets=seen,
        ip_bytes=100 * seen,
        spilled_packets=hidden,
        spilled_bytes=100 * hidden,
        drops={},
    )
    nothing = Side(packets=0, ip_bytes=0, drops={})
    return Tick(id=tick_id, records=records.tobytes(), sides=(side, nothing))
