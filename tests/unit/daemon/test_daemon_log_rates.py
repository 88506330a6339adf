"""Each kind of line has its rate, and what was left out is told once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from netsonde.daemon.log_rates import A_SECOND, BURST, MAX_KINDS, OTHERS, Rates


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_passes_and_then_one_a_second_that_says_how_many_more() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert [rates.let(("a",)) for _ in range(BURST + 30)] == [0] * BURST + [None] * 30
    assert rates.let(("b",)) == 0
    clock.now_s += 1 / A_SECOND
    assert rates.let(("a",)) == 30
    assert rates.let(("a",)) is None


def test_after_a_pause_what_was_left_out_is_told_without_another_line() -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(BURST + 3):
        rates.let(("a",))
    assert rates.overdue() == []
    assert rates.owed() == [(("a",), 3)]
    clock.now_s += 1 / A_SECOND
    assert rates.overdue() == [(("a",), 3)]
    assert rates.overdue() == rates.owed() == []


def test_kinds_are_bounded_and_quiet_ones_forgotten() -> None:
    clock = Clock()
    rates = Rates(clock)
    for number in range(10 * MAX_KINDS):
        rates.let((str(number),))
    assert len(rates._kinds) <= MAX_KINDS + 1
    assert rates.let(("new",)) is None
    assert dict(rates.owed())[OTHERS] > 0
    clock.now_s += BURST / A_SECOND
    assert rates.let(("new",)) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=300))
def test_all_that_is_left_out_is_told(lines: list[tuple[int, float]]) -> None:
    clock = Clock()
    rates = Rates(clock)
    passed: Counter[int] = Counter()
    for kind, pause_s in lines:
        clock.now_s += pause_s
        more = rates.let((str(kind),))
        passed[kind] += 0 if more is None else 1 + more
        for (name,), more in rates.overdue():
            passed[int(name)] += more
    for (name,), more in rates.owed():
        passed[int(name)] += more
    assert passed == Counter(kind for kind, _ in lines)
