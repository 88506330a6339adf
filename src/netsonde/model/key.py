"""Key types: which fields of a packet make the key of a counter.

A key is the 40-byte flow key of `core/abi.h` with the fields that do not count zeroed. As text its
parts are joined with commas in the order of the key type's name: `src_dst` gives
`10.0.0.6,10.0.0.5`. Protocols are numbers (IANA), as in tshark's five-tuples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from netsonde.model import address
from netsonde.model.errors import BadField

FIELDS = ("src", "dst", "sport", "dport", "proto")
"""Fields a key type may combine, each at most once, in any order."""

KEY_BYTES = 40
HAS_PORTS = 1
"""Bit of the key's flags byte: set when the packet carried ports (`NS_KEY_HAS_PORTS`)."""

_LAYOUT = {"src": (0, 16), "dst": (16, 16), "sport": (32, 2), "dport": (34, 2), "proto": (36, 1)}
_FLAGS_OFFSET = 38
_ALLOWED = "src, dst, sport, dport and proto joined by '_', each at most once, such as src_dport"


@dataclass(frozen=True, slots=True)
class KeyType:
    """An ordered choice of key fields."""

    fields: tuple[str, ...]

    @classmethod
    def parse(cls, name: str, field: str = "counter_key_type") -> KeyType:
        """Read a name such as `src_dst`; raises BadField naming `field`."""
        fields = tuple(name.split("_"))
        if len(set(fields)) != len(fields) or not set(fields) <= set(FIELDS):
            raise BadField(field, name, _ALLOWED)
        return cls(fields)

    @property
    def name(self) -> str:
        """The name it was made from."""
        return "_".join(self.fields)

    @property
    def needs_ports(self) -> bool:
        """Whether packets without ports (ICMP, later fragments) are left out.

        They are, for every key type with a port except the whole five-tuple, where a port of 0
        stands for "none": a table of ports has no row for traffic that has none.
        """
        return bool({"sport", "dport"} & set(self.fields)) and not self.is_flow

    @property
    def is_flow(self) -> bool:
        """Whether it is the whole five-tuple, in any order."""
        return set(self.fields) == set(FIELDS)

    def mask(self) -> bytes:
        """Give the 40-byte mask that leaves only this key type's fields of a flow key."""
        mask = bytearray(KEY_BYTES)
        for name in self.fields:
            offset, size = _LAYOUT[name]
            mask[offset : offset + size] = b"\xff" * size
        return bytes(mask)

    def format(self, key: bytes) -> str:
        """Write a masked 40-byte key as text."""
        return ",".join(_format_field(name, key) for name in self.fields)

    def parse_key(self, value: str, field: str = "counter_key") -> bytes:
        """Read a key's text into its masked 40 bytes; raises BadField naming `field`."""
        parts = value.split(",")
        allowed = (
            f"{len(self.fields)} value(s) joined by ',' for {self.name}, such as {self._sample()}"
        )
        if len(parts) != len(self.fields):
            raise BadField(field, value, allowed)
        key = bytearray(KEY_BYTES)
        try:
            for name, part in zip(self.fields, parts, strict=True):
                offset, size = _LAYOUT[name]
                key[offset : offset + size] = _parse_field(name, part.strip())
        except (ValueError, struct.error):
            raise BadField(field, value, allowed) from None
        return bytes(key)

    def _sample(self) -> str:
        samples = {
            "src": "10.0.0.6",
            "dst": "10.0.0.5",
            "sport": "40000",
            "dport": "443",
            "proto": "6",
        }
        return ",".join(samples[name] for name in self.fields)


def _format_field(name: str, key: bytes) -> str:
    offset, size = _LAYOUT[name]
    raw = key[offset : offset + size]
    return address.text(raw) if size == 16 else str(int.from_bytes(raw, "little"))


def _parse_field(name: str, part: str) -> bytes:
    if name in ("src", "dst"):
        return address.mapped(part)
    return struct.pack("<H" if name in ("sport", "dport") else "<B", int(part))
