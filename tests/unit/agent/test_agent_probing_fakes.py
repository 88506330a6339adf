"""Agents that lie about tests: whatever they say, a measurement ends in its time, as what it is."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator

import msgspec
from fleet import Fleet, with_fleet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probers import DST, pair, run

from netsonde.agent.paths import Kind
from netsonde.agent.probing_limits import Limits
from netsonde.model.errors import Busy, NetsondeError, ProtocolError, Unavailable
from netsonde.probe import checks, stamp
from netsonde.wire import peer
from netsonde.wire.frame import HEADER

INT64 = st.integers(-(2**63), 2**63 - 1)
SHORT_MS = 60
REPLIES = st.one_of(
    st.builds(
        peer.ProbeOpened,
        id=st.just(0),
        port=INT64 | st.integers(0, 65535),
        cookie=st.binary(max_size=40) | st.just(bytes(stamp.COOKIE_BYTES)),
    ),
    st.builds(peer.ProbeClosed, id=st.just(0), received=INT64 | st.integers(0, 100)),
    st.builds(peer.ProbeResult, id=st.just(0), delay_ms=st.floats()),
    st.builds(peer.Refused, id=st.just(0), kind=st.text(max_size=9), reason=st.text(max_size=9)),
    st.sampled_from([Busy("x"), Unavailable("x"), ProtocolError("x")]),
)
CHANGES = st.none() | INT64 | st.integers(0, 200_000)
"""What dst says has reached it, in place of the truth."""


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["throughput", "echo"]), st.none() | REPLIES, CHANGES | REPLIES)
def test_whatever_dst_replies_a_test_ends_with_what_is_possible_or_a_sentence(
    kind: Kind, opened: object, closed: object
) -> None:
    """None is the truth: a real receiver at a real dst."""

    async def test() -> None:
        async with pair(Limits(max_ms=SHORT_MS, max_bytes=100_000)) as p:

            async def lying(request: peer.Message) -> peer.Message:
                reply = opened if isinstance(request, peer.ProbeOpen) else closed
                if isinstance(reply, NetsondeError):
                    raise reply
                if isinstance(reply, msgspec.Struct):
                    return reply  # type: ignore[return-value]
                true = await p.call(request)
                if isinstance(reply, int) and isinstance(true, peer.ProbeClosed):
                    return msgspec.structs.replace(true, received=reply)
                return true

            began_s = asyncio.get_running_loop().time()
            try:
                result = await p.near.measure(kind, DST, lying)
            except NetsondeError:
                pass
            else:
                checks.check_result(result)
                if isinstance(closed, int) and kind == "echo":
                    assert result.received in (None, closed)
            assert asyncio.get_running_loop().time() - began_s < SHORT_MS / 1000 + 5
            assert not p.near._running

    run(test())


@contextlib.asynccontextmanager
async def fake_agent(
    address: str, port: int, *, opened: dict[str, object], result: dict[str, object]
) -> AsyncIterator[None]:
    """An agent that greets as one does and says what it is told to of any test."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def read() -> peer.Message:
            (size,) = HEADER.unpack(await reader.readexactly(HEADER.size))
            return peer.MESSAGES.decode(await reader.readexactly(size))

        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(peer.MESSAGES.encode(peer.Hello(software="0", address=address)))
            await read()
            while True:
                asked = await read()
                if isinstance(asked, peer.ProbeOpen):
                    given = {"port": 9999, "cookie": bytes(stamp.COOKIE_BYTES)} | opened
                    reply: peer.Message = peer.ProbeOpened(id=asked.id, **given)  # type: ignore[arg-type]
                elif isinstance(asked, peer.ProbeClose):
                    reply = peer.ProbeClosed(id=asked.id, received=-5)
                else:
                    assert isinstance(asked, peer.ProbeRun)
                    reply = peer.ProbeResult(id=asked.id, **result)  # type: ignore[arg-type]
                writer.write(peer.MESSAGES.encode(reply))
        writer.close()

    server = await asyncio.start_server(serve, address, port)
    try:
        yield
    finally:
        server.close()


FAKE = "127.0.0.9"
GOOD = {"sent": 10, "received": 10, "returned": 10, "delay_ms": 1.0, "jitter_ms": 1.0}


@with_fleet
async def test_a_fake_dst_is_a_sentence(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for port in (70000, -1, 0, 22, 2**63 - 1):
        async with fake_agent(FAKE, fleet.peer_port, opened={"port": port}, result={}):
            for kind in ("bw", "delay"):
                reply = await agent.post(type=f"query {kind}", src=agent.address, dst=FAKE)
                assert reply.status_code == 502, reply.text
                assert "port" in reply.text


@with_fleet
async def test_a_fake_src_is_a_sentence_and_never_a_figure(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for change in (
        {"delay_ms": math.nan, "jitter_ms": math.inf, "throughput_bytes_per_s": math.nan},
        {"throughput_bytes_per_s": -1e300},
        {"sent": 1, "received": 5},
        {"sent": 0, "received": -4},
        {"returned": 2**63 - 1},
    ):
        result = GOOD | change
        async with fake_agent(FAKE, fleet.peer_port, opened={}, result=result):
            for kind in ("bw", "delay", "jitter", "loss"):
                reply = await agent.post(type=f"query {kind}", src=FAKE, dst=agent.address)
                assert reply.status_code == 502, reply.text
                assert any(word in reply.text for word in ("impossible", "cannot read"))
    notes = ("\r\nX-Evil: 1",)
    async with fake_agent(FAKE, fleet.peer_port, opened={}, result=GOOD | {"notes": notes}):
        reply = await agent.post(type="query delay", src=FAKE, dst=agent.address)
        assert (reply.status_code, reply.text) == (200, "1")
        assert "X-Evil" not in reply.headers
