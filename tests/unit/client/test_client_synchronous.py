"""The client without asyncio: the same methods, from threads, notebooks and after Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest
import sample_answers
import v1

from netsonde import client
from netsonde.client import asynchronous, resources, synchronous

PAIRS = [
    (asynchronous.AsyncClient, synchronous.Client),
    (resources.AsyncTasks, synchronous.Tasks),
    (resources.AsyncDetectors, synchronous.Detectors),
    (resources.AsyncWebhooks, synchronous.Webhooks),
]


def public(kind: type) -> dict[str, object]:
    return {name: each for name, each in inspect.getmembers(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("waiting", "blocking"), PAIRS)
def test_both_have_the_same_methods(waiting: type, blocking: type) -> None:
    assert public(waiting).keys() == public(blocking).keys()
    for name, method in public(waiting).items():
        if callable(method) and name != "close":
            assert inspect.signature(public(blocking)[name]) == inspect.signature(method)


def test_it_answers_while_a_loop_is_running() -> None:
    async def notebook() -> bytes:
        service = v1.answering(sample_answers.TOP)
        with client.Client("http://root:8000", transport=service.transport) as asked:
            return msgspec.json.encode(asked.top("src", window="last 30s"))

    assert asyncio.run(notebook()) == msgspec.json.encode(sample_answers.TOP)


def test_it_answers_many_threads() -> None:
    service = v1.answering(sample_answers.TOP)
    with (
        client.Client("http://root:8000", transport=service.transport) as asked,
        ThreadPoolExecutor(8) as pool,
    ):
        found = list(pool.map(lambda _: asked.top("src").by, range(64)))
    assert found == ["src_dport"] * 64


def test_leaving_an_iterator_closes_its_stream() -> None:
    message = b"event: answer\ndata: " + msgspec.json.encode(sample_answers.TOP) + b"\n\n"
    stream = v1.Stream(*[message] * 3)
    service = v1.V1([v1.streaming(stream)])
    with client.Client("http://root:8000", transport=service.transport) as asked:
        for _ in asked.live(client.task_spec()):  # type: ignore[arg-type] # any struct is sent
            break
        gc.collect()
        assert stream.closed


def test_an_iterator_ends() -> None:
    service = v1.answering(sample_answers.KEYS)
    with client.Client("http://root:8000", transport=service.transport) as asked:
        assert [page.by for page in asked.keys("src")] == ["src"]


class Hanging(httpx.AsyncBaseTransport):
    """Never answers; says that it was asked, and that the wait was given up."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.given_up = threading.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()
        raise AssertionError


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell without job control has what it runs in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_gives_the_request_up() -> None:
    """Wherever it finds the caller; what it left locked would hold up all that follows."""
    main = threading.get_ident()
    for pause_s in (0.0, 0.0001, 0.001, 0.01) * 5:
        hanging = Hanging()

        def interrupt(hanging: Hanging = hanging, pause_s: float = pause_s) -> None:
            hanging.asked.wait(10)
            time.sleep(pause_s)
            signal.pthread_kill(main, signal.SIGINT)

        with client.Client("http://root:8000", transport=hanging) as asked:
            threading.Thread(target=interrupt, daemon=True).start()
            with pytest.raises(KeyboardInterrupt):
                asked.top("src")
            assert hanging.given_up.wait(10)


def test_closing_ends_the_calls_of_other_threads() -> None:
    hanging = Hanging()
    asked = client.Client("http://root:8000", transport=hanging)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(asked.top, "src")
        assert hanging.asked.wait(10)
        asked.close()
        assert isinstance(call.exception(10), client.Closed)
    asked.close()
    with pytest.raises(client.Closed):
        asked.top("src")


def test_a_client_that_nobody_holds_leaves_no_thread() -> None:
    service = v1.answering(sample_answers.TOP)
    asked = client.Client("http://root:8000", transport=service.transport)
    asked.top("src")
    threads = [each for each in threading.enumerate() if each.name == "netsonde"]
    assert threads
    del asked
    gc.collect()
    for each in threads:
        each.join(10)
        assert not each.is_alive()
