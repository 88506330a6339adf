"""Requests that are none, or odd ones: each gets its refusal, none a 500 or no answer."""

import asyncio

import pytest
from fleet import Agent, Fleet, with_fleet

HOST = b"Host: 127.0.0.2\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"


def get(path: bytes, method: bytes = b"GET", fields: bytes = b"") -> bytes:
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, path, HOST, fields)


def post(body: bytes, path: bytes = b"/v1/questions", kind: bytes = JSON) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return get(path, b"POST", kind + length) + body


def chunked(body: bytes, fields: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    return get(b"/", b"POST", FORM + fields) + body


REFUSED = [
    b"\x00\xff\x16\x03\x01\x02\x00\x01" * 20 + b"\r\n\r\n",
    bytes.fromhex("1603010200010001fc0303") + b"a" * 500,
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\nHost: 127.0.0.2\n\n",
    b"GET / HTTP/1.1\r\nHost : 127.0.0.2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    get(b"/", fields=b"X: a\0b\r\n"),
    get(b"/", fields=b"X: a\r\n b\r\n\r\nY"),
    get(b"/", fields=b"X: " + b"a" * 70_000 + b"\r\n"),
    get(b"/", fields=b"X: a\r\n" * 12_000),
    get(b"/" + b"a" * 60_000),
    get(b"/", b"POST", b"Content-Length: -5\r\n") + b"hello",
    get(b"/", b"POST", b"Content-Length: +5\r\n") + b"hello",
    get(b"/", b"POST", b"Content-Length: 99999999999999999999\r\n") + b"hello",
    get(b"/", b"POST", b"Content-Length: 5\r\nContent-Length: 6\r\n") + b"hello",
    get(b"/", b"POST", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
    get(b"/", b"POST", FORM + b"Content-Length: 1000000000\r\n") + b"h",
    chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked, identity\r\n"),
    chunked(b"ffffffffffffffffff\r\nabc"),
    chunked(b"-1\r\nabc"),
    chunked(b"1;" + b"a" * 100_000 + b"\r\na\r\n0\r\n\r\n"),
    chunked(b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"),
    chunked((b"ffff\r\n" + b"a" * 65_535 + b"\r\n") * 16 + b"0\r\n\r\n"),
    *(post(b"type=" + b"a" * size, b"/", FORM) for size in (65_531, 65_532, 10**6)),
    *(post(opened * 30_000, path) for opened in (b"[", b'{"a":') for path in (b"/", b"/v1/tasks")),
    post(b'{"ask":"count","ask":"top","by":"src"}'),
    post(b'{"type":"query leaf agents","type":"query bw"}', b"/"),
    post(b"type=query+leaf+agents&type=query+bw", b"/", FORM),
    *(
        post(b'{"ask":"top","by":"src","k":%s}' % value)
        for value in (b"NaN", b"1e400", b"-0", b"1.5", b"9" * 20, b"true", b'"5"', b"[1]", b"{}")
    ),
    post(b'{"ask":"top","by":"\xff\xfe"}'),
    post(b"\xef\xbb\xbf{}"),
    post(b'{"ask":"top","by":"\\ud800"}'),
    post(b'{"type":"\\ud800"}', b"/"),
    *(get(path, b"FOO") for path in (b"/", b"/v1/tasks")),
    *(get(path, b"TRACE") for path in (b"/", b"/v1/tasks")),
    *(get(path, b"PATCH") for path in (b"/", b"/v1/tasks/1")),
    *(
        get(path)
        for path in (
            b"/v1/docs/../../../../etc/passwd",
            b"/v1/docs/%2e%2e/%2e%2e/etc/passwd",
            b"/..%2f..%2fetc/passwd",
            b"/v1/host%00",
            b"/v1/tasks/-1",
            b"/v1/tasks/%D9%A1",
            b"/v1/tasks/1e3",
            b"/v1/tasks/" + b"9" * 26,
            b"/v1/tasks/" + b"9" * 6000,
            b"/v1/webhooks/%0d%0aX:%20y",
            b"/v1/events?limit=%D9%A3x",
            b"/v1/events?limit=1e9",
            b"/v1/questions/stream?q=" + b"%7B" * 20_000,
            b"/v1/questions/stream?q=%7B%22ask%22:%22count%22%7D&every=NaN",
            b"/v1/questions/stream?q=%7B%22ask%22:%22count%22%7D&every=0s",
        )
    ),
]


async def answer(agent: Agent, port: int, request: bytes) -> bytes:
    """Give what comes back until the connection ends or there is a whole head."""
    reader, writer = await asyncio.open_connection(agent.address, port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("part", range(4))
def test_odd_requests_are_refused(part: int, tmp_path) -> None:  # type: ignore[no-untyped-def]
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        for request in REFUSED[part::4]:
            head = await answer(agent, fleet.http_port, request)
            # A reset may overtake the refusal of what is still being sent.
            assert head == b"" or head.startswith(b"HTTP/1.1 4"), (request[:80], head)
        assert (await agent.client.get("/v1/tasks")).json() == {"tasks": []}
        text = (await agent.client.get("/metrics")).text
        assert not [part for part in ("answer", "http", "stream") if f'part="{part}"' in text]

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]
