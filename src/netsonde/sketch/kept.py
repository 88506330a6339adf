"""Kept: what a window holds, as bytes, so that another process can go on with it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from netsonde.model.number import Count, LastTick, Tick
from netsonde.model.task import MAX_COUNTERS
from netsonde.model.text import Text80

MAX_KEPT_BYTES = 16 << 20
"""Of all windows that are kept; those beyond it are left out: their tasks begin anew, and their
answers say so."""

KeptBytes = Annotated[bytes, Meta(max_length=MAX_KEPT_BYTES)]
Columns = Annotated[dict[Text80, Count], Meta(max_length=8)]
"""By what is counted: packets, bytes, flows."""


class KeptTable(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of one counter."""

    entries: KeptBytes
    """`ns_entry[n]`."""
    absent_packets: Count
    absent_bytes: Count
    purges: Count


class KeptWindow(msgspec.Struct, frozen=True, kw_only=True):
    """All of a window but its task."""

    totals: KeptTable
    tables: Annotated[dict[Text80, KeptTable], Meta(max_length=MAX_COUNTERS)]
    """By key type."""
    hidden: Columns
    contended: Columns
    unread: Columns
    absent: KeptBytes | None
    """`Absent.table`, good for one flow table alone: it says where flows live there."""
    ranks: Annotated[dict[Text80, KeptBytes], Meta(max_length=MAX_COUNTERS)]
    """By key type; good for one flow table alone, for the same reason."""
    first_tick: Tick | None
    last_tick: LastTick | None

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
