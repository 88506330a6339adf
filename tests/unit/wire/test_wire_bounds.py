"""Whatever comes from outside has a length and a range, and the largest of it fits what carries it.

The first test walks every type that is read from a peer, a monitor, an agent, a file or a body, so
a field without a bound cannot be added.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from msgspec import inspect

from netsonde.agent.state import MAX_STATE_BYTES, State
from netsonde.agent.webhooks import MAX_WEBHOOKS
from netsonde.model.asked import Asked
from netsonde.model.bound import Bound
from netsonde.model.checks import check_choices, check_tasks
from netsonde.model.coverage import MAX_DEPTH, MAX_MEMBERS
from netsonde.model.detector import (
    MAX_DETECTORS,
    MAX_EVENTS,
    MAX_EVIDENCE,
    Choice,
    Detector,
    Event,
    EvidenceRow,
)
from netsonde.model.key import KeyType
from netsonde.model.number import MAX_COUNT, MAX_TICK, MAX_WALL_NS
from netsonde.model.port import MAX_RANGES
from netsonde.model.resource import DetectorSpec, TaskSpec, Webhook
from netsonde.model.task import MAX_COUNTERS, MAX_ID, MAX_TASKS, Counter, Filter, Interface, Task
from netsonde.monitor.keep import Kept
from netsonde.overlay.tasks import OwnTask
from netsonde.overlay.tree import MAX_CHILDREN
from netsonde.sketch import series, summary
from netsonde.wire import monitor, peer
from netsonde.wire.frame import MAX_FRAME_BYTES, MAX_REQUEST_BYTES

FROM_OUTSIDE = {
    "peers": peer.Message,
    "the agent": monitor.Request,
    "the monitor": monitor.Reply,
    "the agent's state": State,
    "the monitor's state": Kept,
    "questions": Asked,
    "tasks": TaskSpec,
    "detectors": DetectorSpec,
    "webhooks": Webhook,
    "summaries": summary._Wire,
    "series": series._Wire,
}
COMPARED = {"Kept.load_id"}
"""64 bits drawn at random, only ever compared."""


PLAIN = (inspect.BoolType, inspect.NoneType, inspect.EnumType, inspect.LiteralType)
NAMED = r"{0,39}$"
"""How the pattern of names ends, which so have a length."""


def bounded(info: inspect.Type) -> bool:
    """Tell whether a type itself has a length, or a range."""
    match info:
        case inspect.StrType():
            return info.max_length is not None or (info.pattern or "").endswith(NAMED)
        case inspect.IntType() | inspect.FloatType():
            return {info.ge, info.gt} != {None} != {info.le, info.lt}
        case inspect.StructType() | inspect.UnionType() | inspect.TupleType():
            return True
        case _:
            return getattr(info, "max_length", None) is not None


def within(info: inspect.Type, path: str) -> list[tuple[inspect.Type, str]]:
    """List the types that a type is made of."""
    match info:
        case inspect.StructType():
            return [(field.type, f"{info.cls.__name__}.{field.name}") for field in info.fields]
        case inspect.UnionType():
            return [(one, path) for one in info.types]
        case inspect.TupleType():
            return [(one, f"{path}[]") for one in info.item_types]
        case inspect.ListType() | inspect.VarTupleType():
            return [(info.item_type, f"{path}[]")]
        case inspect.DictType():
            return [(info.key_type, f"{path} keys"), (info.value_type, f"{path} values")]
        case _:
            return []


def unbounded(info: inspect.Type, path: str, seen: set[type]) -> Iterator[str]:
    """Name the fields of a type that may be of any size."""
    if isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, PLAIN) or (isinstance(info, inspect.StructType) and info.cls in seen):
        return
    if isinstance(info, inspect.StructType):
        seen.add(info.cls)
    if not bounded(info):
        yield path
    for inner, below in within(info, path):
        yield from unbounded(inner, below, seen)


def test_the_walk_finds_what_has_no_bound() -> None:
    class Loose(msgspec.Struct):
        text: str
        number: int
        real: float
        raw: bytes
        listed: list[str]
        named: dict[str, tuple[int, ...]]
        anything: object

    found = sorted(unbounded(inspect.type_info(Loose | None), "", set()))
    fields = ["anything", "listed", "listed[]", "named", "named keys", "named values"]
    fields += ["named values[]", "number", "raw", "real", "text"]
    assert found == [f"Loose.{field}" for field in fields]


@pytest.mark.parametrize("source", FROM_OUTSIDE)
def test_every_field_from_outside_has_a_bound(source: str) -> None:
    found = set(unbounded(inspect.type_info(FROM_OUTSIDE[source]), source, set()))
    assert found - COMPARED == set()


LONGEST = "f" * 4 + ":ffff" * 7
"""The longest canonical text of an address."""
RANGES = ",".join(f"{5 * place + 10_000}-{5 * place + 10_001}" for place in range(MAX_RANGES))
FULLEST = Filter(
    interface=Interface.BOTH,
    device="\U0001f980" * 3 + "xyz",
    family=6,
    proto=255,
    src=f"{LONGEST}/128",
    dst=f"{LONGEST}/128",
    sport=RANGES,
    dport=RANGES,
)
COUNTERS = tuple(
    Counter(
        key_type=KeyType.parse(f"src/{31 - place}/127_dst/31/127_sport_dport_proto").name,
        hitter_threshold=0.12345678901234567,
        since_tick=MAX_TICK,
    )
    for place in range(MAX_COUNTERS)
)
TASKS = tuple(
    Task(
        series="counter",
        id=MAX_ID - number,
        filter=FULLEST,
        counters=COUNTERS,
        since_tick=MAX_TICK,
    )
    for number in range(MAX_TASKS)
)
CHOICES = tuple(
    Choice(
        detector=Detector(
            name=f"{'n' * 37}{number:03}",
            measure="spread",
            filter=msgspec.structs.replace(FULLEST, device=None),
            by="src/31/127_dst/31/127_sport_dport",
            of="proto",
            threshold=8192,
            sentence="\U0001f980" * 200,
        )
    )
    for number in range(MAX_DETECTORS)
)
MEMBERS = tuple(f"{'ffff:' * 6}{n >> 8:x}:{n & 0xFF:x}"[:39] for n in range(MAX_MEMBERS))


def test_all_that_a_parent_may_have_fits_one_request() -> None:
    check_tasks(TASKS)
    check_choices(CHOICES)
    adoption = peer.Adopt(
        id=(1 << 63) - 1,
        path=(LONGEST,) * MAX_DEPTH,
        tasks=TASKS,
        detectors=CHOICES,
        budget_ms=60_000,
    )
    frame = peer.MESSAGES.encode(adoption)
    assert len(frame) <= MAX_REQUEST_BYTES
    assert peer.MESSAGES.decode(frame[4:]) == adoption


def test_all_that_a_monitor_is_told_and_tells_fits_a_frame() -> None:
    every = monitor.Apply(tasks=TASKS, detectors=tuple(choice.detector for choice in CHOICES))
    assert monitor.REQUESTS.decode(monitor.REQUESTS.encode(every)[4:]) == every
    event = Event(
        id="x" * 80,
        detector="n" * 40,
        state="cleared",
        host=LONGEST,
        key_type="src/31/127_dst/31/127_sport_dport_proto",
        key=f"{LONGEST}/127,{LONGEST}/127,65535,65535,255",
        count=Bound.exactly(MAX_COUNT),
        peak=MAX_COUNT,
        threshold=MAX_COUNT,
        first_tick=MAX_TICK,
        last_tick=MAX_TICK,
        raised_tick=MAX_TICK,
        wall_ns=MAX_WALL_NS,
        sentence=("\U0001f980" * 200).ljust(2000, "x"),
        evidence=(
            EvidenceRow(
                flow=f"{LONGEST},{LONGEST},65535,65535,255", packets=MAX_COUNT, bytes=MAX_COUNT
            ),
        )
        * MAX_EVIDENCE,
        sources=(LONGEST,) * MAX_EVIDENCE,
        ports=(65535,) * MAX_EVIDENCE,
    )
    events = monitor.Events(events=(event,) * MAX_EVENTS)
    assert monitor.REPLIES.decode(monitor.REPLIES.encode(events)[4:]) == events


def test_all_that_an_agent_may_hold_fits_its_state_file() -> None:
    first, *others = MEMBERS
    state = State(
        own=tuple(OwnTask(task=task, scope="subtree") for task in TASKS),
        inherited=(),
        own_detectors=CHOICES,
        inherited_detectors=CHOICES,
        webhooks={
            f"{'n' * 37}{number:03}": Webhook(
                url="http://" + "\U0001f980" * 1993,
                detectors=tuple(f"{'n' * 37}{number:03}" for number in range(MAX_DETECTORS)),
            )
            for number in range(MAX_WEBHOOKS)
        },
        path=(LONGEST,) * MAX_DEPTH,
        children={first: MEMBERS} | {name: (name,) for name in others[: MAX_CHILDREN - 1]},
    )
    written = msgspec.json.encode(state)
    assert len(written) <= MAX_STATE_BYTES
    assert msgspec.json.decode(written, type=State) == state


def test_members_that_are_all_missing_for_long_reasons_fit_a_frame() -> None:
    coverage = peer.Coverage(members=MEMBERS, missing=dict.fromkeys(MEMBERS, "x" * 200))
    partial = peer.Partial(
        id=1, subtree=MEMBERS, coverage=coverage, part=None, evidence=None, wall_ns=1, held_ns=1
    )
    assert len(peer.MESSAGES.encode(partial)) <= MAX_FRAME_BYTES
