"""What active tests may cost a host in an hour, at either end, over real sockets."""

import asyncio
import math

import pytest
from fleet import Fleet, with_fleet
from probers import DST, SRC, STRANGER, ask, pair, run
from test_agent_metrics import scraped

from netsonde.agent.probing_limits import Limits
from netsonde.model.errors import Busy, ProbeFailed
from netsonde.wire import peer

MEGABYTE = Limits(max_bytes=1_000_000, tests_per_hour=3)


def test_tests_in_a_row_end_with_the_budget_and_say_when_to_come_again() -> None:
    """A stranger's `query bw` in a row sent 5 Gbit/s for as long as he liked."""

    async def test() -> None:
        async with pair(MEGABYTE, far=Limits(max_bytes=1_000_000)) as p:
            for _ in range(3):
                await p.near.measure("throughput", DST, p.call)
            with pytest.raises(Busy, match=r"0\.003 GB and 9 s an hour") as refused:
                await p.near.measure("throughput", DST, p.call)
            assert 1100 <= refused.value.retry_after_s <= 1200
            assert f"try again in {refused.value.retry_after_s:.0f} s" in str(refused.value)
            told = p.near.statistics()
            assert (told.measured, told.refused) == ({"throughput": 3}, {"over budget": 1})
            assert told.left.sent_bytes < 1_000_000

    run(test())


def test_dst_has_a_budget_of_its_own_whoever_asks() -> None:
    async def test() -> None:
        async with pair(Limits(max_bytes=1_000_000), far=MEGABYTE) as p:
            before = p.near.statistics().left
            for _ in range(3):
                await p.near.measure("throughput", DST, p.call)
            spent = before.sent_bytes - p.near.statistics().left.sent_bytes
            with pytest.raises(Busy, match=rf"{DST} has spent what it allows"):
                await p.near.measure("throughput", DST, p.call)
            with pytest.raises(Busy, match=rf"{DST} has spent what it allows"):
                await p.far.open(ask("throughput", max_bytes=1_000_000), STRANGER)
            # A refusal costs src nothing.
            assert before.sent_bytes - p.near.statistics().left.sent_bytes <= spent
            assert p.far.statistics().left.sent_bytes < 1_000_000

    run(test())


def test_what_is_charged_is_what_was_sent() -> None:
    async def test() -> None:
        async with pair(Limits(max_bytes=4_000_000)) as p:
            full = [end.statistics().left for end in (p.near, p.far)]
            await p.near.measure("throughput", DST, p.call)
            # Budgets fill meanwhile: by 160 MB in an hour, 45 KB in a second.
            for end, before in zip((p.near, p.far), full, strict=True):
                left = end.statistics().left
                assert 3_000_000 < before.sent_bytes - left.sent_bytes <= 5_000_000
                assert 0 < before.busy_ns - left.busy_ns < 3_000_000_000
            await p.near.measure("echo", DST, p.call)

            async def nobody(_: peer.Message) -> peer.Message:
                raise ProbeFailed("no")

            before = p.near.statistics().left
            for kind in ("throughput", "echo"):
                with pytest.raises(ProbeFailed):
                    await p.near.measure(kind, DST, nobody)
            assert p.near.statistics().left.sent_bytes >= before.sent_bytes

    run(test())


def test_unused_and_cancelled_tests_are_given_back() -> None:
    async def test() -> None:
        async with pair(MEGABYTE) as p:
            for _ in range(2):
                opened = await p.far.open(ask("throughput", 3000, 1_000_000), SRC)
                assert 2_000_000 <= p.far.statistics().left.sent_bytes < 2_010_000
                await p.far.close(peer.ProbeClose(id=0, port=opened.port), SRC)
                assert p.far.statistics().left.sent_bytes == 3_000_000

            async def hang(_: peer.Message) -> peer.Message:
                await asyncio.Event().wait()
                raise AssertionError("unreachable")

            task = asyncio.create_task(p.near.measure("throughput", DST, hang))
            await asyncio.sleep(0)
            assert 2_000_000 <= p.near.statistics().left.sent_bytes < 2_010_000
            task.cancel()
            await asyncio.wait([task])
            assert p.near.statistics().left.sent_bytes == 3_000_000

    run(test())


def test_the_default_has_room_for_forty_tests() -> None:
    per_hour = Limits().per_hour
    assert (per_hour.sent_bytes, per_hour.busy_ns) == (10_000_000_000, 120_000_000_000)


@with_fleet
async def test_metrics_tell_what_is_left(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    read = await scraped(agent)
    assert read["netsonde_active_tests_left_bytes"][()] == 10_000_000_000
    assert math.isclose(read["netsonde_active_tests_left_seconds"][()], 120)
