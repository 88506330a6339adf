"""What an event says: one sentence for a person, and flows that show it.

A sentence is a detector's text with its fields put in by replacement alone: whoever writes a
detector is not trusted with a format string.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsonde.model import address
from netsonde.model.bound import Bound
from netsonde.model.detector import MAX_EVIDENCE, Detector, EvidenceRow
from netsonde.model.key import FIELDS, HAS_PORTS, KeyType
from netsonde.model.task import Increment
from netsonde.model.text import MAX_SENTENCE_CHARS, clipped
from netsonde.model.window import TICKS_PER_S
from netsonde.recorder.measure import Reading

_FLOW = KeyType.parse("_".join(FIELDS))
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Shown:
    """Evidence of a key, most packets first, at most MAX_EVIDENCE of each."""

    rows: tuple[EvidenceRow, ...] = ()
    sources: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def sentence(detector: Detector, key: bytes, reading: Reading, ticks: int) -> str:
    """Fill in a detector's sentence; `ticks`: how long the window really is."""
    kind = KeyType.parse(detector.by)
    text = kind.format(key)
    in_bytes = detector.measure != "spread" and detector.increment == Increment.BYTES
    filled = detector.sentence
    for name, value in {
        "key": text,
        **dict(zip(kind.fields, text.split(","), strict=True)),
        "count": _about(reading.count, in_bytes),
        "now": _size(reading.now) if in_bytes else str(reading.now),
        "before": _size(reading.before) if in_bytes else str(reading.before),
        "window": seconds(ticks),
    }.items():
        filled = filled.replace("{" + name + "}", value)
    return clipped(filled, MAX_SENTENCE_CHARS)


def seconds(ticks: int) -> str:
    """Write how long so many ticks are: `5 s`."""
    return f"{ticks / TICKS_PER_S:g} s"


def shown(flows: NDArray[np.void]) -> Shown:
    """Choose what to show of a key's flows (dtype RECORD)."""
    order = np.argsort(-flows["packets"].astype(np.int64), kind="stable")
    keys, packets = flows["key"][order], flows["packets"][order]
    with_ports = keys["flags"] & HAS_PORTS != 0
    return Shown(
        rows=tuple(
            EvidenceRow(
                flow=_FLOW.format(flow["key"].tobytes()),
                packets=int(flow["packets"]),
                bytes=int(flow["bytes"]),
            )
            for flow in flows[order[:MAX_EVIDENCE]]
        ),
        sources=tuple(
            address.text(source.tobytes())
            for source in _heaviest(np.ascontiguousarray(keys["src"]).view("V16")[:, 0], packets)
        ),
        ports=tuple(
            int(port) for port in _heaviest(keys["dport"][with_ports], packets[with_ports])
        ),
    )


def _heaviest(values: NDArray[np.generic], packets: NDArray[np.uint64]) -> NDArray[np.generic]:
    """Give the distinct values with most packets, ties by value."""
    distinct, inverse = np.unique(values, return_inverse=True)
    sums = np.zeros(len(distinct), np.int64)
    np.add.at(sums, inverse.reshape(-1), packets.astype(np.int64))
    chosen: NDArray[np.generic] = distinct[np.argsort(-sums, kind="stable")[:MAX_EVIDENCE]]
    return chosen


def _about(count: Bound, in_bytes: bool) -> str:
    number = _size(count.estimate) if in_bytes else str(count.estimate)
    return number if count.exact else f"about {number}"


def _size(ip_bytes: int) -> str:
    size = float(ip_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.3g} {unit}" if unit != "B" else f"{ip_bytes} B"
        size /= 1000
    raise AssertionError("the last unit takes any size")
