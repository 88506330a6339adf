"""The certificate: what comes with every answer, so that a number is never silently wrong."""

from __future__ import annotations

import msgspec

from netsonde.model.asked import FilterText
from netsonde.model.evidence import Evidence
from netsonde.model.window import TICKS_PER_S, wall_text

SCHEMA = 1
"""Of answers and certificates; a field may be added under the same number, none changes meaning."""


class WindowCovered(msgspec.Struct, frozen=True, kw_only=True):
    """The time an answer is about."""

    asked: str
    """As the question wrote it, or its default."""
    first_tick: int
    last_tick: int
    begins: str
    """Wall clock, UTC, of the first tick's beginning."""
    ends: str
    """Wall clock, UTC, of the last tick's end."""
    seconds: float


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """Members asked, and how each fared."""

    asked: int
    answered: int
    missing: dict[str, str] = {}
    """Member -> why it is not in the answer."""
    partial: dict[str, str] = {}
    """Member in the answer that does not hold the whole window -> why."""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """How far an answer can be wrong, whom it holds and how it was counted."""

    schema: int = SCHEMA
    software: str
    """Of the agent that answered."""
    task: int | None
    filter: FilterText
    """As it was applied."""
    exact: bool
    """Whether every number of the answer is exact for the hosts that answered."""
    window: WindowCovered
    coverage: Covered
    evidence: Evidence
    spilled_ratio: float
    """Share of the packets seen that is in no record."""

    @property
    def line(self) -> str:
        """Give one line for people: `exact · 8/8 hosts · 0 dropped · 30.0 s ending 12:04:31.2`."""
        seen, found = self.coverage, self.evidence
        dropped = sum(found.drops.values())
        parts = [
            "exact" if self.exact else "within bounds",
            f"{seen.answered}/{seen.asked} {'host' if seen.asked == 1 else 'hosts'}",
            f"{dropped} dropped",
            f"{self.window.seconds:.1f} s ending {self.window.ends[11:-1]}",
            "+".join(found.hooks) or "no hook",
        ]
        if self.spilled_ratio:
            parts.insert(1, f"{self.spilled_ratio:.2%} in no record")
        if seen.missing:
            parts.append(f"missing {', '.join(sorted(seen.missing)[:3])}")
        if seen.partial:
            parts.append(f"partial {', '.join(sorted(seen.partial)[:3])}")
        if found.clock_steps:
            parts.append("the clock was set")
        return " · ".join(parts)


def covered(asked: str, evidence: Evidence) -> WindowCovered:
    """Describe the window that evidence is about."""
    first, end = evidence.first_tick, evidence.last_tick + 1
    return WindowCovered(
        asked=asked,
        first_tick=first,
        last_tick=evidence.last_tick,
        begins=wall_text(first),
        ends=wall_text(end),
        seconds=(end - first) / TICKS_PER_S,
    )
