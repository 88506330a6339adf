"""What parts make together: those that answer the same question, each of disjoint members."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from netsonde.model.coverage import MAX_REFUSED, Coverage, Refusal, told
from netsonde.model.errors import BadField, ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.number import MAX_COUNT, MAX_RETRY_S
from netsonde.model.text import MAX_LINE_CHARS, clipped
from netsonde.overlay.checks import check_evidence
from netsonde.overlay.clock import Skew, seen_from_here
from netsonde.sketch import part
from netsonde.sketch.part import Part
from netsonde.sketch.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """Event: a member's part came."""

    member: str
    coverage: Coverage
    part: bytes | None = None
    """`Part.to_bytes()`; None when none of its members answered, and where none was asked for."""
    evidence: Evidence | None = None
    """Of the members in `part`; its clocks are against the member's."""
    clock: Skew | None = None
    """The member's clock against this host's; None where they could not be compared."""
    monitors: Mapping[str, str] = field(default_factory=dict)
    """Id of each monitor whose counts are in `part` -> its host."""
    reported: tuple[str, ...] = ()
    """Everyone whom the member has reported at and below itself by now, beside those known."""

    @property
    def held(self) -> frozenset[str]:
        """Members whose counts it holds, as it says."""
        return frozenset(self.coverage.members) - self.coverage.missing.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What all parts make together."""

    coverage: Coverage
    part: Part | None
    """None when none came."""
    evidence: Evidence | None
    """Of the members in `part`, clocks against this host's."""
    monitors: dict[str, str]
    """Id of each monitor whose counts are in `part` -> its host."""
    left_out: frozenset[str] = frozenset()
    """Children who answered and whose answer was left out, for what it says."""

    def packed(self, room_bytes: int) -> bytes | None:
        """Write the part, with as many of its keys as there is room for.

        What others can have is bounded in it, as where keys are left out for any reason.
        """
        one = self.part
        if one is None:
            return None
        written = one.to_bytes()
        while len(written) > room_bytes > 0 and isinstance(one, Summary) and len(one.keys) > 1:
            one = one.limited(max(1, len(one.keys) * room_bytes * 9 // (len(written) * 10)))
            written = one.to_bytes()
        return written


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    event: Replied
    part: Part
    evidence: Evidence

    @property
    def most(self) -> int:
        """Largest number in it that is added to those of others."""
        return max(self.part.most, self.evidence.most)


@dataclass(slots=True)
class Fold:
    """Parts taken, and why others were not; the first reason for a member stands."""

    contributors: set[str] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)
    partial: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    """Who answered, and whose answer was left out for what it says."""
    retry_after_s: dict[str, float] = field(default_factory=dict)
    """Member that is missing -> when it may answer."""
    _read: list[_Read] = field(default_factory=list)

    def lose(
        self,
        members: Iterable[str],
        reason: str,
        refusal: Refusal | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Name members as missing."""
        why = clipped(reason, MAX_LINE_CHARS)  # as the next one up reads it
        for member in members:
            if member in self.missing:
                continue
            self.missing[member] = why
            if refusal is not None and len(self.refused) < MAX_REFUSED:
                self.refused[member] = refusal
            if retry_after_s is not None:
                self.retry_after_s[member] = min(retry_after_s, MAX_RETRY_S)

    def take(self, event: Replied, without: Collection[str] = ()) -> None:
        """Name whom a part holds, and who is missing from it and why."""
        held = event.held.difference(without)
        self.contributors |= held
        said = event.coverage.partial.items()
        self.partial.update({member: why for member, why in said if member in held})
        self._lose_as_said(event)

    def read(self, event: Replied) -> None:
        """Take a part if it can be read, else lose whom it holds."""
        if not event.held:
            self.take(event)
            return
        try:
            if event.part is None or event.evidence is None:
                raise ProtocolError("its answer holds no counts, or not how they came about")
            check_evidence(event.evidence)
            self._read.append(_Read(event, part.read(event.part), event.evidence))
        except (BadField, ProtocolError) as error:
            self.leave_out(event, str(error))

    def leave_out(self, event: Replied, why: str) -> None:
        """Lose everyone whom a part holds, for a fault of the part."""
        self.left_out.add(event.member)
        self.lose(event.held, f"left out with the answer of {event.member}: {why}")
        self._lose_as_said(event)

    def choose(self, own: str) -> None:
        """Take the parts that answer the same question as this host's own, or else as most.

        Sums stay below MAX_COUNT, so that whoever gets them can take them: the part with which
        they would not is left out.
        """
        chosen, room = [], MAX_COUNT
        alike = self._alike(own)
        for one in self._read:
            if one not in alike:
                self.leave_out(one.event, "its task has the same id and counts something else")
            elif one.most > room:
                self.leave_out(one.event, f"with the others it counts more than {MAX_COUNT}")
            else:
                self.take(one.event)
                chosen.append(one)
                room -= one.most
        self._read = chosen

    def gathered(self, limit: int) -> Gathered:
        """Merge what was chosen, keeping at most `limit` keys."""
        missing = {m: why for m, why in self.missing.items() if m not in self.contributors}
        coverage = Coverage(
            members=tuple(sorted(self.contributors | missing.keys())),
            missing=told(missing),
            partial=told(self.partial),
            refused={m: why for m, why in self.refused.items() if m in missing},
            retry_after_s=min(
                (after_s for m, after_s in self.retry_after_s.items() if m in missing),
                default=None,
            ),
        )
        monitors: dict[str, str] = {}
        for one in self._read:
            monitors |= one.event.monitors
        whole = part.merged([one.part for one in self._read], limit) if self._read else None
        return Gathered(
            coverage=coverage,
            part=whole,
            evidence=_added(self._read),
            monitors=monitors,
            left_out=frozenset(self.left_out),
        )

    def _lose_as_said(self, event: Replied) -> None:
        said = event.coverage
        for member, reason in said.missing.items():
            self.lose((member,), reason, said.refused.get(member), said.retry_after_s)

    def _alike(self, own: str) -> list[_Read]:
        groups: list[list[_Read]] = []
        for one in self._read:
            group = next((g for g in groups if part.alike(g[0].part, one.part)), None)
            if group is None:
                groups.append([one])
            else:
                group.append(one)

        def rank(group: list[_Read]) -> tuple[bool, int]:
            return group[0].event.member == own, sum(len(one.event.held) for one in group)

        return max(groups, key=rank, default=[])


def _added(parts: Sequence[_Read]) -> Evidence | None:
    whole: Evidence | None = None
    for one in parts:
        skew_ms = seen_from_here(one.event.member, one.event.clock, one.evidence.skew_ms)
        plain = msgspec.structs.replace(one.evidence, skew_ms=skew_ms)
        whole = plain if whole is None else whole.merged(plain)
    return whole
