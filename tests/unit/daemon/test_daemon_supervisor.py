"""A part's failure is that part's alone: noted, begun again after a pause, the others untouched."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.daemon.failures import MAX_KINDS, Failures
from netsonde.daemon.supervisor import FIRST_PAUSE_S, LAST_PAUSE_S, Supervisor


class _Odd(Exception):
    pass


RAISED = [ValueError, LookupError, MemoryError, RecursionError, _Odd, UnicodeError, OSError]


@given(st.lists(st.sampled_from(RAISED), max_size=12))
def test_a_part_begins_again_after_everything_it_raises(kinds: list[type[Exception]]) -> None:
    async def world() -> None:
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0)

        left = list(kinds)
        ended = asyncio.Event()

        async def part() -> None:
            await asyncio.sleep(0)
            if left:
                raise left.pop(0)("said nothing")
            ended.set()
            await asyncio.Event().wait()

        async def other() -> None:
            await asyncio.Event().wait()

        failures = Failures()
        supervisor = Supervisor(failures, sleep=sleep)
        others = supervisor.start("other", other)
        supervisor.start("part", part)
        await asyncio.wait_for(ended.wait(), 5)
        assert not others.done()
        assert failures.counts.total() == len(kinds)
        doubled = [min(FIRST_PAUSE_S * 2**n, LAST_PAUSE_S) for n in range(len(kinds))]
        assert supervisor.restarts == ({"part": len(kinds)} if kinds else {})
        assert pauses == pytest.approx(doubled)
        await supervisor.close()
        assert others.cancelled()

    asyncio.run(world())


def test_what_a_vital_part_raises_ends_the_daemon_at_once() -> None:
    async def world() -> None:
        supervisor = Supervisor(Failures())

        async def ticker() -> None:
            await asyncio.sleep(0)
            raise _Odd("the kernel took it away")

        supervisor.start("ticker", ticker, vital=True)
        with pytest.raises(_Odd, match="took it away"):
            await asyncio.wait_for(supervisor.until_dead(asyncio.Event()), 5)
        await supervisor.close()

    asyncio.run(world())


def test_a_daemon_that_is_told_to_stop_stops() -> None:
    async def world() -> None:
        supervisor, stop = Supervisor(Failures()), asyncio.Event()
        supervisor.start("part", asyncio.Event().wait)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(stop.set)
        await asyncio.wait_for(supervisor.until_dead(stop), 5)
        await supervisor.close()

    asyncio.run(world())


def test_a_part_that_returns_is_done() -> None:
    async def world() -> None:
        supervisor = Supervisor(Failures())

        async def once() -> None:
            return None

        await asyncio.wait_for(supervisor.start("once", once), 5)
        assert not supervisor.failures.counts

    asyncio.run(world())


def test_a_group_counts_as_what_it_holds() -> None:
    failures = Failures()
    failures.note("peer", ExceptionGroup("", [ValueError(), ExceptionGroup("", [OSError()])]))
    assert failures.counts == {("peer", "ValueError"): 1, ("peer", "OSError"): 1}


def test_kinds_of_failures_are_bounded() -> None:
    failures = Failures()
    for number in range(2 * MAX_KINDS):
        failures.note(f"part {number}", ValueError())
    assert len(failures.counts) == MAX_KINDS
    assert failures.counts["other", "other"] == MAX_KINDS + 1
    assert failures.counts.total() == 2 * MAX_KINDS
