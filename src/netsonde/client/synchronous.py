"""The same client without asyncio: each method runs the asynchronous one, on a loop of its own.

There is no second implementation: `blocking` makes a method of an asynchronous one, with the same
arguments. The loop runs in a thread, so that this works where a loop is running already, as in a
notebook. Usable from many threads.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from netsonde.client.asynchronous import AsyncClient
from netsonde.client.errors import Closed
from netsonde.client.http import TIMEOUT_S
from netsonde.client.resources import AsyncDetectors, AsyncTasks, AsyncWebhooks

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

SIGNAL_S = 1.0
"""Longest that Ctrl-C may go unseen."""


class Loop:
    """An event loop in a thread of its own, started when it is first needed.

    It ends with `stop`, or when nobody holds it any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Callable[[], object] | None = None

    def run(self, function: Callable[[], Awaitable[R]]) -> R:
        """Run something to its end; what interrupts the caller (Ctrl-C) cancels it.

        Raises Closed after `stop`.
        """
        loop, ended = self._running(), SimpleQueue[asyncio.Task[R]]()
        tasks: list[asyncio.Task[R]] = []

        async def started() -> R:
            return await function()

        def begin() -> None:
            tasks.append(loop.create_task(started()))
            tasks[0].add_done_callback(ended.put)

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        # No future of two threads, nor the portal: where Ctrl-C breaks off a condition's code, its
        # lock may stay held, and the loop would wait for it for ever.
        try:
            _soon(loop, begin)
            return _result(ended, loop)
        except asyncio.CancelledError:
            raise Closed("the client was closed during the call") from None
        except BaseException:
            with suppress(Closed):
                _soon(loop, cancel)
            raise

    def stop(self) -> None:
        """End the thread and what runs on it."""
        with self._lock:
            self._stopped = True
        if self._end:
            self._end()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._stopped:
                raise Closed("the client was closed; make another one")
            if self._loop is None:
                life = ExitStack()
                portal = life.enter_context(start_blocking_portal(name="netsonde"))
                self._end = weakref.finalize(self, _end, portal, life)
                self._loop = portal.call(asyncio.get_running_loop)
            return self._loop


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        raise Closed("the client was closed; make another one") from None


def _result(ended: SimpleQueue[asyncio.Task[R]], loop: asyncio.AbstractEventLoop) -> R:
    """Wait for a task and give what it gave."""
    while True:
        # A signal just before a wait goes unseen in it, so no wait is long.
        with suppress(Empty):
            return ended.get(timeout=SIGNAL_S).result()
        if loop.is_closed():
            raise asyncio.CancelledError


def _end(portal: BlockingPortal, life: ExitStack) -> None:
    with suppress(RuntimeError):  # of a loop that has ended already, or that this runs on
        portal.call(portal.stop, True)
        life.close()


class Blocking(Generic[T]):
    """Something asynchronous and the loop it runs on."""

    def __init__(self, inner: T, loop: Loop) -> None:
        self._inner = inner
        self._loop = loop


def blocking(
    method: Callable[Concatenate[T, P], Awaitable[R]],
) -> Callable[Concatenate[Blocking[T], P], R]:
    """Make a method that waits for an asynchronous one."""

    @functools.wraps(method)
    def call(self: Blocking[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop.run(lambda: method(self._inner, *args, **kwargs))

    return call


def blocking_iterator(
    method: Callable[Concatenate[T, P], AsyncIterator[R]],
) -> Callable[Concatenate[Blocking[T], P], Iterator[R]]:
    """Make an iterator of an asynchronous one; leaving it closes what it holds open."""

    @functools.wraps(method)
    def call(self: Blocking[T], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        steps = method(self._inner, *args, **kwargs)
        try:
            while True:
                try:
                    step = self._loop.run(steps.__anext__)
                except StopAsyncIteration:
                    return
                yield step
        finally:
            close = getattr(steps, "aclose", None)
            if close is not None:
                with suppress(Closed):
                    self._loop.run(close)

    return call


class Tasks(Blocking[AsyncTasks]):
    """Tasks: filters with counters that are kept until they are removed."""

    list = blocking(AsyncTasks.list)
    get = blocking(AsyncTasks.get)
    add = blocking(AsyncTasks.add)
    add_spec = blocking(AsyncTasks.add_spec)
    replace = blocking(AsyncTasks.replace)
    remove = blocking(AsyncTasks.remove)


class Detectors(Blocking[AsyncDetectors]):
    """Detectors: standing questions that raise events."""

    list = blocking(AsyncDetectors.list)
    set = blocking(AsyncDetectors.set)
    remove = blocking(AsyncDetectors.remove)


class Webhooks(Blocking[AsyncWebhooks]):
    """Webhooks: where events are sent."""

    list = blocking(AsyncWebhooks.list)
    set = blocking(AsyncWebhooks.set)
    remove = blocking(AsyncWebhooks.remove)


class Client(Blocking[AsyncClient]):
    """Questions to one agent, each call until its answer; see `AsyncClient`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(AsyncClient(url, timeout_s=timeout_s, transport=transport), Loop())
        self.tasks = Tasks(self._inner.tasks, self._loop)
        self.detectors = Detectors(self._inner.detectors, self._loop)
        self.webhooks = Webhooks(self._inner.webhooks, self._loop)

    @property
    def url(self) -> str:
        """Of the agent that is asked."""
        return self._inner.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the loop; calls after it raise Closed."""
        with suppress(Closed):
            self._loop.run(self._inner.close)
        self._loop.stop()

    ask = blocking(AsyncClient.ask)
    count = blocking(AsyncClient.count)
    top = blocking(AsyncClient.top)
    keys = blocking_iterator(AsyncClient.keys)
    distinct = blocking(AsyncClient.distinct)
    distribution = blocking(AsyncClient.distribution)
    spreaders = blocking(AsyncClient.spreaders)
    change = blocking(AsyncClient.change)
    series = blocking(AsyncClient.series)
    live = blocking_iterator(AsyncClient.live)
    past_events = blocking(AsyncClient.past_events)
    events = blocking_iterator(AsyncClient.events)
    host = blocking(AsyncClient.host)
    members = blocking(AsyncClient.members)
