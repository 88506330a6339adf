"""Questions to this host or its subtree, answered with what came within the deadline."""

from __future__ import annotations

from dataclasses import dataclass

from netsonde.agent.node import Node
from netsonde.agent.tasks import reasons, resolved, scope_for
from netsonde.model.coverage import Coverage
from netsonde.model.errors import NotFound, Unavailable
from netsonde.model.task import Filter, Question, Scope
from netsonde.sketch.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A summary and whose it is."""

    summary: Summary
    coverage: Coverage


class Questions:
    """What an agent can be asked about its tasks and its past."""

    def __init__(self, *, node: Node, query_deadline_ms: int) -> None:
        self._node = node
        self._query_deadline_ms = query_deadline_ms

    async def about_sketch(self, question: Question, scope: Scope | None) -> Answered:
        """Answer a question about one counter of a sketch.

        Raises NotFound for an unknown sketch or counter, Unavailable when no host answered.
        """
        task = self._node.book.sketch(question.task_id)
        if task.counter(question.key_type or "") is None:
            known = ", ".join(counter.key_type for counter in task.counters)
            raise NotFound(
                f"field 'counter_key_type' is {question.key_type!r}; sketch {task.id} does not "
                f"count by it, allowed: {known or 'none until config sketch counter is sent'}"
            )
        return await self._ask(question, scope_for(self._node, task, scope))

    async def about_counter(self, wanted: Filter, scope: Scope | None) -> Answered:
        """Give the totals of a counter configured with this very filter; raises as the above."""
        reaches = resolved(self._node, scope)
        task = self._node.book.same_counter(wanted, reaches)
        if task is None:
            raise NotFound(
                f"no counter with {_described(wanted)} is configured here; send config counter "
                "with the same interface, proto, src and dst first"
            )
        return await self._ask(Question(series="counter", task_id=task.id), reaches)

    async def _ask(self, question: Question, scope: Scope) -> Answered:
        gathered = await self._node.ask(question, scope, self._query_deadline_ms)
        if not isinstance(gathered.part, Summary):
            raise Unavailable(f"no host answered: {reasons(gathered.coverage)}")
        return Answered(summary=gathered.part, coverage=gathered.coverage)


def _described(wanted: Filter) -> str:
    fields = {"proto": wanted.proto, "src": wanted.src, "dst": wanted.dst}
    given = [f"{name} {value}" for name, value in fields.items() if value is not None]
    return ", ".join([f"interface {wanted.interface.value}", *given])
