"""A child says anything: what is merged of it is possible, and the parent above can read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsonde.model.bound import Bound
from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.number import MAX_COUNT
from netsonde.overlay.checks import check_bound
from netsonde.overlay.gather import Gather, Gathered, Lost, Replied
from netsonde.sketch.summary import _MIX, KEY_DTYPE, Summary
from netsonde.wire import peer
from netsonde.wire.frame import HEADER

OWN, LIAR, HONEST = "10.0.0.2", "10.0.0.3", "10.0.0.4"
PACKETS = 400

possible = st.sampled_from([0, 1, 5, PACKETS, MAX_COUNT // 2, MAX_COUNT])
numbers = possible | st.sampled_from(
    [MAX_COUNT + 1, 2**62, 2**63 - 1, 2**64 - 1, -1, -(10**15), -(2**63)]
)
reals = st.sampled_from([0.0, -1.0, 1e308, float("nan"), float("inf"), None])
bounds = st.fixed_dictionaries({"lower": numbers, "estimate": numbers, "upper": numbers})
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)


def summary(packets: int) -> Summary:
    keys = np.array([bytes([n]) * 40 for n in range(3)], KEY_DTYPE)
    counts = np.array([packets, 0, 0], np.int64)
    return Summary(
        fingerprint="task",
        total_packets=Bound.exactly(packets),
        total_bytes=Bound.exactly(0),
        keys=keys,
        lower=counts,
        estimate=counts,
        upper=counts,
        heavy=np.zeros(3, np.bool_),
        absent_upper=0,
        distinct=Bound.exactly(3),
        first_tick=1,
        last_tick=2,
    )


def evidence(host: str) -> Evidence:
    return Evidence(
        software={"1": 1}, hooks={"tables": (host,)}, first_tick=1, last_tick=2, packets=PACKETS
    )


def partial(member: str, *others: str) -> dict[str, Any]:
    """A child's reply as it is on the wire."""
    honest = peer.Partial(
        id=1,
        subtree=(member, *others),
        coverage=Coverage(members=(member, *others)),
        part=summary(PACKETS).to_bytes(),
        evidence=evidence(member),
        wall_ns=1,
        held_ns=1,
    )
    made: dict[str, Any] = msgspec.to_builtins(honest, builtin_types=(bytes,))
    return made


def heard(member: str, said: dict[str, Any]) -> Replied | Lost:
    """What an agent makes of a reply: one that it cannot read ends that connection alone."""
    try:
        message = peer.MESSAGES.decode(msgspec.msgpack.encode(said))
    except ProtocolError as error:
        return Lost(member=member, reason=f"connection to {member} lost: {error}")
    assert isinstance(message, peer.Partial)
    return Replied(
        member=member,
        coverage=message.coverage,
        part=message.part,
        evidence=message.evidence,
        reported=message.subtree,
    )


def answered(*events: Replied | Lost) -> Gathered:
    children = {event.member: (event.member,) for event in events if event.member != OWN}
    gather = Gather(own=OWN, children=children, budget_ms=1000, summarised=True)
    gather.start()
    for event in events:
        gather.handle(event)
    return gather.result(10)


def check(whole: Gathered) -> Summary:
    """The answer is possible, and a parent can read it."""
    assert isinstance(whole.part, Summary)
    written = whole.part.to_bytes()
    reply = peer.Partial(
        id=1,
        subtree=(OWN,),
        coverage=whole.coverage,
        part=written,
        evidence=whole.evidence,
        wall_ns=1,
        held_ns=1,
    )
    assert peer.MESSAGES.decode(peer.MESSAGES.encode(reply)[HEADER.size :]) == reply
    for bound in (whole.part.total_packets, whole.part.total_bytes, whole.part.distinct):
        check_bound("part", bound)
    for row in Summary.from_bytes(written).rows():
        check_bound("row", row.count)
    return whole.part


wire_lies = st.fixed_dictionaries(
    {},
    optional={
        "total_packets": bounds,
        "total_bytes": bounds,
        "distinct": bounds,
        "absent_upper": numbers,
        "distinct_error": reals,
        "first_tick": numbers,
        "last_tick": numbers,
        "size": numbers,
        "rows": st.binary(max_size=40),
        "fingerprint": texts,
        "union": st.booleans(),
    },
)
evidence_lies = st.fixed_dictionaries(
    {},
    optional={
        "packets": numbers,
        "ip_bytes": numbers,
        "spilled_packets": numbers,
        "told_one_in": numbers,
        "tick_ms": numbers,
        "rss_bytes": numbers,
        "missed_ticks": numbers,
        "cpu_ratio": reals,
        "first_tick": numbers,
        "drops": st.dictionaries(texts, numbers, max_size=100),
        "software": st.dictionaries(texts, numbers, max_size=100),
        "hooks": st.dictionaries(texts, st.lists(texts, max_size=3), max_size=100),
        "skew_ms": st.dictionaries(texts, st.tuples(reals, reals), max_size=3),
        "clock_steps": st.lists(
            st.fixed_dictionaries({"tick": numbers, "step_ms": numbers}), max_size=3
        ),
    },
)


@settings(max_examples=400)
@given(
    wire_lies, evidence_lies, st.dictionaries(texts, texts, max_size=3), st.lists(texts, max_size=3)
)
def test_no_lie_makes_an_answer_that_cannot_be_or_cannot_be_read(
    wire: dict[str, Any],
    about: dict[str, Any],
    reasons: dict[str, str],
    names: list[str],
) -> None:
    lie = partial(LIAR)
    lie["part"] = msgspec.msgpack.encode(msgspec.msgpack.decode(lie["part"]) | wire)
    lie["evidence"] |= about
    lie["coverage"]["missing"] = reasons
    lie["coverage"]["members"] = [LIAR, *names, *reasons]
    lie["subtree"] = [LIAR, *names, *reasons]
    own, honest = heard(OWN, partial(OWN)), heard(HONEST, partial(HONEST))
    whole = answered(own, heard(LIAR, lie), honest)
    part = check(whole)
    left_out = {LIAR} & whole.coverage.missing.keys()
    if left_out:
        assert part.total_packets == Bound.exactly(2 * PACKETS)
    assert part.total_packets.lower >= 2 * PACKETS


@pytest.mark.parametrize("collide", [False, True])
def test_a_part_that_has_a_key_twice_is_refused(collide: bool) -> None:
    one = summary(PACKETS)
    keys = one.keys.copy()
    if collide:  # not the same key, but the same hash: eight bytes of it in another place
        pair = np.zeros((3, 5), np.uint64)
        pair[0, 0], pair[1, 1] = pow(int(_MIX[0]), -1, 1 << 64), pow(int(_MIX[1]), -1, 1 << 64)
        keys = pair.view(KEY_DTYPE).reshape(3)
        assert len(Summary.from_bytes(replace(one, keys=keys).to_bytes()).keys) == 3
    keys[2] = keys[0]
    with pytest.raises(ProtocolError, match="a key more than once"):
        Summary.from_bytes(replace(one, keys=keys).to_bytes())


def test_sums_stay_below_what_the_next_one_reads() -> None:
    """Each part may be; together they pass what 64 bits, and the reader above, can hold."""
    most = partial(LIAR)
    most["part"] = summary(MAX_COUNT).to_bytes()
    whole = answered(heard(OWN, partial(OWN)), heard(LIAR, most), heard(HONEST, partial(HONEST)))
    assert check(whole).total_packets == Bound.exactly(2 * PACKETS)
    assert str(MAX_COUNT) in whole.coverage.missing[LIAR]
    much = partial(LIAR)
    much["evidence"]["packets"] = MAX_COUNT
    whole = answered(heard(OWN, partial(OWN)), heard(LIAR, much), heard(HONEST, partial(HONEST)))
    check(whole)
    assert whole.evidence is not None
    assert whole.evidence.packets == 2 * PACKETS
