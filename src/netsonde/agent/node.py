"""One host in the overlay: drives tree, tasks and fan-in with sockets, clocks and a disk.

The one idea: the state changes in one step without waiting; what others must know of it is sent
afterwards, always as the whole latest state, so nothing depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from netsonde.agent.children import Children
from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import EventRing
from netsonde.agent.fan_in import carried_out
from netsonde.agent.kept import Kept
from netsonde.agent.monitor_link import MonitorLink
from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Dialer
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.checks import check_question
from netsonde.model.coverage import Coverage
from netsonde.model.detector import Detector
from netsonde.model.errors import BadField, Busy, NetsondeError, NotFound
from netsonde.model.task import Question, Scope
from netsonde.model.window import TICKS_PER_S, TOTAL
from netsonde.overlay.claims import ID_BYTES, packed, unpacked
from netsonde.overlay.clock import compared
from netsonde.overlay.gather import Ask, Gather, Gathered, Replied
from netsonde.overlay.tasks import Book
from netsonde.overlay.tree import Tree
from netsonde.sketch.summary import Summary
from netsonde.wire import monitor, peer
from netsonde.wire.monitor import Status

MAX_BUDGET_MS = 60_000
"""Milliseconds that a parent may give."""
LATE_TICKS = 10
"""Ticks after a task's start from which a host that then began to count is called partial."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Who has the tasks now."""

    coverage: Coverage
    dropped: tuple[str, ...]
    """Tasks that hosts gave up because the parent's have the same ids."""


class Node:
    """This host's tree, tasks and connections, which live from `start` on."""

    def __init__(
        self,
        *,
        own: str,
        dialer: Dialer,
        monitor_socket: Path,
        software: str,
        built_in: Sequence[Detector],
        supervisor: Supervisor,
        wall_ns: Callable[[], int],
        mono_ns: Callable[[], int],
    ) -> None:
        self.kept = Kept(own)
        self._built_in = tuple(built_in)
        self._supervisor = supervisor
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self.ring = EventRing()
        self.events = EventFlow(
            ring=self.ring,
            own=own,
            monitor_socket=monitor_socket,
            software=software,
            parent=self._upward,
        )
        self._monitor = MonitorLink(
            path=monitor_socket,
            desired=self._desired,
            software=software,
            host=own,
            failures=supervisor.failures,
        )
        self.children = Children(
            kept=self.kept,
            dialer=dialer,
            supervisor=supervisor,
            changed=self._subtree_changed,
            happened=self.events.take_from_child,
        )
        self._parent: Inbound | None = None

    @property
    def tree(self) -> Tree:
        """This host's place in the tree."""
        return self.kept.tree

    @property
    def book(self) -> Book:
        """This host's tasks and detectors."""
        return self.kept.book

    def start(self) -> None:
        """Connect the monitor and the children, and keep them connected."""
        self._supervisor.start("monitor", self._monitor.run)
        self._supervisor.start("events", self.events.watch)
        self._supervisor.start("parent", self.events.tell_parents)
        self.children.start()

    async def push(self, scope: Scope, budget_ms: int) -> Pushed:
        """Bring the latest tasks to the monitor and, for a subtree, to everyone below."""
        dropped: list[str] = []

        async def ask(command: Ask) -> Replied:
            member = command.member
            if member == self.tree.own:
                await self._monitor.apply()
                return Replied(member=member, coverage=Coverage.of(member))
            adoption = self.children.adoption(command.budget_ms)
            adopted = await self.children.call(member, adoption, peer.Adopted)
            self.children.learn(member, adopted.subtree)
            dropped.extend(adopted.dropped)
            return Replied(
                member=member,
                coverage=adopted.coverage,
                reported=self.tree.children.get(member, ()),
            )

        gather = self._gather(scope, budget_ms, summarised=False)
        failures = self._supervisor.failures
        await carried_out(gather, gather.start(), ask, failures)
        return Pushed(
            coverage=gather.result(1).coverage, dropped=tuple(dropped[: peer.MAX_DROPPED])
        )

    async def ask(
        self, question: Question, scope: Scope, budget_ms: int, without: Collection[str] = ()
    ) -> Gathered:
        """Answer for this host or its subtree within the budget, with what came.

        `without`: members that the answer must not hold.
        """
        began_mono_ns = self._mono_ns()

        async def ask(command: Ask) -> Replied:
            if command.member == self.tree.own:
                return await self._own_part(question)
            query = peer.Query(
                id=0, question=question, budget_ms=command.budget_ms, without=command.without
            )
            return await self._part_of(command.member, query)

        gather = self._gather(scope, budget_ms, summarised=True, without=without)
        failures = self._supervisor.failures
        await carried_out(gather, gather.start(), ask, failures)
        spent_ms = (self._mono_ns() - began_mono_ns) // 1_000_000
        await carried_out(gather, gather.again(budget_ms - spent_ms), ask, failures)
        return gather.result(question.limit)

    async def own_summary(self, question: Question) -> Summary:
        """Ask this host's monitor about a task's totals and keys; raises as `MonitorLink.ask`."""
        return Summary.from_bytes((await self._monitor.ask(question)).part)

    async def monitor_status(self) -> Status:
        """Ask this host's monitor how it is; raises as `MonitorLink.ask`."""
        return await self._monitor.status()

    async def be_adopted(self, request: peer.Adopt, inbound: Inbound) -> peer.Adopted:
        """Take the sender as parent and its tasks as ours; then tell everyone below."""
        if request.path[-1:] != (inbound.name,):
            raise BadField("path", request.path, f"a path that ends with {inbound.name}")
        book, dropped = self.book.inherit(request.tasks, request.detectors)
        self.tree.adopted_by(request.path, self._has_parent())
        self._parent, self.kept.book = inbound, book
        self.kept.keep()
        self.events.parent_changed()
        pushed = await self.push("subtree", min(request.budget_ms, MAX_BUDGET_MS))
        names = tuple(f"{task.series} {task.id} of {self.tree.own}" for task in dropped)
        if names:
            log.warning("own tasks dropped for the parent's", tasks=names)
        return peer.Adopted(
            id=request.id,
            subtree=self.tree.members(),
            coverage=pushed.coverage,
            dropped=(names + pushed.dropped)[: peer.MAX_DROPPED],
        )

    async def answer_parent(self, request: peer.Query, inbound: Inbound) -> peer.Partial:
        """Answer the parent's question for the whole subtree; raises Busy for anyone else's."""
        if inbound is not self._parent or not self._has_parent():
            raise Busy(f"{inbound.name} is not the parent of {self.tree.own}")
        came_mono_ns = self._mono_ns()
        check_question(request.question)
        budget_ms = min(request.budget_ms, MAX_BUDGET_MS)
        gathered = await self.ask(request.question, "subtree", budget_ms, request.without)
        coverage = gathered.coverage
        held = set(coverage.members) - coverage.missing.keys()
        return peer.Partial(
            id=request.id,
            subtree=self.tree.members(),
            coverage=coverage,
            part=gathered.part.to_bytes() if gathered.part else None,
            evidence=gathered.evidence,
            monitors=packed(gathered.monitors, held) if gathered.monitors else b"",
            wall_ns=self._wall_ns(),
            held_ns=self._mono_ns() - came_mono_ns,
        )

    async def _part_of(self, member: str, query: peer.Query) -> Replied:
        sent_mono_ns = self._mono_ns()
        came = await self.children.call(member, query, peer.Partial)
        clock = compared(
            sent_mono_ns=sent_mono_ns,
            came_mono_ns=self._mono_ns(),
            came_wall_ns=self._wall_ns(),
            held_ns=came.held_ns,
            told_wall_ns=came.wall_ns,
        )
        self.children.learn(member, came.subtree)
        held = set(came.coverage.members) - came.coverage.missing.keys()
        return Replied(
            member=member,
            coverage=came.coverage,
            part=came.part,
            evidence=came.evidence,
            monitors=unpacked(came.monitors, held) if came.monitors else {},
            clock=clock,
            reported=self.tree.children.get(member, ()),
        )

    def peer_closed(self, inbound: Inbound) -> None:
        """Notice that a connection has ended; without its parent this agent may be adopted."""
        if inbound is self._parent:
            self._parent = None

    def _desired(self) -> monitor.Apply:
        chosen = self.book.detectors(self._built_in)
        enabled = tuple(choice.detector for choice in chosen if choice.enabled)
        return monitor.Apply(tasks=self.book.all(), detectors=enabled)

    def _upward(self) -> Inbound | None:
        return self._parent if self._has_parent() else None

    def _has_parent(self) -> bool:
        return self._parent is not None and self._parent.name == self.tree.parent

    def _gather(
        self, scope: Scope, budget_ms: int, *, summarised: bool, without: Collection[str] = ()
    ) -> Gather:
        children = self.tree.children if scope == "subtree" else {}
        return Gather(
            own=self.tree.own,
            children=children,
            budget_ms=budget_ms,
            summarised=summarised,
            without=without,
        )

    async def _own_part(self, question: Question) -> Replied:
        own, expected_tick = self.tree.own, self._since_tick(question)
        answer = await self._monitor.ask(question)
        hooks = dict.fromkeys(answer.evidence.hooks, (own,))
        evidence = msgspec.structs.replace(answer.evidence, hooks=hooks)
        late_ticks = evidence.first_tick - expected_tick
        partial = {}
        if evidence.missed_ticks:
            missed_s = evidence.missed_ticks / TICKS_PER_S
            partial[own] = f"{missed_s:.1f} s are missing: {_why_missing(question)}"
        elif question.window == TOTAL and late_ticks > LATE_TICKS:
            partial[own] = f"counting since {late_ticks / 10:.1f} s after it was configured"
        coverage = Coverage(members=(own,), partial=partial)
        monitor_id = evidence.monitor[: 2 * ID_BYTES]
        return Replied(
            member=own,
            coverage=coverage,
            part=answer.part,
            evidence=evidence,
            monitors={monitor_id: own} if monitor_id else {},
        )

    def _since_tick(self, question: Question) -> int:
        """Give the tick from which the question's counter, or its task, should have counted."""
        if question.series is None:
            return 0
        for task in self.book.all():
            if task.ref == (question.series, question.task_id):
                counter = task.counter(question.key_type or "")
                return max(task.since_tick, counter.since_tick if counter else 0)
        raise NotFound(f"no {question.series} {question.task_id} on {self.tree.own}")

    def _subtree_changed(self) -> None:
        self.kept.keep()
        if self._parent is not None and self._has_parent():
            news = peer.Adopted(
                id=0, subtree=self.tree.members(), coverage=Coverage(members=()), dropped=()
            )
            try:
                self._parent.send(news)
            except NetsondeError as error:
                log.warning("parent not told of the changed subtree", reason=str(error))


def _why_missing(question: Question) -> str:
    if question.window == TOTAL:
        return "no monitor counted then"
    return "no monitor counted then, or its flight recorder does not reach back so far"
