"""The prototype's pipeline: a netfilter queue, a parser, a madoka sketch; then the packet goes on.

`python -m benchmarks.baseline.queue_sketch scapy|struct`: counts queue 0 of the current network
namespace until SIGTERM, then prints the packets it counted. With scapy it is the prototype's own
way; with struct, the best that the same idea can do in Python.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

import madoka
from netfilterqueue import NetfilterQueue, Packet
from scapy.layers.inet import IP

QUEUE = 0
_QUEUE_PACKETS = 1024
Key = Callable[[bytes], str]


def key_by_scapy(data: bytes) -> str:
    """Give source and destination by dissecting the whole packet."""
    packet = IP(data)
    return f"{packet.src},{packet.dst}"


def key_by_struct(data: bytes) -> str:
    """Give source and destination by their place in the header."""
    return data[12:20].hex()


PARSERS: dict[str, Key] = {"scapy": key_by_scapy, "struct": key_by_struct}


def run(key: Key) -> int:
    """Count packets until SIGTERM; give how many."""
    sketch = madoka.Sketch()
    counted = 0

    def count(packet: Packet) -> None:
        nonlocal counted
        sketch.inc(key(packet.get_payload()))
        counted += 1
        packet.accept()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    queue = NetfilterQueue()
    queue.bind(QUEUE, count, max_len=_QUEUE_PACKETS)
    print("ready", flush=True)
    try:
        queue.run()
    except KeyboardInterrupt:
        queue.unbind()
    return counted


def main() -> None:
    """Run the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"usage: queue_sketch {'|'.join(PARSERS)}")
    print(run(PARSERS[sys.argv[1]]))


if __name__ == "__main__":
    main()
