"""Key types: which fields of a packet make the key of a counter.

A key is the 40-byte flow key of `core/abi.h` with the fields that do not count zeroed. As text its
parts are joined with commas in the order of the key type's name: `src_dst` gives
`10.0.0.6,10.0.0.5`. Protocols are numbers (IANA), as in tshark's five-tuples.

Addresses may count by prefix: `src/24` joins IPv4 sources by /24 and IPv6 ones by /64, and
`src/16/48` by /16 and /48; such parts are written `10.0.0.0/24`.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Sequence
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
_ALLOWED = (
    "src, dst, sport, dport and proto joined by '_', each at most once, such as src_dport; "
    "addresses may have prefix lengths for IPv4 and IPv6, such as src/24 or dst/16/48"
)
_PART = re.compile(r"(src|dst)/(\d{1,2})(?:/(\d{1,3}))?|(src|dst|sport|dport|proto)", re.ASCII)
_WHOLE = (32, 128)
DEFAULT_PREFIX6 = 64
"""Length for IPv6 addresses where a key type gives one for IPv4 alone."""


@dataclass(frozen=True, slots=True)
class KeyType:
    """An ordered choice of key fields."""

    fields: tuple[str, ...]
    prefixes: tuple[tuple[int, int], ...]
    """Of each field: prefix lengths for IPv4 and IPv6; (32, 128) is the whole address."""
    name: str
    """Canonical: `src/24/64` is `src/24`, `src/32/128` is `src`."""

    @classmethod
    def parse(cls, name: str, field: str = "counter_key_type") -> KeyType:
        """Read a name such as `src_dst`; raises BadField naming `field`."""
        found = [_PART.fullmatch(part) for part in name.split("_")]
        fields = tuple(part[1] or part[4] for part in found if part)
        if len(fields) != len(found) or len(set(fields)) != len(fields):
            raise BadField(field, name, _ALLOWED)
        prefixes = tuple(
            (int(part[2]), int(part[3] or DEFAULT_PREFIX6)) if part[1] else _WHOLE
            for part in found
            if part
        )
        if any(v4 > 32 or v6 > 128 for v4, v6 in prefixes):
            raise BadField(field, name, _ALLOWED)
        pairs = zip(fields, prefixes, strict=True)
        return cls(fields, prefixes, "_".join(_canonical(*pair) for pair in pairs))

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
        return set(self.fields) == set(FIELDS) and set(self.prefixes) == {_WHOLE}

    def masks(self) -> bytes:
        """Give two 40-byte masks that leave only this key type's fields of a flow key.

        The first is for IPv4 flows, whose addresses are mapped into IPv6, the second for IPv6.
        """
        return self._mask(0) + self._mask(1)

    def format(self, key: bytes) -> str:
        """Write a masked 40-byte key as text."""
        pairs = zip(self.fields, self.prefixes, strict=True)
        return ",".join(_format_field(name, lengths, key) for name, lengths in pairs)

    def format_all(self, keys: Sequence[bytes]) -> list[str]:
        """Write many keys, each value of a field once: several times as fast as one by one."""
        pairs = zip(self.fields, self.prefixes, strict=True)
        columns = [_format_column(name, lengths, keys) for name, lengths in pairs]
        return [",".join(parts) for parts in zip(*columns, strict=True)]

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
            for name, lengths, part in zip(self.fields, self.prefixes, parts, strict=True):
                offset, size = _LAYOUT[name]
                key[offset : offset + size] = _parse_field(name, lengths, part.strip())
        except (ValueError, struct.error):
            raise BadField(field, value, allowed) from None
        return bytes(key)

    def _mask(self, family: int) -> bytes:
        mask = bytearray(KEY_BYTES)
        for name, lengths in zip(self.fields, self.prefixes, strict=True):
            offset, size = _LAYOUT[name]
            bits = lengths[family] + (0 if family else 96) if size == 16 else 8 * size
            ones = (1 << bits) - 1 << 8 * size - bits
            mask[offset : offset + size] = ones.to_bytes(size, "big")
        return bytes(mask)

    def _sample(self) -> str:
        samples = {
            "src": "10.0.0.6",
            "dst": "10.0.0.5",
            "sport": "40000",
            "dport": "443",
            "proto": "6",
        }
        pairs = zip(self.fields, self.prefixes, strict=True)
        return ",".join(
            samples[name] if lengths == _WHOLE else _network(samples[name], lengths)
            for name, lengths in pairs
        )


def _canonical(name: str, lengths: tuple[int, int]) -> str:
    v4, v6 = lengths
    if lengths == _WHOLE:
        return name
    return f"{name}/{v4}" if v6 == DEFAULT_PREFIX6 else f"{name}/{v4}/{v6}"


def _network(text: str, lengths: tuple[int, int]) -> str:
    bits = lengths[":" in text]
    return str(ipaddress.ip_network(f"{text}/{bits}", strict=False))


def _format_field(name: str, lengths: tuple[int, int], key: bytes) -> str:
    offset, size = _LAYOUT[name]
    raw = key[offset : offset + size]
    if size != 16:
        return str(int.from_bytes(raw, "little"))
    text = address.text(raw)
    return text if lengths == _WHOLE else f"{text}/{lengths[':' in text]}"  # masked already


def _format_column(name: str, lengths: tuple[int, int], keys: Sequence[bytes]) -> list[str]:
    offset, size = _LAYOUT[name]
    known: dict[bytes, str] = {}
    column = []
    for key in keys:
        raw = key[offset : offset + size]
        text = known.get(raw)
        if text is None:
            text = known[raw] = _format_field(name, lengths, key)
        column.append(text)
    return column


def _parse_field(name: str, lengths: tuple[int, int], part: str) -> bytes:
    if name not in ("src", "dst"):
        return struct.pack("<H" if name in ("sport", "dport") else "<B", int(part))
    if lengths == _WHOLE:
        return address.mapped(part)
    if "%" in part:
        raise ValueError("a prefix has no zone")
    network = ipaddress.ip_network(part)
    if network.prefixlen != lengths[network.version == 6]:
        raise ValueError("another prefix length than the key type's")
    return address.mapped(str(network.network_address))
