"""Ticks: what one closed epoch of a flow table held, read out of its slices.

The one idea: slices are read only after their epoch is closed, and their own counters only grow,
so a reader takes differences and never writes: reading twice, or late, changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import Absent, placement

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

UNREAD_CAUSES = ("no_bucket", "ring_full", "unknown_offload")
"""Those of frames that nobody could read or place: any flow of either direction may miss them."""
FRAME_PACKETS = 0xFFFF
"""Most packets of one frame: the kernel's number of segments has 16 bits (`gso_segs`)."""
FRAME_BYTES = 8 * 0xFFFF + 120 * FRAME_PACKETS
"""Most IP bytes of one frame on the wire: GSO_MAX_SIZE, and 120 bytes of headers each segment."""

_GROWING = ("contended_packets", "contended_bytes", "inserts", "drops")
"""Fields of a tally that are cumulative (core/abi.h)."""


_STATE_FORMAT = crc32(repr(_abi.TALLY).encode()).to_bytes(4, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one direction of a tick adds up to."""

    packets: int
    """Wire packets counted, in flows or not."""
    ip_bytes: int
    spilled_packets: int = 0
    """Part of `packets` that is in no flow record: its flow gave its slot to another."""
    spilled_bytes: int = 0
    contended_packets: int = 0
    """Part of `packets` that is in no flow record: its new flow met a busy slice."""
    contended_bytes: int = 0
    thinned_packets: int = 0
    """Part of `packets` that is in no flow record: left out to keep within the reader's budget."""
    thinned_bytes: int = 0
    absent_packets: int = 0
    """E: a flow with more is certainly in the records, whatever the traffic was."""
    absent_bytes: int = 0
    inserts: int = 0
    """Flows that were given a slot, each time they were."""
    drops: dict[str, int]
    """Packets that belong to no flow, by cause; not in `packets`."""
    used_buckets: int = 0
    spilled_buckets: int = 0

    @property
    def hidden_packets(self) -> int:
        """Packets that are in no flow record."""
        return self.spilled_packets + self.contended_packets + self.thinned_packets

    @property
    def hidden_bytes(self) -> int:
        """Bytes that are in no flow record."""
        return self.spilled_bytes + self.contended_bytes + self.thinned_bytes


_EMPTY = Side(packets=0, ip_bytes=0, drops=dict.fromkeys(DROP_CAUSES, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The records of one tick, or of several in a row added up."""

    id: int
    """Unix time of its end in units of TICK_NS, rounded down."""
    records: bytes
    """`ns_record[n]`, flows and labels of both directions."""
    sides: tuple[Side, Side]
    """INPUT, OUTPUT."""
    absent: Absent | None = None
    """What flows that are in no record may have; None when nothing was spilled or thinned."""
    ranks: bytes = bytes(_abi.DIRECTIONS * _abi.HLL_REGISTERS)
    """`u8[directions][HLL_REGISTERS]`: a HyperLogLog of each direction's flows (`distinct.py`)."""
    first_id: int | None = None
    """Id of the first of several ticks, `id` being the last's; None: it is one."""
    ticks: int = 1
    """Ticks that held packets."""
    placement: bytes = b""
    """`ns_config` of the table it is of: where flows live there; empty when nobody told."""

    @classmethod
    def of_span(cls, span: tuple[int, int, int, _core.Folded], placement: bytes) -> Tick:
        """Make one of what `FlowTable.take` gave."""
        first_id, last_id, ticks, (records, raw, hidden, ranks) = span
        tallies = np.frombuffer(raw, _abi.TALLY)
        absent = None if hidden is None else Absent.from_bytes(hidden, placement)
        return cls(
            id=last_id,
            records=records,
            sides=(_side(tallies, _abi.IN, absent), _side(tallies, _abi.OUT, absent)),
            absent=absent,
            ranks=ranks,
            first_id=first_id,
            ticks=ticks,
            placement=placement,
        )

    @property
    def unread_frames(self) -> int:
        """Frames that some flow misses, and that upper bounds must allow for."""
        return sum(side.drops.get(cause, 0) for side in self.sides for cause in UNREAD_CAUSES)

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
        hash_key: Sequence[int],
    ) -> None:
        """View the slices of `cpus` CPUs, counted with the 8 secret words of `hash_key`."""
        self._buffers = (hot, cold, slices)
        self._lg_buckets = lg_buckets
        self._cpus = cpus
        self._placement = placement(hash_key, lg_buckets)
        self._before: defaultdict[tuple[int, int], NDArray[np.void]] = defaultdict(
            lambda: np.zeros((), _abi.TALLY)
        )

    def state(self) -> bytes:
        """Give what another reader of the same slices needs to go on after the last `read`."""
        places = [(parity, side) for parity in range(_abi.PARITIES) for side in (_abi.IN, _abi.OUT)]
        return _STATE_FORMAT + b"".join(self._before[place].tobytes() for place in places)

    def resume(self, state: bytes) -> None:
        """Go on where another reader was when it gave this `state`.

        Raises ValueError when it is of a release that laid it out in another way.
        """
        if not state.startswith(_STATE_FORMAT):
            raise ValueError("the state of a reader of another release")
        tallies = np.frombuffer(state, _abi.TALLY, offset=len(_STATE_FORMAT))
        for number, tally in enumerate(tallies):
            self._before[divmod(number, _abi.DIRECTIONS)] = tally

    def read(
        self, epoch: int, tick_id: int, *, first_id: int | None = None, thin_shift: int = 0
    ) -> Tick:
        """Read a closed epoch; the next one of its parity must not have begun.

        `first_id`: the tick it began in, for one that nobody closed in time. `thin_shift`: flows of
        1 in 2^thin_shift buckets, drawn anew each epoch, are told and stand for the others:
        estimates stay unbiased, bounds true, totals exact.
        """
        records, raw, hidden, ranks = _core.fold(
            *self._buffers, self._lg_buckets, self._cpus, epoch, thin_shift
        )
        tallies = np.frombuffer(raw, _abi.TALLY).copy()
        for direction in range(_abi.DIRECTIONS):
            self._to_growth(tallies[direction], (epoch & 1, direction))
        absent = None if hidden is None else Absent.from_bytes(hidden, self._placement)
        return Tick(
            id=tick_id,
            first_id=first_id,
            records=records,
            sides=(_side(tallies, _abi.IN, absent), _side(tallies, _abi.OUT, absent)),
            absent=absent,
            ranks=ranks,
            placement=self._placement,
        )

    def empty(self, tick_id: int, *, first_id: int | None = None) -> Tick:
        """Give a tick in which nothing was counted."""
        return Tick(
            id=tick_id,
            first_id=first_id,
            records=b"",
            sides=(_EMPTY, _EMPTY),
            placement=self._placement,
        )

    def next_sample_shift(self, tick: Tick) -> int:
        """Choose how many flows to sample, so that a tick like this one half fills their slots."""
        inserts = max(side.inserts for side in tick.sides)
        sample_slots = _abi.WAYS << self._lg_buckets >> 3
        least, most = _abi.SAMPLE_SHIFT_LEAST, _abi.SAMPLE_SHIFT_MOST
        return next((n for n in range(least, most) if inserts >> n <= sample_slots // 2), most)

    def _to_growth(self, tally: NDArray[np.void], place: tuple[int, int]) -> None:
        """Make what slices count for ever what it grew by since this parity was read last."""
        before, self._before[place] = self._before[place], tally.copy()
        for field in _GROWING:
            tally[field] -= before[field]


def _side(tallies: NDArray[np.void], direction: int, absent: Absent | None) -> Side:
    """Give one direction's sums; its cumulative fields are growth already."""
    tally = tallies[direction]
    contended_packets, contended_bytes = (
        int(tally["contended_packets"]),
        int(tally["contended_bytes"]),
    )
    packets, ip_bytes = absent.most(direction) if absent else (0, 0)
    return Side(
        packets=int(tally["packets"]) + contended_packets,
        ip_bytes=int(tally["bytes"]) + contended_bytes,
        spilled_packets=int(tally["spilled_packets"]),
        spilled_bytes=int(tally["spilled_bytes"]),
        contended_packets=contended_packets,
        contended_bytes=contended_bytes,
        thinned_packets=int(tally["thinned_packets"]),
        thinned_bytes=int(tally["thinned_bytes"]),
        absent_packets=packets + contended_packets,
        absent_bytes=ip_bytes + contended_bytes,
        inserts=int(tally["inserts"]),
        drops={name: int(tally["drops"][cause]) for name, cause in DROP_CAUSES.items()},
        used_buckets=int(tally["used_buckets"]),
        spilled_buckets=int(tally["spilled_buckets"]),
    )
