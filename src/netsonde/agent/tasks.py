"""Tasks as an agent is asked for them: add, list, replace, remove, at any time.

The one idea: a change is one step of the book, then sent to everyone it concerns as the whole
desired state; a host that is away gets it when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import msgspec

from netsonde.agent.children import CONFIG_BUDGET_MS
from netsonde.agent.node import Node
from netsonde.model.coverage import Coverage
from netsonde.model.errors import BadField, Changed, Unavailable
from netsonde.model.task import Counter, Filter, Interface, Question, Scope, Task
from netsonde.model.window import REAL_TIME, TICK_NS
from netsonde.overlay.tasks import Book, Series

_SHOWN_REASONS = 3
_ETAG_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A task as it stands now, and who has it."""

    task: Task
    scope: Scope
    coverage: Coverage

    @property
    def etag(self) -> str:
        """What the task is, in short: changes with filter, counters and scope, and only then."""
        counters = [
            msgspec.structs.replace(counter, since_tick=0) for counter in self.task.counters
        ]
        wanted = msgspec.msgpack.encode((self.task.filter, counters, self.scope))
        return hashlib.blake2b(wanted, digest_size=_ETAG_BYTES).hexdigest()


class Tasks:
    """The tasks of one agent, its own and its parent's."""

    def __init__(self, *, node: Node, wall_ns: Callable[[], int], draw: Callable[[], int]) -> None:
        self._node = node
        self._wall_ns = wall_ns
        self._draw = draw

    async def add(
        self, wanted: Filter, counters: tuple[Counter, ...] = (), scope: Scope | None = None
    ) -> Configured:
        """Start a task; raises BadField when the host is full or counts a key type twice.

        A change that no host could carry out is withdrawn and raises Unavailable.
        """
        return await self._start("sketch", wanted, counters, resolved(self._node, scope))

    async def add_counter(
        self, sketch_id: int, counter: Counter, scope: Scope | None
    ) -> Configured:
        """Count by one more key type in a task; its scope is the task's.

        Raises NotFound and BadField as `Book.with_counter`; withdrawn as in `add`.
        """
        before = self._node.book.sketch(sketch_id)
        book, task = self._node.book.with_counter(sketch_id, counter, self._tick())
        runs_in = book.scope_of(task)
        if scope not in (None, runs_in):
            raise BadField("scope", scope, f"{runs_in}, as of sketch {sketch_id}")
        return await self._carry_out(book, task, runs_in, lambda now: now.with_version(before))

    async def count(self, wanted: Filter, scope: Scope | None) -> Configured:
        """Count the packets and bytes of a filter; an equal one that counts already is taken."""
        runs_in = resolved(self._node, scope)
        known = self._node.book.same_counter(wanted, runs_in)
        if known is None:
            return await self._start("counter", wanted, (), runs_in)
        coverage = await self._node.push(runs_in, CONFIG_BUDGET_MS)
        return Configured(task=known, scope=runs_in, coverage=self._met(known, coverage))

    async def all(self) -> tuple[Configured, ...]:
        """List the tasks with keyed counters, in the order of their ids."""
        sketches = [task for task in self._node.book.all() if task.series == "sketch"]
        standing = [self._as_it_stands(t) for t in sorted(sketches, key=lambda t: t.id)]
        found: dict[tuple[str | None, Scope], Awaitable[Coverage]] = {
            (device, one.scope): self._viewers(device, one.scope)
            for one in standing
            if (device := one.task.filter.device) is not None
        }
        viewers = dict(zip(found, await asyncio.gather(*found.values()), strict=True))
        return tuple(
            replace(one, coverage=viewers.get((one.task.filter.device, one.scope), one.coverage))
            for one in standing
        )

    async def one(self, task_id: int) -> Configured:
        """Find a task; raises NotFound naming the ids that exist."""
        found = self._as_it_stands(self._node.book.task(task_id))
        coverage = await self._who_has_it(found.task, found.scope, found.coverage)
        return replace(found, coverage=coverage)

    async def replace(
        self,
        task_id: int,
        wanted: Filter,
        counters: tuple[Counter, ...],
        scope: Scope | None,
        etag: str | None,
    ) -> Configured:
        """Change a task into another; counters that stay the same keep their counts.

        Raises Changed when the task is not what an `etag` says any more, NotFound and BadField as
        `Book.replaced`; withdrawn as in `add`.
        """
        before = self._as_it_stands(self._node.book.task(task_id))
        if etag is not None:
            _check_etag(before, etag)
        runs_in = scope or before.scope
        book, task = self._node.book.replaced(
            task_id, wanted, counters, scope=runs_in, since_tick=self._tick()
        )
        widest: Scope = "subtree" if "subtree" in (runs_in, before.scope) else "host"
        return await self._carry_out(
            book, task, widest, lambda now: now.with_version(before.task, before.scope)
        )

    async def remove(self, task_id: int, etag: str | None) -> Coverage:
        """Remove a task for good; tells who has stopped it already, the others follow.

        Raises Changed as `replace` where there is an `etag`, NotFound for an unknown task and
        BadField for one of the parent's.
        """
        task = self._node.book.own_task(task_id)
        before = self._as_it_stands(task)
        if etag is not None:
            _check_etag(before, etag)
        self._node.kept.change(self._node.book.without(task))
        return await self._node.push(before.scope, CONFIG_BUDGET_MS)

    def _tick(self) -> int:
        return self._wall_ns() // TICK_NS

    def _as_it_stands(self, task: Task) -> Configured:
        scope = self._node.book.scope_of(task)
        own = Coverage.of(self._node.tree.own)
        coverage = self._node.children.coverage() if scope == "subtree" else own
        return Configured(task=task, scope=scope, coverage=self._met(task, coverage))

    async def _start(
        self, series: Series, wanted: Filter, counters: tuple[Counter, ...], scope: Scope
    ) -> Configured:
        drawn = None if self._node.tree.parent is None else self._draw()
        book, task = self._node.book.with_task(
            series, wanted, scope, self._tick(), drawn, counters=counters
        )
        return await self._carry_out(book, task, scope, lambda now: now.without(task))

    async def _carry_out(
        self, book: Book, task: Task, scope: Scope, withdrawn: Callable[[Book], Book]
    ) -> Configured:
        self._node.kept.change(book)
        pushed = await self._node.push(scope, CONFIG_BUDGET_MS)
        coverage = await self._who_has_it(task, book.scope_of(task), self._met(task, pushed))
        if coverage.answered == 0:
            self._node.kept.change(withdrawn(self._node.book))
            raise device_refused(coverage) or Unavailable(
                f"nothing was configured: {reasons(coverage)}"
            )
        return Configured(task=task, scope=book.scope_of(task), coverage=coverage)

    def _met(self, task: Task, coverage: Coverage) -> Coverage:
        """Take those out who cannot run a task of this id."""
        if self._node.book.is_own(task) and self._node.book.scope_of(task) == "host":
            return coverage
        unmet = {
            one.host: one.why for one in self._node.unmet() if (one.series, one.id) == task.ref
        }
        held = set(coverage.members) - coverage.missing.keys()
        missing = {host: why for host, why in unmet.items() if host in held}
        return msgspec.structs.replace(coverage, missing=coverage.missing | missing)

    async def _who_has_it(self, task: Task, scope: Scope, coverage: Coverage) -> Coverage:
        """Tell who counts for a task: of those in `coverage`, or of a device those who view it."""
        if task.filter.device is None:
            return coverage
        return await self._viewers(task.filter.device, scope)

    async def _viewers(self, device: str, scope: Scope) -> Coverage:
        wanted = Filter(interface=Interface.BOTH, device=device)
        question = Question(filter=wanted, window=REAL_TIME, limit=1)
        return (await self._node.ask(question, scope, CONFIG_BUDGET_MS)).coverage


def resolved(node: Node, scope: Scope | None) -> Scope:
    """Give the scope of a message that says none: an agent without a parent speaks for all."""
    return scope or ("subtree" if node.tree.parent is None else "host")


def scope_for(node: Node, task: Task, scope: Scope | None) -> Scope:
    """Give the scope of a message about a task, which may not reach further than the task."""
    if node.book.scope_of(task) == "subtree":
        return resolved(node, scope)
    if scope == "subtree":
        raise BadField("scope", scope, f"host: {task.series} {task.id} is for this host alone")
    return "host"


def reasons(coverage: Coverage) -> str:
    """Say in short why members are missing."""
    shown = [f"{who} ({why})" for who, why in sorted(coverage.missing.items())[:_SHOWN_REASONS]]
    more = len(coverage.missing) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def device_refused(coverage: Coverage) -> BadField | None:
    """Say that nobody views a device, where everyone asked refuses for that reason."""
    told = sorted((one.allowed, who) for who, one in coverage.refused.items())
    fields = {one.field for one in coverage.refused.values()}
    if fields != {"interface"} or coverage.refused.keys() != set(coverage.members):
        return None
    (allowed, who), (another, _) = told[0], told[-1]
    where = "" if allowed == another else f" ({who}; others view other devices, or none)"
    return BadField("interface", coverage.refused[who].value, allowed + where)


def _check_etag(task: Configured, etag: str) -> None:
    if etag != task.etag:
        raise Changed(
            f"task {task.task.id} is not what '{etag:.40}' was read from: it is '{task.etag}' now; "
            "read it again"
        )
