"""This host's own part of an answer: what its monitor says, in this host's name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from netsonde.agent.kept import Kept
from netsonde.model.coverage import Coverage
from netsonde.model.errors import NotFound
from netsonde.model.task import Question
from netsonde.model.window import TICKS_PER_S, TOTAL
from netsonde.overlay.claims import ID_BYTES
from netsonde.overlay.gather import Replied
from netsonde.wire import monitor

LATE_TICKS = 10
"""Ticks after a task's start from which a host that then began to count is called partial."""


class OwnPart:
    """What one host counted."""

    def __init__(self, *, kept: Kept, ask: Callable[[Question], Awaitable[monitor.Answer]]) -> None:
        self._kept = kept
        self._ask = ask

    async def part(self, question: Question, *, from_above: bool) -> Replied:
        """Ask the monitor; raises as `MonitorLink.ask`, and NotFound for a task that is not here.

        A task `from_above` is the parent's, where this host has one of its own with the same id.
        """
        if from_above:
            self._check_met(question)
        own, expected_tick = self._kept.tree.own, self._since_tick(question)
        answer = await self._ask(question)
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

    def _check_met(self, question: Question) -> None:
        """Raise NotFound for a task of the parent's that does not run here."""
        why = self._kept.book.why_unmet(question.series, question.task_id)
        if why is not None:
            raise NotFound(why)

    def _since_tick(self, question: Question) -> int:
        """Give the tick from which the question's counter, or its task, should have counted."""
        if question.series is None:
            return 0
        for task in self._kept.book.all():
            if task.ref == (question.series, question.task_id):
                counter = task.counter(question.key_type or "")
                return max(task.since_tick, counter.since_tick if counter else 0)
        raise NotFound(f"no {question.series} {question.task_id} on {self._kept.tree.own}")


def _why_missing(question: Question) -> str:
    if question.window == TOTAL:
        return "no monitor counted then"
    return "no monitor counted then, or its flight recorder does not reach back so far"
