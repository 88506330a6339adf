"""Requests drawn at random: valid ones of every kind, and invalid ones of many."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import quote, urlencode

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_KEY_TYPES = (
    "src",
    "dst",
    "src_dst",
    "dport",
    "sport",
    "proto",
    "src/24",
    "src_dport",
    "src_dst_sport_dport_proto",
)


@dataclass(frozen=True)
class Wanted:
    """One HTTP request."""

    method: str
    path: str
    body: bytes = b""
    content_type: str | None = None


def posted(question: dict[str, object]) -> Wanted:
    """Ask by `POST /v1/questions`."""
    return Wanted("POST", "/v1/questions", json.dumps(question).encode(), JSON)


def message(**fields: object) -> Wanted:
    """Send one of the prototype's messages."""
    return Wanted("POST", "/", urlencode(fields).encode(), FORM)


def a_window(draw: Random) -> str:
    """Draw a window; the shortest are drawn most."""
    ticks = draw.choice((1, 1, 2, 3, 5, 9, 10, 11, 30, 100, 300, 600, 3000))
    if draw.random() < 0.2:
        end = datetime.now(UTC) - timedelta(seconds=draw.uniform(0, 60))
        begin = end - timedelta(seconds=max(0.1, ticks / 10))
        return f"{begin.isoformat()}/{end.isoformat()}"
    return draw.choice((f"last {ticks * 100}ms", f"last {ticks / 10:g}s", "real_time"))


def _a_filter(draw: Random) -> dict[str, object]:
    chosen: dict[str, object] = {}
    if draw.random() < 0.5:
        chosen["interface"] = draw.choice(("INPUT", "OUTPUT", "both"))
    if draw.random() < 0.4:
        chosen["proto"] = draw.choice(("udp", "tcp", "icmp", 17))
    if draw.random() < 0.3:
        chosen["src"] = draw.choice(("10.0.0.1", "10.0.0.0/24", "10.0.0.3"))
    return chosen


def valid_question(draw: Random) -> Wanted:
    """Draw a question that has an answer wherever a recorder reaches."""
    by = draw.choice(_KEY_TYPES)
    kinds: tuple[Callable[[], dict[str, object]], ...] = (
        lambda: {"ask": "count"},
        lambda: {"ask": "count", "by": "src_dst", "key": "10.0.0.1,10.0.0.5"},
        lambda: {"ask": "top", "by": by, "k": draw.randint(1, 1000)},
        lambda: {"ask": "top", "by": by, "share": round(draw.random(), 3)},
        lambda: {"ask": "keys", "by": by, "limit": draw.randint(1, 1000)},
        lambda: {"ask": "distinct", "by": by},
        lambda: {"ask": "distribution", "by": by},
        lambda: {"ask": "spreaders", "by": "src", "of": draw.choice(("dst", "dport"))},
        lambda: {"ask": "change", "by": by},
        lambda: {"ask": "series", "step": draw.choice(("100ms", "1s", "10s"))},
    )
    question = draw.choice(kinds)()
    question["window"] = a_window(draw)
    if draw.random() < 0.6:
        question["filter"] = _a_filter(draw)
    return posted(question)


def valid_read(draw: Random) -> Wanted:
    """Draw something else that an operator looks at."""
    paths = (
        "/v1/tasks",
        "/v1/detectors",
        "/v1/events?limit=100",
        "/v1/webhooks",
        "/v1/host",
        "/v1/members",
        "/metrics",
        "/",
    )
    if draw.random() < 0.3:
        return message(type="query leaf agents")
    return Wanted("GET", draw.choice(paths))


def rubbish_text(draw: Random) -> str:
    """Draw a text that belongs nowhere."""
    return draw.choice(
        (
            "fe80::1%" + "A" * draw.choice((1, 64, 4000)),
            "fe80::1%25..",
            "".join(draw.choices("\x00\x1b[31m\n\r\u202e\u2066\ud7ff%'\"<>", k=20)),
            "".join(draw.choices(string.printable, k=draw.choice((0, 1, 30, 3000)))),
            "http://[::1",
            "10.0.0.999",
            "-1",
            "1e400",
            "NaN",
            "9" * 400,
        )
    )


def invalid_request(draw: Random) -> Wanted:
    """Draw a request that has to be refused, or at least survived."""
    text = rubbish_text(draw)
    field = draw.choice(("src", "dst", "proto", "interface", "sport", "family", "flow", "nonsense"))
    return draw.choice(
        (
            message(type="add leaf agent", agent_addr="fe80::1%" + text),
            message(type="config sketch", **{field: text + "!"}),
            message(type=text + "?"),
            message(type="query sketch", sketch_id=text + "x", counter_key_type=text),
            message(type="query delay", src="10.0.0.5", dst="fe80::1%" + text),
            posted({"ask": "count", "window": text}),
            posted({"ask": "top", "by": text + "_", "k": draw.choice((0, -1, 10**9, 1.5, text))}),
            posted({"ask": text + "?"}),
            posted({"ask": "count", "filter": {field: text + "!"}}),
            Wanted("POST", "/v1/questions", draw.randbytes(draw.choice((0, 10, 3000))), JSON),
            Wanted("POST", "/v1/questions", b'{"ask":"count","ask":"top","by":"src"}', JSON),
            Wanted("POST", "/v1/questions", b"[" * 5000, JSON),
            Wanted(
                "PUT",
                "/v1/webhooks/" + quote(text[:60] or "x", safe=""),
                json.dumps({"url": "gopher://" + text}).encode(),
                JSON,
            ),
            Wanted("PUT", "/v1/detectors/soak", json.dumps({"measure": text + "?"}).encode(), JSON),
            Wanted("GET", "/v1/events?nonsense=" + quote(text)),
            Wanted("GET", "/" + quote(text + "/nowhere")),
            Wanted("BREW", "/v1/tasks"),
            Wanted("DELETE", "/v1/tasks/" + quote(text + "x", safe="")),
        )
    )
