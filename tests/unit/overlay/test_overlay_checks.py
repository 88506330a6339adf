"""What another agent sent is checked completely."""

import msgspec
import pytest

from netsonde.model.checks import check_choices, check_question, check_tasks
from netsonde.model.detector import MAX_DETECTORS, Choice, Detector
from netsonde.model.errors import BadField, ProtocolError
from netsonde.model.evidence import MAX_NAMED, ClockStep, Evidence
from netsonde.model.task import MAX_TASKS, Counter, Filter, Interface, Question, Task
from netsonde.model.window import MAX_TICKS, Window
from netsonde.overlay.checks import check_evidence
from netsonde.wire import peer
from netsonde.wire.frame import HEADER

TCP, UDP = Filter(proto=6), Filter(proto=17)


def arrived(*tasks: Task) -> tuple[Task, ...]:
    """Tasks as they come from a parent, checked; raises for what cannot come."""
    adoption = peer.Adopt(id=1, path=("10.0.0.1",), tasks=tasks, budget_ms=1)
    message = peer.MESSAGES.decode(peer.MESSAGES.encode(adoption)[HEADER.size :])
    assert isinstance(message, peer.Adopt)
    check_tasks(message.tasks)
    return message.tasks


def sketch(task_id: int, wanted: Filter = TCP, *counters: Counter) -> Task:
    return Task(series="sketch", id=task_id, filter=wanted, counters=counters, since_tick=1)


@pytest.mark.parametrize(
    "change",
    [
        {"id": -1},
        {"id": 2**31},
        {"since_tick": -1},
        {"filter": Filter(proto=256)},
        {"filter": Filter(src="10.0.0.1")},
        {"filter": Filter(dst="10.0.0.1/8")},
        {"filter": Filter(dport="443,80")},
        {"filter": Filter(sport="70000")},
        {"filter": Filter(interface=Interface.BOTH, device="eth/0")},
        {"filter": Filter(interface=Interface.INPUT, device="eth0")},
        {"counters": (Counter(key_type="src_src"),)},
        {"counters": (Counter(key_type="src/24/64"),)},
        {"filter": Filter(src="fe80::1%1/128")},
        {"counters": (Counter(key_type="src"), Counter(key_type="src"))},
        {"counters": (Counter(key_type="src", hitter_threshold=2.0),)},
        {"counters": (Counter(key_type="src", hitter_threshold=float("nan")),)},
        {"counters": (Counter(key_type="src", since_tick=-5),)},
    ],
)
def test_a_parent_cannot_send_what_nobody_could_configure(change: dict[str, object]) -> None:
    assert arrived(sketch(0)) == (sketch(0),)
    with pytest.raises((BadField, ProtocolError)):
        arrived(msgspec.structs.replace(sketch(0), **change))


def test_a_parent_cannot_send_too_many_tasks_or_one_twice() -> None:
    with pytest.raises(BadField, match="at most"):
        check_tasks([sketch(number) for number in range(MAX_TASKS + 1)])
    with pytest.raises(BadField, match="once"):
        check_tasks([sketch(0), sketch(0, UDP)])


@pytest.mark.parametrize(
    "change",
    [
        {"key_type": "x"},
        {"key": b"short"},
        {"key_type": None},
        {"limit": 0},
        {"limit": 65_537},
        {"task_id": -1},
        {"of": "src"},
        {"of": "x"},
        {"of": "dst", "key_type": None, "key": None},
        {"step_ticks": 7},
        {"series": None},
        {"filter": Filter(src="10.0.0.1")},
        {"window": Window.last(0)},
        {"window": Window.last(MAX_TICKS + 1)},
        {"window": Window.range(10, 9)},
        {"window": Window.range(-5, 9)},
        {"window": Window.range(0, MAX_TICKS)},
    ],
)
def test_a_parent_cannot_ask_what_nobody_could_answer(change: dict[str, object]) -> None:
    question = Question(series="sketch", task_id=0, key_type="src", key=bytes(40), limit=65_536)
    check_question(question)
    with pytest.raises(BadField):
        check_question(msgspec.structs.replace(question, **change))


EVIDENCE = Evidence(
    software={"1": 1}, hooks={"netfilter": ("10.0.0.2",)}, first_tick=1, last_tick=9
)


@pytest.mark.parametrize(
    "change",
    [
        {"packets": -1},
        {"packets": 1 << 63},
        {"drops": {"not_ip": -1}},
        {"drops": {str(number): 1 for number in range(65)}},
        {"drops": {"x" * 81: 1}},
        {"hooks": {"netfilter": ("10.0.0.2",) * (MAX_NAMED + 1)}},
        {"hooks": {"netfilter": ("x" * 201,)}},
        {"last_tick": -2},
        {"told_one_in": 0},
        {"rss_bytes": 1 << 62},
        {"software": {"1": 1 << 70}},
        {"first_tick": -1},
        {"clock_steps": (ClockStep(tick=1, step_ms=1),) * (MAX_NAMED + 1)},
        {"clock_steps": (ClockStep(tick=-1, step_ms=1),)},
        {"skew_ms": {"10.0.0.2": (float("nan"), 1.0)}},
        {"skew_ms": {"10.0.0.2": (0.0, -1.0)}},
        {"cpu_ratio": float("inf")},
        {"monitor": "0f" * 17},
        {"monitor": "0F" * 16},
    ],
)
def test_a_child_cannot_send_evidence_nobody_could_have(change: dict[str, object]) -> None:
    check_evidence(EVIDENCE)
    check_evidence(msgspec.structs.replace(EVIDENCE, monitor="0f" * 16))
    with pytest.raises(BadField):
        check_evidence(msgspec.structs.replace(EVIDENCE, **change))


SCAN = Detector(name="scan", measure="spread", by="src", of="dst", threshold=50)


@pytest.mark.parametrize(
    "choices",
    [
        [SCAN, SCAN],
        [msgspec.structs.replace(SCAN, name=f"n{number}") for number in range(MAX_DETECTORS + 1)],
        [msgspec.structs.replace(SCAN, of=None)],
        [msgspec.structs.replace(SCAN, by="x")],
        [msgspec.structs.replace(SCAN, filter=Filter(src="10.0.0.1"))],
    ],
)
def test_a_parent_cannot_send_detectors_nobody_could_set(choices: list[Detector]) -> None:
    check_choices([Choice(detector=SCAN)])
    with pytest.raises(BadField):
        check_choices([Choice(detector=detector) for detector in choices])
