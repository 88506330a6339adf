"""What a task, a detector and a question must be, whoever sent them: an agent to its monitor, a
parent to its child, or a file.

Types are checked by the codec, with their lengths and ranges; here is what types cannot say: what
goes with what, and canonical texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsonde.model import address, port, strict
from netsonde.model.detector import Choice, Detector, check_all
from netsonde.model.device import device_name
from netsonde.model.errors import BadField
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import (
    MAX_TASKS,
    Filter,
    Interface,
    Question,
    Task,
)
from netsonde.model.window import MAX_TICKS, Window

STEPS_TICKS = (0, 1, 10, 100)


def check_tasks(tasks: Sequence[Task]) -> None:
    """Check tasks; raises BadField naming the first bad field."""
    if len(tasks) > MAX_TASKS:
        raise BadField("tasks", len(tasks), f"at most {MAX_TASKS} tasks on a host")
    if len({task.ref for task in tasks}) != len(tasks):
        raise BadField("tasks", [task.id for task in tasks], "every id once in its series")
    for task in tasks:
        _check_task(task)


def check_detectors(detectors: Sequence[Detector]) -> None:
    """Check detectors; raises BadField naming the first bad field."""
    check_all(detectors)
    for detector in detectors:
        strict.check(detector)
        check_filter(detector.filter)
        if detector.filter.device is not None:
            allowed = "none in a detector, which watches the host's own packets"
            raise BadField("interface", detector.filter.device, allowed)


def check_choices(choices: Sequence[Choice]) -> None:
    """Check detectors as somebody wants them; raises BadField as `check_detectors`."""
    check_detectors([choice.detector for choice in choices])


def check_question(question: Question) -> None:
    """Check a question; raises BadField naming the bad field."""
    strict.check(question)
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
    _check_window(question.window)
    if question.window.kind == "total" and question.series is None:
        raise BadField("window", "total", "total of a task only")


def check_filter(wanted: Filter) -> None:
    """Check a filter; raises BadField naming the bad field."""
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


def _check_window(window: Window) -> None:
    if window.kind == "last" and window.ticks < 1:
        raise BadField("window", window.ticks, f"1 to {MAX_TICKS} ticks")
    if window.kind == "range" and not 0 <= window.last_tick - window.first_tick < MAX_TICKS:
        raise BadField("window", window.last_tick, f"1 to {MAX_TICKS} ticks from first_tick")


def _check_task(task: Task) -> None:
    check_filter(task.filter)
    names = [counter.key_type for counter in task.counters]
    if len(set(names)) != len(names):
        raise BadField("counters", names, "one counter of a key type")
    for counter in task.counters:
        if KeyType.parse(counter.key_type, "key_type").name != counter.key_type:
            raise BadField("key_type", counter.key_type, "a key type in canonical form")
