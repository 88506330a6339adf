"""Monitors of tests: tasks that count ticks made here, what they keep, and gaps between them."""

from __future__ import annotations

import numpy as np
from packets import Flow, packet

from netsonde.model.task import Counter, Filter, Task
from netsonde.model.window import TICK_NS
from netsonde.monitor.keep import Kept
from netsonde.monitor.takeover import Gap
from netsonde.monitor.tasks import Closed, Tasks
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import placement
from netsonde.sketch.tick import Reader, Side, Tick

NOW = 17_000_000_000
FLOW = "src_dst_sport_dport_proto"
KEY = list(range(1, 9))
PLACES = placement(KEY, 3)
LOAD = (1 << 64) - 1
"""The largest that is drawn."""


def closed(tick: Tick, epoch: int = 1) -> Closed:
    return Closed(tick=tick, mono_ns=(tick.id + 1) * TICK_NS, epoch=epoch)


def monitored(began_tick: int = 0) -> Tasks:
    return Tasks(Recorder(1 << 20), began_tick=began_tick)


def restored(kept: Kept, passed: Gap | None, now_tick: int) -> Tasks:
    tasks = monitored(now_tick + 1)
    tasks.restore(kept, passed, PLACES, now_tick, now_tick * TICK_NS)
    return tasks


def tick(number: int, packets: int, source: int = 1) -> Tick:
    """A tick of one flow with this many packets of 100 bytes, received."""
    record = np.zeros(1, _abi.RECORD)
    record["packets"], record["bytes"] = packets, 100 * packets
    record["key"]["proto"], record["key"]["src"][0, 15] = 6, source
    quiet = Side(packets=0, ip_bytes=0, drops={"not_ip": 0})
    busy = Side(packets=packets, ip_bytes=100 * packets, drops={"not_ip": 0})
    return Tick(id=number, records=record.tobytes(), sides=(busy, quiet))


def task(*counters: str, number: int = 0) -> Task:
    counted = tuple(Counter(key_type=name) for name in counters)
    return Task(series="sketch", id=number, filter=Filter(), counters=counted, since_tick=NOW)


def gap(
    first_tick: int, *ticks: Tick, load_id: int = LOAD, epoch: int = 7, whole: bool = True
) -> Gap:
    return Gap(
        load_id=load_id,
        after_epoch=epoch,
        first_tick=first_tick,
        epoch=epoch + len(ticks),
        ticks=ticks,
        whole=whole,
    )


def kept_of_five() -> Kept:
    """What a monitor kept that counted five packets until NOW + 10, epoch 7."""
    former = monitored()
    former.apply([task("src")], NOW)
    former.absorb(closed(tick(NOW, 2), 6))
    former.absorb(closed(tick(NOW + 9, 3, source=2), 7))
    former.catch_up()
    return former.kept(LOAD)


def flood(count: int) -> tuple[_core.FlowTable, Reader]:
    """A table so small that some flows of a flood are in no record."""
    table = _core.FlowTable(np.array(KEY, "<u8").tobytes(), 3, _abi.SAMPLE_SHIFT_LEAST)
    for number in range(count):
        table.count(packet(Flow("10.0.0.1", "10.0.0.2", 1000 + number, 53, 17), 100), _abi.IN)
    return table, Reader(*table.buffers(), lg_buckets=3, cpus=1, hash_key=KEY)
