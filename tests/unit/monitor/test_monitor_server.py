"""The monitor's socket: nothing that is said on it ends more than the one reply to it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monitor_host import Host, serving

from netsonde.model.task import Filter, Question, Task
from netsonde.model.window import REAL_TIME, Window
from netsonde.monitor import server as served
from netsonde.monitor.upkeep import Upkeep
from netsonde.recorder.questions import Answered, Answering
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER, MAX_FRAME_BYTES

NUMBERS = st.sampled_from(
    [
        *(0, 1, -1, 2, 10, 100, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32),
        *(2**40, 2**40 + 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    ]
)
TEXTS = st.sampled_from(
    [
        *("", "x", "src", "src_dst", "src/24", "src/33", "dst/0/0", "sport_dport", "proto"),
        *("src_src", "src_dst_sport_dport_proto", "é" * 50, "a" * 5000, "10.0.0.0/8"),
        *("10.0.0.1/8", "::/0", "::ffff:1.2.3.4", "300.1.1.1", "80", "80,443", "1-65535", "9-1"),
        *("eth0", "\0", "../x", "%s", "{0}", "{key.__class__}", "fe80::1%eth0"),
    ]
)
KEY_TYPES = st.sampled_from(["src", "src_dst", "dport", "src_dst_sport_dport_proto"])
FLOATS = st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), 1e300, 5e-324])

ASK = wire.Ask(question=Question(window=REAL_TIME))


def dicts(**fields: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries({}, optional=fields)


FILTERS = dicts(
    interface=st.sampled_from(["INPUT", "OUTPUT", "both"]),
    device=TEXTS,
    family=st.sampled_from([4, 6]),
    proto=NUMBERS,
    src=TEXTS,
    dst=TEXTS,
    sport=TEXTS,
    dport=TEXTS,
    flow=st.sampled_from(["any", "attempt", "half_open", "unasked", "probe"]),
)
WINDOWS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["total", "real_time", "last", "range"])},
    optional={"ticks": NUMBERS, "first_tick": NUMBERS, "last_tick": NUMBERS},
)
NOW_WINDOWS = st.builds(
    lambda back, length: {
        "kind": "range",
        "first_tick": time.time_ns() // 10**8 - back,
        "last_tick": time.time_ns() // 10**8 - back + length,
    },
    st.sampled_from([0, 1, 10, 100, 10_000]),
    st.sampled_from([-1, 0, 1, 100]),
)
QUESTIONS = st.fixed_dictionaries(
    {"window": WINDOWS | NOW_WINDOWS | st.just({"kind": "last", "ticks": 10})},
    optional={
        "series": st.sampled_from([None, "sketch", "counter"]),
        "task_id": NUMBERS,
        "filter": FILTERS,
        "increment": st.sampled_from(["packets", "bytes"]),
        "key_type": KEY_TYPES | TEXTS | st.none(),
        "of": TEXTS | st.none(),
        "step_ticks": NUMBERS,
        "key": st.sampled_from([b"", bytes(40), b"\xff" * 40, bytes(39), bytes(1000)]),
        "limit": NUMBERS,
    },
)
TASKS = st.fixed_dictionaries(
    {"series": st.sampled_from(["sketch", "counter"]), "id": NUMBERS, "since_tick": NUMBERS},
    optional={
        "filter": FILTERS,
        "counters": st.lists(
            st.fixed_dictionaries(
                {"key_type": TEXTS | KEY_TYPES},
                optional={"hitter_threshold": FLOATS, "since_tick": NUMBERS},
            ),
            max_size=3,
        ),
    },
)
DETECTORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]),
        "measure": st.sampled_from(["spread", "count", "change"]),
        "by": KEY_TYPES | TEXTS,
        "threshold": st.sampled_from([1, 2, 8192, 1 << 50]),
    },
    optional={
        "filter": FILTERS,
        "of": st.sampled_from([None, "dst", "dport", "src_sport"]),
        "factor": FLOATS,
        "window_ticks": st.sampled_from([1, 600]),
        "clear_ratio": FLOATS,
        "clear_ticks": st.sampled_from([1, 6000]),
        "sentence": st.sampled_from(["{key}", "{", "{0}", "{key.__class__}", "{count:>100000000}"]),
    },
)
REQUESTS = st.one_of(
    st.builds(lambda question: {"type": "Ask", "question": question}, QUESTIONS),
    st.builds(lambda question: {"type": "Ask", "question": question}, QUESTIONS),
    st.builds(
        lambda tasks, detectors: {"type": "Apply", "tasks": tasks, "detectors": detectors},
        st.lists(TASKS, max_size=3),
        st.lists(DETECTORS, max_size=2),
    ),
    st.just({"type": "AskStatus"}),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(requests=st.lists(REQUESTS, min_size=20, max_size=40))
def test_whatever_is_asked_has_an_answer_or_a_sentence(
    tmp_path: Path, requests: list[dict[str, object]]
) -> None:
    """What another agent, or one that is no agent, may say in well-formed frames."""

    async def story(host: Host) -> None:
        agent = await host.connect()
        host.table.count(3)
        await host.ticker.flush()
        for request in requests:
            reply = await agent.ask_raw(msgspec.msgpack.encode(request))
            assert isinstance(reply, wire.Answer | wire.Applied | wire.Status | wire.Failed)
            if isinstance(reply, wire.Failed):
                assert reply.kind != "Unforeseen", (request, host.failures.counts)
                assert 0 < len(reply.reason) < 500
        count = await agent.ask(wire.Ask(question=Question(window=Window.last(600))))
        assert isinstance(count, wire.Answer)
        assert count.evidence.packets == 3

    host = serving(tmp_path, story, ticking=False)
    assert not host.failures.counts


def test_what_cannot_be_read_is_refused_or_ends_its_connection(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        agent = await host.connect()
        for body in (b"", b"\xc1", b"\x91" * 100_000, msgspec.msgpack.encode({"type": "X"})):
            reply = await agent.ask_raw(body)
            assert isinstance(reply, wire.Failed)
            assert reply.kind == "ProtocolError"
        agent.writer.write(HEADER.pack(MAX_FRAME_BYTES + 1))
        assert await agent.is_closed()
        for stranger_says in (wire.REQUESTS.encode(wire.AskStatus()), HEADER.pack(3) + b"abc"):
            stranger = await host.open()
            stranger.writer.write(stranger_says)
            assert await stranger.is_closed()
        status = await (await host.connect()).ask(wire.AskStatus())
        assert isinstance(status, wire.Status)
        assert status.refused["malformed requests"] == 4
        assert status.refused["malformed frames"] == 3
        assert status.failures == {}

    serving(tmp_path, story)


def test_an_answer_that_fails_as_nobody_foresaw_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it fails: before its first slice, in one, or as it is written."""
    question = Question(window=REAL_TIME)

    def fails() -> Answering:
        yield
        raise IndexError("nobody foresaw it")

    def too_long() -> Answering:
        yield
        return Answered(part=bytes(MAX_FRAME_BYTES), evidence=evidence)

    async def story(host: Host) -> None:
        nonlocal evidence
        agent = await host.connect()
        host.table.count(2)
        await host.ticker.flush()
        right = await agent.ask(wire.Ask(question=question))
        assert isinstance(right, wire.Answer)
        evidence = right.evidence
        for broken, kind in ((fails, "Unforeseen"), (too_long, "ProtocolError")):
            with monkeypatch.context() as patch:
                patch.setattr(host.tasks, "answering", lambda _, made=broken: made())
                reply = await agent.ask(wire.Ask(question=question))
            assert isinstance(reply, wire.Failed)
            assert reply.kind == kind
        with monkeypatch.context() as patch:
            patch.setattr(host.views, "of", lambda _: 1 // 0)
            reply = await agent.ask(wire.Ask(question=question))
        assert reply == wire.Failed(
            kind="Unforeseen",
            reason="this failed inside netsonde (ZeroDivisionError); its log says more",
        )
        status = await agent.ask(wire.AskStatus())
        assert isinstance(status, wire.Status)
        assert status.failures == {"ask: IndexError": 1, "ask: ZeroDivisionError": 1}
        again = await agent.ask(wire.Ask(question=question))
        assert isinstance(again, wire.Answer)
        assert again.part == right.part

    evidence = None
    serving(tmp_path, story, ticking=False)


def test_short_of_memory_an_answer_fails_and_the_next_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Answering:
        yield
        raise MemoryError

    async def story(host: Host) -> None:
        agent = await host.connect()
        await host.ticker.flush()
        with monkeypatch.context() as patch:
            patch.setattr(host.tasks, "answering", lambda _: fails())
            reply = await agent.ask(ASK)
        assert isinstance(reply, wire.Failed)
        assert reply.kind == "Unforeseen"
        assert isinstance(
            await agent.ask(wire.Ask(question=Question(window=REAL_TIME))), wire.Answer
        )

    serving(tmp_path, story)


def test_tasks_run_for_one_agent_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsonde.monitor.lease.GRACE_S", 0.05)
    mine = Task(series="sketch", id=1, filter=Filter(), since_tick=1)

    async def story(host: Host) -> None:
        first = await host.connect("10.0.0.3")
        assert await first.ask(wire.Apply(tasks=(mine,))) == wire.Applied(tasks=1)
        watch = await host.connect("10.0.0.3")
        assert isinstance(await watch.ask(wire.Watch()), wire.Events)
        other = await host.connect("10.0.1.3")
        refused = await other.ask(wire.Apply(tasks=()))
        assert isinstance(refused, wire.Failed)
        assert (refused.kind, refused.retry_after_s) == ("Busy", 1.0)
        assert "10.0.0.3" in refused.reason
        assert len(host.tasks) == 1
        assert isinstance(
            await other.ask(wire.Ask(question=Question(window=REAL_TIME))), wire.Answer
        )
        # Its lease goes on while any of its connections is left, and ends with the last.
        first.writer.close()
        again = await host.connect("10.0.0.3")
        assert await again.ask(wire.Apply(tasks=(mine,))) == wire.Applied(tasks=1)
        again.writer.close()
        watch.writer.close()
        monkeypatch.setattr("netsonde.monitor.lease.GRACE_S", 10.0)
        assert await other.ask(wire.Apply(tasks=())) == wire.Applied(tasks=0)

    serving(tmp_path, story)


def test_an_agent_always_finds_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else of its user sits there: who came from one process has four places at most, and
    who is idle and has no lease gives way."""
    pids = iter([1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3])
    monkeypatch.setattr(served, "_peer", lambda _: (next(pids), os.getuid()))

    async def story(host: Host) -> None:
        holder = await host.connect("a")
        assert isinstance(await holder.ask(wire.Apply(tasks=())), wire.Applied)
        same = [await host.connect("b") for _ in range(3)]
        assert await (await host.open()).is_closed(), "a fifth connection of process 1"
        others = [await host.connect("b") for _ in range(4)]
        newcomer = await host.connect("c")
        assert await same[0].is_closed()
        assert isinstance(await newcomer.ask(wire.AskStatus()), wire.Status)
        another = await host.connect("c")
        assert await same[1].is_closed()
        for one in (holder, same[2], *others, newcomer, another):
            assert isinstance(await one.ask(wire.AskStatus()), wire.Status)

    serving(tmp_path, story)


def test_who_says_nothing_or_half_or_takes_nothing_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HELLO_S", "IDLE_S", "FRAME_S", "UNTAKEN_S"):
        monkeypatch.setattr(served, name, 0.1)

    async def story(host: Host) -> None:
        holder = await host.connect("a")
        assert isinstance(await holder.ask(wire.Apply(tasks=())), wire.Applied)
        silent, idle, half = await host.open(), await host.connect("b"), await host.connect("b")
        half.writer.write(wire.REQUESTS.encode(wire.AskStatus())[:-1])
        assert await silent.is_closed()
        assert await idle.is_closed()
        assert await half.is_closed()
        greedy = await host.connect("b")
        for _ in range(2000):
            greedy.writer.write(wire.REQUESTS.encode(wire.AskStatus()))
        while greedy.writer.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)  # until its end, or until all is sent
            if greedy.reader.at_eof():
                break
        status = await holder.ask(wire.AskStatus())
        assert isinstance(status, wire.Status)
        assert status.refused["slow connections"] >= 2
        assert status.refused["idle connections"] == 1

    serving(tmp_path, story)


def test_answers_have_a_budget_and_say_when_to_ask_again(tmp_path: Path) -> None:
    question = Question(key_type="src", window=Window.last(600))

    async def story(host: Host) -> None:
        agent = await host.connect()
        assert isinstance(await agent.ask(wire.Apply(tasks=())), wire.Applied)
        host.table.count(1)
        await host.ticker.flush()
        host.budget.spend(10_000_000_000)
        refused = await agent.ask(wire.Ask(question=question))
        assert isinstance(refused, wire.Failed)
        assert refused.kind == "Busy"
        assert 8 < refused.retry_after_s < 11
        status = await agent.ask(wire.AskStatus())
        assert isinstance(status, wire.Status)
        assert status.refused["answers"] == 1

    serving(tmp_path, story)


def test_the_upkeep_goes_on_past_whatever_fails(tmp_path: Path) -> None:
    """Work, and answers that nobody has asked for yet."""

    async def story(host: Host) -> None:
        def broken() -> bool:
            raise IndexError

        def ahead() -> Answering | None:
            raise LookupError

        upkeep = Upkeep(
            (broken, host.tasks.work),
            lambda _: None,
            ahead,
            budget=host.budget,
            failures=host.failures,
        )
        running = asyncio.create_task(upkeep.run())
        while host.failures.counts["answer ahead", "LookupError"] < 3:
            upkeep.wake()
            await asyncio.sleep(0)
        assert host.failures.counts["work", "IndexError"] >= 1
        assert not running.done()
        running.cancel()

    serving(tmp_path, story)


def test_who_asks_how_it_is_without_end_waits_for_its_turn(tmp_path: Path) -> None:
    """Frames that wait in a buffer are read without a turn of the loop between them."""
    flood = wire.REQUESTS.encode(wire.AskStatus()) * 500

    async def story(host: Host) -> None:
        greedy, other = await host.connect(), await host.connect()
        greedy.writer.write(flood)
        await greedy.next()
        assert isinstance(await other.ask(wire.AskStatus()), wire.Status)
        left = 0
        while not host.budget.is_spent:
            await greedy.next()
            left += 1
        assert left < 499, "what is no question is charged, too"

    serving(tmp_path, story, share=0.02)
