"""The supervisor of a daemon: what one of its parts raises ends that part alone, for a while.

The one idea: a part is a coroutine function that may be called again. When it raises, that is
noted and it is called again after a pause, while all others go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable

from netsonde.daemon.failures import Failures

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 30.0
CALM_S = 60.0
"""Seconds that a part must have run for its next failure to be a first one again."""

Part = Callable[[], Awaitable[None]]


class Supervisor:
    """Runs parts, each as a task of its own, until `close`.

    Guarantees: an Exception of a part reaches nobody but `failures`, unless the part is vital. A
    part that returns is done and not called again. Cancelling a part's task ends that part.
    """

    def __init__(
        self,
        failures: Failures,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.failures = failures
        self.restarts: Tally[str] = Tally()
        """How often a part was begun again, by its name."""
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: asyncio.Future[None] | None = None

    def start(self, name: str, part: Part, *, vital: bool = False) -> asyncio.Task[None]:
        """Run a part from now on; what a vital one raises is raised by `until_dead` instead.

        `name` is of its kind, such as `webhook`, not of the one: failures are counted by it.
        """
        task = asyncio.get_running_loop().create_task(
            self._vital(part) if vital else self._kept(name, part)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def until_dead(self, stop: asyncio.Event) -> None:
        """Wait until `stop` is set; raises at once what a vital part has raised."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((stopping, self._death()), return_when=asyncio.FIRST_COMPLETED)
            if self._death().done():
                self._death().result()
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """Cancel every part, and wait until all have ended."""
        while tasks := set(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _kept(self, name: str, part: Part) -> None:
        clock = asyncio.get_running_loop().time
        pause_s = 0.0
        while True:
            begun_s = clock()
            try:
                if pause_s:
                    await self._sleep(pause_s)
                    self.restarts[name] += 1
                    begun_s = clock()
                await part()
            except Exception as error:  # whatever it is, the others go on
                self.failures.note(name, error)
                if _is_cancelled():  # it failed at ending
                    return
            else:
                return
            calm = clock() - begun_s >= CALM_S
            pause_s = FIRST_PAUSE_S if calm else min(max(FIRST_PAUSE_S, 2 * pause_s), LAST_PAUSE_S)

    async def _vital(self, part: Part) -> None:
        try:
            await part()
        except Exception as error:  # handed on whole
            if not self._death().done():
                self._death().set_exception(error)

    def _death(self) -> asyncio.Future[None]:
        if self._dead is None:
            self._dead = asyncio.get_running_loop().create_future()
        return self._dead


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
