"""Messages that break their type, answers that are too large: refused one by one, counted, and the
connection lives."""

import asyncio
import re
import socket
from collections import Counter as Tally

import msgspec
import pytest
from fleet import POLL_S, Agent, Fleet, free_port, with_fleet
from liar import Liar, Stranger, partial

from netsonde.agent.peer_server import Inbound, PeerServer
from netsonde.agent.peers import Dialer, Reply, Request
from netsonde.daemon.failures import Failures
from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProtocolError
from netsonde.model.task import Question
from netsonde.wire import peer
from netsonde.wire.frame import MAX_FRAME_BYTES

COUNT = {"type": "query counter", "interface": "both", "scope": "subtree"}
QUESTION = Question(series="counter", task_id=0)


async def refused(agent: Agent, family: str) -> dict[str, int]:
    text = (await agent.client.get("/metrics")).text
    found = re.findall(rf'netsonde_{family}_refused_total{{cause="(\w+)"}} ([\d.]+)', text)
    return {cause: int(float(number)) for cause, number in found}


async def until(agent: Agent, family: str, cause: str, number: int) -> None:
    async with asyncio.timeout(20):
        while (await refused(agent, family)).get(cause, 0) < number:
            await asyncio.sleep(POLL_S)


@with_fleet
async def test_what_a_child_says_and_cannot_be_taken_is_counted_and_costs_no_connection(
    fleet: Fleet,
) -> None:
    (root,) = await fleet.start(2)
    root.monitor.totals = (100, 1000)
    said = [partial(5, "127.0.0.3", held_ns=-1)]
    liar = Liar(fleet, 3, lambda query: said[0])
    await liar.start()
    await root.ask("add leaf agent", agent_addr=liar.address)
    await root.ask("config counter", interface="both")
    adoptions = len(liar.adoptions)
    for number in (1, 2):
        reply = await root.post(**COUNT)
        assert reply.headers["X-Netsonde-Coverage"] == "1/2; missing=127.0.0.3"
        assert reply.text == "[100, 1000]"
        assert len(liar.asked) >= number  # again, as after any reply that did not come
    said[0] = partial(5, "127.0.0.3")  # it counts something else
    assert (await root.post(**COUNT)).text == "[100, 1000]"
    news = peer.Adopted(id=0, subtree=("127.0.0.3",), coverage=Coverage(members=()))
    liar.tell(msgspec.structs.replace(news, subtree=("127.0.0.3", "no address")))
    liar.tell(msgspec.structs.replace(news, subtree=("x" * 100,)))
    garbled = len(liar.asked)  # all but the last one of the questions, and the news
    await until(root, "child", "message", garbled)
    assert await refused(root, "child") == {"message": garbled, "answer": 1, "report": 1}
    assert len(liar.adoptions) == adoptions
    liar.stop()


@with_fleet
async def test_a_request_that_breaks_its_type_is_refused_and_the_next_one_is_answered(
    fleet: Fleet,
) -> None:
    (agent,) = await fleet.start(2)
    stranger = await Stranger.greets(fleet, agent.address, "127.0.0.7")
    bad = peer.ProbeOpen(id=7, kind="echo", max_ms=-5, max_bytes=1)
    said = await stranger.call(bad)
    assert isinstance(said, peer.Refused)
    assert said.id == 7
    assert "max_ms" in said.reason
    said = await stranger.call(peer.ProbeClose(id=8, port=9))
    assert isinstance(said, peer.Refused)
    assert said.id == 8
    await until(agent, "peer", "bad", 1)
    stranger.close()


@pytest.mark.parametrize("coverage", [False, True])
def test_an_answer_over_a_frame_is_refused_with_a_sentence(coverage: bool) -> None:
    missing = {f"10.0.{n >> 8}.{n & 255}": "\U0001f980" * 200 for n in range(12_000)}

    async def handle(request: Request, inbound: Inbound) -> Reply:
        if isinstance(request, peer.Query):
            large = partial(1, "10.0.0.3", part=bytes(MAX_FRAME_BYTES))
            long = peer.Adopted(id=1, subtree=(), coverage=Coverage(members=(), missing=missing))
            return long if coverage else large
        return peer.Released(id=request.id)

    async def story() -> None:
        port, failures = free_port(), Failures()
        listener = socket.create_server(("127.0.0.3", port))
        listener.setblocking(False)
        server = PeerServer(
            own="127.0.0.3",
            software="t",
            listener=listener,
            handler=handle,
            closed=lambda inbound: None,
            failures=failures,
            is_kin=lambda host: True,
            is_parent=lambda inbound: True,
            refused=Tally(),
        )
        serving = asyncio.create_task(server.run())
        dialer = Dialer(own="127.0.0.2", peer_port=port, software="t")
        async with dialer.dial("127.0.0.3") as (connection, reading):
            query = peer.Query(id=0, question=QUESTION, budget_ms=100)
            with pytest.raises(ProtocolError, match=r"refused: a message of \d+ bytes is over"):
                await connection.call(query, peer.Partial)
            await connection.call(peer.Release(id=0), peer.Released)
            assert not reading.done()
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()
        assert not failures.counts

    asyncio.run(asyncio.wait_for(story(), 30))
