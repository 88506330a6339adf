"""Series: a count for each step of a window, of one part of the network, ready to be merged.

The one idea: a step is worth what was counted then, so each says how many hosts counted all of it.
Where fewer did than are in the series, its bounds are of what was counted alone, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from netsonde.model import encoded
from netsonde.model.bound import Bound
from netsonde.model.coverage import MAX_MEMBERS
from netsonde.model.errors import ProtocolError
from netsonde.model.number import MAX_TICK
from netsonde.model.text import Text2000
from netsonde.model.window import MAX_POINTS
from netsonde.sketch.columns import MAX_PART_BYTES, packed, packed_bounds, unpacked, unpacked_bounds
from netsonde.sketch.sets import ascending

Steps = NDArray[np.int64]
"""Shape (n,): a number for each step."""
Flags = NDArray[np.bool_]

STEP_TICKS = (1, 10, 100)
"""Lengths of a step."""

_DTYPE = np.dtype("<i8")
_FLAG_DTYPE = np.dtype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Counts of a filter, or of one of its keys, step by step."""

    fingerprint: str
    """Filter, key, increment, window and step (`part.fingerprint`); unlike ones never merge."""
    step_ticks: int
    first_ticks: Steps
    """Ascending wall ticks, each a multiple of `step_ticks`."""
    lower: Steps
    estimate: Steps
    upper: Steps
    counted: Flags
    """Steps in which anybody counted; False: nobody did, and the bounds say nothing."""
    hosts: Steps
    """Hosts that counted all of the step."""
    of_hosts: int = 1
    """Hosts in the series."""

    @property
    def complete(self) -> bool:
        """Whether every host counted all of every step."""
        return bool((self.hosts == self.of_hosts).all())

    @property
    def most(self) -> int:
        """Largest of its numbers."""
        return max(int(self.upper.max(initial=0)), self.of_hosts)

    @classmethod
    def merged(cls, parts: Sequence[Series]) -> Series:
        """Add series of disjoint traffic, step by step; associative and commutative.

        Raises ProtocolError when they answer different questions.
        """
        first = parts[0]
        asked = (first.fingerprint, first.step_ticks)
        if any((part.fingerprint, part.step_ticks) != asked for part in parts):
            raise ProtocolError("series of different questions cannot be merged")
        ticks = ascending(np.concatenate([part.first_ticks for part in parts]))
        if len(ticks) > MAX_POINTS:
            raise ProtocolError(f"{len(ticks)} steps together, over {MAX_POINTS}")
        columns, counted = np.zeros((4, len(ticks)), np.int64), np.zeros(len(ticks), np.bool_)
        for part in parts:
            places = np.searchsorted(ticks, part.first_ticks)
            bounds = np.stack([part.lower, part.estimate, part.upper]) * part.counted
            columns[:3, places] += bounds
            columns[3, places] += part.hosts
            counted[places] |= part.counted
        lower, estimate, upper, hosts = columns
        return cls(
            fingerprint=first.fingerprint,
            step_ticks=first.step_ticks,
            first_ticks=ticks,
            lower=lower,
            estimate=estimate,
            upper=upper,
            counted=counted,
            hosts=hosts,
            of_hosts=sum(part.of_hosts for part in parts),
        )

    def count(self, index: int) -> Bound | None:
        """Bound what was counted in one step; None: nobody counted then."""
        if not self.counted[index]:
            return None
        return Bound(
            lower=int(self.lower[index]),
            estimate=int(self.estimate[index]),
            upper=int(self.upper[index]),
        )

    def to_bytes(self) -> bytes:
        """Write it for the wire."""
        bounds = packed_bounds(self.lower, self.estimate, self.upper)
        columns = [self.first_ticks.astype(_DTYPE), *bounds, self.hosts.astype(_DTYPE)]
        columns.append(self.counted.astype(_FLAG_DTYPE))
        return encoded.packed(
            _Wire(
                fingerprint=self.fingerprint,
                step_ticks=self.step_ticks,
                size=len(self.first_ticks),
                steps=packed(columns),
                of_hosts=self.of_hosts,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Series:
        """Read what `to_bytes` wrote; raises ProtocolError on anything else."""
        try:
            wire = msgspec.msgpack.decode(data, type=_Wire)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"cannot read a series: {error}") from None
        dtypes: list[np.dtype[np.generic]] = [_DTYPE, _DTYPE, _DTYPE, _DTYPE, _DTYPE, _FLAG_DTYPE]
        ticks, *bounds, hosts, counted = unpacked(wire.steps, wire.size, dtypes)
        lower, estimate, upper = unpacked_bounds(bounds)
        one = cls(
            fingerprint=wire.fingerprint,
            step_ticks=wire.step_ticks,
            first_ticks=ticks.astype(np.int64),
            lower=lower,
            estimate=estimate,
            upper=upper,
            counted=counted != 0,
            hosts=hosts.astype(np.int64),
            of_hosts=wire.of_hosts,
        )
        if wire.step_ticks not in STEP_TICKS:
            raise ProtocolError(f"steps of {wire.step_ticks} ticks; known: {STEP_TICKS}")
        if ((one.first_ticks < 0) | (one.first_ticks > MAX_TICK)).any():
            raise ProtocolError(f"steps before tick 0 or after {MAX_TICK}")
        if (one.first_ticks % one.step_ticks).any() or (np.diff(one.first_ticks) <= 0).any():
            raise ProtocolError(f"steps that are not {one.step_ticks} ticks apart, in order")
        if ((one.hosts < 0) | (one.hosts > one.of_hosts)).any():
            raise ProtocolError(f"steps that other than 0 to {one.of_hosts} hosts counted")
        return one


class _Wire(msgspec.Struct, frozen=True, kw_only=True, tag="series"):
    fingerprint: Text2000
    step_ticks: Annotated[int, Meta(ge=1, le=100)]
    size: Annotated[int, Meta(ge=0, le=MAX_POINTS)]
    steps: Annotated[bytes, Meta(max_length=MAX_PART_BYTES)]
    """Columns: first tick, lower, estimate - lower, upper - estimate, hosts, counted."""
    of_hosts: Annotated[int, Meta(ge=0, le=MAX_MEMBERS)]
