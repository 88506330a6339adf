"""One host in the overlay: drives tree, tasks and fan-in with sockets, clocks and a disk.

The one idea: the state changes in one step without waiting; what others must know of it is sent
afterwards, always as the whole latest state, so nothing depends on the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from netsonde.agent.child import ChildLink
from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import EventRing
from netsonde.agent.fan_in import carried_out
from netsonde.agent.monitor_link import MonitorLink
from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Connection, Dialer, News
from netsonde.agent.state import State, StateFile
from netsonde.model.coverage import Coverage
from netsonde.model.detector import Detector
from netsonde.model.errors import BadField, Busy, NetsondeError, NotFound, Unavailable
from netsonde.model.resource import Webhook
from netsonde.model.task import Question, Scope
from netsonde.model.window import TICKS_PER_S, TOTAL
from netsonde.overlay.checks import check_question
from netsonde.overlay.clock import compared
from netsonde.overlay.gather import Ask, Gather, Gathered, Replied, next_budget_ms
from netsonde.overlay.tasks import Book
from netsonde.overlay.tree import Tree
from netsonde.sketch.summary import Summary
from netsonde.wire import monitor, peer
from netsonde.wire.monitor import Status

CONFIG_BUDGET_MS = 2000
"""Milliseconds for a change of tasks to reach everyone below and be confirmed."""
MAX_BUDGET_MS = 60_000
"""Milliseconds that a parent may give."""
LATE_TICKS = 10
"""Ticks after a task's start from which a host that then began to count is called partial."""
MAX_DROPPED = 64
"""Dropped tasks that are named in an answer."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Who has the tasks now."""

    coverage: Coverage
    dropped: tuple[str, ...]
    """Tasks that hosts gave up because the parent's have the same ids."""


class Node:
    """This host's tree, tasks and connections; alive while `run` runs."""

    def __init__(
        self,
        *,
        own: str,
        file: StateFile,
        dialer: Dialer,
        monitor_socket: Path,
        software: str,
        built_in: Sequence[Detector],
        wall_ns: Callable[[], int],
        mono_ns: Callable[[], int],
    ) -> None:
        state = file.load()
        self.tree = Tree(own, state.path, state.children)
        self.book = state.book
        self.webhooks = state.webhooks
        self._built_in = tuple(built_in)
        self._file = file
        self._dialer = dialer
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
            path=monitor_socket, desired=self._desired, software=software, host=own
        )
        self._parent: Inbound | None = None
        self._links: dict[str, ChildLink] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._adding = asyncio.Lock()

    async def run(self) -> None:
        """Keep the monitor and the children connected."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._monitor.run())
            group.create_task(self.events.run())
            for child in self.tree.children:
                self._start_link(child)
            await asyncio.Event().wait()

    def change(self, book: Book) -> None:
        """Take another book of tasks; raises Unavailable, with no change, if it cannot be kept."""
        self._file.save(self._state(book))
        self.book = book

    def change_webhooks(self, webhooks: dict[str, Webhook]) -> None:
        """Take other webhooks; raises as `change`."""
        before, self.webhooks = self.webhooks, webhooks
        try:
            self._file.save(self._state(self.book))
        except Unavailable:
            self.webhooks = before
            raise

    async def push(self, scope: Scope, budget_ms: int) -> Pushed:
        """Bring the latest tasks to the monitor and, for a subtree, to everyone below."""
        dropped: list[str] = []

        async def ask(command: Ask) -> Replied:
            member = command.member
            if member == self.tree.own:
                await self._monitor.apply()
                return Replied(member=member, coverage=Coverage.of(member))
            adoption = self._adoption(command.budget_ms)
            adopted = await self._child(member).call(adoption, peer.Adopted)
            self._learn(member, adopted)
            dropped.extend(adopted.dropped)
            return Replied(member=member, coverage=adopted.coverage)

        gather = self._gather(scope, budget_ms, summarised=False)
        await carried_out(gather, ask)
        return Pushed(coverage=gather.result(1).coverage, dropped=tuple(dropped[:MAX_DROPPED]))

    async def ask(self, question: Question, scope: Scope, budget_ms: int) -> Gathered:
        """Answer for this host or its subtree within the budget, with what came."""

        async def ask(command: Ask) -> Replied:
            member = command.member
            if member == self.tree.own:
                return await self._own_part(question)
            query = peer.Query(id=0, question=question, budget_ms=command.budget_ms)
            return await self._part_of(member, query)

        gather = self._gather(scope, budget_ms, summarised=True)
        await carried_out(gather, ask)
        return gather.result(question.limit)

    async def add_child(self, child: str) -> peer.Adopted:
        """Adopt a child, or try again with one that is away.

        Raises BadField when it may not or will not be one, Unavailable when it cannot be reached;
        then it is no child, unless it was one before.
        """
        async with self._adding:
            former = self._running.get(child)
            if former is None:
                self.tree.add_child(child)
            link = self._start_link(child)
            await _cancel(former)
            try:
                adopted = await link.first_try()
            except NetsondeError as error:
                if former is None:
                    self.tree.remove_child(child)
                    del self._links[child]
                    await _cancel(self._running.pop(child))
                if isinstance(error, Unavailable):
                    raise
                raise BadField(
                    "agent_addr", child, f"an agent that can be adopted ({error})"
                ) from None
            self._subtree_changed()
            return adopted

    async def own_summary(self, question: Question) -> Summary:
        """Ask this host's monitor about a task's totals and keys; raises as `MonitorLink.ask`."""
        return Summary.from_bytes((await self._monitor.ask(question)).part)

    async def monitor_status(self) -> Status:
        """Ask this host's monitor how it is; raises as `MonitorLink.ask`."""
        return await self._monitor.status()

    def coverage(self) -> Coverage:
        """Tell which members are known, and which cannot be reached through any child."""
        children = self.tree.children
        faults = {child: link.fault for child, link in self._links.items()}
        reached = {self.tree.own}.union(*(children[c] for c in faults if not faults[c]))
        missing = {
            member: str(fault)
            for child, fault in faults.items()
            if fault
            for member in children[child]
            if member not in reached
        }
        return Coverage(members=self.tree.members(), missing=missing)

    async def be_adopted(self, request: peer.Adopt, inbound: Inbound) -> peer.Adopted:
        """Take the sender as parent and its tasks as ours; then tell everyone below."""
        if request.path[-1:] != (inbound.name,):
            raise BadField("path", request.path, f"a path that ends with {inbound.name}")
        book, dropped = self.book.inherit(request.tasks, request.detectors)
        self.tree.adopted_by(request.path, self._has_parent())
        self._parent, self.book = inbound, book
        self._keep()
        self.events.parent_changed()
        pushed = await self.push("subtree", min(request.budget_ms, MAX_BUDGET_MS))
        names = tuple(f"{task.series} {task.id} of {self.tree.own}" for task in dropped)
        if names:
            log.warning("own tasks dropped for the parent's", tasks=names)
        return peer.Adopted(
            id=request.id,
            subtree=self.tree.members(),
            coverage=pushed.coverage,
            dropped=(names + pushed.dropped)[:MAX_DROPPED],
        )

    async def answer_parent(self, request: peer.Query, inbound: Inbound) -> peer.Partial:
        """Answer the parent's question for the whole subtree; raises Busy for anyone else's."""
        if inbound is not self._parent or not self._has_parent():
            raise Busy(f"{inbound.name} is not the parent of {self.tree.own}")
        came_mono_ns = self._mono_ns()
        check_question(request.question)
        budget_ms = min(request.budget_ms, MAX_BUDGET_MS)
        gathered = await self.ask(request.question, "subtree", budget_ms)
        return peer.Partial(
            id=request.id,
            subtree=self.tree.members(),
            coverage=gathered.coverage,
            part=gathered.part.to_bytes() if gathered.part else None,
            evidence=gathered.evidence,
            wall_ns=self._wall_ns(),
            held_ns=self._mono_ns() - came_mono_ns,
        )

    async def _part_of(self, member: str, query: peer.Query) -> Replied:
        sent_mono_ns = self._mono_ns()
        came = await self._child(member).call(query, peer.Partial)
        clock = compared(
            sent_mono_ns=sent_mono_ns,
            came_mono_ns=self._mono_ns(),
            came_wall_ns=self._wall_ns(),
            held_ns=came.held_ns,
            told_wall_ns=came.wall_ns,
        )
        self._learn(member, came)
        return Replied(
            member=member,
            coverage=came.coverage,
            part=came.part,
            evidence=came.evidence,
            clock=clock,
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

    def _gather(self, scope: Scope, budget_ms: int, *, summarised: bool) -> Gather:
        children = self.tree.children if scope == "subtree" else {}
        return Gather(
            own=self.tree.own, children=children, budget_ms=budget_ms, summarised=summarised
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
        return Replied(member=own, coverage=coverage, part=answer.part, evidence=evidence)

    def _since_tick(self, question: Question) -> int:
        """Give the tick from which the question's counter, or its task, should have counted."""
        if question.series is None:
            return 0
        for task in self.book.all():
            if task.ref == (question.series, question.task_id):
                counter = task.counter(question.key_type or "")
                return max(task.since_tick, counter.since_tick if counter else 0)
        raise NotFound(f"no {question.series} {question.task_id} on {self.tree.own}")

    def _adoption(self, budget_ms: int) -> peer.Adopt:
        return peer.Adopt(
            id=0,
            path=self.tree.path_for_children(),
            tasks=self.book.for_children(),
            detectors=self.book.detectors_for_children(),
            budget_ms=budget_ms,
        )

    async def _adopt(self, connection: Connection) -> peer.Adopted:
        """Bring a newly connected child up to date; what changes meanwhile is sent again."""
        try:
            async with asyncio.timeout(CONFIG_BUDGET_MS / 1000):
                budget_ms = next_budget_ms(CONFIG_BUDGET_MS)
                sent = adopted = None
                while adopted is None or sent != self._adoption(budget_ms):
                    sent = self._adoption(budget_ms)
                    adopted = await connection.call(sent, peer.Adopted)
        except TimeoutError:
            raise Unavailable(f"{connection.name} did not confirm its adoption in time") from None
        self._learn(connection.name, adopted)
        return adopted

    def _start_link(self, child: str) -> ChildLink:
        link = ChildLink(name=child, dialer=self._dialer, adopt=self._adopt, on_news=self._hear)
        self._links[child] = link
        self._running[child] = self._group.create_task(link.run())
        return link

    def _child(self, child: str) -> ChildLink:
        link = self._links.get(child)
        if link is None:
            raise Unavailable(f"{child} is no leaf agent any more")
        return link

    def _hear(self, child: str, news: News) -> None:
        if isinstance(news, peer.Adopted):
            self._learn(child, news)
        else:
            self.events.take_from_child(child, news, self.tree.children.get(child, ()))

    def _learn(self, child: str, report: peer.Adopted | peer.Partial) -> None:
        if self.tree.learn(child, report.subtree):
            self._subtree_changed()

    def _subtree_changed(self) -> None:
        self._keep()
        if self._parent is not None and self._has_parent():
            news = peer.Adopted(
                id=0, subtree=self.tree.members(), coverage=Coverage(members=()), dropped=()
            )
            try:
                self._parent.send(news)
            except Busy as error:
                log.warning("parent not told of the changed subtree", reason=str(error))

    def _keep(self) -> None:
        try:
            self._file.save(self._state(self.book))
        except Unavailable as error:
            log.error("state not kept", reason=str(error))

    def _state(self, book: Book) -> State:
        return State(
            own=book.own,
            inherited=book.inherited,
            own_detectors=book.own_detectors,
            inherited_detectors=book.inherited_detectors,
            webhooks=self.webhooks,
            path=self.tree.path,
            children=self.tree.children,
        )


def _why_missing(question: Question) -> str:
    if question.window == TOTAL:
        return "no monitor counted then"
    return "no monitor counted then, or its flight recorder does not reach back so far"


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task:
        task.cancel()
        await asyncio.wait([task])
