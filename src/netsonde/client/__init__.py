"""The public library: asks an agent over HTTP, async first, with the same calls without asyncio.

May import `wire` and `model` alone. Test: `tests/unit/client/`. What is in `__all__` is public;
each name is imported when it is used, so that what shows answers costs no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netsonde.client.asynchronous import AsyncClient, DroppedEvents
    from netsonde.client.errors import (
        Away,
        BadAddress,
        Changed,
        ClientError,
        Closed,
        NoSuch,
        NotUnderstood,
        Refused,
        TimedOut,
        Unreachable,
        WrongField,
    )
    from netsonde.client.frames import MissingLibrary, to_pandas, to_polars
    from netsonde.client.resources import task_spec
    from netsonde.client.results import Result
    from netsonde.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Away",
    "BadAddress",
    "Changed",
    "Client",
    "ClientError",
    "Closed",
    "DroppedEvents",
    "MissingLibrary",
    "NoSuch",
    "NotUnderstood",
    "Refused",
    "Result",
    "TimedOut",
    "Unreachable",
    "WrongField",
    "task_spec",
    "to_pandas",
    "to_polars",
]

_HOMES = {
    "AsyncClient": "asynchronous",
    "Client": "synchronous",
    "DroppedEvents": "asynchronous",
    "MissingLibrary": "frames",
    "Result": "results",
    "task_spec": "resources",
    "to_pandas": "frames",
    "to_polars": "frames",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
