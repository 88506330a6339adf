"""Questions to this host or its subtree, answered with what came within the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from netsonde.agent.node import Node
from netsonde.agent.tasks import device_refused, reasons, resolved, scope_for
from netsonde.daemon.threads import begun
from netsonde.model.answer import Answer
from netsonde.model.asked import Asked
from netsonde.model.coverage import Coverage
from netsonde.model.errors import BadField, NetsondeError, NotFound, Unavailable
from netsonde.model.task import Filter, Question, Scope
from netsonde.model.window import TICK_NS
from netsonde.overlay.gather import Gathered
from netsonde.sketch.answers import Heard, answered
from netsonde.sketch.part import Part
from netsonde.sketch.planning import LARGEST_KEYS, Plan, keys_of_one, planned
from netsonde.sketch.summary import Summary

CLOSING_TICKS = 2
"""Ticks before now that every host has closed, where ticks are not longer than usual."""


MOST_KEYS_AT_ONCE = 4096
"""Keys in parts that are made an answer at once; more would hold up the event loop for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A summary and whose it is."""

    summary: Summary
    coverage: Coverage


class Questions:
    """What an agent can be asked about its tasks and its past."""

    def __init__(
        self,
        *,
        node: Node,
        query_deadline_ms: int,
        software: str,
        wall_ns: Callable[[], int],
        spend_ns: Callable[[int], None],
    ) -> None:
        """Charge with `spend_ns` what other threads work."""
        self._node = node
        self._query_deadline_ms = query_deadline_ms
        self._software = software
        self._wall_ns = wall_ns
        self._spend_ns = spend_ns

    def plan(self, asked: Asked) -> tuple[Plan, Scope]:
        """Check a question and settle what it leaves open.

        Raises BadField naming what is wrong, NotFound for an unknown task or counter.
        """
        task = None if asked.task is None else self._node.book.task(asked.task)
        reaches = (
            resolved(self._node, asked.scope)
            if task is None
            else scope_for(self._node, task, asked.scope)
        )
        alone = reaches == "host" or not self._node.tree.children
        now_tick = self._wall_ns() // TICK_NS - CLOSING_TICKS
        keys = keys_of_one(asked) if alone else LARGEST_KEYS
        return planned(asked, task, now_tick, largest_keys=keys), reaches

    async def ask(self, asked: Asked) -> Answer:
        """Answer a question; raises as `plan`, and where no host answered BadField when all of them
        refused the same field of it, Unavailable otherwise. Busy where there is no thread for much.
        """
        plan, scope = self.plan(asked)
        gathered = await self._gather_all(plan.questions, scope)
        heard = [
            Heard(part=one.part, coverage=one.coverage, evidence=one.evidence)
            for one in gathered
            if one.part is not None and one.evidence is not None
        ]
        if len(heard) != len(plan.questions):
            raise _unanswered(asked, gathered)
        if sum(_keys_held(one.part) for one in heard) > MOST_KEYS_AT_ONCE:
            # Parts never change, and the agent serves others meanwhile.
            answer, work_ns = await begun(None, partial(self._answered, plan, heard))
            self._spend_ns(work_ns)
            return answer
        return answered(plan, heard, self._software)

    def _answered(self, plan: Plan, heard: Sequence[Heard]) -> tuple[Answer, int]:
        begun_ns = time.thread_time_ns()
        answer = answered(plan, heard, self._software)
        return answer, time.thread_time_ns() - begun_ns

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
        gathered = await self._gather(question, scope)
        if not isinstance(gathered.part, Summary):
            why = device_refused(gathered.coverage)
            raise why or _nobody([gathered.coverage])
        return Answered(summary=gathered.part, coverage=gathered.coverage)

    async def _gather_all(self, questions: Sequence[Question], scope: Scope) -> list[Gathered]:
        if len(questions) == 1:
            return [await self._gather(questions[0], scope)]
        return await asyncio.gather(*(self._gather(one, scope) for one in questions))

    async def _gather(self, question: Question, scope: Scope) -> Gathered:
        return await self._node.ask(question, scope, self._query_deadline_ms)


def _keys_held(part: Part) -> int:
    return len(part.keys) if isinstance(part, Summary) else 0


def _unanswered(asked: Asked, gathered: Sequence[Gathered]) -> NetsondeError:
    """Say why no host answered, of one window at least."""
    unanswered = [(at, one.coverage) for at, one in enumerate(gathered) if one.part is None]
    for at, coverage in unanswered:
        if of_device := device_refused(coverage):
            return of_device
        name = _field_refused_by_all(coverage)
        if name == "window" and at > 0:
            name = "against"
        if name is not None and hasattr(asked, name):
            one = next(iter(coverage.refused.values()))
            return BadField(name, getattr(asked, name) or one.value, _allowed(coverage))
    return _nobody([coverage for _, coverage in unanswered])


def _nobody(unanswered: Sequence[Coverage]) -> Unavailable:
    """Say that no host answered, of each of some windows, and when all of them may be."""
    error = Unavailable(f"no host answered: {reasons(unanswered[0])}")
    told = [one.retry_after_s for one in unanswered if one.retry_after_s is not None]
    error.retry_after_s = max(told, default=None)
    return error


def _field_refused_by_all(coverage: Coverage) -> str | None:
    """Give the field that everyone refuses; None where somebody is missing for another reason."""
    fields = {one.field for one in coverage.refused.values()}
    everyone = coverage.refused.keys() == set(coverage.members)
    return fields.pop() if everyone and len(fields) == 1 else None


def _allowed(coverage: Coverage) -> str:
    """Say what hosts would accept: of those that say it each in its own way, the first in order.

    Times sort as they pass, so of hosts that do not reach back so far it is one that reaches
    farthest.
    """
    told = sorted((one.allowed, host) for host, one in coverage.refused.items())
    allowed, host = told[0]
    if allowed == told[-1][0]:
        return allowed
    return f"{allowed} ({host}; none of {len(told)} hosts allows more)"


def _described(wanted: Filter) -> str:
    fields = {"proto": wanted.proto, "src": wanted.src, "dst": wanted.dst}
    given = [f"{name} {value}" for name, value in fields.items() if value is not None]
    return ", ".join([f"interface {wanted.device or wanted.interface.value}", *given])
