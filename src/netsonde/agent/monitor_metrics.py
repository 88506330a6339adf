"""What `/metrics` tells of this host's monitor, from the state that the monitor tells itself."""

from __future__ import annotations

from collections.abc import Iterator

from netsonde.agent.families import Family, counter, gauge
from netsonde.model.window import TICKS_PER_S
from netsonde.wire.monitor import Status


def of_monitor(status: Status | None) -> Iterator[Family]:
    """Give the families of a monitor's state; none where it is away."""
    if status is None:
        return
    now = status
    yield gauge("monitor_info", "Where packets are counted.", lambda: [((now.hook,), 1)], "hook")
    yield counter("packets", "Packets seen.", lambda: [((), now.packets)])
    yield counter("ip_bytes", "IP bytes of these.", lambda: [((), now.ip_bytes)])
    yield counter(
        "drops",
        "Packets seen and put into no flow.",
        lambda: [((cause,), n) for cause, n in sorted(now.drops.items())],
        "cause",
    )
    yield gauge("tick_seconds", "Length of a tick now.", lambda: [((), now.tick_ms / 1000)])
    yield gauge(
        "told_one_in",
        "Flows told to tasks: one in so many; 1 is all.",
        lambda: [((), now.told_one_in)],
    )
    yield from _of_cost(now)
    yield from _of_devices(now)
    yield from _of_faults(now)
    yield gauge(
        "alarms_active",
        "Alarms that are raised now.",
        lambda: [((one.name,), one.active) for one in now.detectors],
        "detector",
    )


def _of_cost(now: Status) -> Iterator[Family]:
    yield counter(
        "late_ticks", "Ticks that took too long to close.", lambda: [((), now.late_ticks)]
    )
    yield counter(
        "monitor_cpu_seconds", "CPU time of the monitor.", lambda: [((), now.cpu_seconds)]
    )
    yield gauge(
        "monitor_rss_bytes", "Memory of the monitor, at most.", lambda: [((), now.rss_bytes)]
    )
    first_tick = now.recorder.first_tick
    if first_tick is not None:
        reach_s = (now.last_tick + 1 - first_tick) / TICKS_PER_S
        yield gauge("recorder_reach_seconds", "How far back can be asked.", lambda: [((), reach_s)])
    yield gauge(
        "recorder_bytes",
        "Memory of the flight recorder.",
        lambda: [((str(level.step_ms),), level.bytes) for level in now.recorder.levels],
        "step_ms",
    )


def _of_faults(now: Status) -> Iterator[Family]:
    yield counter(
        "monitor_failures",
        "What failed in the monitor and ended only itself.",
        lambda: [
            ((part, kind), n)
            for (part, _, kind), n in sorted(
                (what.partition(": "), n) for what, n in now.failures.items()
            )
        ],
        "part",
        "type",
    )
    yield counter(
        "monitor_refused",
        "What the monitor turned away.",
        lambda: [((cause,), n) for cause, n in sorted(now.refused.items())],
        "cause",
    )


def _of_devices(now: Status) -> Iterator[Family]:
    yield gauge(
        "device_viewed",
        "1 while a viewed device is there.",
        lambda: [((view.device,), int(view.gone is None)) for view in now.devices],
        "device",
    )
    yield counter(
        "device_packets",
        "Packets that crossed it.",
        lambda: [((view.device,), view.packets) for view in now.devices],
        "device",
    )
    yield counter(
        "device_drops",
        "Those put into no flow.",
        lambda: [
            ((view.device, cause), n)
            for view in now.devices
            for cause, n in sorted(view.drops.items())
        ],
        "device",
        "cause",
    )
