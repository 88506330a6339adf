"""Exceptions thrown into the tasks of a running event loop, at any of their waits.

What a task waits for raises, as it does when something deep below goes wrong. Nothing of the
program is replaced: its own coroutines run, driven by hand.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

_HERE = "raise at the wait that is under way"


def part(name: str) -> Callable[[Coroutine[Any, Any, Any]], bool]:
    """Fit the tasks of a supervised part."""

    def fits(coroutine: Coroutine[Any, Any, Any]) -> bool:
        return (
            _name(coroutine) == "Supervisor._kept" and coroutine.cr_frame.f_locals["name"] == name
        )

    return fits


def called(*names: str) -> Callable[[Coroutine[Any, Any, Any]], bool]:
    """Fit the tasks of these coroutine functions."""
    return lambda coroutine: _name(coroutine) in names


class Fault:
    """One exception to come, in tasks of one kind; installed once in a loop."""

    def __init__(self, kinds: dict[str, Callable[[Coroutine[Any, Any, Any]], bool]]) -> None:
        self._kinds = kinds
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self.unknown: set[str] = set()
        """Coroutine functions of the program that ran as tasks and are of no kind."""
        self._armed: str | None = None
        self._left = 0
        self._error: Exception | None = None

    def install(self) -> None:
        """Drive the tasks that are made from now on."""
        asyncio.get_running_loop().set_task_factory(self._made)

    def arm(self, kind: str, wait: int, error: Exception) -> None:
        """Raise at the wait that is under way (0), or at that one of those that begin from now."""
        self._armed, self._left, self._error = kind, wait, error
        if wait == 0:
            task = next(task for task, its in self._tasks.items() if its == kind)
            task.cancel(_HERE)

    def disarm(self) -> bool:
        """Raise no more; tells whether it was raised."""
        self._armed = None
        return self._error is None

    def _made(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        kind = next((name for name, fits in self._kinds.items() if fits(coroutine)), None)
        if kind is None:
            if "/netsonde/" in getattr(getattr(coroutine, "cr_code", None), "co_filename", ""):
                self.unknown.add(_name(coroutine))
            return asyncio.Task(coroutine, loop=loop, **more)
        task = asyncio.Task(_awaited(self._driven(coroutine, kind)), loop=loop, **more)
        self._tasks[task] = kind
        task.add_done_callback(self._tasks.pop)
        task.add_done_callback(lambda _: coroutine.close())  # it may never have begun
        return task

    @types.coroutine
    def _driven(
        self, coroutine: Coroutine[Any, Any, Any], kind: str
    ) -> Generator[Any, Any, object]:
        came: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waits = coroutine.send(came) if thrown is None else coroutine.throw(thrown)
            except StopIteration as end:
                return end.value
            came = thrown = None
            if self._armed == kind and self._left > 0:
                self._left -= 1
                if self._left == 0:
                    if waits is not None:
                        waits._asyncio_future_blocking = False
                    thrown = self._raised()
                    continue
            try:
                came = yield waits
            except asyncio.CancelledError as error:
                thrown = error
                if error.args == (_HERE,):
                    asyncio.current_task().uncancel()  # type: ignore[union-attr]
                    thrown = self._raised()
            except BaseException as error:
                thrown = error

    def _raised(self) -> Exception:
        error, self._error, self._armed = self._error, None, None
        assert error is not None
        return error


def _name(coroutine: Coroutine[Any, Any, Any]) -> str:
    name: str = getattr(coroutine, "__qualname__", "")
    if name == "TaskHandle._run_coro":  # of anyio
        return _name(coroutine.cr_frame.f_locals["self"].coro)
    return name


async def _awaited(driven: Awaitable[object]) -> object:
    return await driven
