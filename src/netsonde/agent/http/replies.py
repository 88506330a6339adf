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


@dataclass(frozen=True, slots=True)
class Reply:
    """A plain-text answer with status 200."""

    text: str
    headers: dict[str, str] = field(default_factory=dict)


def configured(text: str, done: Configured) -> Reply:
    """Confirm a change of tasks, naming what gave way to it."""
    return Reply(text, _covered(done.coverage) | _dropped(done.dropped))


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


def totals(answer: Answered, dropped: tuple[str, ...] = ()) -> Reply:
    """Give `[packets, bytes]`, and what gave way when they were configured with it."""
    counts = (answer.summary.total_packets, answer.summary.total_bytes)
    text = json.dumps([count.estimate for count in counts])
    return Reply(text, _headers(_widest(counts, 0), answer) | _dropped(dropped))


def listing(names: Iterable[str], coverage: Coverage) -> Reply:
    """Give a list of addresses."""
    return Reply(json.dumps(list(names)), _covered(coverage))


def adopted(child: str, reply: peer.Adopted) -> Reply:
    """Confirm a new leaf agent, naming the tasks it gave up."""
    text = f"{child} is a leaf agent now; hosts at and below it: {len(reply.subtree)}"
    if reply.dropped:
        text += f"; replaced by tasks from here: {', '.join(reply.dropped)}"
    return Reply(text, _covered(reply.coverage) | _dropped(reply.dropped))


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


def _dropped(dropped: tuple[str, ...]) -> dict[str, str]:
    return {"X-Netsonde-Dropped": _line(", ".join(dropped))} if dropped else {}


def _widest(counts: Iterable[Bound], absent: int) -> str:
    widest = max((count.upper - count.lower for count in counts), default=0)
    return f"widest={widest}; absent={absent}" if widest or absent else "exact"


def _line(text: str) -> str:
    """Make a text from other hosts fit a header: one line, ASCII, bounded."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= MAX_HEADER_CHARS else plain[: MAX_HEADER_CHARS - 4] + " ..."
