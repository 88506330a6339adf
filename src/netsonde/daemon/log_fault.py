"""An exception in one line of a log: what was raised, where, and what it came from.

No source is read, as Python's own traceback does: a daemon that has given up root may not be able
to, and one that serves has no time for it.
"""

from __future__ import annotations

from types import TracebackType

_MAX_FRAMES = 12
_MAX_CHARS = 300
_MAX_CHAIN = 3
_MAX_OF_GROUP = 3


def told(error: BaseException) -> dict[str, str]:
    """Tell an exception as fields of a line, bounded; `at` has the innermost place first."""
    fields = {"fault": _named(error)}
    if at := _places(error.__traceback__):
        fields["at"] = at
    if isinstance(error, BaseExceptionGroup):
        parts = error.exceptions[:_MAX_OF_GROUP]
        fields["parts"] = "; ".join(
            f"{_named(one)} at {_places(one.__traceback__)}" for one in parts
        )
    if before := _chain(error):
        fields["after"] = "; ".join(
            f"{_named(one)} at {_places(one.__traceback__)}" for one in before
        )
    return fields


def _named(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception:  # an exception's own text may be broken, too
        said = "(it cannot say why)"
    return f"{type(error).__name__}: {said[:_MAX_CHARS]}" if said else type(error).__name__


def _places(trace: TracebackType | None) -> str:
    frames: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{_short(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
        if len(frames) > 2 * _MAX_FRAMES:
            del frames[:_MAX_FRAMES]
    return ", ".join(reversed(frames[-_MAX_FRAMES:]))


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])


def _chain(error: BaseException) -> list[BaseException]:
    """Give what an exception came from, latest first."""
    found: list[BaseException] = []
    while len(found) < _MAX_CHAIN:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        found.append(before)
        error = before
    return found
