"""The certificate: what comes with every answer, so that a number is never silently wrong."""

from __future__ import annotations

import msgspec

from netsonde.model.asked import FilterText
from netsonde.model.device import SIDES
from netsonde.model.evidence import Evidence
from netsonde.model.window import TICKS_PER_S, span_text, wall_text

SCHEMA = 1
"""Of answers and certificates; a field may be added under the same number, none changes meaning."""

_SHOWN_NAMES = 3
_NOTED_SKEW_MS = 1000 / TICKS_PER_S
"""Clocks that surely differ by more than a tick are told in the line."""
_LEAST_SHARE = 0.0001


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
        """Give one line for people: `exact · 8/8 hosts · 0 dropped · 30.0 s ending 12:04:31.2`.

        Packets that are not IP are no flow's to miss, so they are told apart from those dropped.
        """
        seen, found = self.coverage, self.evidence
        not_ip = found.drops.get("not_ip", 0)
        dropped = sum(found.drops.values()) - not_ip
        return " · ".join(
            part
            for part in (
                "exact" if self.exact else "within bounds",
                f"{_share(self.spilled_ratio)} in no record" if self.spilled_ratio else "",
                f"{seen.answered}/{seen.asked} {'host' if seen.asked == 1 else 'hosts'}",
                f"missing {_names(seen.missing)}" if seen.missing else "",
                f"partial {_names(seen.partial)}" if seen.partial else "",
                f"{dropped} dropped",
                f"{not_ip} not IP" if not_ip else "",
                f"{span_text(self.window.seconds)} ending {self.window.ends[11:-1]}",
                "+".join(sorted(found.hooks)) or "no hook",
                *self._doubts(),
            )
            if part
        )

    def _doubts(self) -> list[str]:
        """Say what else may surprise: a packet that counts at several hosts, time that was lost or
        set, and flows left out for speed."""
        found, doubts = self.evidence, []
        if self.filter.interface not in SIDES and self.coverage.answered > 1:
            doubts.append(f"what crosses {self.filter.interface} of each host")
        if found.missed_ticks:
            doubts.append(f"{found.missed_ticks / TICKS_PER_S:.1f} s missed")
        if found.told_one_in > 1:
            doubts.append(f"flows told: 1 in {found.told_one_in}")
        if found.clock_steps:
            doubts.append("a clock was set")
        apart_ms = max((abs(ms) - wrong for ms, wrong in found.skew_ms.values()), default=0.0)
        if apart_ms > _NOTED_SKEW_MS:
            doubts.append(f"clocks {apart_ms:.0f} ms apart")
        return doubts


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


def _names(members: dict[str, str]) -> str:
    shown = ", ".join(sorted(members)[:_SHOWN_NAMES])
    more = len(members) - _SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _share(ratio: float) -> str:
    return f"{ratio:.2%}" if ratio >= _LEAST_SHARE else f"under {_LEAST_SHARE:.2%}"
