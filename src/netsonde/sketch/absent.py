"""Absent: the most that a flow may have which no record holds, by the bucket it would be in.

The one idea: a flow lives in one bucket of each slice, known from its keyed hash, so only what was
hidden there can be its own. Ticks add up bucket by bucket, so the bound of a window is exact
arithmetic, not a guess about all flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsonde.sketch import _abi, _core

COLUMNS = ("packets", "bytes")
_BYTES = np.dtype((np.void, _abi.KEY.itemsize))
"""Keys as bytes: copied field by field they would cost five times as much."""


def placement(hash_key: Sequence[int], lg_buckets: int) -> bytes:
    """Give the `ns_config` that places flows: 8 secret words, log2 of the buckets of a slice."""
    config = np.zeros((), _abi.CONFIG)
    config["hash_key"], config["lg_buckets"] = hash_key, lg_buckets
    config["sample_shift"] = _abi.SAMPLE_SHIFT_LEAST
    return config.tobytes()


@dataclass(frozen=True, slots=True)
class Absent:
    """Bounds for flows without a record, in one or more ticks."""

    table: NDArray[np.int64]
    """Shape (directions, buckets, 2): packets and bytes."""
    placement: bytes
    """`ns_config`: where a flow lives."""

    @classmethod
    def from_bytes(cls, data: bytes, placement: bytes) -> Absent:
        """View what `_core.fold` gave."""
        return cls(np.frombuffer(data, "<i8").reshape(_abi.DIRECTIONS, -1, 2), placement)

    def __add__(self, other: Absent) -> Absent:
        """Add another tick of the same table."""
        return Absent(self.table + other.table, self.placement)

    def most(self, direction: int) -> tuple[int, int]:
        """Give E, packets and bytes: a flow of this direction with more has a record in each tick.

        A sampled flow may have moved from its main bucket to its sample bucket when the rate of
        sampling changed between ticks, so both count.
        """
        sample = self.table.shape[1] // 8
        side = self.table[direction]
        packets, ip_bytes = side[:-sample].max(axis=0) + side[-sample:].max(axis=0)
        return int(packets), int(ip_bytes)

    def of(self, keys: NDArray[np.void], sides: Sequence[int]) -> NDArray[np.int64]:
        """Bound five-tuples (dtype KEY, direction and flags ignored): shape (n, 2).

        A five-tuple without ports may stand for two flows, of packets with ports that are 0 and of
        packets that have none.
        """
        total = np.zeros((len(keys), 2), np.int64)
        without_ports = np.flatnonzero((keys["sport"] == 0) & (keys["dport"] == 0))
        for side in sides:
            total += self._of(keys.view(_BYTES).copy().view(_abi.KEY), side, _abi.KEY_HAS_PORTS)
            total[without_ports] += self._of(keys[without_ports], side, 0)
        return total

    def _of(self, flows: NDArray[np.void], side: int, flags: int) -> NDArray[np.int64]:
        """Bound flows, whose direction and flags are set: what their two buckets hid."""
        flows["direction"], flows["flags"] = side, flags
        places = np.frombuffer(_core.places(self.placement, flows.data), "<u4")
        bound = np.empty((len(flows), 2), np.int64)
        for column in range(2):  # by columns: taking pairs costs five times as much
            hidden = np.append(self.table[side, :, column], 0)  # the last: no second bucket
            bound[:, column] = hidden.take(places[::2]) + hidden.take(places[1::2])
        return bound

    def of_any(self, sides: Sequence[int]) -> tuple[int, int]:
        """Bound any five-tuple, packets and bytes; twice E, as it may stand for two flows."""
        each = [self.most(side) for side in sides]
        return 2 * sum(packets for packets, _ in each), 2 * sum(size for _, size in each)
