"""From answers to the prototype's text, with what it cannot say in headers.

The text alone is what `int()` or `ast.literal_eval()` accept; how far it can be wrong, whom it
holds and when it was counted is in `X-Netsonde-Bounds`, `-Coverage` and `-Window`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from netsonde.agent.questions import Answered
from netsonde.agent.tasks import Configured
from netsonde.model.bound import Bound
from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProbeFailed
from netsonde.model.key import KeyType
from netsonde.sketch.summary import Row
from netsonde.wire import peer
from netsonde.wire.legacy import ProbeKind

MEGABYTE = 1_000_000
MAX_HEADER_CHARS = 4000
_SHOWN_UNMET = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """A plain-text answer with status 200."""

    text: str
    headers: dict[str, str] = field(default_factory=dict)


def configured(text: str, done: Configured) -> Reply:
    """Confirm a change of tasks."""
    return Reply(text, _covered(done.coverage))


def number(bound: Bound, answer: Answered) -> Reply:
    """Give one number."""
    exactness = "exact" if bound.exact else f"lower={bound.lower}; upper={bound.upper}"
    return Reply(str(bound.estimate), _headers(exactness, answer))


def table(key_type: str, rows: Iterable[Row], answer: Answered) -> Reply:
    """Give counts by key, largest first."""
    shown = list(rows)
    write = KeyType.parse(key_type).format
    text = json.dumps({write(row.key): row.count.estimate for row in shown})
    absent = answer.summary.absent_upper
    return Reply(text, _headers(_widest((row.count for row in shown), absent), answer))


def totals(answer: Answered) -> Reply:
    """Give `[packets, bytes]`."""
    counts = (answer.summary.total_packets, answer.summary.total_bytes)
    text = json.dumps([count.estimate for count in counts])
    return Reply(text, _headers(_widest(counts, 0), answer))


def listing(names: Iterable[str], coverage: Coverage) -> Reply:
    """Give a list of addresses."""
    return Reply(json.dumps(list(names)), _covered(coverage))


def adopted(child: str, reply: peer.Adopted) -> Reply:
    """Confirm a new leaf agent, naming the tasks from here that cannot run at it or below."""
    text = f"{child} is a leaf agent now; hosts at and below it: {len(reply.subtree)}"
    if reply.unmet:
        shown = [f"{one.host} ({one.why})" for one in reply.unmet[:_SHOWN_UNMET]]
        more = len(reply.unmet) - len(shown)
        text += f"; missing from tasks from here: {', '.join(shown)}"
        text += f" and {more} more" if more else ""
    return Reply(_line(text), _covered(reply.coverage))


def removed(child: str, *, told: bool) -> Reply:
    """Confirm that a leaf agent is none any more."""
    text = f"{child} is no leaf agent any more"
    return Reply(text if told else f"{text}; it was not reached: send it 'leave parent' too")


def left(parent: str, coverage: Coverage) -> Reply:
    """Confirm that an agent is a root again."""
    return Reply(f"no longer a leaf agent of {parent}", _covered(coverage))


def probe(kind: ProbeKind, src: str, dst: str, result: peer.ProbeResult) -> Reply:
    """Give the asked figure of a path; raises ProbeFailed when it could not be measured."""
    value = _figure(kind, result)
    if value is None:
        why = "; ".join(result.notes) or f"{result.returned} of {result.sent} probes came back"
        raise ProbeFailed(f"no {kind} from {src} to {dst}: {_line(why)}")
    headers = _covered(Coverage(members=(src, dst)))
    headers["X-Netsonde-Probe"] = _line(_details(result))
    return Reply(f"{value:.6f}".rstrip("0").rstrip("."), headers)


def _figure(kind: ProbeKind, result: peer.ProbeResult) -> float | None:
    if kind == "bw":
        rate = result.throughput_bytes_per_s
        return None if rate is None else rate / MEGABYTE
    if kind == "jitter":
        return result.jitter_ms
    if kind == "delay":
        return result.delay_ms
    if result.received is None or not result.sent:
        return None
    return 1 - result.received / result.sent


def _details(result: peer.ProbeResult) -> str:
    """List the figures that were measured, then the notes."""
    figures = {
        "ci_bytes_per_s": result.throughput_ci_bytes_per_s,
        "converged": result.converged,
        "sent": result.sent,
        "received": result.received,
        "returned": result.returned,
    }
    given = [
        f"{name}={value:.0f}" if isinstance(value, float) else f"{name}={value}".lower()
        for name, value in figures.items()
        if value is not None
    ]
    return "; ".join([*given, *(f"note={note}" for note in result.notes)])


def _headers(bounds: str, answer: Answered) -> dict[str, str]:
    window = f"{answer.summary.first_tick}-{answer.summary.last_tick}"
    exactness = {"X-Netsonde-Bounds": bounds, "X-Netsonde-Window": window}
    return _covered(answer.coverage) | exactness


def _covered(coverage: Coverage) -> dict[str, str]:
    return {"X-Netsonde-Coverage": _line(coverage.header())}


def _widest(counts: Iterable[Bound], absent: int) -> str:
    widest = max((count.upper - count.lower for count in counts), default=0)
    return f"widest={widest}; absent={absent}" if widest or absent else "exact"


def _line(text: str) -> str:
    """Make a text from other hosts fit a header: one line, ASCII, bounded."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= MAX_HEADER_CHARS else plain[: MAX_HEADER_CHARS - 4] + " ..."
