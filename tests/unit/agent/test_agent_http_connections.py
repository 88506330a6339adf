"""Whatever strangers do with connections, others are answered, and nothing is kept of it."""

import contextlib
import gc
import resource
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from serving import HOST, LARGE, Serving, running
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from netsonde.agent.http import accept, protocol

OK = b"HTTP/1.1 200 OK\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\n"
BEHAVED = "127.0.0.40"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with running() as one:
        yield one


def all_ended(serving: Serving) -> None:
    serving.settled(lambda: serving.http.slots.taken == 0)


def push(connection: socket.socket, what: bytes) -> int:
    """Send as much as is taken at once."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        return connection.send(what)
    return 0


def test_pipelined_requests_are_answered_one_by_one_in_order(serving: Serving) -> None:
    bodies = [str(n).encode() * (1 + n % 50) for n in range(1000)]
    sent = b"".join(
        CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if n % 3 == 0
        else serving.request(method="POST", body=body)
        for n, body in enumerate(bodies)
    )
    with serving.connect("127.0.0.9") as connection, connection.makefile("rb") as stream:
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        for body in bodies:
            assert stream.readline() == b"HTTP/1.1 201 Created\r\n"
            while not (line := stream.readline().lower()).startswith(b"content-length"):
                assert line
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(len(body)) == body
        sender.join()
    all_ended(serving)


def test_a_burst_of_requests_waits_as_bytes(serving: Serving) -> None:
    """Each request that is parsed costs a hundred times what it is sent as."""
    connections = [serving.connect(f"127.0.0.{n}", 4096) for n in range(10, 30)]
    for connection in connections:
        push(connection, serving.request() * 10_000)
    serving.settled(lambda: serving.answered["small"] > 0)
    gc.collect()
    parsed = sum(isinstance(one, RequestResponseCycle) for one in gc.get_objects())
    assert parsed <= 4 * len(connections)
    assert serving.ask(BEHAVED) == OK
    for connection in connections:
        connection.close()
    all_ended(serving)


def test_a_client_with_unread_answers_is_not_read(serving: Serving) -> None:
    before = serving.answered["large"]
    with serving.connect("127.0.0.9", 4096) as connection:
        push(connection, serving.request("/large") * 1000)
        serving.settled(lambda: serving.answered["large"] > before)
        for _ in range(20):
            assert serving.ask(BEHAVED) == OK
        kernel_holds = 16 << 20
        assert serving.answered["large"] - before <= 2 + kernel_holds // LARGE
        # Once it reads it gets them all the same.
        connection.settimeout(10)
        with connection.makefile("rb") as stream:
            for _ in range(3):
                assert stream.readline() == OK
                while stream.readline() != b"\r\n":
                    pass
                assert len(stream.read(LARGE)) == LARGE
    all_ended(serving)


def test_a_source_has_half_of_the_places_and_is_told_so(serving: Serving) -> None:
    refused = serving.refused["source_quota"]
    share = serving.http.slots.of_one
    held = [serving.connect("127.0.0.9") for _ in range(share)]
    serving.settled(lambda: serving.http.slots.taken == share)
    for _ in range(5):
        with serving.connect("127.0.0.9") as connection:
            answer = connection.makefile("rb").read()
            assert answer.startswith(FULL)
            assert b"\r\nRetry-After: 1\r\n" in answer
    assert serving.refused["source_quota"] == refused + 5
    assert serving.ask(BEHAVED) == OK
    for connection in held:
        connection.close()
    all_ended(serving)
    assert serving.ask("127.0.0.9") == OK


def test_who_is_turned_away_while_it_sends_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients send a head and a body apart; cut off between them, they would see no answer."""
    monkeypatch.setattr(accept, "PARTING_S", 60.0)
    with running() as serving:
        share = serving.http.slots.of_one
        held = [serving.connect("127.0.0.9") for _ in range(share)]
        serving.settled(lambda: serving.http.slots.taken == share)
        refused = serving.refused["source_quota"]
        many = accept.MAX_PARTING + 4
        turned_away = [serving.connect("127.0.0.9") for _ in range(many)]
        serving.settled(lambda: serving.refused["source_quota"] == refused + many)
        for connection in turned_away[: accept.MAX_PARTING]:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            connection.sendall(b"{}")
            assert connection.makefile("rb").read().startswith(FULL)
        cut_off = turned_away[-1]
        with contextlib.suppress(ConnectionError):
            cut_off.sendall(b"POST / HTTP/1.1\r\n")
            cut_off.sendall(b"Host: a\r\n\r\n")
            pytest.fail("more of them stayed open than may")
        for connection in held + turned_away:
            connection.close()
        all_ended(serving)


def test_who_is_turned_away_does_not_stay_for_long(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "PARTING_S", 0.01)
    share = serving.http.slots.of_one
    held = [serving.connect("127.0.0.9") for _ in range(share)]
    serving.settled(lambda: serving.http.slots.taken == share)
    with serving.connect("127.0.0.9") as connection, pytest.raises(ConnectionError):
        connection.sendall(bytes(64 << 20))
    for one in held:
        one.close()
    all_ended(serving)


def test_who_has_most_gives_way_when_all_is_taken(serving: Serving) -> None:
    displaced = serving.refused["displaced"]
    flood = [serving.connect(f"127.0.0.{50 + n % 2}") for n in range(accept.MAX_CONNECTIONS)]
    serving.settled(lambda: serving.http.slots.taken == accept.MAX_CONNECTIONS)
    for _ in range(10):
        assert serving.ask(BEHAVED) == OK
    assert serving.refused["displaced"] > displaced
    for connection in flood:
        connection.close()
    all_ended(serving)


def test_some_places_are_kept_for_the_host() -> None:
    slots = accept.places(accept.MAX_CONNECTIONS)
    refused = [slots.take(f"10.0.0.{n % 9}") for n in range(accept.MAX_CONNECTIONS)]
    assert refused[-accept.FOR_HOST :] == ["over_limit"] * accept.FOR_HOST
    assert refused[: -accept.FOR_HOST] == [None] * (len(refused) - accept.FOR_HOST)
    kept = [slots.take("127.0.0.1", of_host=True) for _ in range(accept.FOR_HOST + 1)]
    assert kept == [None] * accept.FOR_HOST + ["over_limit"]


def test_without_descriptors_it_rests_and_goes_on(serving: Serving) -> None:
    """Each attempt would fail at once, and asyncio writes a traceback for it."""
    before, limits = serving.refused["no_descriptor"], resource.getrlimit(resource.RLIMIT_NOFILE)
    connection = socket.socket()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (connection.fileno() + 1, limits[1]))
        connection.connect((HOST, serving.port))
        serving.settled(lambda: serving.refused["no_descriptor"] >= before + 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    connection.sendall(serving.request())
    assert connection.makefile("rb").readline() == OK
    connection.close()
    all_ended(serving)


def test_who_has_said_all_is_answered(serving: Serving) -> None:
    """As `nc -N` and other clients that close their half once they have asked."""
    with serving.connect("127.0.0.9") as connection:
        connection.sendall(serving.request() * 3)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.count(OK) == 3
    with serving.connect("127.0.0.9") as connection:
        connection.sendall(serving.request("/stream"))
        connection.recv(100)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    all_ended(serving)


def test_what_is_late_or_no_request_is_counted(serving: Serving) -> None:
    before = serving.refused.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "REQUEST_S", 0.1)
        with serving.connect("127.0.0.9") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a")
            assert connection.recv(100) == b""
        with serving.connect("127.0.0.9") as connection:
            assert connection.recv(100) == b""
    with serving.connect("127.0.0.9") as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
    assert serving.refused - before == {"late": 1, "malformed": 1}
    all_ended(serving)


ODD = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5,
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000,
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n") * 4,
        CHUNKED + b"fffffffff\r\nabc",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nabc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * 100,
        b"X: y\r\n" * 100,
    ]
)
SOURCES = st.integers(20, 25).map(lambda n: f"127.0.0.{n}")


class Strangers(RuleBasedStateMachine):
    """Connect, send anything in any pieces, read or not, close or not."""

    serving: Serving

    def __init__(self) -> None:
        super().__init__()
        self.open: list[socket.socket] = []

    @rule(source=SOURCES, many=st.integers(1, 40))
    def connect(self, source: str, many: int) -> None:
        for _ in range(many if len(self.open) < 200 else 0):
            with contextlib.suppress(OSError):
                self.open.append(self.serving.connect(source, 4096))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), what=ODD | st.binary(max_size=300), noise=st.binary(max_size=3))
    def send(self, data: st.DataObject, what: bytes, noise: bytes) -> None:
        connection = data.draw(st.sampled_from(self.open))
        end = data.draw(st.integers(0, len(what)))
        push(connection, what[:end])
        push(connection, noise + what[end:])

    @precondition(lambda self: self.open)
    @rule(what=ODD)
    def all_send(self, what: bytes) -> None:
        for connection in self.open:
            push(connection, what)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(1, 100_000))
    def read(self, data: st.DataObject, size: int) -> None:
        connection = data.draw(st.sampled_from(self.open))
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.recv(size)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), how=st.sampled_from(["half", "close", "reset"]))
    def end(self, data: st.DataObject, how: str) -> None:
        connection = data.draw(st.sampled_from(self.open))
        if how == "half":
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()
        self.open.remove(connection)

    @invariant()
    def others_are_answered(self) -> None:
        self.serving.settled(lambda: self.serving.ask(BEHAVED) == OK)  # 503 says to try again
        assert self.serving.http.slots.taken <= self.serving.http.slots.total

    def teardown(self) -> None:
        for connection in self.open:
            connection.close()
        all_ended(self.serving)


def test_others_are_answered_whatever_strangers_do(serving: Serving) -> None:
    class Here(Strangers):
        pass

    Here.serving = serving
    case = Here.TestCase
    case.settings = settings(
        max_examples=40,
        stateful_step_count=20,
        phases=[Phase.generate],  # what came before weighs too: less of it is another story
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()  # type: ignore[attr-defined]
