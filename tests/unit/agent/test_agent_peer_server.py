"""The port between agents under load: who is turned away, by which cause, and who never is."""

import asyncio
import errno
import re
import socket
from contextlib import suppress

import pytest
from fleet import POLL_S, Agent, Fleet, with_fleet
from liar import Stranger, read

from netsonde.agent import peer_server
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
