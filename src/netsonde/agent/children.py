"""The children of one agent: adopted, kept connected, asked, and heard.

The one idea: a child is always sent the whole latest state, so nothing depends on the order of
arrival, and one that was away is brought up to date by its first frame.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Collection
from typing import TypeVar

import structlog

from netsonde.agent.child import ChildLink
from netsonde.agent.kept import Kept
from netsonde.agent.peers import Connection, Dialer, News, Reply, Request
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.coverage import Coverage
from netsonde.model.errors import BadField, NetsondeError, NotFound, Unavailable, Unforeseen
from netsonde.overlay.gather import next_budget_ms
from netsonde.wire import peer

log = structlog.get_logger()

CONFIG_BUDGET_MS = 2000
"""Milliseconds for a change of tasks to reach everyone below and be confirmed."""

RELEASE_S = 0.5
"""Seconds that a child which is let go has to confirm it."""

R = TypeVar("R", bound=Reply)


class Children:
    """Connections to all children, from `start` on; each is a part of the daemon by itself."""

    def __init__(
        self,
        *,
        kept: Kept,
        dialer: Dialer,
        supervisor: Supervisor,
        changed: Callable[[], None],
        reported: Callable[[], None],
        happened: Callable[[str, peer.Happened, Collection[str]], None],
        forgotten: Callable[[str], None],
    ) -> None:
        """`changed`: called when the subtree is another, `reported`: when a child says so;
        `happened`: takes a child's events; `forgotten`: called with a former child."""
        self._kept = kept
        self._dialer = dialer
        self._supervisor = supervisor
        self._changed = changed
        self._reported = reported
        self._happened = happened
        self._forgotten = forgotten
        self._links: dict[str, ChildLink] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._adding = asyncio.Lock()
        self._by_hand: set[str] = set()
        """Children that somebody has just asked for."""
        self.refused: Tally[str] = Tally()
        """What children said and was not taken, by cause, but for events."""
        self.unmet: dict[str, tuple[peer.Unmet, ...]] = {}
        """Child -> tasks from here that hosts at and below it cannot run."""

    def start(self) -> None:
        """Connect the children, and keep them connected."""
        for child in self._kept.tree.children:
            self._start_link(child)

    async def add(self, child: str) -> peer.Adopted:
        """Adopt a child, or try again with one that is away.

        Raises BadField when it may not or will not be one, Unavailable when it cannot be reached;
        then it is no child, unless it was one before.
        """
        async with self._adding:
            former = self._running.get(child)
            if former is None:
                self._kept.tree.add_child(child)
            self._by_hand.add(child)
            link = self._start_link(child)
            await _cancel(former)
            try:
                adopted = await link.first_try()
            except NetsondeError as error:
                if former is None:
                    self._kept.tree.remove_child(child)
                    del self._links[child]
                    await _cancel(self._running.pop(child))
                if isinstance(error, Unavailable | Unforeseen):
                    raise
                raise BadField(
                    "agent_addr", child, f"an agent that can be adopted ({error})"
                ) from None
            finally:
                self._by_hand.discard(child)
            self._changed()
            return adopted

    async def remove(self, child: str) -> bool:
        """Let a child go, and forget it and everyone below it; tells whether it could be told.

        Raises NotFound for one that is none.
        """
        async with self._adding:
            link = self._links.pop(child, None)
            if link is None:
                known = ", ".join(self._links) or "none until add leaf agent is sent"
                raise NotFound(
                    f"field 'agent_addr' is {child!r}; there is no such leaf agent here, "
                    f"allowed: {known}"
                )
            told = True
            try:
                async with asyncio.timeout(RELEASE_S):
                    await link.call(peer.Release(id=0), peer.Released)
            except (NetsondeError, TimeoutError):
                told = False
            await _cancel(self._running.pop(child))
            self.unmet.pop(child, None)
            self._forgotten(child)
            self._kept.tree.remove_child(child)
            self._changed()
            return told

    async def call(self, child: str, request: Request, expected: type[R]) -> R:
        """Ask a child; raises Unavailable for one that is none any more, else as `ChildLink`."""
        link = self._links.get(child)
        if link is None:
            raise Unavailable(f"{child} is no leaf agent any more")
        return await link.call(request, expected)

    def learn(self, child: str, subtree: tuple[str, ...], removed: tuple[str, ...] = ()) -> None:
        """Take a child's report of who is at and below it; one that cannot be taken is logged.

        Whom it names beside those known is then nobody to this host, in no answer either.
        """
        try:
            changed = self._kept.tree.learn(child, subtree, removed)
        except BadField as error:
            log.warning("report of members refused", child=child, reason=str(error))
            self.refused["report"] += 1
            return
        if changed:
            self._reported()

    def hear(self, child: str, adopted: peer.Adopted) -> None:
        """Take all that a child says of itself."""
        self.learn(child, adopted.subtree, adopted.removed)
        below = self._kept.tree.children.get(child, ())
        unmet = tuple(one for one in adopted.unmet if one.host in below)
        if unmet != self.unmet.get(child, ()):
            self.unmet[child] = unmet
            self._reported()

    def coverage(self) -> Coverage:
        """Tell which members are known, and which cannot be reached through any child."""
        tree = self._kept.tree
        faults = {child: link.fault for child, link in self._links.items()}
        reached = {tree.own}.union(*(tree.children[c] for c in faults if not faults[c]))
        missing = {
            member: str(fault)
            for child, fault in faults.items()
            if fault
            for member in tree.children[child]
            if member not in reached
        }
        return Coverage(members=tree.members(), missing=missing)

    def adoption(self, budget_ms: int, *, by_hand: bool = False) -> peer.Adopt:
        """Give what a child must have now."""
        return peer.Adopt(
            id=0,
            path=self._kept.tree.path_for_children(),
            tasks=self._kept.book.for_children(),
            detectors=self._kept.book.detectors_for_children(),
            budget_ms=budget_ms,
            by_hand=by_hand,
        )

    async def _adopt(self, connection: Connection) -> peer.Adopted:
        """Bring a newly connected child up to date; what changes meanwhile is sent again."""
        try:
            async with asyncio.timeout(CONFIG_BUDGET_MS / 1000):
                budget_ms = next_budget_ms(CONFIG_BUDGET_MS)
                sent = adopted = None
                by_hand = connection.name in self._by_hand
                while adopted is None or sent != self.adoption(budget_ms, by_hand=by_hand):
                    sent = self.adoption(budget_ms, by_hand=by_hand)
                    adopted = await connection.call(sent, peer.Adopted)
        except TimeoutError:
            raise Unavailable(f"{connection.name} did not confirm its adoption in time") from None
        self.hear(connection.name, adopted)
        return adopted

    def _start_link(self, child: str) -> ChildLink:
        link = ChildLink(
            name=child,
            dialer=self._dialer,
            adopt=self._adopt,
            on_news=self._hear,
            on_garbled=self._garbled,
        )
        self._links[child] = link
        self._running[child] = self._supervisor.start("child", link.run)
        return link

    def _garbled(self, child: str, error: NetsondeError) -> None:
        log.warning("message of a child refused", child=child, reason=str(error))
        self.refused["message"] += 1

    def _hear(self, child: str, news: News) -> None:
        if isinstance(news, peer.Adopted):
            self.hear(child, news)
        else:
            self._happened(child, news, self._kept.tree.children.get(child, ()))


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task:
        task.cancel()
        await asyncio.wait([task])
