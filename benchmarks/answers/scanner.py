"""Scans ports from another source each time: `scanner DEVICE MAC TARGET PORTS THRESHOLD SCANS`.

Run as a program in the sender's network namespace. One TCP SYN a millisecond, framed and sent by a
packet socket; prints a line for each scan: its source, and the wall clock in ns when the packet to
port number THRESHOLD was sent. Scans begin at random, so at any moment of a tick.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import time

_PERIOD_S = 0.001
_PAUSE_S = (0.3, 0.5)


def checksum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def frame(ethernet: bytes, source: bytes, target: bytes, port: int) -> bytes:
    """Build an Ethernet frame with a TCP SYN."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + source + target
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return ethernet + head + struct.pack(">HHIIBBHHH", 40000, port, 1, 0, 0x50, 2, 1024, 0, 0)


def main() -> None:
    """Send the scans."""
    device, mac, target_text, ports, threshold, scans = sys.argv[1:]
    target = socket.inet_aton(target_text)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((device, 0))
        ethernet = bytes.fromhex(mac.replace(":", "")) + sender.getsockname()[4] + b"\x08\x00"
        for number in range(int(scans)):
            time.sleep(random.uniform(*_PAUSE_S))
            source = bytes([10, 97, number >> 8, number & 255])
            for port in range(1, int(ports) + 1):
                sender.send(frame(ethernet, source, target, port))
                if port == int(threshold):
                    print(socket.inet_ntoa(source), time.time_ns(), flush=True)
                time.sleep(_PERIOD_S)


if __name__ == "__main__":
    main()
