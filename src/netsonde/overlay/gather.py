"""One question's fan-in: whom to ask with which budget, and what their parts make together.

The one idea: nothing is merged before the end. Parts are judged and folded in a fixed order, own
first, then by the child's name, and each must be disjoint from the others, so a host counts once
in any tree, and the same parts give the same answer whatever their order of arrival.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from netsonde.model.coverage import Refusal
from netsonde.overlay.claims import Claim, Excluded, conflicts
from netsonde.overlay.fold import Fold, Gathered, Replied

__all__ = ["Ask", "Gather", "Gathered", "Lost", "Replied", "next_budget_ms"]

MERGE_RESERVE_MS = 20
MERGE_RESERVE_RATIO = 0.1


def next_budget_ms(budget_ms: int) -> int:
    """Give what is left for the next level: the rest is for merging and sending the answer up."""
    return budget_ms - max(MERGE_RESERVE_MS, int(budget_ms * MERGE_RESERVE_RATIO))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Command: ask this member for its part."""

    member: str
    budget_ms: int
    without: tuple[str, ...] = ()
    """Members at and below it that its part must not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Event: a member refused, was disconnected or used up its budget."""

    member: str
    reason: str
    refusal: Refusal | None = None
    """The field that it could not accept, where it is about one."""
    retry_after_s: float | None = None
    """When it may answer, where it has said that."""


class Gather:
    """One fan-in, at one host, with a budget; `summarised` is False for configuration."""

    def __init__(
        self,
        *,
        own: str,
        children: Mapping[str, tuple[str, ...]],
        budget_ms: int,
        summarised: bool,
        without: Collection[str] = (),
    ) -> None:
        """`without`: members that the answer must not hold."""
        self._own = own
        self._summarised = summarised
        self._without = frozenset(without)
        self._subtrees = {own: (own,)} | {child: children[child] for child in sorted(children)}
        self._budget_ms = next_budget_ms(budget_ms)
        self._events: dict[str, Replied | Lost] = {}
        if own in self._without:
            self._events[own] = Lost(member=own, reason="left out as asked")
        self._excluded: Excluded = {}
        self._left_out: set[str] = set()

    def start(self) -> list[Ask]:
        """Ask everyone at once; without time for another level, ask nobody."""
        if self._budget_ms <= 0:
            return []
        return [
            Ask(member=member, budget_ms=self._budget_ms, without=self._lacking(member))
            for member in self._subtrees
            if member not in self._events
        ]

    def handle(self, event: Replied | Lost) -> None:
        """Take one event; the first of a member stands, and strangers are not heard.

        A part of members whom its sender has not reported, or who were to be left out, is none.
        """
        if event.member not in self._subtrees or event.member in self._events:
            return
        self._events[event.member] = event
        if isinstance(event, Replied):
            known = {*self._subtrees[event.member], *event.reported}
            strange = {*event.coverage.members, *event.coverage.missing} - known
            if strange:
                why = f"it names {min(strange):.80}, whom it has not reported"
                self._leave_out(event.member, why)
            elif not event.held.issuperset(event.monitors.values()):
                self._leave_out(event.member, "monitors of hosts not in it")
            elif unasked := event.held.intersection(self._lacking(event.member)):
                why = f"it holds {min(unasked)}, whom it was to leave out"
                self._leave_out(event.member, why)

    def again(self, left_ms: int) -> list[Ask]:
        """Ask those again whose parts are not disjoint, without what they must not hold.

        Call it once, when everyone asked has been heard. Without time, or without anything left to
        ask for, such parts are left out whole.
        """
        budget_ms = next_budget_ms(left_ms)
        if not self._summarised or budget_ms <= 0:
            return []
        self._excluded = conflicts(list(self._claims()))
        asks = []
        for member, excluded in self._excluded.items():
            event = self._events[member]
            if not isinstance(event, Replied):
                continue
            if event.held <= excluded.keys():
                missing = tuple(event.coverage.missing)
                none = replace(event.coverage, members=missing, partial={})
                self._events[member] = Replied(member=member, coverage=none)
                continue
            del self._events[member]
            asks.append(Ask(member=member, budget_ms=budget_ms, without=self._lacking(member)))
        return asks

    def result(self, limit: int) -> Gathered:
        """Fold what came; who did not answer is missing with everyone last known below."""
        fold = Fold(left_out=set(self._left_out))
        standing = conflicts(list(self._claims()))
        for excluded in (*self._excluded.values(), *standing.values()):
            for host, why in excluded.items():
                fold.lose((host,), why)
        for member, subtree in self._subtrees.items():
            event = self._events.get(member, Lost(member=member, reason="no time left to ask"))
            if isinstance(event, Lost):
                fold.lose(subtree, event.reason, event.refusal, event.retry_after_s)
                continue
            if not self._summarised:
                fold.take(event, standing.get(member, ()))
            elif member in standing:
                twice = min(standing[member])
                fold.leave_out(event, f"it holds {twice}, {standing[member][twice]}")
            else:
                fold.read(event)
            fold.lose(self._without.intersection(subtree), "left out as asked")
        fold.choose(self._own)
        for member, subtree in self._subtrees.items():
            fold.lose(subtree, f"no longer known to {member}")
        return fold.gathered(limit)

    def _claims(self) -> Iterator[Claim]:
        for member in self._subtrees:
            event = self._events.get(member)
            if isinstance(event, Replied) and event.held:
                yield Claim(member, event.held, event.monitors)

    def _lacking(self, member: str) -> tuple[str, ...]:
        """Give whom the part of a member must not hold."""
        asked = self._without.intersection(self._subtrees[member])
        return tuple(sorted(asked.union(self._excluded.get(member, ()))))

    def _leave_out(self, member: str, why: str) -> None:
        self._left_out.add(member)
        reason = f"left out with the answer of {member}: {why}"
        self._events[member] = Lost(member=member, reason=reason)
