"""Sends packets over loopback from one CPU, round robin to many ports; run as a program.

    sender.py PROTO CPU SOURCE_PORT FIRST_PORT PORTS PACKETS

Packet i goes to port FIRST_PORT + i % PORTS. With `udp` it carries (i % PORTS) % 3 * 400 bytes and
is answered by an ICMP error; with `tcp` it is a SYN, answered by a RST, a new flow for each port.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

HERE = socket.inet_aton("127.0.0.1")


def syn(source_port: int, port: int) -> bytes:
    """Build a TCP header with its checksum (RFC 9293 §3.1)."""
    header = struct.pack(">HHIIBBHHH", source_port, port, 1, 0, 0x50, 0x02, 1024, 0, 0)
    pseudo = HERE + HERE + struct.pack(">HH", socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack(f">{(len(pseudo) + len(header)) // 2}H", pseudo + header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack(">H", ~total & 0xFFFF) + header[18:]


def main() -> None:
    """Send them all; a packet that cannot be sent ends it with an error."""
    proto = sys.argv[1]
    cpu, source_port, first_port, ports, packets = map(int, sys.argv[2:])
    os.sched_setaffinity(0, {cpu})
    targets = range(first_port, first_port + ports)
    if proto == "tcp":
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        ready = [(syn(source_port, port), ("127.0.0.1", 0)) for port in targets]
    else:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("127.0.0.1", source_port))
        ready = [(bytes(i % 3 * 400), ("127.0.0.1", port)) for i, port in enumerate(targets)]
    with sender:
        for number in range(packets):
            sender.sendto(*ready[number % ports])


if __name__ == "__main__":
    main()
