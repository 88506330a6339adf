"""`make soak`: the lab under load, faults and attacks, every daemon and every answer watched.

    python tests/soak/soak.py --minutes 60 --record

Runs in a world of its own (network, /run, processes), which the Makefile makes. Exit status 1 when
a promise does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import breaking
import questions
from askers import ROOT, Asker, Disturbed, Findings, Invalid, Judge, Valid, send
from daemons_watched import Name, Usage, Watched
from report import MIB, Outcome
from strangers import Strangers
from truth import Crowd, Sender

from netsonde.lab import namespace, state
from netsonde.lab.topology import Host

PAGE = Path(__file__).parents[2] / "docs/reference/soak.md"
COMMAND = Path(sys.executable).parent / "netsonde-lab"
STRANGER = "10.0.0.101"
"""A second address of the manager's host, so that quotas tell strangers from askers."""
ASKERS, RUDE, JUDGES = 20, 5, 3
PAUSE_S = 0.6
"""Mean pause of an asker: together they ask some 40 times a second."""
SETTLE_S = 60.0
"""After the load has ended, before memory is compared."""
RUN_MB = 512
GROWTH_BYTES = 20 * MIB
DEADLINE_S = 1.0
"""The agents' `query_deadline_ms`, as the lab leaves it."""
ON_THE_WAY_S = 0.5
"""Beside the deadline: the connection, and two processors for all hosts of the lab."""


def main() -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    breaking.limit_disk(Path("/run"), RUN_MB)
    subprocess.run([COMMAND, "up"], check=True)
    try:
        outcome = Soak(chosen.minutes, chosen.seed).run()
    finally:
        subprocess.run([COMMAND, "down"], check=True)
    print(outcome.text())
    if chosen.record:
        PAGE.write_text(outcome.page())
    return 0 if outcome.holds else 1


class Soak:
    """One run."""

    def __init__(self, minutes: float, seed: int) -> None:
        self._minutes, self._seed = minutes, seed
        lab = state.require()
        self._hosts: dict[str, Host] = {host.name: host for host in lab.topology.monitored}
        self._addresses = [host.address for host in self._hosts.values()]
        self._stop = threading.Event()
        self._findings, self._disturbed = Findings(), Disturbed()
        self._hook = lab.hook
        self._peak: dict[str, int] = {}

    def run(self) -> Outcome:
        """Load, break, watch, and judge."""
        with namespace.inside("netsonde-h1"):
            subprocess.run(["ip", "addr", "add", f"{STRANGER}/24", "dev", "eth0"], check=True)
        held = breaking.hang_logs(self._hosts[breaking.HUNG])
        for daemon in ("monitor", "agent"):
            subprocess.run([COMMAND, "restart", breaking.HUNG, daemon], check=True)
        watched = Watched(self._hosts)
        seconds = 60 * self._minutes
        with _traffic(self._addresses, seconds + 2 * SETTLE_S) as sender:
            began = self._configure(sender)
            rude = Strangers(self._seed + 1000, STRANGER, tuple(self._addresses), self._stop)
            breaker = breaking.Faults(
                seed=self._seed + 2000,
                hosts=self._hosts,
                hook=self._hook,
                watched=watched,
                disturbed=self._disturbed,
                stop=self._stop,
            )
            everybody = [*self._askers(sender, began), rude, breaker]
            for one in everybody:
                one.start()
            base = self._watch(watched, seconds)
            self._stop.set()
            for one in everybody:
                one.join()
            self._watch(watched, SETTLE_S)
            last = dict(watched.usage())
        outcome = self._judged(watched, base, last)
        outcome.facts += [(kind, str(n)) for kind, n in sorted(breaker.done.items())]
        outcome.facts += [(f"strangers: {kind}", str(n)) for kind, n in sorted(rude.done.items())]
        del held
        return outcome

    def _configure(self, sender: Sender) -> tuple[dict[str, int], dict[str, int]]:
        """Make the task that judges ask about; gives what was sent before and after that."""
        with namespace.inside("netsonde-h1"):
            least = {host: sender.sent(host) for host in sender.hosts}
            came = send(questions.message(type="config counter", proto="udp", src="10.0.0.1"))
            most = {host: sender.sent(host) for host in sender.hosts}
        if came.status != 200:
            raise SystemExit(f"the task was refused: {came}")
        return least, most

    def _askers(self, sender: Sender, began: tuple[dict[str, int], dict[str, int]]) -> list[Asker]:
        given = self._findings, self._disturbed, self._stop, PAUSE_S
        return [
            *(Valid(self._seed + n, *given) for n in range(ASKERS - JUDGES)),
            *(
                Judge(self._seed + 100 + n, *given, sender=sender, task_began=began)
                for n in range(JUDGES)
            ),
            *(Invalid(self._seed + 200 + n, *given) for n in range(RUDE)),
        ]

    def _watch(self, watched: Watched, seconds: float) -> dict[Name, Usage]:
        """Look after everybody for so long; gives what each took after five minutes, or a third."""
        begun_s, base = time.monotonic(), dict[Name, Usage]()
        based_s = min(300.0, seconds / 3)
        while (passed_s := time.monotonic() - begun_s) < seconds:
            time.sleep(1)
            for name in watched.look():
                print(f"{name[1]} of {name[0]} ended by itself", flush=True)
            for name, usage in watched.usage():
                self._peak[name[1]] = max(self._peak.get(name[1], 0), usage.rss_bytes)
                if passed_s >= based_s:
                    base.setdefault(name, usage)
        return base

    def _judged(
        self, watched: Watched, base: dict[Name, Usage], last: dict[Name, Usage]
    ) -> Outcome:
        found, outcome = self._findings, Outcome(self._minutes, self._seed)
        tracebacks = watched.tracebacks()
        outcome.facts = [(f"answered {kind}", str(n)) for kind, n in sorted(found.outcomes.items())]
        outcome.facts += [
            (f"most memory of one {daemon}", f"{peak / MIB:.0f} MiB")
            for daemon, peak in sorted(self._peak.items())
        ]
        wanted = 2 * len(self._hosts)
        asked = f"{found.outcomes.total()}; {found.checked} counts held against the sender's"
        outcome.verdicts = [
            ("no daemon ends by itself", f"{len(watched.deaths)} did", not watched.deaths),
            ("every daemon is there at the end", f"{len(last)} of {wanted}", len(last) == wanted),
            (
                "no wrong answer",
                f"{len(found.wrong)} of {asked}",
                not found.wrong and found.checked > 0,
            ),
            (
                "slowest answer within its deadline",
                f"{found.slowest_s:.2f} s",
                found.slowest_s <= DEADLINE_S + ON_THE_WAY_S,
            ),
            ("no traceback in any log", f"{len(tracebacks)} logs have some", not tracebacks),
            *_growth(base, last),
        ]
        slow = [f"{took_s:.2f} s: {what}" for took_s, what in found.slow[-3:]]
        outcome.faults = [*watched.deaths, *tracebacks, *found.wrong[:20], *slow]
        return outcome


def _growth(base: dict[Name, Usage], last: dict[Name, Usage]) -> Iterator[tuple[str, str, bool]]:
    """Compare what daemons took early on and after the load."""
    both = base.keys() & last.keys()
    grown = {name: last[name].rss_bytes - base[name].rss_bytes for name in both}
    worst = max(grown, key=lambda name: grown[name])
    opened = max(last[name].descriptors - base[name].descriptors for name in both)
    threads = max(last[name].threads - base[name].threads for name in both)
    yield (
        "memory a minute after the load against five minutes into it",
        f"{grown[worst] / MIB:+.1f} MiB at most ({worst[1]} of {worst[0]})",
        grown[worst] <= GROWTH_BYTES,
    )
    yield "descriptors", f"{opened:+d} at most", opened <= 10
    yield "threads", f"{threads:+d} at most", threads <= 4


@contextmanager
def _traffic(addresses: list[str], seconds: float) -> Iterator[Sender]:
    sender = Sender("netsonde-h1", "10.0.0.1", addresses, seconds)
    crowds = [
        Crowd("netsonde-h3", "10.0.0.3", "10.0.0.5"),
        Crowd("netsonde-h8", "10.0.0.8", ROOT),
    ]
    try:
        yield sender
    finally:
        for one in (sender, *crowds):
            one.end()


if __name__ == "__main__":
    sys.exit(main())
