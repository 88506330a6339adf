"""Summary: the answer of one part of the network to one question, ready to be merged.

The one idea: every key carries `[lower, upper]`, and every summary says how much a key that is
*not* in it may have (`absent_upper`). Sums of bounds are bounds, so summaries of disjoint traffic
merge in any tree shape and the result is still certain (Agarwal et al., Mergeable Summaries, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from netsonde.model import encoded
from netsonde.model.bound import Bound
from netsonde.model.errors import ProtocolError
from netsonde.model.key import KEY_BYTES
from netsonde.model.number import Count, LastTick, Ratio, Tick
from netsonde.model.task import MAX_KEYS
from netsonde.model.text import Text2000
from netsonde.sketch.columns import MAX_PART_BYTES, packed, packed_bounds, unpacked, unpacked_bounds

Keys = NDArray[np.void]
"""Shape (n,), dtype V40: masked flow keys."""
Counts = NDArray[np.int64]
"""Shape (n,): packets or bytes, whichever the counter adds."""
Flags = NDArray[np.bool_]

KEY_DTYPE = np.dtype((np.void, KEY_BYTES))
_COUNT_DTYPE = np.dtype("<i8")
_FLAG_DTYPE = np.dtype(np.uint8)
_MIX = np.array([0x9E3779B97F4A7C15 * n % (1 << 64) | 1 for n in range(1, 6)], np.uint64)
"""Odd numbers, one for each eight bytes of a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key of a summary."""

    key: bytes
    count: Bound
    heavy: bool
    """Whether the key exceeds the counter's threshold at some host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Totals of a filter in a window, and per-key counts by one key type."""

    fingerprint: str
    """Filter, key types, increment and window (`part.fingerprint`); unlike ones never merge."""
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
    distinct_error: float | None = None
    """Relative standard error of `distinct.estimate`: 0 exact, None unknown within the bounds."""
    first_tick: int
    last_tick: int
    union: bool = False
    """Counts are sizes of sets (distinct `of` of each key) that may overlap between hosts."""

    @property
    def most(self) -> int:
        """Largest of its numbers."""
        bounds = (self.total_packets.upper, self.total_bytes.upper, self.distinct.upper)
        return max(*bounds, self.absent_upper, int(self.upper.max(initial=0)))

    @classmethod
    def merged(cls, parts: Sequence[Summary], limit: int) -> Summary:
        """Merge summaries of disjoint traffic and keep at most `limit` keys.

        Heavy keys are kept first, then the largest. Guarantees `lower <= truth <= upper` for every
        key, present or not. Counts add up. Sizes of sets do not where any of them may overlap
        (`union`): the union of sets is at least as large as the largest of them and at most as
        their sum, so `lower` is the largest lower bound and `upper` the sum. Its estimate is the
        sum of the estimates, as if nothing overlapped, which for traffic *to* a host is what hosts
        mostly see.

        Raises ProtocolError when the parts answer different questions.
        """
        first = parts[0]
        if any(part.fingerprint != first.fingerprint for part in parts):
            raise ProtocolError("summaries of different questions cannot be merged")
        if len(parts) == 1:
            return first.limited(limit)
        keys, inverse = np.unique(np.concatenate([p.keys for p in parts]), return_inverse=True)
        union = any(part.union for part in parts)
        places, size = inverse.reshape(-1), len(keys)
        absent = sum(part.absent_upper for part in parts)
        over = np.concatenate([p.upper - p.absent_upper for p in parts])
        lowers = np.concatenate([p.lower for p in parts])
        distinct = _joined_distinct(parts, size)
        joined = cls(
            fingerprint=first.fingerprint,
            total_packets=_sum([p.total_packets for p in parts]),
            total_bytes=_sum([p.total_bytes for p in parts]),
            keys=keys,
            lower=(_largest if union else _add_up)(places, lowers, size),
            estimate=_add_up(places, np.concatenate([p.estimate for p in parts]), size),
            upper=_add_up(places, over, size) + absent,
            heavy=_add_up(places, np.concatenate([p.heavy for p in parts]), size) > 0,
            absent_upper=absent,
            distinct=distinct,
            distinct_error=0.0 if distinct.exact else None,
            first_tick=min(p.first_tick for p in parts),
            last_tick=max(p.last_tick for p in parts),
            union=union,
        )
        return joined.limited(limit)

    def limited(self, limit: int) -> Summary:
        """Keep at most `limit` keys; what is dropped widens `absent_upper`."""
        if len(self.keys) <= limit:
            return self
        # Bounds are below 2^62: what is heavy comes before all that is not.
        rank = np.where(self.heavy, self.upper + (1 << 62), self.upper)
        bar = np.sort(rank)[-limit]  # partitioning takes ten times as long where most are equal
        above = np.flatnonzero(rank > bar)
        kept = np.append(above, np.flatnonzero(rank == bar)[: limit - len(above)])
        kept = kept[np.argsort(-rank[kept], kind="stable")]
        dropped = np.ones(len(rank), np.bool_)
        dropped[kept] = False
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
        """Write it for the wire: under 8 MiB, as a frame is, with MAX_KEYS keys."""
        columns = [self.keys, *packed_bounds(self.lower, self.estimate, self.upper)]
        return encoded.packed(
            _Wire(
                fingerprint=self.fingerprint,
                total_packets=self.total_packets,
                total_bytes=self.total_bytes,
                size=len(self.keys),
                rows=packed([*columns, self.heavy.astype(_FLAG_DTYPE)]),
                absent_upper=self.absent_upper,
                distinct=self.distinct,
                distinct_error=self.distinct_error,
                first_tick=self.first_tick,
                last_tick=self.last_tick,
                union=self.union,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Summary:
        """Read what `to_bytes` wrote; raises ProtocolError on anything else."""
        try:
            wire = msgspec.msgpack.decode(data, type=_Wire)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"cannot read a summary: {error}") from None
        dtypes = [KEY_DTYPE, _COUNT_DTYPE, _COUNT_DTYPE, _COUNT_DTYPE, _FLAG_DTYPE]
        _check(wire)
        keys, *bounds, heavy = unpacked(wire.rows, wire.size, dtypes)
        lower, estimate, upper = unpacked_bounds(bounds)
        if _any_twice(cast(Keys, keys)):
            raise ProtocolError("a key more than once")
        return cls(
            fingerprint=wire.fingerprint,
            total_packets=wire.total_packets,
            total_bytes=wire.total_bytes,
            keys=cast(Keys, keys),
            lower=lower,
            estimate=estimate,
            upper=upper,
            heavy=heavy != 0,
            absent_upper=wire.absent_upper,
            distinct=wire.distinct,
            distinct_error=wire.distinct_error,
            first_tick=wire.first_tick,
            last_tick=wire.last_tick,
            union=wire.union,
        )


class _Wire(msgspec.Struct, frozen=True, kw_only=True, tag="summary"):
    fingerprint: Text2000
    total_packets: Bound
    total_bytes: Bound
    size: Annotated[int, Meta(ge=0, le=MAX_KEYS)]
    rows: Annotated[bytes, Meta(max_length=MAX_PART_BYTES)]
    """Columns: key, lower, estimate - lower, upper - estimate, heavy."""
    absent_upper: Count
    distinct: Bound
    distinct_error: Ratio | None
    first_tick: Tick
    last_tick: LastTick
    union: bool


def _check(wire: _Wire) -> None:
    """Raise ProtocolError unless its numbers can be true."""
    for name in ("total_packets", "total_bytes", "distinct"):
        bound: Bound = getattr(wire, name)
        if not 0 <= bound.lower <= bound.estimate <= bound.upper:
            raise ProtocolError(f"{name}: not 0 <= lower <= estimate <= upper")
    if wire.distinct.upper < wire.size:
        raise ProtocolError(f"at most {wire.distinct.upper} keys, and {wire.size} of them")


def _any_twice(keys: Keys) -> bool:
    """Tell whether a key is there more than once: by a hash, and only where that is by itself."""
    # Sorted by hand: np.unique loads numpy.ma at its first call, which may be no longer readable.
    hashes = np.sort(keys.view("<u8").reshape(len(keys), len(_MIX)) @ _MIX)
    maybe = bool((hashes[1:] == hashes[:-1]).any())
    return maybe and len(set(keys.tolist())) < len(keys)


def _add_up(places: NDArray[np.intp], values: NDArray[np.generic], size: int) -> Counts:
    total = np.zeros(size, np.int64)
    np.add.at(total, places, values.astype(np.int64))
    return total


def _largest(places: NDArray[np.intp], values: Counts, size: int) -> Counts:
    most = np.zeros(size, np.int64)
    np.maximum.at(most, places, values)
    return most


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
