"""A task's filter as the record that `core/match.h` evaluates."""

from __future__ import annotations

import numpy as np

from netsonde.model import port
from netsonde.model.address import prefix_bytes
from netsonde.model.flow import FlowClass
from netsonde.model.task import Filter, Interface
from netsonde.sketch import _abi

ANY_PROTO = 256
ANY_FAMILY = 0
DIRECTIONS = {
    Interface.INPUT: (_abi.IN,),
    Interface.OUTPUT: (_abi.OUT,),
    Interface.BOTH: (_abi.IN, _abi.OUT),
}
_FLOW_CLASSES = {
    FlowClass.ANY: _abi.FLOW_ANY,
    FlowClass.ATTEMPT: _abi.FLOW_ATTEMPT,
    FlowClass.HALF_OPEN: _abi.FLOW_HALF_OPEN,
    FlowClass.UNASKED: _abi.FLOW_UNASKED,
    FlowClass.PROBE: _abi.FLOW_PROBE,
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
    match["family"] = ANY_FAMILY if task_filter.family is None else task_filter.family
    match["flow_class"] = _FLOW_CLASSES[task_filter.flow]
    for field in ("sport", "dport"):
        text = getattr(task_filter, field)
        if text is not None:
            found = port.ranges(text)
            match[field + "s"] = len(found)
            for number, ends in enumerate(found):
                match[field][number] = ends
    return match.tobytes()
