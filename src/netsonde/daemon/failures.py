"""Exceptions that nobody foresaw: counted by part and type, logged, and fatal to nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Any

import structlog

MAX_KINDS = 256
"""Pairs of part and type that are told apart; those beyond are counted as of type `other`."""
TRACED_EVERY_S = 60.0
"""Seconds after which a failure of the same part and type is logged with its traceback again."""

log = structlog.get_logger()


class Failures:
    """What has failed in one process since it began."""

    def __init__(self, *, mono_s: Callable[[], float] = time.monotonic) -> None:
        self.counts: Tally[tuple[str, str]] = Tally()
        """By part, such as `webhook`, and by the exception's class name."""
        self._mono_s = mono_s
        self._traced: dict[tuple[str, str], tuple[float, int]] = {}
        """When the latest of a kind was logged, and how many there were by then."""

    def note(self, part: str, error: BaseException) -> None:
        """Count an exception and log it with its traceback; never raises.

        A group counts as each that it holds. Of one kind a line is logged once in TRACED_EVERY_S;
        it says how many there have been since the last.
        """
        for one in _each(error):
            self._note_one(part, one)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note also what callbacks and forgotten tasks of the loop raise."""

        def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if isinstance(error, Exception):
                self.note("loop", error)
            else:
                log.error("loop complains", said=context.get("message", ""))

        loop.set_exception_handler(handle)

    def _note_one(self, part: str, error: BaseException) -> None:
        kind = (part, type(error).__name__)
        if kind not in self.counts and len(self.counts) >= MAX_KINDS:
            kind = (part if (part, "other") in self.counts else "other", "other")
        self.counts[kind] += 1
        now_s = self._mono_s()
        traced_s, counted = self._traced.get(kind, (float("-inf"), 0))
        if now_s - traced_s < TRACED_EVERY_S:
            return
        count = self.counts[kind]
        self._traced[kind] = (now_s, count)
        more = {"more": count - counted - 1} if counted else {}
        log.error("part failed", part=part, type=type(error).__name__, exc_info=error, **more)


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error
