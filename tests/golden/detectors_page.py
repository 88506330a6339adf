"""What the built-in detectors say of the shared captures, as docs/reference/detectors.md.

Run it to write the page's tables anew; the golden test holds them to what comes out.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from traces import traces_folder

from netsonde.model.detector import Detector, Event
from netsonde.model.detectors import BUILTIN
from netsonde.model.task import Increment, Interface
from netsonde.model.window import TICKS_PER_S
from netsonde.replay.alarms import alarms
from netsonde.replay.capture import Capture

PAGE = Path(__file__).parents[2] / "docs/reference/detectors.md"

Alarm = tuple[str, str]
"""Detector and key."""

_TARGET = "10.10.10.10"
ATTACKS: dict[str, set[Alarm]] = {
    "attack-ddos-snmp-amplification": {("reflection", _TARGET), ("flood_victim", _TARGET)},
    "attack-ddos-tcp-syn-ecn-cwr": {("syn_flood", _TARGET), ("flood_victim", _TARGET)},
    "attack-ddos-tcp-synack-reflection": {("reflection", _TARGET), ("flood_victim", _TARGET)},
    "attack-scan-masscan-tcp": {("port_scan", "172.31.15.102,198.124.152.15")},
    "attack-scan-nmap-80-all": {("service_probe", "10.87.1.10,130.211.223.103,80")},
    "attack-scan-nmap-ack": {("port_scan", "192.168.1.10,192.168.1.25")},
    "attack-scan-nmap-fin": {("port_scan", "192.168.1.10,192.168.1.25")},
    "attack-scan-nmap-syn": {("port_scan", "172.16.0.8,64.13.134.52")},
    "attack-scan-nmap-udp": {("port_scan", "192.168.1.10,192.168.1.25")},
    "attack-scan-tcp-ports-1-10000": {("port_scan", "192.168.1.7,192.168.1.1")},
    "attack-ssh-bruteforce": {("service_probe", "147.32.80.40,147.32.80.37,902")},
}
"""What each capture of one attack is known to hold."""
ORDINARY = ("dns-udp-tcp-random", "home-voice", "mix-apps", "ot-westermo-right", "web-tls2")
"""Captures of other traffic; the industrial one has attacks in it, with a list of them."""

_EVENT = re.compile(r"\[(\d+\.\d+) .*?\] ?\[BAD-(PORTSCAN|SSH)\d?-(START|END)\](.*)")
_KIND = {"PORTSCAN": "port_scan", "SSH": "service_probe"}
_BEHIND_S = 3600
"""The list is an hour ahead of the capture: a time zone."""
_OWN = ("198.18.134.4", "198.18.134.41", "198.18.134.44", "198.18.134.45", "198.18.134.48")
"""Addresses that its host had; what the list says of others is not in its capture."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One of the industrial capture's, as listed."""

    detector: str
    targets: frozenset[str]
    first_s: float
    last_s: float

    def is_that(self, event: Event) -> bool:
        """Whether an alarm is this attack: its kind, its target, in its time."""
        raised_s = event.raised_tick / TICKS_PER_S + _BEHIND_S
        return (
            event.detector == self.detector
            and event.key.split(",")[1] in self.targets
            and self.first_s <= raised_s <= self.last_s
        )


def listed(path: Path) -> Iterator[Attack]:
    """Give the attacks on the industrial capture's host."""
    begun: tuple[float, frozenset[str]] = (0.0, frozenset())
    for found in _EVENT.finditer(path.read_text()):
        if found[3] == "START":
            named = frozenset(re.findall(r"\d+\.\d+\.\d+\.\d+", found[4]))
            begun = float(found[1]), named & set(_OWN)
        elif begun[1]:
            yield Attack(_KIND[found[2]], begun[1], begun[0], float(found[1]))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the detectors did on one capture."""

    name: str
    raised: tuple[Event, ...]
    right: tuple[Event, ...]
    known: int
    """Alarms that there should be."""
    met: int
    """Of these, those that there were."""

    @property
    def false(self) -> tuple[Event, ...]:
        """Alarms that should not have been."""
        return tuple(event for event in self.raised if event not in self.right)


def judged(path: Path) -> Verdict:
    """Run a capture through the built-in detectors."""
    capture = Capture(path, secrets.token_bytes(64))
    raised = tuple(event for event, _ in alarms(capture, BUILTIN) if event.state == "raised")
    if path.stem in ATTACKS:
        known = ATTACKS[path.stem]
        right = tuple(event for event in raised if (event.detector, event.key) in known)
        met = len({(event.detector, event.key) for event in right})
        return Verdict(path.stem, raised, right, len(known), met)
    attacks = []
    if path.stem == "ot-westermo-right":
        attacks = list(listed(path.with_name("ot-westermo-events.txt")))
    right = tuple(event for event in raised if any(attack.is_that(event) for attack in attacks))
    met = sum(any(attack.is_that(event) for event in right) for attack in attacks)
    return Verdict(path.stem, raised, right, len(attacks), met)


def verdicts(folder: Path) -> list[Verdict]:
    """Judge every capture the page is about."""
    return [judged(folder / f"{name}.pcap") for name in (*ATTACKS, *ORDINARY)]


def builtin_table(detectors: Sequence[Detector]) -> str:
    """Say what the built-in detectors ask."""
    rows = ["| name | of each | counts | of which flows | threshold | window |", "|---" * 6 + "|"]
    for one in detectors:
        counted = f"distinct `{one.of}`" if one.of else f"change of {one.increment.value}"
        traffic = one.filter.flow.value
        sides = "to and from the host"
        if one.filter.interface is Interface.INPUT:
            sides = "to the host"
        proto = ", TCP" if one.filter.proto == 6 else ""
        threshold = str(one.threshold)
        if one.increment is Increment.BYTES:
            threshold = f"{one.threshold // 1_000_000} MB, {one.factor:g} times"
        rows.append(
            f"| `{one.name}` | `{one.by}` | {counted} | {traffic}{proto}, {sides} | {threshold} "
            f"| {one.window_ticks / TICKS_PER_S:g} s |"
        )
    return "\n".join(rows)


def verdict_table(judged: Sequence[Verdict]) -> str:
    """Say how they did, capture by capture."""
    rows = ["| capture | known alarms | raised | false alarms |", "|---|--:|--:|--:|"]
    for one in judged:
        rows.append(f"| {one.name} | {one.known} | {one.met} | {len(one.false)} |")
    known, met = sum(one.known for one in judged), sum(one.met for one in judged)
    rows.append(f"| **all** | **{known}** | **{met}** | **{sum(len(o.false) for o in judged)}** |")
    return "\n".join(rows)


def sentences(judged: Sequence[Verdict]) -> str:
    """Quote what was said first of each alarm, false ones marked."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for one in judged:
        for event in one.raised:
            mark = "**false:** " if event in one.false else ""
            said[one.name].append(f"{mark}{event.sentence} (`{event.detector}`)")
    return "\n".join(f"- {name}: {'; '.join(texts)}" for name, texts in said.items())


def rendered(page: str, parts: dict[str, str]) -> str:
    """Put parts into a page, each between its two marks."""
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"no place for {name}")
        page = before + begin + text + end + after
    return page


def main() -> None:
    """Write the page anew."""
    folder = traces_folder()
    if folder is None:
        sys.exit("no captures: set NETSONDE_TRACES")
    judged = verdicts(folder)
    PAGE.write_text(
        rendered(
            PAGE.read_text(),
            {
                "built-in detectors": builtin_table(BUILTIN),
                "verdicts": verdict_table(judged),
                "sentences": sentences(judged),
            },
        )
    )


if __name__ == "__main__":
    main()
