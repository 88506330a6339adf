"""The CPU that answers may take, in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.errors import Busy
from netsonde.monitor.budget import BURST_S, LEAST_NS, Budget


@given(
    share=st.sampled_from([0.01, 0.2, 1.0]),
    costs_ns=st.lists(st.integers(0, 500_000_000), min_size=1, max_size=200),
    pause_ns=st.integers(0, 50_000_000),
)
def test_no_load_takes_more_than_the_share(
    share: float, costs_ns: list[int], pause_ns: int
) -> None:
    """Whoever asks at once again, and again when told to, never has more than its share and one
    burst and one answer beyond."""
    now_ns = spent_ns = 0
    budget = Budget(share, lambda: now_ns)
    for cost_ns in costs_ns:
        try:
            budget.check()
        except Busy as error:
            now_ns += int((error.retry_after_s or 0) * 1e9)
            budget.check()
        budget.spend(cost_ns)
        spent_ns += cost_ns
        now_ns += pause_ns
        allowed_ns = share * (now_ns + BURST_S * 1e9)
        assert spent_ns <= allowed_ns + max(costs_ns) + LEAST_NS


def test_what_nobody_has_asked_is_given_up_first() -> None:
    now_ns = 0
    budget = Budget(0.2, lambda: now_ns)
    assert budget.has_plenty
    budget.spend(int(0.6 * 0.2 * BURST_S * 1e9))
    assert not budget.has_plenty
    budget.check()
    now_ns = int(BURST_S * 1e9)
    assert budget.has_plenty
    budget.spend(int(0.2 * BURST_S * 1e9))
    with pytest.raises(Busy, match="answer_cpu_percent"):
        budget.check()
    assert budget.refused == 1
