"""Where the shared captures are, and their IP packets one by one."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path


def traces_folder() -> Path | None:
    """Give the folder of the shared traces, or None in a clone without them."""
    named = os.environ.get("NETSONDE_TRACES")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "traces"
    return folder if folder.is_dir() else None


def ip_packets(path: Path) -> Iterator[bytes]:
    """Give the IP packets of a little-endian, untagged Ethernet pcap, from their IP header on."""
    data, at = path.read_bytes(), 24
    while at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
            yield frame[14:]
