"""The pace: over budget ticks grow, at ease they shrink, and neither without a bound."""

from netsonde.monitor.pace import MAX_THIN_SHIFT, MAX_TICKS, Pace

SECOND = 1_000_000_000


def test_grows_while_over_budget_and_stops_at_the_longest():
    pace = Pace(0.1)
    for expected in (2, 4, 8, 16, 32, 32):
        pace.spent(SECOND // 5, SECOND)
        assert pace.ticks == expected
    assert pace.ticks == MAX_TICKS


def test_stays_within_budget_and_shrinks_at_ease():
    pace = Pace(0.1)
    pace.spent(SECOND // 5, SECOND)
    pace.spent(SECOND // 20, SECOND)
    assert pace.ticks == 2
    pace.spent(SECOND // 100, SECOND)
    assert pace.ticks == 1
    pace.spent(0, SECOND)
    assert pace.ticks == 1


def test_a_tick_without_length_is_no_fault():
    Pace(0.1).spent(0, 0)


def test_thins_when_the_longest_tick_is_not_enough_and_takes_that_back_first():
    pace = Pace(0.1)
    for _ in range(5 + 2 * MAX_THIN_SHIFT):
        pace.spent(SECOND // 5, SECOND)
    assert (pace.ticks, pace.thin_shift) == (MAX_TICKS, MAX_THIN_SHIFT)
    for _ in range(MAX_THIN_SHIFT):
        assert pace.ticks == MAX_TICKS
        pace.spent(0, SECOND)
    assert pace.thin_shift == 0
    pace.spent(0, SECOND)
    assert pace.ticks == MAX_TICKS // 2
