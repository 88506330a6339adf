"""Summary: the answer of one part of the network to one question, ready to be merged.

The one idea: every key carries `[lower, upper]`, and every summary says how much a key that is
*not* in it may have (`absent_upper`). Sums of bounds are bounds, so summaries of disjoint traffic
merge in any tree shape and the result is still certain (Agarwal et al., Mergeable Summaries, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from netsonde.model.bound import Bound
from netsonde.model.errors import ProtocolError
from netsonde.model.key import KEY_BYTES

Keys = NDArray[np.void]
"""Shape (n,), dtype V40: masked flow keys."""
Counts = NDArray[np.int64]
"""Shape (n,): packets or bytes, whichever the counter adds."""
Flags = NDArray[np.bool_]

KEY_DTYPE = np.dtype((np.void, KEY_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key of a summary."""

    key: bytes
    count: Bound
    heavy: bool
    """Whether the key exceeds the counter's threshold at some host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Totals of a task in a window, and per-key counts of one of its counters."""

    fingerprint: str
    """Filter, key type, increment and window; unlike fingerprints never merge."""
    total_packets: Bound
    """Packets the task's filter took in the window."""
    total_bytes: Bound
    """IP bytes of those packets."""
    keys: Keys
    lower: Counts
    estimate: Counts
    upper: Counts
    heavy: Flags
    absent_upper: int
    """Most that a key outside `keys` can have."""
    distinct: Bound
    """Number of distinct keys."""
    first_tick: int
    last_tick: int

    @classmethod
    def merged(cls, parts: Sequence[Summary], limit: int) -> Summary:
        """Merge summaries of disjoint traffic and keep at most `limit` keys.

        Heavy keys are kept first, then the largest. Guarantees `lower <= truth <= upper` for every
        key, present or not. Raises ProtocolError when the parts answer different questions.
        """
        first = parts[0]
        if any(part.fingerprint != first.fingerprint for part in parts):
            raise ProtocolError("summaries of different questions cannot be merged")
        keys, inverse = np.unique(np.concatenate([p.keys for p in parts]), return_inverse=True)
        absent = sum(part.absent_upper for part in parts)
        over = np.concatenate([p.upper - p.absent_upper for p in parts])
        joined = cls(
            fingerprint=first.fingerprint,
            total_packets=_sum([p.total_packets for p in parts]),
            total_bytes=_sum([p.total_bytes for p in parts]),
            keys=keys,
            lower=_add_up(inverse, np.concatenate([p.lower for p in parts]), len(keys)),
            estimate=_add_up(inverse, np.concatenate([p.estimate for p in parts]), len(keys)),
            upper=_add_up(inverse, over, len(keys)) + absent,
            heavy=_add_up(inverse, np.concatenate([p.heavy for p in parts]), len(keys)) > 0,
            absent_upper=absent,
            distinct=_joined_distinct(parts, len(keys)),
            first_tick=min(p.first_tick for p in parts),
            last_tick=max(p.last_tick for p in parts),
        )
        return joined.limited(limit)

    def limited(self, limit: int) -> Summary:
        """Keep at most `limit` keys; what is dropped widens `absent_upper`."""
        if len(self.keys) <= limit:
            return self
        order = np.lexsort((self.upper, self.heavy))[::-1]
        kept, dropped = order[:limit], order[limit:]
        return replace(
            self,
            keys=self.keys[kept],
            lower=self.lower[kept],
            estimate=self.estimate[kept],
            upper=self.upper[kept],
            heavy=self.heavy[kept],
            absent_upper=max(self.absent_upper, int(self.upper[dropped].max())),
        )

    def rows(self) -> list[Row]:
        """List the keys, largest estimate first, ties by key."""
        order = np.lexsort((self.keys.view("S40"), -self.estimate))
        return [
            Row(
                key=self.keys[i].tobytes(),
                count=Bound(
                    lower=int(self.lower[i]),
                    estimate=int(self.estimate[i]),
                    upper=int(self.upper[i]),
                ),
                heavy=bool(self.heavy[i]),
            )
            for i in order
        ]

    def count(self, key: bytes) -> Bound:
        """Bound one key's count, whether it is in the summary or not."""
        found = np.flatnonzero(self.keys == np.void(key))
        if not len(found):
            return Bound(lower=0, estimate=0, upper=self.absent_upper)
        i = int(found[0])
        return Bound(
            lower=int(self.lower[i]), estimate=int(self.estimate[i]), upper=int(self.upper[i])
        )

    def to_bytes(self) -> bytes:
        """Write it for the wire; arrays are little-endian."""
        return msgspec.msgpack.encode(
            _Wire(
                fingerprint=self.fingerprint,
                total_packets=self.total_packets,
                total_bytes=self.total_bytes,
                keys=self.keys.tobytes(),
                counts=np.stack([self.lower, self.estimate, self.upper]).astype("<i8").tobytes(),
                heavy=self.heavy.astype(np.uint8).tobytes(),
                absent_upper=self.absent_upper,
                distinct=self.distinct,
                first_tick=self.first_tick,
                last_tick=self.last_tick,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Summary:
        """Read what `to_bytes` wrote; raises ProtocolError on anything else."""
        try:
            wire = msgspec.msgpack.decode(data, type=_Wire)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"cannot read a summary: {error}") from None
        n = len(wire.heavy)
        if len(wire.keys) != n * KEY_BYTES or len(wire.counts) != n * 24:
            raise ProtocolError(f"a summary of {n} keys has arrays of other lengths")
        lower, estimate, upper = np.frombuffer(wire.counts, "<i8").reshape(3, n)
        return cls(
            fingerprint=wire.fingerprint,
            total_packets=wire.total_packets,
            total_bytes=wire.total_bytes,
            keys=np.frombuffer(wire.keys, KEY_DTYPE),
            lower=lower,
            estimate=estimate,
            upper=upper,
            heavy=np.frombuffer(wire.heavy, np.uint8) != 0,
            absent_upper=wire.absent_upper,
            distinct=wire.distinct,
            first_tick=wire.first_tick,
            last_tick=wire.last_tick,
        )


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    fingerprint: str
    total_packets: Bound
    total_bytes: Bound
    keys: bytes
    counts: bytes
    heavy: bytes
    absent_upper: int
    distinct: Bound
    first_tick: int
    last_tick: int


def _add_up(inverse: NDArray[np.intp], values: NDArray[np.generic], size: int) -> Counts:
    total = np.zeros(size, np.int64)
    np.add.at(total, inverse.reshape(-1), values.astype(np.int64))
    return total


def _sum(bounds: Sequence[Bound]) -> Bound:
    total = Bound.exactly(0)
    for bound in bounds:
        total = total + bound
    return total


def _joined_distinct(parts: Sequence[Summary], union: int) -> Bound:
    """Count the union of the parts' keys: exact only when every part listed all of its own."""
    hidden = [p.distinct.upper - len(p.keys) for p in parts]
    lower = max(union, *(p.distinct.lower for p in parts))
    estimate = union + sum(max(0, p.distinct.estimate - len(p.keys)) for p in parts)
    return Bound(lower=lower, estimate=max(lower, estimate), upper=union + sum(hidden))
