"""Detectors as an agent is asked for them: those that are built in, changed or added, fleet-wide.

A detector that is set at an agent is for it and everyone below, so the root's are the fleet's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netsonde.agent.children import CONFIG_BUDGET_MS
from netsonde.agent.node import Node
from netsonde.agent.tasks import reasons
from netsonde.model.coverage import Coverage
from netsonde.model.detector import Choice, Detector
from netsonde.model.errors import Unavailable
from netsonde.overlay.tasks import Book


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A detector as it is now, and who has it."""

    choice: Choice
    built_in: bool
    """Whether there is a built-in one of that name, be it as built or changed."""
    coverage: Coverage


class Detectors:
    """The detectors of one agent."""

    def __init__(self, *, node: Node, built_in: Sequence[Detector]) -> None:
        self._node = node
        self._built_in = tuple(built_in)
        self._names = frozenset(detector.name for detector in built_in)

    def all(self) -> tuple[tuple[Choice, bool], ...]:
        """List the detectors, and whether each is built in."""
        chosen = self._node.book.detectors(self._built_in)
        return tuple((choice, choice.detector.name in self._names) for choice in chosen)

    async def put(self, choice: Choice) -> Set:
        """Set a detector here and below; raises as `Book.with_detector`.

        A change that no host could carry out is withdrawn and raises Unavailable.
        """
        coverage = await self._change(lambda book: book.with_detector(choice, self._built_in))
        built_in = choice.detector.name in self._names
        return Set(choice=choice, built_in=built_in, coverage=coverage)

    async def delete(self, name: str) -> Coverage:
        """Delete a detector that was set here; raises as `Book.without_detector` and `put`."""
        return await self._change(lambda book: book.without_detector(name, self._built_in))

    async def _change(self, changed: Callable[[Book], Book]) -> Coverage:
        before = self._node.book.own_detectors
        self._node.kept.change(changed(self._node.book))
        coverage = await self._node.push("subtree", CONFIG_BUDGET_MS)
        if coverage.answered == 0:
            self._node.kept.change(self._node.book.with_own_detectors(before))
            raise Unavailable(f"nothing was configured: {reasons(coverage)}")
        return coverage
