"""One POST, over real connections, to receivers and by resolvers that mean no good."""

import asyncio
import gzip
import ipaddress
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from receivers import Listening, Receiver

from netsonde.agent import posting, resolving
from netsonde.agent.outward import Outward
from netsonde.agent.posting import Poster
from netsonde.agent.resolving import Resolver
from netsonde.model.errors import NetsondeError, ProtocolError, Unavailable
from netsonde.model.webhook_url import IPAddress, parse

T = TypeVar("T")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]]
ELSEWHERE, HERE = (ipaddress.ip_address(text) for text in ("127.0.0.2", "127.0.0.1"))
"""Of two loopback addresses the policy of these tests takes the first for another host."""
POLICY = Outward(("127.0.0.2",))


def run(test: Coroutine[object, object, T]) -> T:
    async def in_time() -> T:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(in_time())


async def nobody(_: str) -> list[IPAddress]:
    raise AssertionError("an address is not looked up")


def answering(*answers: list[IPAddress]) -> Callable[[str], Coroutine[object, object, object]]:
    left = list(answers)

    async def lookup(_: str) -> list[IPAddress]:
        return left.pop(0) if len(left) > 1 else left[0]

    return lookup


def test_a_name_that_comes_to_mean_this_host_leads_nowhere() -> None:
    """DNS rebinding: the answer that was checked is the one that is used, each time."""

    async def test() -> None:
        async with (
            Receiver() as inner,
            Listening(refuse, address="127.0.0.2") as outer,
        ):
            poster = Poster(
                outward=POLICY, lookup=answering([ELSEWHERE], [HERE], [HERE, HERE], [ELSEWHERE])
            )
            target = parse(f"http://rebind.example:{outer.port}/")
            assert await poster.post(target, b"{}", {}) == 418
            for _ in range(2):
                with pytest.raises(Unavailable, match=r"127\.0\.0\.1 is a loopback address"):
                    await poster.post(parse(f"http://rebind.example:{inner.port}/"), b"{}", {})
            assert await poster.post(target, b"{}", {}) == 418
            assert (inner.connections, outer.connections) == (0, 2)

    run(test())


def test_of_many_addresses_only_those_allowed_are_connected_to() -> None:
    async def test() -> None:
        async with Receiver() as inner, Listening(refuse, address="127.0.0.2") as outer:
            poster = Poster(outward=POLICY, lookup=answering([HERE, ELSEWHERE, HERE]))
            assert await poster.post(parse(f"http://both.example:{outer.port}/"), b"", {}) == 418
            with pytest.raises(OSError, match=r"[Cc]onnect"):
                await poster.post(parse(f"http://both.example:{inner.port}/"), b"", {})
            assert inner.connections == 0

    run(test())


def test_so_many_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "STEP_S", 0.2)

    async def test() -> None:
        async with Listening(refuse, address="127.0.0.2") as outer:
            nowhere = [ipaddress.ip_address(f"127.0.1.{n}") for n in range(posting.MAX_ADDRESSES)]
            outward = Outward(("127.0.0.0/8",))
            target = parse(f"http://many.example:{outer.port}/")
            for before, reached in ((nowhere[1:], True), (nowhere, False)):
                poster = Poster(outward=outward, lookup=answering([*before, ELSEWHERE]))
                try:
                    status = await poster.post(target, b"", {})
                except OSError:
                    status = 0
                assert (status == 418) is reached

    run(test())


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 418 teapot\r\n\r\n")


def redirecting(url: str) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 x\r\nLocation: %s\r\n\r\n" % url.encode())

    return serve


def test_redirects_are_not_followed() -> None:
    async def test() -> None:
        async with Receiver() as inner, Listening(redirecting(inner.url)) as outer:
            poster = Poster(outward=Outward(("127.0.0.1",)), lookup=nobody)
            assert await poster.post(parse(outer.url), b"{}", {}) == 307
            assert inner.connections == 0

    run(test())


def saying(first: bytes, again: bytes = b"", pause_s: float | None = 0) -> Serve:
    """Say something, then something else for ever, or nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            await writer.drain()
            await (asyncio.sleep(pause_s) if pause_s is not None else reader.read())
            writer.write(again)

    return serve


BAD = {
    "never": (saying(b"", pause_s=None), TimeoutError),
    "a byte now and then": (saying(b"HTTP/1.1 200 OK\r\nX: ", b"y", 0.05), TimeoutError),
    "an endless line": (saying(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536), ValueError),
    "an endless head": (saying(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000), ProtocolError),
    "endless replies": (saying(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), ProtocolError),
    "no HTTP": (saying(b"220 mail.example ESMTP\r\n", pause_s=None), ProtocolError),
    "a status of letters": (saying(b"HTTP/1.1 abc OK\r\n\r\n", pause_s=None), ProtocolError),
}
GOOD = {
    "an endless body": saying(b"HTTP/1.1 200 OK\r\n\r\n", b"z" * 65536),
    "a bomb": saying(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1 << 24)),
        pause_s=None,
    ),
    "first another": saying(
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.0 200\r\n\r\n", pause_s=None
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_replies_are_bounded_in_bytes_and_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "STEP_S", 0.5)
    serve, error = BAD[name]

    async def test() -> None:
        async with Listening(serve) as receiver:
            poster = Poster(outward=Outward(("127.0.0.1",)), lookup=nobody)
            with pytest.raises(error):
                await poster.post(parse(receiver.url), b"{}", {})

    run(test())


@pytest.mark.parametrize("name", GOOD)
def test_nothing_but_the_status_is_read(name: str) -> None:
    async def test() -> None:
        async with Listening(GOOD[name]) as receiver:
            poster = Poster(outward=Outward(("127.0.0.1",)), lookup=nobody)
            assert await poster.post(parse(receiver.url), b"{}", {}) == 200

    run(test())


def test_a_certificate_is_that_of_the_name_and_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", certificate, "-days", "2"),
            *("-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example"),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # what OpenSSL trusts
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def test() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await refuse(reader, writer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.2", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        poster = Poster(outward=POLICY, lookup=answering([ELSEWHERE]))
        for name in ("receiver.example", "receiver.example."):
            assert await poster.post(parse(f"https://{name}:{port}/"), b"{}", {}) == 418
        for name in ("other.example", "127.0.0.2"):
            with pytest.raises(ssl.SSLCertVerificationError):
                await poster.post(parse(f"https://{name}:{port}/"), b"{}", {})
        server.close()

    run(test())


FAILURES = [
    OSError("no name server"),
    UnicodeError("label too long"),
    LookupError("unknown encoding: idna"),
    RuntimeError("can't start new thread"),
    MemoryError(),
    RecursionError(),
    ExceptionGroup("several", [OSError(), ValueError()]),
    KeyError("x"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_resolver_may_fail_in_any_way(failure: Exception) -> None:
    async def lookup(_: str) -> list[IPAddress]:
        raise failure

    async def test() -> None:
        with pytest.raises(type(failure)):
            await Poster(outward=POLICY, lookup=lookup).post(parse("http://x.example/"), b"", {})

    run(test())


def test_a_resolver_that_hangs_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "WHOLE_S", 0.05)

    async def lookup(_: str) -> list[IPAddress]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def test() -> None:
        with pytest.raises(TimeoutError):
            await Poster(outward=POLICY, lookup=lookup).post(parse("http://x.example/"), b"", {})

    run(test())


def test_names_are_looked_up_and_only_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        resolver = Resolver()
        assert HERE in await resolver.addresses("localhost")
        for bad in ("no.such.invalid", "a" * 300, "x" + "." * 5, ""):
            with pytest.raises((OSError, ValueError)):
                await resolver.addresses(bad)
        with pytest.raises(OSError, match=r"."):
            await Poster(outward=POLICY, lookup=resolver.addresses).post(
                parse("http://no.such.invalid/"), b"", {}
            )
        # Those that nobody waits for any more hold their places until they end.
        loop = asyncio.get_running_loop()
        hanging, let_go, under_way = asyncio.Event(), [], []

        def hang(name: str) -> tuple[list[IPAddress], Exception | None]:
            gate = asyncio.run_coroutine_threadsafe(hanging.wait(), loop)
            under_way.append(name)
            gate.result()
            let_go.append(name)
            return [], NetsondeError("late")

        monkeypatch.setattr(resolving, "_looked_up", hang)
        asked = [
            asyncio.create_task(resolver.addresses(f"n{n}"))
            for n in range(resolving.MAX_LOOKUPS + 3)
        ]
        while len(under_way) < resolving.MAX_LOOKUPS:
            await asyncio.sleep(0.005)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        late = asyncio.create_task(resolver.addresses("late"))
        await asyncio.sleep(0)
        assert (len(under_way), late.done()) == (resolving.MAX_LOOKUPS, False)
        hanging.set()
        with pytest.raises(NetsondeError):
            await late
        assert len(let_go) == resolving.MAX_LOOKUPS + 1

    run(test())


def test_a_receiver_gets_the_body_and_a_plain_head() -> None:
    async def test() -> None:
        async with Receiver() as receiver:
            poster = Poster(outward=Outward(("127.0.0.1",)), lookup=nobody)
            assert await poster.post(parse(receiver.url), b'{"a": 1}', {"X-Mine": "yes"}) == 204
            assert receiver.bodies == [{"a": 1}]
            head = receiver.heads[0]
            assert head["host"] == f"127.0.0.1:{receiver.port}"
            assert (head["x-mine"], head["connection"]) == ("yes", "close")

    run(test())
