"""A question asked of captures, answered in one pass, by what answers it on a host.

The one idea: a window of all of the capture takes several ticks at a time, which is quick; one
that begins or ends within it, and a series, take each tick by itself. `last 30s` is before the end,
which nobody knows before a first pass has found it.
"""

from __future__ import annotations

import resource
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import msgspec

from netsonde.model.answer import Answer
from netsonde.model.asked import Asked, Change, Series
from netsonde.model.certificate import Certificate
from netsonde.model.coverage import Coverage
from netsonde.model.errors import BadField
from netsonde.model.evidence import MAX_NAMED
from netsonde.model.text import MAX_LINE_CHARS, clipped
from netsonde.model.window import REAL_TIME_TICKS, TOTAL, Window
from netsonde.recorder.seen import Seen
from netsonde.replay.counting import CAPACITY, Counting, counting
from netsonde.replay.stream import Stream
from netsonde.sketch.answers import Heard, answered
from netsonde.sketch.planning import Plan, planned
from netsonde.sketch.tick import Tick

SECRET_BYTES = 64
_LEAST_SHARE = 0.0001
_FOREVER = 1 << 40
"""A tick later than any capture's."""

Progressed = Callable[[str, int, int], None]
"""Is told what is done, the bytes of it done and all, 0 where nobody knows."""


@dataclass(slots=True)
class _Range:
    """Ticks that a window takes; without ends it takes all."""

    first_tick: int | None = None
    last_tick: int | None = None

    def takes(self, tick: Tick) -> bool:
        if self.first_tick is None or self.last_tick is None:
            return True
        return self.first_tick <= tick.id <= self.last_tick


@dataclass(slots=True)
class _Ask:
    """One window of a question, filling."""

    ticks: _Range
    counting: Counting
    seen: Seen = field(default_factory=Seen)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and what the files were like."""

    answer: Answer
    packets: int
    """Packets in the files."""
    broken: str | None


def ask(paths: Sequence[Path], asked: Asked, progressed: Progressed) -> Found:
    """Answer a question; raises BadField."""
    begun_s, cpu_s = time.monotonic(), time.process_time()
    plan, ranges = _planned(paths, asked, progressed)
    asks = [
        _Ask(ticks, counting(plan, one)) for ticks, one in zip(ranges, plan.questions, strict=True)
    ]
    singly = isinstance(asked, Series) or any(one.ticks.first_tick is not None for one in asks)
    stream = Stream(paths, secrets.token_bytes(SECRET_BYTES))
    first_tick = last_tick = None
    for tick, read_bytes in stream.ticks(1 if singly else 0):
        first = tick.id if tick.first_id is None else tick.first_id
        first_tick = first if first_tick is None else min(first_tick, first)
        last_tick = tick.id if last_tick is None else max(last_tick, tick.id)
        for one in asks:
            if one.ticks.takes(tick):
                one.counting.absorb(tick)
                one.seen += Seen.of(tick)
        progressed("counting", read_bytes, stream.size_bytes)
    whole = _Range(first_tick or 0, -1 if last_tick is None else last_tick)
    used = (time.process_time() - cpu_s) / max(time.monotonic() - begun_s, 1e-9)
    heard = [_heard(one, whole, stream, used) for one in asks]
    return Found(answered(plan, heard, version("netsonde")), stream.packets, stream.broken)


def line(certificate: Certificate, found: Found) -> str:
    """Say in one line how far an answer can be trusted; there are no hosts in a capture."""
    evidence = certificate.evidence
    parts = ["exact" if certificate.exact else "within bounds"]
    if certificate.spilled_ratio:
        share = certificate.spilled_ratio
        said = f"{share:.2%}" if share >= _LEAST_SHARE else f"under {_LEAST_SHARE:.2%}"
        parts.append(f"{said} in no record")
    parts.append(f"{evidence.packets} IP packets of {found.packets}")
    parts += [f"{cause} {number}" for cause, number in evidence.drops.items()]
    window = certificate.window
    parts.append(f"{window.seconds:.1f} s from {window.begins}")
    parts += [f"{name}: {why}" for name, why in certificate.coverage.partial.items()]
    return " · ".join(parts)


def _planned(
    paths: Sequence[Path], asked: Asked, progressed: Progressed
) -> tuple[Plan, list[_Range]]:
    """Plan a question, and settle which ticks each of its windows takes."""
    window = TOTAL if asked.window is None else Window.parse(asked.window)
    if window == TOTAL:
        if isinstance(asked, Change):
            raise BadField("window", asked.window, "a window to compare, such as 'last 30s'")
        plan = _plan(msgspec.structs.replace(asked, window=Window.last(1).text), _FOREVER)
        return replace(plan, windows=(TOTAL.text,)), [_Range()]
    last_tick = _FOREVER
    texts = [asked.window, asked.against] if isinstance(asked, Change) else [asked.window]
    if any(text in ("real_time", "total") or str(text).startswith("last") for text in texts):
        _plan(asked, _FOREVER)  # what is wrong with it is said before the first pass
        last_tick = _last_tick(paths, progressed)
    plan = _plan(asked, last_tick)
    return plan, [_range(question.window, last_tick) for question in plan.questions]


def _plan(asked: Asked, now_tick: int) -> Plan:
    return planned(asked, None, now_tick, largest_keys=CAPACITY, all_keys=CAPACITY)


def _range(window: Window, last_tick: int) -> _Range:
    if window.kind == "range":
        return _Range(window.first_tick, window.last_tick)
    ticks = window.ticks if window.kind == "last" else REAL_TIME_TICKS
    return _Range(last_tick - ticks + 1, last_tick)


def _last_tick(paths: Sequence[Path], progressed: Progressed) -> int:
    """Find where the captures end, without asking them anything."""
    for path in paths:
        if not path.is_file():
            raise BadField("window", str(path), "a range of time, of what is not a file on disk")
    stream, last_tick = Stream(paths, secrets.token_bytes(SECRET_BYTES)), 0
    for tick, read_bytes in stream.ticks():
        last_tick = max(last_tick, tick.id)
        progressed("finding the end", read_bytes, stream.size_bytes)
    return last_tick


def _heard(one: _Ask, whole: _Range, stream: Stream, cpu_ratio: float) -> Heard:
    """Give one window's part with its evidence."""
    assert whole.first_tick is not None  # noqa: S101 - told so by the caller
    assert whole.last_tick is not None  # noqa: S101
    first, last = whole.first_tick, whole.last_tick
    missed = 0
    if one.ticks.first_tick is not None and one.ticks.last_tick is not None:
        first, last = max(first, one.ticks.first_tick), min(last, one.ticks.last_tick)
        asked_ticks = one.ticks.last_tick - one.ticks.first_tick + 1
        missed = asked_ticks - max(0, last - first + 1)
        if first > last:  # the window and the capture have nothing in common
            first, last = one.ticks.first_tick, one.ticks.first_tick - 1
    evidence = msgspec.structs.replace(
        one.seen.evidence(first, last, missed, ()),
        software={version("netsonde"): 1},
        hooks={"pcap": tuple(clipped(name, MAX_LINE_CHARS) for name in stream.names[:MAX_NAMED])},
        cpu_ratio=cpu_ratio,
        rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    )
    return Heard(
        part=one.counting.part(first, last),
        coverage=_coverage(stream, missed),
        evidence=evidence,
    )


def _coverage(stream: Stream, missed: int) -> Coverage:
    names = stream.names
    partial = dict(stream.faults)
    if missed:
        partial[names[0]] = f"{missed / 10:g} s of the window are not in the capture"
    return Coverage(members=names, partial=partial)
