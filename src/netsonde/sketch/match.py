"""A task's filter as the record that `core/match.h` evaluates."""

from __future__ import annotations

import numpy as np

from netsonde.model.address import prefix_bytes
from netsonde.model.task import Filter, Interface
from netsonde.sketch import _abi

ANY_PROTO = 256
DIRECTIONS = {
    Interface.INPUT: (_abi.IN,),
    Interface.OUTPUT: (_abi.OUT,),
    Interface.BOTH: (_abi.IN, _abi.OUT),
}


def match_bytes(task_filter: Filter) -> bytes:
    """Give the `ns_match` of a filter."""
    match = np.zeros((), _abi.MATCH)
    for field in ("src", "dst"):
        prefix = getattr(task_filter, field)
        if prefix is not None:
            address, bits = prefix_bytes(prefix)
            mask = ((1 << bits) - 1 << (128 - bits)).to_bytes(16, "big")
            match[field] = np.frombuffer(address, "<u8")
            match[field + "_mask"] = np.frombuffer(mask, "<u8")
    match["directions"] = sum(1 << side for side in DIRECTIONS[task_filter.interface])
    match["proto"] = ANY_PROTO if task_filter.proto is None else task_filter.proto
    return match.tobytes()
