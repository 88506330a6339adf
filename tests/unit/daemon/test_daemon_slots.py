"""Places are shared: no order of coming and going gives a source more than its share."""

from __future__ import annotations

from collections import Counter as Tally

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netsonde.daemon.slots import Slots, is_of_host, source_of

TOTAL, OF_ONE, FOR_HOST = 12, 5, 2
sources = st.sampled_from("abcdef")


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_ipv6_counts_by_what_one_customer_has(host: str, source: str) -> None:
    assert source_of(host) == source


@pytest.mark.parametrize(
    ("host", "own", "of_host"),
    [
        ("127.0.0.9", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.2", True),
        ("10.0.0.2", "10.0.0.2", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
    ],
)
def test_the_host_itself_comes_by_loopback_or_its_own_address(
    host: str, own: str, of_host: bool
) -> None:
    assert is_of_host(host, own) is of_host


class Coming(RuleBasedStateMachine):
    """Takes and gives places in any order, and keeps its own account."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(TOTAL, of_one=OF_ONE, for_host=FOR_HOST)
        self.held: list[tuple[str, bool]] = []

    @rule(source=sources, of_host=st.booleans())
    def take(self, source: str, of_host: bool) -> None:
        source = source.upper() if of_host else source
        others = sum(not one[1] for one in self.held)
        held = sum(one[0] == source for one in self.held)
        refused = self.slots.take(source, of_host=of_host)
        if held >= OF_ONE:
            assert refused == "source_quota"
        elif len(self.held) >= TOTAL or (not of_host and others >= TOTAL - FOR_HOST):
            assert refused == "over_limit"
        else:
            assert refused is None
            self.held.append((source, of_host))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.held))
        self.held.remove(one)
        self.slots.free(one[0], of_host=one[1])

    @rule(source=sources)
    def give_way(self, source: str) -> None:
        tally = Tally(one[0] for one in self.held)
        greedier = self.slots.greedier(source)
        assert set(greedier) == {one for one in tally if tally[one] > tally[source] + 1}
        assert greedier == sorted(greedier, key=lambda one: -tally[one])

    @invariant()
    def counts(self) -> None:
        assert self.slots.taken == len(self.held) <= TOTAL


TestComing = Coming.TestCase
