"""Work beside the event loop, where the host may have no thread to give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from netsonde.model.errors import Busy

T = TypeVar("T")


def begun(threads: Executor | None, call: Callable[[], T]) -> asyncio.Future[T]:
    """Begin a call in a thread, of the loop's own where none are given; gives what it will return.

    Raises Busy where the host gives this process no thread; an executor that has had one before
    may still make the call later.
    """
    try:
        return asyncio.get_running_loop().run_in_executor(threads, call)
    except RuntimeError as error:  # as threading says it
        raise Busy(f"no thread is to be had on this host ({error}); try again later") from None
