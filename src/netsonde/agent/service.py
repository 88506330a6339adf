"""What an agent can be asked to do: configure, answer, measure a path, tell its leaf agents.

The one idea: an agent without a parent speaks for its whole subtree, any other for its host alone,
so the answer for a host does not depend on the shape of the tree; `scope` says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from netsonde.agent.node import CONFIG_BUDGET_MS, Node
from netsonde.agent.paths import Kind, Paths
from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Reply, Request
from netsonde.model.coverage import Coverage
from netsonde.model.errors import BadField, NotFound, Unavailable
from netsonde.model.task import Counter, Filter, Question, Scope, Task
from netsonde.model.window import TICK_NS
from netsonde.overlay.tasks import Book, Series
from netsonde.sketch.summary import Summary
from netsonde.wire import peer
from netsonde.wire.monitor import Status

_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A task as it stands now, and who has it."""

    task: Task
    coverage: Coverage
    dropped: tuple[str, ...]
    """Tasks of hosts below that gave way to one with its id, such as `sketch 0 of 10.0.0.4`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A summary and whose it is."""

    summary: Summary
    coverage: Coverage


class Service:
    """The verbs of one agent."""

    def __init__(
        self,
        *,
        node: Node,
        paths: Paths,
        query_deadline_ms: int,
        wall_ns: Callable[[], int],
        draw: Callable[[], int],
    ) -> None:
        self._node = node
        self._paths = paths
        self._query_deadline_ms = query_deadline_ms
        self._wall_ns = wall_ns
        self._draw = draw

    async def configure_sketch(self, wanted: Filter, scope: Scope | None) -> Configured:
        """Start a task without counters; raises BadField when the host is full.

        A change that no host could carry out is withdrawn and raises Unavailable.
        """
        return await self._start("sketch", wanted, self._resolved(scope))

    async def add_counter(
        self, sketch_id: int, counter: Counter, scope: Scope | None
    ) -> Configured:
        """Count by one more key type in a sketch; its scope is the sketch's.

        Raises NotFound and BadField as `Book.with_counter`; withdrawn as `configure_sketch`.
        """
        before = self._node.book.sketch(sketch_id)
        book, task = self._node.book.with_counter(sketch_id, counter, self._tick())
        runs_in = book.scope_of(task)
        if scope not in (None, runs_in):
            raise BadField("scope", scope, f"{runs_in}, as of sketch {sketch_id}")
        return await self._carry_out(book, task, runs_in, lambda now: now.with_version(before))

    async def configure_counter(self, wanted: Filter, scope: Scope | None) -> Configured:
        """Count the packets and bytes of a filter; an equal one that counts already is taken."""
        resolved = self._resolved(scope)
        known = self._node.book.same_counter(wanted, resolved)
        if known is None:
            return await self._start("counter", wanted, resolved)
        pushed = await self._node.push(resolved, CONFIG_BUDGET_MS)
        return Configured(task=known, coverage=pushed.coverage, dropped=pushed.dropped)

    async def ask_sketch(self, question: Question, scope: Scope | None) -> Answered:
        """Answer a question about one counter of a sketch, with what came within the deadline.

        Raises NotFound for an unknown sketch or counter, Unavailable when no host answered.
        """
        task = self._node.book.sketch(question.task_id)
        if task.counter(question.key_type or "") is None:
            known = ", ".join(counter.key_type for counter in task.counters)
            raise NotFound(
                f"field 'counter_key_type' is {question.key_type!r}; sketch {task.id} does not "
                f"count by it, allowed: {known or 'none until config sketch counter is sent'}"
            )
        return await self._ask(question, self._scope_for(task, scope))

    async def ask_counter(self, wanted: Filter, scope: Scope | None) -> Answered:
        """Give the totals of a counter configured with this very filter; raises as `ask_sketch`."""
        resolved = self._resolved(scope)
        task = self._node.book.same_counter(wanted, resolved)
        if task is None:
            raise NotFound(
                f"no counter with {_described(wanted)} is configured here; send config counter "
                "with the same interface, proto, src and dst first"
            )
        return await self._ask(Question(series="counter", task_id=task.id), resolved)

    async def measure(self, kind: Kind, src: str, dst: str) -> peer.ProbeResult:
        """Measure a path; raises as `Paths.measure`."""
        return await self._paths.measure(kind, src, dst)

    async def add_leaf(self, child: str) -> peer.Adopted:
        """Adopt a child; raises as `Node.add_child`."""
        return await self._node.add_child(child)

    def leaves(self) -> tuple[tuple[str, ...], Coverage]:
        """List the children, and who below is connected."""
        return tuple(self._node.tree.children), self._node.coverage()

    async def host(self) -> Status:
        """Tell how this host's monitor is; raises Unavailable when it is away or too slow."""
        try:
            async with asyncio.timeout(self._query_deadline_ms / 1000):
                return await self._node.monitor_status()
        except TimeoutError:
            raise Unavailable("the monitor does not answer in time") from None

    async def serve_peer(self, request: Request, inbound: Inbound) -> Reply:
        """Serve another agent."""
        if isinstance(request, peer.Adopt):
            return await self._node.be_adopted(request, inbound)
        if isinstance(request, peer.Query):
            return await self._node.answer_parent(request, inbound)
        return await self._paths.handle(request, inbound)

    def _tick(self) -> int:
        return self._wall_ns() // TICK_NS

    def _resolved(self, scope: Scope | None) -> Scope:
        return scope or ("subtree" if self._node.tree.parent is None else "host")

    def _scope_for(self, task: Task, scope: Scope | None) -> Scope:
        """Give the scope of a message about a task, which may not reach further than the task."""
        if self._node.book.scope_of(task) == "subtree":
            return self._resolved(scope)
        if scope == "subtree":
            raise BadField("scope", scope, f"host: {task.series} {task.id} is for this host alone")
        return "host"

    async def _start(self, series: Series, wanted: Filter, scope: Scope) -> Configured:
        drawn = None if self._node.tree.parent is None else self._draw()
        book, task = self._node.book.with_task(series, wanted, scope, self._tick(), drawn)
        return await self._carry_out(book, task, scope, lambda now: now.without(task))

    async def _carry_out(
        self, book: Book, task: Task, scope: Scope, withdrawn: Callable[[Book], Book]
    ) -> Configured:
        self._node.change(book)
        pushed = await self._node.push(scope, CONFIG_BUDGET_MS)
        if pushed.coverage.answered == 0:
            self._node.change(withdrawn(self._node.book))
            raise Unavailable(f"nothing was configured: {_reasons(pushed.coverage)}")
        return Configured(task=task, coverage=pushed.coverage, dropped=pushed.dropped)

    async def _ask(self, question: Question, scope: Scope) -> Answered:
        gathered = await self._node.ask(question, scope, self._query_deadline_ms)
        if not isinstance(gathered.part, Summary):
            raise Unavailable(f"no host answered: {_reasons(gathered.coverage)}")
        return Answered(summary=gathered.part, coverage=gathered.coverage)


def _reasons(coverage: Coverage) -> str:
    shown = [f"{who} ({why})" for who, why in sorted(coverage.missing.items())[:_SHOWN_REASONS]]
    more = len(coverage.missing) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _described(wanted: Filter) -> str:
    fields = {"proto": wanted.proto, "src": wanted.src, "dst": wanted.dst}
    given = [f"{name} {value}" for name, value in fields.items() if value is not None]
    return ", ".join([f"interface {wanted.interface.value}", *given])
