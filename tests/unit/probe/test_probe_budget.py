"""The budget of active tests: nothing is created, nothing is lost, and it says when."""

from hypothesis import given
from hypothesis import strategies as st

from netsonde.probe.budget import HOUR_NS, Bucket, Budget, Cost

PER_HOUR = 1000
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2 * HOUR_NS),
        st.integers(0, PER_HOUR),
        st.floats(0, 1),
    ),
    max_size=30,
)


@given(STEPS, st.integers(1, 10**12))
def test_no_stretch_of_time_sees_more_than_an_hours_worth_and_its_share(
    steps: list[tuple[int, int, float]], per_hour: int
) -> None:
    bucket, now_ns = Bucket(per_hour, 0), 0
    spent: list[tuple[int, int]] = []
    for passed_ns, share, used_ratio in steps:
        now_ns += passed_ns
        most = per_hour * share // PER_HOUR
        wait_ns = bucket.wait_ns(most, now_ns)
        if wait_ns:
            assert bucket.wait_ns(most, now_ns + wait_ns - 1) == 1
            continue
        bucket.take(most, now_ns)
        used = int(most * used_ratio)
        bucket.take(used - most, now_ns)
        spent.append((now_ns, used))
    for first, (begin_ns, _) in enumerate(spent):
        total = 0
        for end_ns, used in spent[first:]:
            total += used
            assert total * HOUR_NS <= per_hour * (HOUR_NS + end_ns - begin_ns)


@given(STEPS)
def test_what_is_left_is_what_came_less_what_was_used(steps: list[tuple[int, int, float]]) -> None:
    """While the bucket is not full it is an account: to the last unit."""
    bucket, now_ns = Bucket(PER_HOUR, 0), 0
    bucket.take(10**9, 0)  # a debt that these steps do not repay
    account = PER_HOUR * HOUR_NS - 10**9 * HOUR_NS
    for passed_ns, amount, _ in steps:
        now_ns += passed_ns
        bucket.take(amount, now_ns)
        account += passed_ns * PER_HOUR - amount * HOUR_NS
        assert bucket.left(now_ns) == account // HOUR_NS


@given(st.integers(0, 10**6), st.integers(0, HOUR_NS))
def test_a_wait_is_exact(taken: int, passed_ns: int) -> None:
    bucket = Bucket(10**6, 0)
    bucket.take(taken, 0)
    wait_ns = bucket.wait_ns(10**6, passed_ns)
    assert bucket.wait_ns(10**6, passed_ns + wait_ns) == 0
    assert wait_ns == 0 or bucket.wait_ns(10**6, passed_ns + wait_ns - 1) > 0


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = Bucket(10, HOUR_NS)
    bucket.take(10, HOUR_NS)
    assert bucket.left(0) == bucket.left(HOUR_NS) == 0
    assert bucket.left(2 * HOUR_NS) == 10


def test_forty_tests_fit_and_the_next_is_told_when() -> None:
    most = Cost(sent_bytes=250_000_000, busy_ns=3_000_000_000)
    budget = Budget(Cost(sent_bytes=40 * most.sent_bytes, busy_ns=40 * most.busy_ns), 0)
    for _ in range(40):
        assert budget.wait_ns(most, 0) == 0
        budget.take(most, 0)
        budget.settle(most, most, 0)
    assert budget.left(0) == Cost()
    assert budget.wait_ns(most, 0) == HOUR_NS // 40
    # One that used less gives the rest back, in time and bytes; one that used more owes it.
    budget.take(most, HOUR_NS)
    budget.settle(most, Cost(sent_bytes=1, busy_ns=2), HOUR_NS)
    assert budget.left(HOUR_NS).sent_bytes == 40 * most.sent_bytes - 1
    budget.settle(Cost(), Cost(sent_bytes=10**12), HOUR_NS)
    assert budget.left(HOUR_NS) == Cost(sent_bytes=0, busy_ns=40 * most.busy_ns - 2)
