"""What another agent sent is checked completely, before anything of it is taken.

Types are checked by the codec; here is what types cannot say: ranges, sizes, canonical texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from netsonde.model import address, port
from netsonde.model.detector import MAX_EVENTS, MAX_EVIDENCE, Choice, Event, check_all
from netsonde.model.device import device_name
from netsonde.model.errors import BadField
from netsonde.model.evidence import MAX_NAMED, Evidence
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import (
    MAX_COUNTERS,
    MAX_ID,
    MAX_KEYS,
    MAX_TASKS,
    Filter,
    Interface,
    Question,
    Task,
)
from netsonde.model.window import MAX_TICKS, Window

MAX_TICK = 1 << 40
"""Ticks end in the year 5454."""
STEPS_TICKS = (0, 1, 10, 100)
_MAX_TEXT = 80
_MAX_KINDS = 64
_MAX_SENTENCE = 2000
_MONITOR = re.compile(r"(?:[0-9a-f]{32})?", re.ASCII)


def check_tasks(tasks: Sequence[Task]) -> None:
    """Check tasks; raises BadField naming the first bad field."""
    if len(tasks) > MAX_TASKS:
        raise BadField("tasks", len(tasks), f"at most {MAX_TASKS} tasks on a host")
    if len({task.ref for task in tasks}) != len(tasks):
        raise BadField("tasks", [task.id for task in tasks], "every id once in its series")
    for task in tasks:
        _check_task(task)


def check_detectors(choices: Sequence[Choice]) -> None:
    """Check detectors; raises BadField naming the first bad field."""
    check_all([choice.detector for choice in choices])
    for choice in choices:
        check_filter(choice.detector.filter)
        if choice.detector.filter.device is not None:
            allowed = "none in a detector, which watches the host's own packets"
            raise BadField("interface", choice.detector.filter.device, allowed)


def check_question(question: Question) -> None:
    """Check a question; raises BadField naming the bad field."""
    _check_id(question.task_id)
    check_filter(question.filter)
    kind = None if question.key_type is None else KeyType.parse(question.key_type, "key_type")
    if question.of is not None:
        counted = KeyType.parse(question.of, "of")
        if kind is None or set(counted.fields) & set(kind.fields):
            raise BadField("of", question.of, "fields that are not in key_type, which is needed")
    if question.key is not None and (kind is None or len(question.key) != KEY_BYTES):
        raise BadField("key", question.key, f"{KEY_BYTES} bytes, of a key type")
    if question.step_ticks not in STEPS_TICKS:
        raise BadField("step_ticks", question.step_ticks, "0, 1, 10 or 100")
    if not 1 <= question.limit <= MAX_KEYS:
        raise BadField("limit", question.limit, f"1 to {MAX_KEYS} keys")
    _check_window(question.window)
    if question.window.kind == "total" and question.series is None:
        raise BadField("window", "total", "total of a task only")


def check_filter(wanted: Filter) -> None:
    """Check a filter; raises BadField naming the bad field."""
    if wanted.proto is not None and not 0 <= wanted.proto <= 255:
        raise BadField("proto", wanted.proto, "0 to 255")
    if wanted.device is not None:
        device_name("interface", wanted.device)
        if wanted.interface is not Interface.BOTH:
            raise BadField("interface", wanted.interface.value, "both, with a device")
    for name, value in (("src", wanted.src), ("dst", wanted.dst)):
        if value is not None and address.prefix(name, value) != value:
            raise BadField(name, value, "a prefix in canonical form such as 10.0.0.5/32")
    for name, value in (("sport", wanted.sport), ("dport", wanted.dport)):
        if value is not None and port.ports(name, value) != value:
            raise BadField(name, value, "ports in canonical form such as 80,443,8000-8010")


def check_evidence(evidence: Evidence) -> None:
    """Check evidence; raises BadField naming the bad field."""
    longest = max(
        len(evidence.clock_steps), len(evidence.skew_ms), *map(len, evidence.hooks.values()), 0
    )
    if longest > MAX_NAMED:
        raise BadField("evidence", longest, f"at most {MAX_NAMED} hosts in a list")
    kinds = max(len(evidence.software), len(evidence.hooks), len(evidence.drops))
    if kinds > _MAX_KINDS:
        raise BadField("evidence", kinds, f"at most {_MAX_KINDS} kinds of a thing")
    hosts = (host for names in evidence.hooks.values() for host in names)
    for text in (*evidence.software, *evidence.hooks, *evidence.drops, *evidence.skew_ms, *hosts):
        if len(text) > _MAX_TEXT:
            raise BadField("evidence", text, f"names of at most {_MAX_TEXT} characters")
    if not _MONITOR.fullmatch(evidence.monitor):
        raise BadField("evidence", evidence.monitor, "a monitor's id of 32 hexadecimal digits")
    _check_numbers(evidence)
    for tick in (evidence.first_tick, evidence.last_tick, *(s.tick for s in evidence.clock_steps)):
        _check_tick("evidence", tick)


def check_events(events: Sequence[Event], dropped: int, subtree: Collection[str]) -> None:
    """Check events that a child tells of hosts in its subtree; raises BadField."""
    if len(events) > MAX_EVENTS or not 0 <= dropped < 1 << 63:
        raise BadField("events", len(events), f"at most {MAX_EVENTS} at a time")
    for event in events:
        if event.host not in subtree or not event.id.startswith(f"{event.host}-"):
            raise BadField("host", event.host, "a host at or below the child, also in the id")
        texts = (event.id, event.detector, event.key_type, *event.sources)
        if max(map(len, texts)) > _MAX_TEXT or len(event.sentence + event.key) > _MAX_SENTENCE:
            raise BadField("event", event.id, f"names of at most {_MAX_TEXT} characters")
        rows = max(len(event.evidence), len(event.sources), len(event.ports))
        if rows > MAX_EVIDENCE or any(len(row.flow) > _MAX_SENTENCE for row in event.evidence):
            raise BadField("evidence", rows, f"at most {MAX_EVIDENCE} rows")
        for tick in (event.first_tick, event.last_tick, event.raised_tick):
            _check_tick("event", tick)


def _check_numbers(evidence: Evidence) -> None:
    counts = (
        evidence.packets,
        evidence.ip_bytes,
        evidence.spilled_packets,
        evidence.contended_packets,
        evidence.thinned_packets,
        evidence.flow_absent_upper,
        evidence.missed_ticks,
        evidence.rss_bytes,
        evidence.tick_ms,
        evidence.told_one_in,
        *evidence.drops.values(),
        *evidence.software.values(),
    )
    for count in counts:
        if not 0 <= count < 1 << 63:
            raise BadField("evidence", count, "counts from 0 to 2^63 - 1")
    pairs = evidence.skew_ms.values()
    reals = (evidence.cpu_ratio, *(real for pair in pairs for real in pair))
    if not all(map(math.isfinite, reals)) or any(error < 0 for _, error in pairs):
        raise BadField("evidence", reals, "finite numbers, and errors that are not negative")


def _check_window(window: Window) -> None:
    if window.kind == "last" and not 1 <= window.ticks <= MAX_TICKS:
        raise BadField("window", window.ticks, f"1 to {MAX_TICKS} ticks")
    if window.kind == "range":
        _check_tick("window", window.first_tick)
        if not 0 <= window.last_tick - window.first_tick < MAX_TICKS:
            raise BadField("window", window.last_tick, f"1 to {MAX_TICKS} ticks from first_tick")


def _check_task(task: Task) -> None:
    _check_id(task.id)
    for since_tick in (task.since_tick, *(counter.since_tick for counter in task.counters)):
        _check_tick("since_tick", since_tick)
    check_filter(task.filter)
    names = [counter.key_type for counter in task.counters]
    if len(names) > MAX_COUNTERS or len(set(names)) != len(names):
        raise BadField("counters", names, f"at most {MAX_COUNTERS}, one of a key type")
    for counter in task.counters:
        KeyType.parse(counter.key_type, "key_type")
        if not 0 <= counter.hitter_threshold <= 1:
            raise BadField("hitter_threshold", counter.hitter_threshold, "a share from 0 to 1")


def _check_id(number: int) -> None:
    if not 0 <= number <= MAX_ID:
        raise BadField("id", number, f"0 to {MAX_ID}")


def _check_tick(field: str, tick: int) -> None:
    if not 0 <= tick <= MAX_TICK:
        raise BadField(field, tick, "unix time in units of 100 ms")
