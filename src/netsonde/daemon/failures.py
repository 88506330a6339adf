"""Exceptions that nobody foresaw: counted by part and type, logged, and fatal to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

import structlog

MAX_KINDS = 256
"""Pairs of part and type that are told; those beyond are counted as one of them, `other`."""

log = structlog.get_logger()


class Failures:
    """What has failed in one process since it began."""

    def __init__(self) -> None:
        self.counts: Tally[tuple[str, str]] = Tally()
        """By part, such as `webhook`, and by the exception's class name."""

    def note(self, part: str, error: BaseException) -> None:
        """Count an exception and log it with its places; never raises.

        A group counts as each that it holds.
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
        if kind not in self.counts and len(self.counts) >= MAX_KINDS - 1:
            kind = ("other", "other")
        self.counts[kind] += 1
        log.error("part failed", part=part, type=type(error).__name__, exc_info=error)


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error
