"""`/metrics` for Prometheus: how this host's agent and monitor are, and what its tasks count.

The one idea: a scrape is bounded. It has a deadline, asks about so many counters one after the
other, writes so many series, and says how many it left out; scrapes in quick succession share one.
It is about this host alone: every host is scraped, and the scraper adds up.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from netsonde.agent.families import Family, Values, counter, gauge
from netsonde.agent.monitor_metrics import of_monitor
from netsonde.agent.node import Node
from netsonde.agent.probing import Prober
from netsonde.agent.webhooks import Webhooks
from netsonde.daemon import log
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.errors import FieldRefused, NetsondeError
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Increment, Question, Task
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
    refused: Tally[str] = field(default_factory=Tally)
    """Connections and requests that were turned away unheard, by cause."""
    peers_refused: Tally[str] = field(default_factory=Tally)
    """The same of other agents, and connections of theirs that were ended here."""
    peers: Callable[[], int] = lambda: 0
    open_streams: Callable[[], int] = lambda: 0
    connections: Callable[[], int] = lambda: 0


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
        prober: Prober,
        served: Served,
        software: str,
        supervisor: Supervisor,
        mono_s: Callable[[], float],
    ) -> None:
        self._node = node
        self._webhooks = webhooks
        self._prober = prober
        self._served = served
        self._software = software
        self._supervisor = supervisor
        self._mono_s = mono_s
        self._one_at_a_time = asyncio.Lock()
        self._written = b""
        self._written_mono_s = float("-inf")

    async def scrape(self) -> bytes:
        """Write everything in Prometheus' text format, within DEADLINE_S and a little.

        A family that cannot be written is left out, noted, and costs no other.
        """
        async with self._one_at_a_time:
            if self._mono_s() - self._written_mono_s >= SHARED_S:
                status, counted, unasked = await self._ask()
                written = []
                for family in (
                    *self._own(status),
                    *of_monitor(status),
                    *_of_tasks(counted, unasked),
                ):
                    try:
                        written.append(family())
                    except Exception as error:  # whatever it is
                        self._supervisor.failures.note("scrape", error)
                self._written = b"".join([*written, self._failed()()])
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

    def _own(self, status: Status | None) -> Iterator[Family]:
        node, served = self._node, self._served
        yield gauge(
            "agent_info", "Version of the agent.", lambda: [((self._software,), 1)], "software"
        )
        up = int(status is not None)

        def lost() -> Values:
            yield from ((("agent", cause), n) for cause, n in log.dropped().items())
            found = status.log_dropped if status else {}
            yield from ((("monitor", cause), n) for cause, n in sorted(found.items()))

        yield gauge("monitor_up", "Whether this host's monitor answers.", lambda: [((), up)])
        yield gauge(
            "members",
            "Hosts at and below the agent.",
            lambda: [((), len(node.children.coverage().members))],
        )
        yield gauge(
            "members_missing",
            "Those not reached.",
            lambda: [((), len(node.children.coverage().missing))],
        )
        yield counter(
            "http_requests",
            "Requests answered.",
            lambda: [((str(code),), n) for code, n in sorted(served.by_status.items())],
            "status",
        )
        yield counter(
            "http_refused",
            "Connections and requests turned away.",
            lambda: [((cause,), n) for cause, n in sorted(served.refused.items())],
            "cause",
        )
        yield from self._of_peers()
        yield gauge("http_connections", "Open connections.", lambda: [((), served.connections())])
        yield gauge("http_streams", "Open streams.", lambda: [((), served.open_streams())])
        yield from self._of_events()
        yield from self._of_tests()
        yield counter(
            "part_restarts",
            "Parts of the agent that failed and were begun again.",
            lambda: [((part,), n) for part, n in sorted(self._supervisor.restarts.items())],
            "part",
        )
        yield counter("log_lines_dropped", "Log lines not written.", lost, "process", "cause")

    def _of_peers(self) -> Iterator[Family]:
        served = self._served
        yield counter(
            "peer_refused",
            "Connections of agents not taken or ended here, and requests refused, by cause.",
            lambda: [((cause,), n) for cause, n in sorted(served.peers_refused.items())],
            "cause",
        )
        yield gauge("peers", "Connections of agents.", lambda: [((), served.peers())])

    def _of_events(self) -> Iterator[Family]:
        node, ring = self._node, self._node.ring
        yield counter(
            "events",
            "Events, of everyone below too.",
            lambda: sorted(node.events.happened.items()),
            "detector",
            "state",
        )
        yield counter(
            "events_dropped", "Events that nobody read in time.", lambda: [((), ring.dropped)]
        )
        yield counter(
            "events_refused",
            "Events of children that were not taken, by cause.",
            lambda: [((cause,), n) for cause, n in sorted(node.events.refused.items())],
            "cause",
        )
        yield counter(
            "child_refused",
            "What children said and was not taken, by cause, but for events.",
            lambda: [((cause,), n) for cause, n in sorted(node.children.refused.items())],
            "cause",
        )
        yield counter(
            "webhook_events",
            "Events by what became of them.",
            lambda: [
                ((hook.name, fate), getattr(hook, fate))
                for hook in self._webhooks.all()
                for fate in ("delivered", "failed", "dropped")
            ],
            "webhook",
            "fate",
        )

    def _of_tests(self) -> Iterator[Family]:
        told = self._prober.statistics
        yield counter(
            "active_tests",
            "Active tests of paths that began.",
            lambda: [
                ((kind, end), n)
                for end, by_kind in (("src", told().measured), ("dst", told().opened))
                for kind, n in sorted(by_kind.items())
            ],
            "kind",
            "end",
        )
        yield counter(
            "active_tests_refused",
            "Those that did not begin.",
            lambda: [((cause,), n) for cause, n in sorted(told().refused.items())],
            "cause",
        )
        yield counter(
            "active_test_drops",
            "Probes and connections that were not answered.",
            lambda: [((cause,), n) for cause, n in sorted(told().dropped.items())],
            "cause",
        )
        yield gauge(
            "active_tests_left_bytes",
            "What active tests may send now.",
            lambda: [((), told().left.sent_bytes)],
        )
        yield gauge(
            "active_tests_left_seconds",
            "How long throughput tests may send now.",
            lambda: [((), told().left.busy_ns / 1e9)],
        )

    def _failed(self) -> Family:
        """Give what failed so far, this scrape included."""
        counts = self._supervisor.failures.counts
        return counter(
            "failures",
            "Errors of the agent itself that it survived.",
            lambda: sorted(counts.items()),
            "part",
            "type",
        )


def _of_tasks(counted: list[_Counted], unasked: int) -> Iterator[Family]:
    totals: dict[tuple[str, str], Summary] = {
        (one.task.series, str(one.task.id)): one.summary for one in counted
    }
    for unit in ("packets", "bytes"):
        yield counter(
            f"task_{unit}",
            f"What a task took, in {unit}.",
            partial(_totals_of, totals, unit),
            "series",
            "task",
        )
    keys = _Keys()
    for kind in Increment:
        yield gauge(
            f"task_key_{kind.value}",
            f"Largest keys of a counter, in {kind.value}.",
            partial(keys.of, counted, kind),
            "task",
            "by",
            "key",
        )
    yield gauge("scrape_keys_cut", "Keys that this scrape leaves out.", lambda: [((), keys.cut)])
    yield gauge("scrape_counters_cut", "Counters that it leaves out.", lambda: [((), unasked)])


def _totals_of(totals: dict[tuple[str, str], Summary], unit: str) -> Values:
    return [(names, getattr(each, f"total_{unit}").estimate) for names, each in totals.items()]


class _Keys:
    """The largest keys of counters, and how many there was no room for."""

    def __init__(self) -> None:
        self.cut = 0
        self._room = MAX_KEY_SERIES

    def of(self, counted: list[_Counted], kind: Increment) -> Values:
        for one in counted:
            if one.counter is None or one.counter.increment is not kind:
                continue
            by, rows = one.counter.key_type, one.summary.rows()
            shown = rows[: min(MAX_KEYS, self._room)]
            self._room -= len(shown)
            self.cut += max(0, one.summary.distinct.estimate - len(shown))
            write = KeyType.parse(by).format
            for row in shown:
                yield (str(one.task.id), by, write(row.key)), row.count.estimate
