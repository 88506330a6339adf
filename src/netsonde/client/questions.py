"""Questions as keyword arguments, made into the structs that are sent.

Nothing is checked here: the service does, and its answer names field, value and what is allowed.
"""

from __future__ import annotations

from typing import Literal, TypedDict, TypeVar

import msgspec

from netsonde.model.asked import FilterText, PortText
from netsonde.model.resource import CounterSpec
from netsonde.model.task import Scope


class FilterFields(TypedDict, total=False):
    """Which packets count; what is left out matches everything. As in `FilterText`."""

    interface: str
    family: Literal[4, 6]
    proto: str | int
    src: str
    dst: str
    sport: PortText
    dport: PortText
    flow: Literal["any", "attempt", "half_open", "unasked", "probe"]


class About(FilterFields, total=False):
    """What every question takes: a task or a filter, a window, a scope."""

    task: int
    window: str
    scope: Scope


Q = TypeVar("Q", bound=msgspec.Struct)


def question(kind: type[Q], about: About, **fields: object) -> Q:
    """Make a question of a kind; without any field of a filter it has none."""
    taken = dict(about)
    filtered = {name: taken.pop(name) for name in FilterText.__struct_fields__ if name in taken}
    made = msgspec.structs.replace(FilterText(), **filtered)
    return kind(**taken, **fields, filter=made if filtered else None)


def counter(written: CounterSpec | str) -> CounterSpec:
    """Make a counter of its short form: `src_dst` or `src_dst:bytes`."""
    if isinstance(written, CounterSpec):
        return written
    by, _, increment = written.partition(":")
    return msgspec.structs.replace(CounterSpec(by=by), increment=increment or "packets")
