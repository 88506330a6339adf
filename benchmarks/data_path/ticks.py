"""What the monitor does ten times a second: close a tick, read it, add it to a task's window."""

from __future__ import annotations

import os
import struct
import time

from benchmarks.data_path.scale import Scale
from benchmarks.spread import Spread, spread
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.kernel.sizing import lg_buckets as lg_buckets_of
from netsonde.kernel.sizing import possible_cpus
from netsonde.model.task import Counter, Filter, Increment, Interface, Task
from netsonde.sketch.tick import Reader
from netsonde.sketch.window import Window

LIVE_FLOWS = (0, 1_000, 8_000, 32_000)
_SECRET = tuple(range(1, 9))
STEPS = ("flip_ms", "read_ms", "window_ms", "records")


def measure(scale: Scale) -> dict[str, dict[str, Spread]]:
    """Give {live flows: {step: spread}}; all flows are in one CPU's slice, the worst case."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        lg_buckets = lg_buckets_of(0, possible_cpus())
        with NetfilterPath(hash_key=_SECRET, lg_buckets=lg_buckets) as path:
            return {f"{flows}": _measure(path, flows, scale.tick_rounds) for flows in LIVE_FLOWS}
    finally:
        os.sched_setaffinity(0, before)


def _measure(path: NetfilterPath, flows: int, rounds: int) -> dict[str, Spread]:
    reader = Reader(
        path.hot,
        path.cold,
        path.slices,
        lg_buckets=path.lg_buckets,
        cpus=path.cpus,
        hash_key=_SECRET,
    )
    counter = Counter(key_type="src_dst", increment=Increment.BYTES)
    task = Task(
        series="sketch",
        id=0,
        filter=Filter(interface=Interface.OUTPUT),
        counters=(counter,),
        since_tick=0,
    )
    found: dict[str, list[float]] = {step: [] for step in STEPS}
    for _ in range(rounds):
        for flow in range(flows):
            path.run("ns_local_out", _packet(flow))
        window = Window(task)
        start_s = time.perf_counter()
        closed = path.flip()
        flipped_s = time.perf_counter()
        tick = reader.read(closed, 1)
        read_s = time.perf_counter()
        window.absorb(tick)
        added_s = time.perf_counter()
        steps_ms = (flipped_s - start_s, read_s - flipped_s, added_s - read_s)
        for name, value in zip(STEPS, [1000 * step for step in steps_ms], strict=False):
            found[name].append(value)
        found["records"].append(len(tick.array()))
    return {name: spread(values) for name, values in found.items()}


def _packet(flow: int) -> bytes:
    """Give an IPv4 packet with UDP ports; flows differ in their source."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0)
    addresses = struct.pack(">II", 0x0A000000 + flow, 0x0A800001)
    return head + addresses + struct.pack(">HHHH", 1024, 53, 8, 0)
