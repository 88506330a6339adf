"""Evidence adds up over hosts in any tree, and stays bounded."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.evidence import MAX_KINDS, MAX_NAMED, ClockStep, Evidence

names = st.sampled_from(["h1", "h2", "h3", "h4"])
numbers = st.integers(0, 1000)
evidences = st.builds(
    Evidence,
    software=st.dictionaries(st.sampled_from(["0.1.0", "0.2.0"]), st.integers(1, 9)),
    hooks=st.dictionaries(
        st.sampled_from(["tcx", "netfilter"]),
        st.sets(names).map(lambda hosts: tuple(sorted(hosts))),
    ),
    first_tick=numbers,
    last_tick=numbers,
    packets=numbers,
    ip_bytes=numbers,
    drops=st.dictionaries(st.sampled_from(["not_ip", "truncated"]), numbers),
    spilled_packets=numbers,
    contended_packets=numbers,
    thinned_packets=numbers,
    flow_absent_upper=numbers,
    missed_ticks=numbers,
    clock_steps=st.lists(st.builds(ClockStep, tick=numbers, step_ms=numbers), max_size=3).map(
        lambda steps: tuple(sorted(steps, key=lambda step: (step.tick, step.step_ms)))
    ),
    cpu_ratio=st.floats(0, 1),
    rss_bytes=numbers,
    tick_ms=st.integers(1, 1000),
    told_one_in=st.integers(1, 1000),
)


@given(evidences, evidences, evidences)
def test_order_and_shape_do_not_matter(one: Evidence, two: Evidence, three: Evidence) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))


@given(evidences)
def test_it_is_read_as_it_was_written(one: Evidence) -> None:
    assert msgspec.json.decode(msgspec.json.encode(one), type=Evidence) == one
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Evidence) == one


def test_packets_add_up_and_the_worst_of_hosts_stands() -> None:
    one = Evidence(software={"1": 1}, hooks={"tcx": ("a",)}, first_tick=5, last_tick=9, packets=3)
    two = msgspec.structs.replace(
        one,
        hooks={"tcx": ("b",)},
        first_tick=4,
        last_tick=8,
        packets=4,
        missed_ticks=2,
        tick_ms=800,
    )
    both = one.merged(two)
    assert (both.packets, both.missed_ticks, both.tick_ms) == (7, 2, 800)
    assert (both.first_tick, both.last_tick) == (4, 9)
    assert one.merged(msgspec.structs.replace(two, monitor="0f" * 16)).monitor == ""
    assert (both.software, both.hooks) == ({"1": 2}, {"tcx": ("a", "b")})


def test_ten_thousand_hosts_name_only_some() -> None:
    def host(number: int) -> Evidence:
        name = f"10.0.{number // 256}.{number % 256}"
        return Evidence(
            software={"1": 1},
            hooks={"tcx": (name,)},
            first_tick=0,
            last_tick=9,
            clock_steps=(ClockStep(tick=number, step_ms=1),),
            skew_ms={name: (float(number), 1.0)},
        )

    whole = host(0)
    for number in range(1, 10_000):
        whole = whole.merged(host(number))
    assert whole.software == {"1": 10_000}
    assert len(whole.hooks["tcx"]) == len(whole.clock_steps) == len(whole.skew_ms) == MAX_NAMED
    assert whole.clock_steps[-1].tick == 9999
    assert abs(whole.skew_ms["10.0.39.15"][0]) == 9999


def test_more_kinds_than_are_told_are_put_together_and_none_is_lost() -> None:
    one = Evidence(
        software={f"{n}": n + 1 for n in range(MAX_KINDS)}, hooks={}, first_tick=1, last_tick=2
    )
    other = msgspec.structs.replace(one, software={f"lie {n}": 1 for n in range(MAX_KINDS)})
    both = one.merged(other).merged(other)
    assert len(both.software) == MAX_KINDS
    assert sum(both.software.values()) == sum(one.software.values()) + 2 * MAX_KINDS
    assert both.software["63"] == 64
    assert msgspec.json.decode(msgspec.json.encode(both), type=Evidence) == both
