"""`/metrics` for Prometheus: how this host's agent and monitor are, and what its tasks count.

The one idea: a scrape is bounded. It has a deadline, asks about so many counters one after the
other, writes so many series, and says how many it left out; scrapes in quick succession share one.
It is about this host alone: every host is scraped, and the scraper adds up.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from netsonde.agent.node import Node
from netsonde.agent.webhooks import Webhooks
from netsonde.model.errors import FieldRefused, NetsondeError
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Increment, Question, Task
from netsonde.model.window import TICKS_PER_S
from netsonde.sketch.summary import Summary
from netsonde.wire.monitor import Status

DEADLINE_S = 1.0
"""Seconds for all that a scrape asks the monitor."""
SHARED_S = 1.0
"""Seconds for which a scrape is given again."""
MAX_QUESTIONS = 64
"""Counters, and tasks without any, that a scrape asks about."""
MAX_KEYS = 20
"""Keys of one counter."""
MAX_KEY_SERIES = 500
"""Keys of all counters."""


@dataclass(slots=True)
class Served:
    """What the HTTP interface did."""

    by_status: Tally[int] = field(default_factory=Tally)
    open_streams: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one task counted, in all or by one key type."""

    task: Task
    counter: Counter | None
    summary: Summary


class Metrics:
    """Writes what a scraper reads."""

    def __init__(
        self,
        *,
        node: Node,
        webhooks: Webhooks,
        served: Served,
        software: str,
        mono_s: Callable[[], float],
    ) -> None:
        self._node = node
        self._webhooks = webhooks
        self._served = served
        self._software = software
        self._mono_s = mono_s
        self._one_at_a_time = asyncio.Lock()
        self._written = b""
        self._written_mono_s = float("-inf")

    async def scrape(self) -> bytes:
        """Write everything in Prometheus' text format, within DEADLINE_S and a little."""
        async with self._one_at_a_time:
            if self._mono_s() - self._written_mono_s >= SHARED_S:
                status, counted, unasked = await self._ask()
                registry = CollectorRegistry()
                registry.register(
                    _Families(
                        [*self._own(status), *_of_monitor(status), *_of_tasks(counted, unasked)]
                    )
                )
                self._written = generate_latest(registry)
                if status is not None:
                    self._written_mono_s = self._mono_s()
            return self._written

    async def _ask(self) -> tuple[Status | None, list[_Counted], int]:
        """Ask the monitor; gives its state, what came in time, and how many counters did not."""
        wanted = [
            (task, counter)
            for task in self._node.book.all()
            for counter in (task.counters or (None,))
        ]
        status: Status | None = None
        counted: list[_Counted] = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                status = await self._node.monitor_status()
                for task, counter in wanted[:MAX_QUESTIONS]:
                    with suppress(FieldRefused):  # of a device that this host does not view
                        counted.append(_Counted(task, counter, await self._totals(task, counter)))
        except (NetsondeError, TimeoutError):
            pass  # what is missing is counted, and the monitor's absence is a metric itself
        return status, counted, len(wanted) - len(counted)

    async def _totals(self, task: Task, counter: Counter | None) -> Summary:
        question = Question(
            series=task.series,
            task_id=task.id,
            key_type=None if counter is None else counter.key_type,
            limit=MAX_KEYS,
        )
        return await self._node.own_summary(question)

    def _own(self, status: Status | None) -> Iterator[Metric]:
        coverage, ring = self._node.children.coverage(), self._node.ring
        yield _gauge("agent_info", "Version of the agent.", [((self._software,), 1)], "software")
        up = [((), int(status is not None))]
        yield _gauge("monitor_up", "Whether this host's monitor answers.", up)
        yield _gauge("members", "Hosts at and below the agent.", [((), len(coverage.members))])
        yield _gauge("members_missing", "Those not reached.", [((), len(coverage.missing))])
        requests = [((str(code),), n) for code, n in sorted(self._served.by_status.items())]
        yield _counter("http_requests", "Requests answered.", requests, "status")
        yield _gauge("http_streams", "Open streams.", [((), self._served.open_streams())])
        happened = sorted(self._node.events.happened.items())
        yield _counter("events", "Events, of everyone below too.", happened, "detector", "state")
        dropped = [((), ring.dropped)]
        yield _counter("events_dropped", "Events that nobody read in time.", dropped)
        fates = [
            ((hook.name, fate), getattr(hook, fate))
            for hook in self._webhooks.all()
            for fate in ("delivered", "failed", "dropped")
        ]
        yield _counter("webhook_events", "Events by what became of them.", fates, "webhook", "fate")


class _Families(Collector):
    """Metrics that were made before."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = list(made)

    def collect(self) -> Iterable[Metric]:
        return self._made


def _of_monitor(status: Status | None) -> Iterator[Metric]:
    if status is None:
        return
    yield _gauge("monitor_info", "Where packets are counted.", [((status.hook,), 1)], "hook")
    yield _counter("packets", "Packets seen.", [((), status.packets)])
    yield _counter("ip_bytes", "IP bytes of these.", [((), status.ip_bytes)])
    drops = [((cause,), n) for cause, n in sorted(status.drops.items())]
    yield _counter("drops", "Packets seen and put into no flow.", drops, "cause")
    yield _gauge("tick_seconds", "Length of a tick now.", [((), status.tick_ms / 1000)])
    thinned = [((), status.told_one_in)]
    yield _gauge("told_one_in", "Flows told to tasks: one in so many; 1 is all.", thinned)
    yield _counter("late_ticks", "Ticks that took too long to close.", [((), status.late_ticks)])
    yield _counter("monitor_cpu_seconds", "CPU time of the monitor.", [((), status.cpu_seconds)])
    yield _gauge("monitor_rss_bytes", "Memory of the monitor, at most.", [((), status.rss_bytes)])
    reach = status.recorder
    if reach.first_tick is not None:
        seconds = (status.last_tick + 1 - reach.first_tick) / TICKS_PER_S
        yield _gauge("recorder_reach_seconds", "How far back can be asked.", [((), seconds)])
    held = [((str(level.step_ms),), level.bytes) for level in reach.levels]
    yield _gauge("recorder_bytes", "Memory of the flight recorder.", held, "step_ms")
    views = [((view.device,), view) for view in status.devices]
    there = [(name, int(view.gone is None)) for name, view in views]
    yield _gauge("device_viewed", "1 while a viewed device is there.", there, "device")
    crossed = [(name, view.packets) for name, view in views]
    yield _counter("device_packets", "Packets that crossed it.", crossed, "device")
    lost = [((*name, cause), n) for name, view in views for cause, n in sorted(view.drops.items())]
    yield _counter("device_drops", "Those put into no flow.", lost, "device", "cause")
    active = [((one.name,), one.active) for one in status.detectors]
    told = ((what.partition(": "), n) for what, n in sorted(status.failures.items()))
    failed = [((part, kind), n) for (part, _, kind), n in told]
    text = "What failed in the monitor and ended only itself."
    yield _counter("monitor_failures", text, failed, "part", "type")
    refused = [((cause,), n) for cause, n in sorted(status.refused.items())]
    yield _counter("monitor_refused", "What the monitor turned away.", refused, "cause")
    yield _gauge("alarms_active", "Alarms that are raised now.", active, "detector")


def _of_tasks(counted: list[_Counted], unasked: int) -> Iterator[Metric]:
    totals = {(one.task.series, str(one.task.id)): one.summary for one in counted}
    for unit in ("packets", "bytes"):
        bounds = [
            (names, getattr(summary, f"total_{unit}").estimate) for names, summary in totals.items()
        ]
        yield _counter(f"task_{unit}", f"What a task took, in {unit}.", bounds, "series", "task")
    keys: dict[Increment, list[tuple[tuple[str, ...], float]]] = {kind: [] for kind in Increment}
    cut = 0
    for one in counted:
        if one.counter is not None:
            by, rows = one.counter.key_type, one.summary.rows()
            room = MAX_KEY_SERIES - sum(map(len, keys.values()))
            shown = rows[: min(MAX_KEYS, max(0, room))]
            cut += max(0, one.summary.distinct.estimate - len(shown))
            write = KeyType.parse(by).format
            keys[one.counter.increment] += [
                ((str(one.task.id), by, write(row.key)), row.count.estimate) for row in shown
            ]
    for kind, values in keys.items():
        text = f"Largest keys of a counter, in {kind.value}."
        yield _gauge(f"task_key_{kind.value}", text, values, "task", "by", "key")
    yield _gauge("scrape_keys_cut", "Keys that this scrape leaves out.", [((), cut)])
    yield _gauge("scrape_counters_cut", "Counters that it leaves out.", [((), unasked)])


_Values = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"netsonde_{name}", text, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    family = CounterMetricFamily(f"netsonde_{name}", text, labels=labels)
    for names, value in values:
        family.add_metric(names, value)
    return family
