"""A daemon's log on stderr: one `key=value` line an event, or JSON when asked for.

Everything that this process has to say there goes through one bounded queue (`log_writer`), so that
no reader can end or freeze it: log lines, each kind at its rate (`log_rates`), warnings, what
libraries log, exceptions that nobody caught, and texts written to `sys.stderr`.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from netsonde.daemon.log_fault import told
from netsonde.daemon.log_rates import Kind, Rates
from netsonde.daemon.log_writer import LineWriter
from netsonde.model.text import escaped

STDERR = 2
_MAX_KIND_CHARS = 80


class Log:
    """The log of one process, on a descriptor."""

    def __init__(self, fd: int, *, json: bool = False) -> None:
        self.writer = LineWriter(fd, self._tell)
        self._rates = Rates(time.monotonic)
        self._told = 0
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self._json = json
        self._render = (
            structlog.processors.JSONRenderer()
            if json
            else structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            )
        )

    def processors(self) -> list[structlog.typing.Processor]:
        """Give what structlog does with each line; none of it raises."""
        return [structlog.processors.add_log_level, self._limit, self._line]

    def close(self) -> None:
        """Say how many lines were left out, and write what waits; see `LineWriter.close`."""
        for kind, more in self._rates.owed():
            self._say_more(kind, more)
        self.writer.close()

    def _limit(self, _: object, __: str, fields: structlog.typing.EventDict) -> Any:
        kind = (str(fields["level"]), *fields.pop("_kind", (str(fields.get("event")),)))
        part = (fields[name] for name in ("part", "type") if isinstance(fields.get(name), str))
        more = self._rates.let(tuple(text[:_MAX_KIND_CHARS] for text in (*kind, *part)))
        if more is None:
            self.writer.leave_out()
            raise structlog.DropEvent
        if more:
            fields["more"] = more
        return fields

    def _line(self, logger: Any, name: str, fields: structlog.typing.EventDict) -> str:
        try:
            error = _error(fields.pop("exc_info", None))
            if error is not None:
                fields.update(told(error))
            self._stamp(logger, name, fields)
            return str(self._render(logger, name, fields if self._json else _flat(fields)))
        except Exception as fault:  # a value that cannot be written is no reason to raise
            return f'level=error event="a line cannot be written" fault={type(fault).__name__}'

    def _tell(self) -> bool:
        """Say what was left out since that was said; gives whether more is to be said later."""
        for kind, more in self._rates.overdue():
            self._say_more(kind, more)
        dropped = {cause: n for cause, n in self.writer.dropped.items() if n and cause != "rate"}
        lost = sum(dropped.values())
        if lost > self._told and not self.writer.failing:
            self._told = lost
            self._say("warning", "log lines lost", **dropped)
        return bool(self._rates.owed())

    def _say_more(self, kind: Kind, more: int) -> None:
        level, event, *part = kind
        self._say(level, event, **({"part": " ".join(part)} if part else {}), more=more)

    def _say(self, level: str, event: str, **fields: object) -> None:
        self.writer.put(self._line(None, level, {"level": level, "event": event, **fields}))


class _Lines:
    """What structlog hands a line to, by the name of its level."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.put


class _FromLogging(logging.Handler):
    """What libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            said = record.getMessage()
        except Exception:  # of a wrong format
            said = str(record.msg)
        line = getattr(structlog.get_logger(), level)
        kind = (record.name, str(record.msg))
        line(record.name, said=said.strip(), exc_info=record.exc_info, _kind=kind)


class _Stderr(io.TextIOBase):
    """Takes the place of `sys.stderr`."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.strip():
            structlog.get_logger().warning("stderr", said=text.strip())
        return len(text)


_logs: list[Log] = []
"""The process's log, if it has one."""


def configure(*, json: bool = False) -> None:
    """Set up the process's log once, before its first line."""
    log = Log(_held(STDERR), json=json)
    _logs[:] = [log]
    structlog.configure(
        processors=log.processors(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(log.writer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_FromLogging()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.stderr = cast(TextIO, _Stderr())
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_thread
    atexit.register(log.close)


def begin_writing() -> None:
    """Write by a thread of its own from now on; call it when rights are given up."""
    for log in _logs:
        log.writer.begin()


def dropped() -> Mapping[str, int]:
    """Give how many lines were not written, by cause; empty for a process without a log."""
    return _logs[0].writer.dropped if _logs else {}


def say(sentence: str) -> None:
    """Write a sentence to stderr, as it is: why a daemon does not start; never raises or hangs."""
    writer = _logs[0].writer if _logs else LineWriter(STDERR)
    for line in sentence.splitlines():
        writer.put(escaped(line))
    if not _logs:
        writer.close()


def _held(fd: int) -> int:
    """Give the descriptor, or -1 where it is closed; then hold its place, lest a socket get it."""
    try:
        os.fstat(fd)
    except OSError:
        while os.open(os.devnull, os.O_RDWR) < fd:
            pass
        return -1
    return fd


def _error(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    elif exc_info is True:
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give fields as logfmt holds them: no field in a field, and nothing that steers a terminal."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}".replace(" ", "_"): _plain(one) for key, one in value.items()}
        elif isinstance(value, list | tuple | set | frozenset):
            flat[name] = _plain(",".join(map(str, value)))
        else:
            flat[name] = _plain(value)
    return flat


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return escaped(str(value), keep="\n")


def _uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
    else:
        structlog.get_logger().critical("ended by a fault", exc_info=error)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    structlog.get_logger().error("a finaliser failed", exc_info=what.exc_value)


def _in_thread(what: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error("a thread failed", exc_info=what.exc_value)
