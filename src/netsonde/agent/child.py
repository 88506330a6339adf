"""The persistent connection to one child: dialled again after every loss, adopted again each time.

A child that was away, or joins late, so gets the tasks it missed with its first frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from netsonde.agent.peers import Connection, Dialer, News, Reply, Request
from netsonde.model.errors import NetsondeError, Unavailable, Unforeseen
from netsonde.wire import peer

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0
REFUSED_PAUSE_S = 30.0
"""Seconds before a child that refused to be adopted is asked again."""

log = structlog.get_logger()

R = TypeVar("R", bound=Reply)


class ChildLink:
    """Keeps one child connected while `run` runs, which may be called again after it raised."""

    def __init__(
        self,
        *,
        name: str,
        dialer: Dialer,
        adopt: Callable[[Connection], Awaitable[peer.Adopted]],
        on_news: Callable[[str, News], None],
        on_garbled: Callable[[str, NetsondeError], None],
    ) -> None:
        """`on_garbled`: told of what could not be read."""
        self.name = name
        self._dialer = dialer
        self._adopt = adopt
        self._on_news = on_news
        self._on_garbled = on_garbled
        self._connection: Connection | None = None
        self._fault: NetsondeError = Unavailable("not connected yet")
        self._tried = asyncio.Event()
        self.adopted: peer.Adopted | None = None
        """The child's last reply to being adopted after a connect."""

    @property
    def fault(self) -> NetsondeError | None:
        """Why the child cannot be asked; None while it can."""
        return None if self._connection else self._fault

    async def first_try(self) -> peer.Adopted:
        """Wait for the first attempt to end; raises what it failed with."""
        await self._tried.wait()
        if self.adopted is None:
            raise self._fault
        return self.adopted

    async def call(self, request: Request, expected: type[R]) -> R:
        """Ask the child; raises at once what keeps it away, else as `Connection.call`."""
        if self._connection is None:
            raise self._fault
        return await self._connection.call(request, expected)

    async def run(self) -> None:
        """Connect, adopt, wait for the loss, and begin again.

        What nobody foresaw is raised, and until the next call is why the child cannot be asked.
        """
        try:
            await self._run()
        except Exception as error:
            self._lose(Unforeseen.of(error))
            raise

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                dialled = self._dialer.dial(self.name, self._news, self._garbled)
                async with dialled as (connection, reading):
                    self.adopted = await self._adopt(connection)
                    self._connection, pause_s = connection, FIRST_PAUSE_S
                    self._tried.set()
                    log.info("child connected", child=self.name)
                    await reading
                self._lose(Unavailable(f"connection to {self.name} lost"))
            except NetsondeError as error:
                self._lose(error)
                away = isinstance(error, Unavailable)
                pause_s = min(2 * pause_s, LAST_PAUSE_S) if away else REFUSED_PAUSE_S
            await asyncio.sleep(pause_s)

    def _lose(self, fault: NetsondeError) -> None:
        self._connection = None
        if str(fault) != str(self._fault):
            log.warning("child away", child=self.name, reason=str(fault))
        self._fault = fault
        self._tried.set()

    def _garbled(self, error: NetsondeError) -> None:
        self._on_garbled(self.name, error)

    def _news(self, news: News) -> None:
        self._on_news(self.name, news)
