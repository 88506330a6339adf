"""Askers: threads of the manager's host that ask, time and judge what comes back."""

from __future__ import annotations

import ast
import http.client
import json
import re
import threading
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from random import Random

import questions
from questions import Wanted
from truth import Sender

from netsonde.lab import namespace

ROOT, AGENT_PORT = "10.0.0.2", 8000
GIVE_UP_S = 15.0
EDGE_TICKS = 3
"""A tick that closes late holds what came until then: as many are allowed at a window's ends."""
IN_FLIGHT = 40
"""Datagrams that were sent and may wait in a backlog for their host."""
_RETRIED = (429, 503)


@dataclass
class Findings:
    """What askers saw, shared by all of them."""

    outcomes: Tally[str] = field(default_factory=Tally)
    wrong: list[str] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    checked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, outcome: str, took_s: float, undisturbed: bool, what: str) -> None:
        """Count an outcome; a time counts only where nobody was stopped meanwhile."""
        with self.lock:
            self.outcomes[outcome] += 1
            if undisturbed and took_s > self.slowest_s:
                self.slowest_s = took_s
                self.slow.append((took_s, what))

    def blame(self, said: str) -> None:
        """Note a wrong answer."""
        with self.lock:
            self.wrong.append(said)


class Disturbed:
    """When a host is being killed, stopped, or its disk is full; thread-safe."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def during(self, host: str, seconds: float) -> None:
        """Say that a host may be away from now on, for so long at most."""
        self._until_s[host] = max(self._until_s.get(host, 0), time.monotonic() + seconds)

    def over(self, host: str, grace_s: float = 3.0) -> None:
        """Say that it is back; it has a moment to connect again."""
        self._until_s[host] = time.monotonic() + grace_s

    def is_so(self, since_s: float) -> bool:
        """Tell whether anybody was, at any time since then."""
        return any(until_s >= since_s for until_s in list(self._until_s.values()))


@dataclass(frozen=True)
class Came:
    """A response."""

    status: int
    body: bytes
    headers: dict[str, str]


def send(wanted: Wanted, to: str = ROOT, source: str = "10.0.0.1") -> Came:
    """Send a request from the calling thread's namespace; raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(
        to, AGENT_PORT, timeout=GIVE_UP_S, source_address=(source, 0)
    )
    try:
        headers = {"Content-Type": wanted.content_type} if wanted.content_type else {}
        connection.request(wanted.method, wanted.path, wanted.body or None, headers)
        reply = connection.getresponse()
        return Came(reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()})
    finally:
        connection.close()


class Asker(threading.Thread):
    """Asks again and again until told to stop."""

    def __init__(
        self,
        seed: int,
        findings: Findings,
        disturbed: Disturbed,
        stop: threading.Event,
        pause_s: float,
    ) -> None:
        super().__init__(daemon=True)
        self.draw = Random(seed)
        self.findings, self.disturbed, self._stop_asking = findings, disturbed, stop
        self._pause_s = pause_s

    def run(self) -> None:
        """Ask."""
        namespace.enter("netsonde-h1")
        while not self._stop_asking.is_set():
            self.one()
            self._stop_asking.wait(self.draw.uniform(0, 2 * self._pause_s))

    def one(self) -> None:
        """Ask once, and judge."""
        raise AssertionError("of each kind")

    def timed(self, wanted: Wanted, to: str = ROOT) -> Came | None:
        """Send; None when no response came, which is a fault while nobody disturbs the hosts."""
        begun_s = time.monotonic()
        try:
            came = send(wanted, to)
        except (OSError, http.client.HTTPException) as error:
            disturbed = self.disturbed.is_so(begun_s)
            self.findings.note("away" if disturbed else "no response", 0, False, "")
            if not disturbed:
                self.findings.blame(f"{type(error).__name__}: {error} to {wanted}"[:400])
            return None
        took_s = time.monotonic() - begun_s
        undisturbed = not self.disturbed.is_so(begun_s)
        self.findings.note(str(came.status), took_s, undisturbed, f"{wanted}"[:200])
        return came


class Valid(Asker):
    """Asks what has an answer."""

    def one(self) -> None:
        kind = self.draw.random()
        wanted = (
            questions.valid_read(self.draw) if kind < 0.2 else questions.valid_question(self.draw)
        )
        came = self.timed(wanted)
        if came is None or came.status == 200 or came.status in _RETRIED:
            return
        if came.status == 400 and b'"field":"window"' in came.body.replace(b": ", b":"):
            return  # no recorder reaches back so far
        if came.status == 400 and b'"field":"against"' in came.body.replace(b": ", b":"):
            return
        self.findings.blame(f"{came.status} {came.body[:300]!r} to {wanted}")


class Invalid(Asker):
    """Asks what has to be refused."""

    def one(self) -> None:
        wanted = questions.invalid_request(self.draw)
        came = self.timed(wanted)
        if came is not None and came.status >= 500 and came.status not in (502, 503):
            self.findings.blame(f"{came.status} {came.body[:300]!r} to {wanted}")


class Judge(Asker):
    """Asks about the sender's datagrams, and holds the bounds against its counters."""

    def __init__(
        self, *args: object, sender: Sender, task_began: tuple[dict[str, int], dict[str, int]]
    ) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._sender = sender
        self._least, self._most = task_began

    def one(self) -> None:
        if self.draw.random() < 0.5:
            self._total()
        else:
            self._past()

    def _total(self) -> None:
        sender = self._sender
        before = {host: sender.sent(host) for host in sender.hosts}
        came = self.timed(questions.message(type="query counter", proto="udp", src="10.0.0.1"))
        after = {host: sender.sent(host) for host in sender.hosts}
        if came is None or came.status in _RETRIED:
            return
        if came.status != 200:
            self.findings.blame(f"query counter: {came.status} {came.body[:300]!r}")
            return
        packets = ast.literal_eval(came.body.decode())[0]
        coverage = came.headers.get("x-netsonde-coverage", "")
        missing, partial = _named(coverage, "missing"), _named(coverage, "partial")
        bounds = came.headers.get("x-netsonde-bounds", "")
        widest = int(found[1]) if (found := re.match(r"widest=(\d+)", bounds)) else 0
        most = sum(after[h] - self._least[h] for h in after if h not in missing)
        least = sum(before[h] - self._most[h] for h in before if h not in missing | partial)
        self._judge(
            packets - widest,
            packets + widest,
            least - IN_FLIGHT,
            most,
            f"query counter: {coverage} {bounds}",
        )

    def _past(self) -> None:
        host = self.draw.choice(self._sender.hosts)
        question = {
            "ask": "count",
            "by": "src_dst",
            "key": f"10.0.0.1,{host}",
            "scope": "host",
            "filter": {"proto": "udp"},
            "window": questions.a_window(self.draw),
        }
        came = self.timed(questions.posted(question), host)
        if came is None or came.status in (*_RETRIED, 400):
            return
        if came.status != 200:
            self.findings.blame(f"{came.status} {came.body[:300]!r} to {question}")
            return
        answer = json.loads(came.body)
        covered = answer["certificate"]["coverage"]
        window = answer["certificate"]["window"]
        if covered["missing"]:
            return
        sent_by, first, last = (
            self._sender.sent_by_end_of,
            window["first_tick"],
            window["last_tick"],
        )
        most = sent_by(last + EDGE_TICKS, host) - sent_by(first - 1 - EDGE_TICKS, host)
        least = sent_by(last - EDGE_TICKS, host) - sent_by(first - 1 + EDGE_TICKS, host)
        if covered["partial"]:
            least = 0
        count = answer["count"]
        self._judge(count["lower"], count["upper"], least, most, f"{question} {window} {covered}")

    def _judge(self, lower: int, upper: int, least: int, most: int, what: str) -> None:
        with self.findings.lock:
            self.findings.checked += 1
        if lower > most:
            self.findings.blame(f"too many: at least {lower}, but {most} were sent; {what}")
        if upper < least:
            self.findings.blame(f"too few: at most {upper}, but {least} were sent; {what}")


def _named(coverage: str, kind: str) -> set[str]:
    found = re.search(rf"{kind}=([^;]*)", coverage)
    return set(re.findall(r"10\.0\.0\.\d+", found[1])) if found else set()
