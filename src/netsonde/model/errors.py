"""The one error tree.

NetsondeError
├── BadField              a message or setting that cannot be accepted (HTTP 400)
│   └── TooLarge          ... because it is over a stated limit         (HTTP 413)
├── NotFound              names something that does not exist           (HTTP 404)
├── Changed               is not any more what the request was made for (HTTP 412)
├── Busy                  try again later                               (HTTP 503)
├── Unavailable           a part of the service is away                 (HTTP 503)
├── ProbeFailed           an active measurement gave no answer          (HTTP 502)
├── ProtocolError         the other side spoke nonsense                (HTTP 502)
│   └── FieldRefused      ... or found a field of ours so
├── Unforeseen            something failed here that nobody foresaw     (HTTP 500)
└── UnsupportedByKernel   this kernel or this user cannot do it
"""

from __future__ import annotations

from netsonde.model.text import escaped


class NetsondeError(Exception):
    """Root of every error a caller may want to catch."""

    retry_after_s: float | None = None
    """Seconds after which trying again makes sense, where it does."""


class BadField(NetsondeError):
    """A field whose value cannot be accepted: says which, what it was, and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        shown = "is missing" if value is None else f"is {value!r:.120}"
        super().__init__(f"field '{escaped(field):.120}' {shown}; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class TooLarge(BadField):
    """A value over a limit that protects the host."""


class NotFound(NetsondeError):
    """Something named by its id does not exist here."""


class Changed(NetsondeError):
    """Something is not any more what the request was made for; read it again."""


class Busy(NetsondeError):
    """The host is at a limit that will pass; try again in `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Unavailable(NetsondeError):
    """A part of the service (the monitor, another host) does not answer."""


class ProbeFailed(NetsondeError):
    """An active measurement between two hosts ended without a trustworthy answer."""


class ProtocolError(NetsondeError):
    """A frame that the protocol does not allow: wrong version, size or content."""


class FieldRefused(ProtocolError):
    """A field of ours that another process of the service could not accept; `reason` says it all.

    Not a BadField: the manager may know nothing of that field. Who does know turns it into one.
    """

    def __init__(self, reason: str, *, field: str, value: str | None, allowed: str) -> None:
        super().__init__(reason)
        self.field = field
        self.value = value
        self.allowed = allowed


class Unforeseen(NetsondeError):
    """Something failed that nobody foresaw: what was asked has no answer, and all else goes on.

    It is counted and logged where it happened; what is said of it names its type alone.
    """

    @classmethod
    def of(cls, error: BaseException) -> Unforeseen:
        """Say in a sentence that an exception ended this one thing."""
        return cls(f"this failed inside netsonde ({type(error).__name__}); its log says more")


class UnsupportedByKernel(NetsondeError):
    """The kernel, or the rights of this process, lack a feature; the message says which."""
