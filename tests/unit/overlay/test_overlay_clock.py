"""Another host's clock, compared by one question."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.evidence import Evidence
from netsonde.model.number import MAX_APART_MS, MAX_MS, MAX_WALL_NS
from netsonde.overlay.clock import compared, seen_from_here

SHORT_NS = st.integers(0, 10**9)
MS = 10**6


@given(
    offset_ns=st.integers(-(10**12), 10**12),
    there_ns=SHORT_NS,
    held_ns=SHORT_NS,
    back_ns=SHORT_NS,
)
def test_truth_lies_within_the_error(
    offset_ns: int, there_ns: int, held_ns: int, back_ns: int
) -> None:
    began_wall_ns = 10**18
    left_wall_ns = began_wall_ns + there_ns + held_ns
    skew = compared(
        sent_mono_ns=5,
        came_mono_ns=5 + there_ns + held_ns + back_ns,
        came_wall_ns=left_wall_ns + back_ns,
        held_ns=held_ns,
        told_wall_ns=left_wall_ns + offset_ns,
    )
    assert skew
    offset_ms, error_ms = skew
    assert error_ms == (there_ns + back_ns) / 2 / MS
    assert abs(offset_ms - offset_ns / MS) <= error_ms + 1e-6


def test_times_that_cannot_be_tell_nothing() -> None:
    def told(held_ns: int, wall_ns: int) -> object:
        return compared(
            sent_mono_ns=0,
            came_mono_ns=10,
            came_wall_ns=100,
            held_ns=held_ns,
            told_wall_ns=wall_ns,
        )

    assert told(5, 100)
    assert told(11, 100) is told(-1, 100) is told(5, -1) is told(5, 1 << 63) is None


def test_below_a_child_that_cannot_be_compared_nobody_is() -> None:
    assert seen_from_here("child", None, {"below": (1.0, 1.0)}) == {}
    assert seen_from_here("child", (2.0, 1.0), {}) == {"child": (2.0, 1.0)}


EDGES = st.sampled_from([0, 1, 10**18, MAX_WALL_NS // 2, MAX_WALL_NS])


@given(
    ours_ns=EDGES | st.integers(0, MAX_WALL_NS),
    told_ns=EDGES | st.integers(0, MAX_WALL_NS),
    held_ns=SHORT_NS,
    below=st.dictionaries(
        st.sampled_from(["10.0.0.5", "10.0.0.6"]),
        st.tuples(
            st.floats(-MAX_APART_MS, MAX_APART_MS),
            st.floats(0, MAX_MS),
        ),
    ),
)
def test_whatever_clocks_show_the_next_one_up_can_read_it(
    ours_ns: int, told_ns: int, held_ns: int, below: dict[str, tuple[float, float]]
) -> None:
    """A host in 1970, as one without a clock of its own is, takes nobody's answer along."""
    clock = compared(
        sent_mono_ns=0,
        came_mono_ns=10**9,
        came_wall_ns=ours_ns,
        held_ns=held_ns,
        told_wall_ns=told_ns,
    )
    assert clock
    told = seen_from_here("10.0.0.4", clock, below)
    evidence = Evidence(software={}, hooks={}, first_tick=0, last_tick=0, skew_ms=told)
    assert msgspec.convert(msgspec.to_builtins(evidence), Evidence) == evidence
    assert told["10.0.0.4"] == clock
