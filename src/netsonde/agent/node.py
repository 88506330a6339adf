"""One host in the overlay: drives tree, tasks and fan-in with sockets, clocks and a disk.

The one idea: the state changes in one step without waiting; what others must know of it is sent
afterwards, always as the whole latest state, so nothing depends on the order of arrival.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec
import structlog

from netsonde.agent.children import CONFIG_BUDGET_MS, Children
from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import EventRing
from netsonde.agent.fan_in import carried_out
from netsonde.agent.kept import Kept
from netsonde.agent.monitor_link import MonitorLink
from netsonde.agent.own_part import OwnPart
from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Dialer
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.checks import check_question
from netsonde.model.coverage import Coverage
from netsonde.model.detector import Detector
from netsonde.model.errors import BadField, Busy, NetsondeError
from netsonde.model.task import Question, Scope
from netsonde.overlay.claims import packed, unpacked
from netsonde.overlay.clock import compared
from netsonde.overlay.gather import Ask, Gather, Gathered, Replied
from netsonde.overlay.tasks import Book
from netsonde.overlay.tree import Tree
from netsonde.sketch.summary import Summary
from netsonde.wire import monitor, peer
from netsonde.wire.frame import MAX_FRAME_BYTES
from netsonde.wire.monitor import Status

REPORTED_S = 0.2
"""Seconds for which children's reports are gathered before they are kept and told."""
MAX_LOGGED = 16
"""Tasks named in one line of the log."""
MAX_BUDGET_MS = 60_000
"""Milliseconds that a parent may give."""
_NUMBERS_BYTES = 32
"""Room for what is written into a reply last: lengths and clocks."""

log = structlog.get_logger()


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
        only_parent: str = "",
    ) -> None:
        """`only_parent`: as of `Tree`."""
        self.kept = Kept(own, only_parent)
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
            mono_s=lambda: mono_ns() / 1e9,
        )
        self._monitor = MonitorLink(
            path=monitor_socket,
            desired=self._desired,
            software=software,
            host=own,
            failures=supervisor.failures,
        )
        self._own = OwnPart(kept=self.kept, ask=self._monitor.ask)
        self.children = Children(
            kept=self.kept,
            dialer=dialer,
            supervisor=supervisor,
            changed=self._subtree_changed,
            reported=self._subtree_reported,
            happened=self.events.take_from_child,
            forgotten=self.events.forget_child,
        )
        self._parent: Inbound | None = None
        self._reported = False
        self._told_unmet: tuple[peer.Unmet, ...] = ()
        """What the parent was last told of tasks that cannot run."""

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

    async def push(self, scope: Scope, budget_ms: int) -> Coverage:
        """Bring the latest tasks to the monitor and, for a subtree, to everyone below.

        Tells who has them, but for those that `unmet` names.
        """

        async def ask(command: Ask) -> Replied:
            member = command.member
            if member == self.tree.own:
                await self._monitor.apply()
                return Replied(member=member, coverage=Coverage.of(member))
            adoption = self.children.adoption(command.budget_ms)
            adopted = await self.children.call(member, adoption, peer.Adopted)
            self.children.hear(member, adopted)
            return Replied(
                member=member,
                coverage=adopted.coverage,
                reported=self.tree.children.get(member, ()),
            )

        gather = self._gather(scope, budget_ms, summarised=False)
        failures = self._supervisor.failures
        await carried_out(gather, gather.start(), ask, failures)
        self._tell_unmet()
        return gather.result(1).coverage

    async def ask(self, question: Question, scope: Scope, budget_ms: int) -> Gathered:
        """Answer for this host or its subtree within the budget, with what came.

        Raises BadField for what those below would refuse to read: it would end their connections.
        """
        check_question(question)
        return await self._ask(question, scope, budget_ms)

    async def _ask(
        self,
        question: Question,
        scope: Scope,
        budget_ms: int,
        *,
        without: Collection[str] = (),
        from_above: bool = False,
    ) -> Gathered:
        """Answer as `ask`, without the counts of some members.

        A task `from_above` is the parent's, where this host has one of its own with the same id.
        """
        began_mono_ns = self._mono_ns()

        async def ask(command: Ask) -> Replied:
            if command.member == self.tree.own:
                return await self._own.part(question, from_above=from_above)
            query = peer.Query(
                id=0, question=question, budget_ms=command.budget_ms, without=command.without
            )
            return await self._part_of(command.member, query)

        gather = self._gather(scope, budget_ms, summarised=True, without=without)
        failures = self._supervisor.failures
        await carried_out(gather, gather.start(), ask, failures)
        spent_ms = (self._mono_ns() - began_mono_ns) // 1_000_000
        await carried_out(gather, gather.again(budget_ms - spent_ms), ask, failures)
        gathered = gather.result(question.limit)
        self.children.refused["answer"] += len(gathered.left_out - {self.tree.own})
        return gathered

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
        book = self.book.inherit(request.tasks, request.detectors)
        self.tree.adopted_by(request.path, self._has_parent(), by_hand=request.by_hand)
        fresh = inbound is not self._parent
        self._parent, self.kept.book = inbound, book
        self.kept.keep()
        if fresh:  # before the events of those below, which are refused of hosts not known yet
            self._tell_parent()
        self.events.parent_changed()
        if why := [why for _, why in self.book.unmet()[:MAX_LOGGED]]:
            log.warning("tasks of the parent's cannot run", why=why)
        coverage = await self.push("subtree", min(request.budget_ms, MAX_BUDGET_MS))
        return self._standing(request.id, coverage)

    def be_released(self, request: peer.Release, inbound: Inbound) -> peer.Released:
        """Have no parent any more, since it says so; raises Busy for anyone else."""
        self._check_parent(inbound)
        self.tree.let_go()
        self._without_parent()
        self._supervisor.start("released", self._push_all)
        return peer.Released(id=request.id)

    async def _push_all(self) -> None:
        await self.push("subtree", CONFIG_BUDGET_MS)

    async def leave_parent(self) -> tuple[str, Coverage]:
        """Have no parent any more, and go on with what was configured here.

        Gives the former parent, and who runs the tasks from here now. Raises BadField without one.
        """
        parent = self.tree.leave()
        inbound = self._parent
        self._without_parent()
        if inbound is not None:
            inbound.close()
        return parent, await self.push("subtree", CONFIG_BUDGET_MS)

    def _without_parent(self) -> None:
        self._parent, self.kept.book = None, self.book.inherit(())
        self.kept.keep()
        self.events.parent_changed()

    def unmet(self) -> tuple[peer.Unmet, ...]:
        """Tell which tasks from above cannot run at hosts at and below this one."""
        below = (one for child in self.children.unmet.values() for one in child)
        own = (
            peer.Unmet(series=task.series, id=task.id, host=self.tree.own, why=why)
            for task, why in self.book.unmet()
        )
        return tuple(itertools.islice(itertools.chain(own, below), peer.MAX_UNMET))

    async def answer_parent(self, request: peer.Query, inbound: Inbound) -> peer.Partial:
        """Answer the parent's question for the whole subtree; raises Busy for anyone else's."""
        self._check_parent(inbound)
        came_mono_ns = self._mono_ns()
        check_question(request.question)
        budget_ms = min(request.budget_ms, MAX_BUDGET_MS)
        gathered = await self._ask(
            request.question, "subtree", budget_ms, without=request.without, from_above=True
        )
        coverage = gathered.coverage
        held = set(coverage.members) - coverage.missing.keys()
        reply = peer.Partial(
            id=request.id,
            subtree=self.tree.members(),
            coverage=coverage,
            part=None,
            evidence=gathered.evidence,
            monitors=packed(gathered.monitors, held) if gathered.monitors else b"",
            wall_ns=0,
            held_ns=0,
        )
        room_bytes = MAX_FRAME_BYTES - len(peer.MESSAGES.encode(reply)) - _NUMBERS_BYTES
        return msgspec.structs.replace(
            reply,
            part=gathered.packed(room_bytes),
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

    def is_parent(self, inbound: Inbound) -> bool:
        """Tell whether a connection is the parent's."""
        return inbound is self._parent and self._has_parent()

    def is_kin(self, host: str) -> bool:
        """Tell whether an address is that of the parent, connected or not, or of a child."""
        tree = self.tree
        return host in (tree.parent, tree.only_parent) or host in tree.children

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

    def _check_parent(self, inbound: Inbound) -> None:
        if not self.is_parent(inbound):
            raise Busy(f"{inbound.name} is not the parent of {self.tree.own}")

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

    def _subtree_changed(self) -> None:
        self.kept.keep()
        self._tell_parent()

    def _subtree_reported(self) -> None:
        """Keep and tell what children report, once for all that comes within REPORTED_S.

        Each writing waits for the disk: a child must not be able to ask for one with every frame.
        """
        if not self._reported:
            self._reported = True
            self._supervisor.start("reports", self._report)

    async def _report(self) -> None:
        await asyncio.sleep(REPORTED_S)
        self._reported = False
        self._subtree_changed()

    def _tell_unmet(self) -> None:
        if self.unmet() != self._told_unmet:
            self._tell_parent()

    def _tell_parent(self) -> None:
        if self._parent is None or not self._has_parent():
            return
        try:
            self._parent.send(self._standing(0, Coverage(members=())))
        except NetsondeError as error:
            log.warning("parent not told of the changed subtree", reason=str(error))

    def _standing(self, number: int, coverage: Coverage) -> peer.Adopted:
        """Say how this host and those below it stand now."""
        self._told_unmet = self.unmet()
        return peer.Adopted(
            id=number,
            subtree=self.tree.members(),
            coverage=coverage,
            removed=self.tree.removed,
            unmet=self._told_unmet,
        )
