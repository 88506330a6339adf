"""Kept: what a window holds, as bytes, so that another process can go on with it."""

from __future__ import annotations

import msgspec


class KeptTable(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of one counter."""

    entries: bytes
    """`ns_entry[n]`."""
    absent_packets: int
    absent_bytes: int
    purges: int


class KeptWindow(msgspec.Struct, frozen=True, kw_only=True):
    """All of a window but its task."""

    totals: KeptTable
    tables: dict[str, KeptTable]
    """By key type."""
    hidden: dict[str, int]
    contended: dict[str, int]
    unread: dict[str, int]
    absent: bytes | None
    """`Absent.table`, good for one flow table alone: it says where flows live there."""
    ranks: dict[str, bytes]
    """By key type; good for one flow table alone, for the same reason."""
    first_tick: int | None
    last_tick: int | None

    @property
    def size_bytes(self) -> int:
        """About how long it is when written down."""
        parts = [self.totals.entries, self.absent or b"", *self.ranks.values()]
        return sum(map(len, [*parts, *(table.entries for table in self.tables.values())]))

    def for_another_table(self) -> KeptWindow | None:
        """Leave out what a flow table with another hash key or size cannot go on with.

        None when that would make a bound false: then some flows were hidden, and nobody would know
        any more which.
        """
        if self.absent is not None:
            return None
        return msgspec.structs.replace(self, ranks={})
