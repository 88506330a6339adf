"""The port between agents under load: who is turned away, by which cause, and who never is."""

import asyncio
import errno
import re
import socket
from contextlib import suppress

import msgspec
import pytest
from fleet import POLL_S, Agent, Fleet, with_fleet
from liar import Liar, Stranger, partial, read

from netsonde.agent import frames, peer_server, peers
from netsonde.agent.http import budget
from netsonde.agent.node import MAX_BUDGET_MS
from netsonde.model.errors import Busy
from netsonde.model.task import Question
from netsonde.model.window import Window
from netsonde.overlay.gather import next_budget_ms
from netsonde.wire import peer


async def causes(agent: Agent) -> dict[str, int]:
    """Give what was refused at the port between agents so far."""
    text = (await agent.client.get("/metrics")).text
    found = re.findall(r'netsonde_peer_refused_total\{cause="(\w+)"\} ([\d.]+)', text)
    return {cause: int(float(number)) for cause, number in found}


async def until(agent: Agent, cause: str, number: int) -> None:
    async with asyncio.timeout(15):
        while (await causes(agent)).get(cause, 0) < number:
            await asyncio.sleep(POLL_S)


async def greeted(fleet: Fleet, at: str, own: str, most: int) -> list[Stranger]:
    """Greet as often as an agent lets one."""
    held = []
    for _ in range(most):
        try:
            held.append(await Stranger.greets(fleet, at, own))
        except (asyncio.IncompleteReadError, OSError):
            break
    return held


def noted(patch: pytest.MonkeyPatch) -> list[str]:
    """Give the list that the names of those whose requests are answered are added to."""
    order: list[str] = []
    answer = peer_server.PeerServer._answer

    async def note(
        self: peer_server.PeerServer, request: peer_server.Request, inbound: peer_server.Inbound
    ) -> None:
        order.append(inbound.name)
        await answer(self, request, inbound)

    patch.setattr(peer_server.PeerServer, "_answer", note)
    return order


@with_fleet
async def test_one_source_has_half_and_others_are_served(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    held = await greeted(fleet, agent.address, "127.0.0.7", 100)
    assert len(held) == peer_server.OF_ONE
    other = await Stranger.greets(fleet, agent.address, "127.0.0.8")
    assert isinstance(await other.call(peer.ProbeClose(id=1, port=9)), peer.Refused)
    await until(agent, "source_quota", 1)
    for one in (*held, other):
        one.close()


@with_fleet
async def test_a_parent_that_restarts_comes_back_though_strangers_hold_every_place(
    fleet: Fleet,
) -> None:
    """Attack: greet from many addresses and stay silent, and take each place that comes free."""
    with pytest.MonkeyPatch.context() as patch:
        # Here every stranger is on loopback, for which places are kept.
        patch.setattr(peer_server, "is_of_host", lambda host, own: host == own)
        root, leaf = await fleet.start(2, 3)
        for agent in (root, leaf):
            agent.monitor.totals = (1, 10)
        await root.ask("add leaf agent", agent_addr=leaf.address)
        await root.ask("config counter")
        held = []
        for number in range(10, 14):
            held += await greeted(fleet, leaf.address, f"127.0.0.{number}", 32)
        taken = re.search(r"netsonde_peers ([\d.]+)", (await leaf.client.get("/metrics")).text)
        assert taken
        assert float(taken[1]) <= peer_server.MAX_CONNECTIONS - peer_server.FOR_KIN + 1
        await root.kill()
        held += await greeted(fleet, leaf.address, "127.0.0.14", 32)
        await root.start()
        await root.until(lambda reply: reply.text == "[2, 20]", type="query counter")
        for one in held:
            one.close()


@with_fleet
async def test_who_has_no_role_and_says_nothing_leaves_and_the_parent_does_not(
    fleet: Fleet,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer_server, "IDLE_S", 0.3)
        root, leaf = await fleet.start(2, 3)
        await root.ask("add leaf agent", agent_addr=leaf.address)
        silent = await Stranger.greets(fleet, leaf.address, "127.0.0.7")
        opener = await Stranger.greets(fleet, leaf.address, "127.0.0.8")
        opened = await opener.call(peer.ProbeOpen(id=1, kind="echo", max_ms=1000, max_bytes=4400))
        assert isinstance(opened, peer.ProbeOpened)
        async with asyncio.timeout(10):
            await silent.closed()
        closed = await opener.call(peer.ProbeClose(id=2, port=opened.port))
        assert isinstance(closed, peer.ProbeClosed)
        await until(leaf, "idle", 1)
        reply = await root.post(type="query leaf agents")
        assert reply.headers["X-Netsonde-Coverage"] == "2/2"
        assert leaf.client
        opener.close()


@with_fleet
async def test_what_nobody_speaks_is_counted_and_ends_its_connection_alone(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    good = await Stranger.greets(fleet, agent.address, "127.0.0.8")
    for raw in (
        b"\xff\xff\xff\x7f",
        b"\x03\x00\x00\x00abc",
        b"\x05\x00\x00\x00\xdd\xff\xff\xff\xff",
    ):
        reader, writer = await asyncio.open_connection(agent.address, fleet.peer_port)
        writer.write(raw)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await read(reader)
        writer.close()
    await until(agent, "bad", 3)
    silent = [await asyncio.open_connection(agent.address, fleet.peer_port) for _ in range(20)]
    await until(agent, "slow", 20)
    assert isinstance(await good.call(peer.ProbeClose(id=1, port=9)), peer.Refused)
    for _, writer in silent:
        writer.close()
    good.close()


@with_fleet
async def test_without_a_descriptor_left_it_rests_counts_and_goes_on(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    accept = socket.socket.accept
    failing = [5]

    def refuse(self: socket.socket) -> tuple[socket.socket, object]:
        if failing[0] and self.getsockname()[1] == fleet.peer_port:
            failing[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "accept", refuse)
        stranger = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    assert isinstance(await stranger.call(peer.ProbeClose(id=1, port=9)), peer.Refused)
    assert (await causes(agent))["no_descriptor"] == 5
    stranger.close()


@with_fleet
async def test_who_does_not_read_is_sent_no_more_and_leaves(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer_server, "CPU_PERCENT", 100.0)  # so that replies pile up in time
        (agent,) = await fleet.start(2)
    reader, writer = await asyncio.open_connection(agent.address, fleet.peer_port, limit=1024)
    own = writer.get_extra_info("sockname")[0]
    writer.write(peer.MESSAGES.encode(peer.Hello(software="x", address=own)))
    ask = peer.MESSAGES.encode(peer.Adopt(id=1, path=("127.0.0.9",) * 31, tasks=(), budget_ms=1))
    with suppress(ConnectionError):
        for _ in range(400):
            writer.write(ask * 256)
            async with asyncio.timeout(20):
                await writer.drain()
            if writer.transport.is_closing() or reader.at_eof():
                break
    await until(agent, "unread", 1)
    writer.transport.abort()


@with_fleet
async def test_one_request_more_than_may_be_in_work_is_refused(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    parent = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    adopt = peer.Adopt(id=1, path=("127.0.0.7",), tasks=(), budget_ms=1000)
    assert isinstance(await parent.call(adopt), peer.Adopted)
    agent.monitor.answering.clear()
    query = peer.Query(id=2, question=Question(window=Window.last(10)), budget_ms=20_000)
    for _ in range(peer_server.MAX_REQUESTS):
        parent.send(query)
    refused = await parent.call(msgspec.structs.replace(query, id=3))
    assert isinstance(refused, peer.Refused)
    assert refused.reason == f"more than {peer_server.MAX_REQUESTS} requests at a time"
    assert (refused.id, refused.kind, refused.retry_after_s) == (3, "Busy", 1.0)
    agent.monitor.answering.set()
    for _ in range(peer_server.MAX_REQUESTS):
        assert isinstance(await parent.read(), peer.Partial)
    parent.close()


@with_fleet
async def test_one_call_more_than_may_wait_is_refused_before_it_is_sent(fleet: Fleet) -> None:
    held: list[peer.Message] = []
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(peer.MESSAGES.encode(peer.Hello(software="x", address="127.0.0.9")))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                held.append(await read(reader))
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    dialer = peers.Dialer(own="127.0.0.7", peer_port=fleet.peer_port, software="x")
    server = await asyncio.start_server(silent, "127.0.0.9", fleet.peer_port)
    async with dialer.dial("127.0.0.9") as (connection, _):
        close = peer.ProbeClose(id=0, port=9)
        calls = [asyncio.create_task(connection.exchange(close)) for _ in range(peers.MAX_CALLS)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many requests wait"):
            await connection.exchange(close)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        again = asyncio.create_task(connection.exchange(close))
        await asyncio.sleep(0)
        assert not again.done()
        again.cancel()
        await asyncio.wait([again])
    await left.wait()
    server.close()


@with_fleet
async def test_a_parent_gives_an_answer_no_more_than_its_most_time(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    child = Liar(fleet, 5, lambda _: partial(1, "127.0.0.5"))
    await child.start()
    await agent.ask("add leaf agent", agent_addr=child.address)
    parent = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    adopt = peer.Adopt(id=1, path=("127.0.0.7",), tasks=(), budget_ms=10**9)
    assert isinstance(await parent.call(adopt), peer.Adopted)
    query = peer.Query(id=2, question=Question(window=Window.last(10)), budget_ms=10**9)
    assert isinstance(await parent.call(query), peer.Partial)
    most_ms = next_budget_ms(MAX_BUDGET_MS)
    assert child.adoptions[-1].budget_ms == most_ms
    assert child.asked[-1].budget_ms == most_ms
    parent.close()
    child.stop()


@with_fleet
async def test_a_parent_is_told_of_so_many_tasks_that_cannot_run(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    children = [Liar(fleet, number, lambda _: partial(1)) for number in (5, 6, 8)]
    for child in children:
        await child.start()
        await agent.ask("add leaf agent", agent_addr=child.address)
        child.unmet = tuple(
            peer.Unmet(series="sketch", id=number, host=child.address, why="no room")
            for number in range(peer.MAX_UNMET // 2)
        )
    parent = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    adopt = peer.Adopt(id=1, path=("127.0.0.7",), tasks=(), budget_ms=5000)
    adopted = await parent.call(adopt)
    assert isinstance(adopted, peer.Adopted)
    assert len(adopted.unmet) == peer.MAX_UNMET
    assert {one.host for one in adopted.unmet} == {child.address for child in children[:2]}
    parent.close()
    for child in children:
        child.stop()


@with_fleet
async def test_a_frame_that_drips_ends_its_connection(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "BODY_S", 0.1)
        dripping = await Stranger.greets(fleet, agent.address, "127.0.0.7")
        dripping.send_bytes(peer.MESSAGES.encode(peer.ProbeClose(id=1, port=9))[:-1])
        await dripping.closed()
    await until(agent, "slow", 1)


@with_fleet
async def test_who_sends_many_requests_waits_for_its_turn_as_who_sends_one(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    many = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    one = await Stranger.greets(fleet, agent.address, "127.0.0.8")
    request = peer.ProbeClose(id=1, port=9)
    with pytest.MonkeyPatch.context() as patch:
        order = noted(patch)
        many.send(*[request] * 1000)
        assert isinstance(await one.call(request), peer.Refused)
    assert order.index("127.0.0.8") < 10
    for stranger in (many, one):
        stranger.close()


@with_fleet
async def test_requests_beyond_their_share_of_a_cpu_wait_and_the_parent_s_do_not(
    fleet: Fleet,
) -> None:
    root, leaf = await fleet.start(2, 3)
    for agent in (root, leaf):
        agent.monitor.totals = (1, 10)
    await root.ask("add leaf agent", agent_addr=leaf.address)
    await root.ask("config counter")
    stranger = await Stranger.greets(fleet, leaf.address, "127.0.0.7")
    with pytest.MonkeyPatch.context() as patch:
        order = noted(patch)
        patch.setattr(budget.Budget, "wait_s", lambda _, *, first=False: POLL_S)
        patch.setattr(budget.Budget, "admitted", lambda _, *, first=False: asyncio.sleep(0))
        stranger.send(*[peer.ProbeClose(id=1, port=9)] * 3)
        assert (await root.post(type="query counter")).text == "[2, 20]"
        assert order.count("127.0.0.7") <= 1  # it was already waited for
    assert [isinstance(await stranger.read(), peer.Refused) for _ in range(3)] == [True] * 3
    stranger.close()
