"""Numbers from outside: from where to where they may be.

The bounds leave room for sums: of 2^60 a few may be added in 64 bits before anybody looks.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_COUNT = 1 << 60
"""Packets or bytes: 100 Gbit/s for three years."""
MAX_TICK = 1 << 40
"""Ticks end in the year 5454."""
MAX_WALL_NS = (1 << 63) - 1
"""Nanoseconds since 1970 that 64 bits hold: until 2262."""
MAX_MS = 1 << 40
"""34 years."""
MAX_APART_MS = 1 << 44
"""557 years: more than from any wall time to any other, and how wrong that can be."""
MAX_RATIO = 1e6
MAX_RETRY_S = 3600.0
"""Longest pause before trying again that another process may tell."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""Packets, bytes, keys, times that something happened."""
Positive = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Difference = Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)]
"""Between two counts."""
Tick = Annotated[int, Meta(ge=0, le=MAX_TICK)]
"""Unix time in 100 ms."""
LastTick = Annotated[int, Meta(ge=-1, le=MAX_TICK)]
"""Of a window; of an empty one it is the one before its first, which may be 0."""
WallNs = Annotated[int, Meta(ge=0, le=MAX_WALL_NS)]
"""Unix time in nanoseconds."""
Milliseconds = Annotated[int, Meta(ge=0, le=MAX_MS)]
SignedMs = Annotated[int, Meta(ge=-MAX_APART_MS, le=MAX_APART_MS)]
"""From any wall time to any other: a host without a battery believes that it is 1970."""
RealMs = Annotated[float, Meta(ge=0, le=MAX_MS)]
SignedRealMs = Annotated[float, Meta(ge=-MAX_APART_MS, le=MAX_APART_MS)]
Seconds = Annotated[float, Meta(ge=0, le=MAX_MS)]
Retry = Annotated[float, Meta(ge=0, le=MAX_RETRY_S)]
"""Seconds after which trying again makes sense."""
Rate = Annotated[float, Meta(ge=0, le=MAX_COUNT)]
"""Bytes a second."""
Ratio = Annotated[float, Meta(ge=0, le=MAX_RATIO)]
"""Of a whole, or of several."""
Share = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
OpenPort = Annotated[int, Meta(ge=1, le=65535)]
"""A port that somebody listens on."""
Octet = Annotated[int, Meta(ge=0, le=255)]
Written = Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)]
"""A number as somebody wrote it; who knows what it stands for checks it, and says what may be."""
