"""Ticks: what one closed epoch of a flow table held, read out of its slices.

The one idea: slices are read only after their epoch is closed, and their own counters only grow,
so a reader takes differences and never writes: reading twice, or late, changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsonde.sketch import _abi, _core

TICK_NS = 100_000_000
"""Length of a tick; tick id = unix time / TICK_NS."""

DROP_CAUSES = {
    "not_ip": _abi.DROP_NOT_IP,
    "truncated": _abi.DROP_TRUNCATED,
    "bad_header": _abi.DROP_BAD_HEADER,
    "no_bucket": _abi.DROP_NO_BUCKET,
    "too_nested": _abi.DROP_TOO_NESTED,
    "unknown_link": _abi.DROP_UNKNOWN_LINK,
    "ring_full": _abi.DROP_RING_FULL,
    "unknown_offload": _abi.DROP_UNKNOWN_OFFLOAD,
}
"""Why a packet that was seen is in no flow; names as shown to users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one direction of a tick adds up to."""

    packets: int
    """Wire packets counted, in flows or not."""
    ip_bytes: int
    hidden_packets: int
    """Part of `packets` that is in no flow record: spilled, or met a busy slice."""
    hidden_bytes: int
    drops: dict[str, int]
    """Packets that belong to no flow, by cause; not in `packets`."""
    spilled_buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The records of one tick."""

    id: int
    """Unix time of its end in units of TICK_NS, rounded down."""
    records: bytes
    """`ns_record[n]`, flows and labels of both directions."""
    sides: tuple[Side, Side]
    """INPUT, OUTPUT."""

    def array(self) -> NDArray[np.void]:
        """View the records: shape (n,), dtype `_abi.RECORD`."""
        return np.frombuffer(self.records, _abi.RECORD)


class Reader:
    """Reads the closed epochs of one set of slices, the kernel's or a `FlowTable`'s."""

    def __init__(
        self,
        hot: memoryview,
        cold: memoryview,
        slices: memoryview,
        *,
        lg_buckets: int,
        cpus: int,
    ) -> None:
        self._buffers = (hot, cold, slices)
        self._lg_buckets = lg_buckets
        self._cpus = cpus
        self._before: defaultdict[tuple[int, int], NDArray[np.void]] = defaultdict(
            lambda: np.zeros((), _abi.TALLY)
        )

    def read(self, epoch: int, tick_id: int) -> Tick:
        """Read a closed epoch; the next one of its parity must not have begun."""
        records, raw = _core.fold(*self._buffers, self._lg_buckets, self._cpus, epoch)
        tallies = np.frombuffer(raw, _abi.TALLY)
        inward = self._side(tallies[_abi.IN], epoch, _abi.IN)
        outward = self._side(tallies[_abi.OUT], epoch, _abi.OUT)
        return Tick(id=tick_id, records=records, sides=(inward, outward))

    def _side(self, tally: NDArray[np.void], epoch: int, direction: int) -> Side:
        place = (epoch & 1, direction)
        before, self._before[place] = self._before[place], tally.copy()
        contended_packets = int(tally["contended_packets"] - before["contended_packets"])
        contended_bytes = int(tally["contended_bytes"] - before["contended_bytes"])
        drops = tally["drops"] - before["drops"]
        return Side(
            packets=int(tally["packets"]) + contended_packets,
            ip_bytes=int(tally["bytes"]) + contended_bytes,
            hidden_packets=int(tally["spilled_packets"]) + contended_packets,
            hidden_bytes=int(tally["spilled_bytes"]) + contended_bytes,
            drops={name: int(drops[cause]) for name, cause in DROP_CAUSES.items()},
            spilled_buckets=int(tally["spilled_buckets"]),
        )
