"""What a call of the client can raise, and the one place where foreign errors become ours.

NetsondeError              of netsonde.model.errors
└── ClientError            whatever a call of the client raises
    ├── BadAddress         the URL is not that of an agent, such as http://10.0.0.2:8000
    ├── Closed             the client was closed before the call
    ├── Unreachable        no answer: nobody there, or cut off; asking again may help
    │   └── TimedOut       ... within the time allowed
    ├── NotUnderstood      an answer that is not one of /v1: another service, another version
    └── Refused            the service said no, and changed nothing; carries its `problem`
        ├── WrongField     a field has a value that it cannot have       (400, 413, 422)
        ├── NoSuch         something named does not exist                (404)
        ├── Changed        it is not what was read before: read again    (409, 412, 428)
        └── Away           a part of the service is away or busy: later  (429, 502, 503, 504)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec

from netsonde.model.errors import NetsondeError
from netsonde.model.resource import Problem

MAX_SHOWN = 200
"""Characters shown of an answer that was not understood."""


class ClientError(NetsondeError):
    """Root of what the client raises."""


class BadAddress(ClientError):
    """The URL cannot be that of an agent."""


class Closed(ClientError):
    """The client was closed."""


class Unreachable(ClientError):
    """Nobody answered."""


class TimedOut(Unreachable):
    """Nobody answered in time."""


class NotUnderstood(ClientError):
    """What answered does not speak /v1 as this client does."""


class Refused(ClientError):
    """The service said no, and changed nothing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


class WrongField(Refused):
    """A field of the request cannot be accepted."""

    @property
    def field(self) -> str | None:
        """Its name, None where the request as a whole is wrong."""
        return self.problem.field

    @property
    def value(self) -> str | None:
        """What it was."""
        return self.problem.value

    @property
    def allowed(self) -> str | None:
        """What it may be."""
        return self.problem.allowed


class NoSuch(Refused):
    """Something named does not exist."""


class Changed(Refused):
    """Somebody changed it since it was read."""


class Away(Refused):
    """A part of the service is away, or at a limit that will pass."""


_BY_STATUS: dict[int, type[Refused]] = {
    400: WrongField,
    413: WrongField,
    422: WrongField,
    404: NoSuch,
    409: Changed,
    412: Changed,
    428: Changed,
    429: Away,
    502: Away,
    503: Away,
    504: Away,
}

_NOT_OURS = "gave an answer that is not netsonde's"

FOREIGN: tuple[tuple[type[Exception], type[ClientError], str], ...] = (
    (httpx.TimeoutException, TimedOut, "gave no answer in time"),
    (httpx.UnsupportedProtocol, BadAddress, "is not http://HOST:PORT"),
    (httpx.LocalProtocolError, BadAddress, "cannot be sent such a request"),
    (httpx.InvalidURL, BadAddress, "is not http://HOST:PORT"),
    (httpx.ReadError, Unreachable, "cut the connection off"),
    (httpx.WriteError, Unreachable, "cut the connection off"),
    (httpx.TransportError, Unreachable, "does not answer"),
    (httpx.HTTPError, NotUnderstood, _NOT_OURS),
    (httpx.CookieConflict, NotUnderstood, _NOT_OURS),
    (httpx.StreamError, Unreachable, "broke off"),
)
"""What httpx raises, what becomes of it, and what is said of the URL; the first that fits."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what httpx and msgspec raise within into our errors, which name `url`."""
    try:
        yield
    except tuple(foreign for foreign, _, _ in FOREIGN) as error:
        for foreign, ours, what in FOREIGN:
            if isinstance(error, foreign):
                told = _told(error)
                why = f": {told}" if told else ""
                raise ours(f"{url} {what}{why}") from error
        raise
    except msgspec.DecodeError as error:  # ValidationError is one of these
        raise NotUnderstood(f"{url} {_NOT_OURS}: {error}") from error


def _told(error: BaseException) -> str:
    """Give the operating system's words where there are some: httpx says that attempts failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return str(error)


def refusal(status: int, data: bytes, url: str) -> ClientError:
    """Give the error that an answer with an error status stands for."""
    try:
        problem = msgspec.json.decode(data, type=Problem)
    except msgspec.DecodeError:
        shown = data.decode(errors="replace")[:MAX_SHOWN].strip()
        if _BY_STATUS.get(status) is Away:
            # Of an agent that has no place for a connection, or a proxy whose agent is away.
            detail = f"{url} answered {status}: {shown}"
            return Away(Problem(type="about:blank", title="Away", status=status, detail=detail))
        return NotUnderstood(f"{url} answered {status}, not as netsonde does: {shown}")
    return refused(problem)


def refused(problem: Problem) -> Refused:
    """Give the error of a problem."""
    return _BY_STATUS.get(problem.status, Refused)(problem)
