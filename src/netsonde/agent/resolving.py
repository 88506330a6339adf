"""Names to addresses, in threads that nobody waits for longer than a deadline.

The one idea: a resolver that hangs cannot be stopped, only left alone. So each look-up has a thread
of its own which keeps no process alive, and so many at most; whoever finds no place waits.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress

from netsonde.model.webhook_url import IPAddress

MAX_LOOKUPS = 4
"""Names that are looked up at a time, those that nobody waits for any more included."""


class Resolver:
    """Looks names up as this host does: in its files and by its name servers."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_LOOKUPS)

    async def addresses(self, name: str) -> list[IPAddress]:
        """Give the addresses of a name in ASCII, best first; raises OSError, or RuntimeError.

        Has no deadline; may be cancelled.
        """
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[IPAddress]] = loop.create_future()

        def tell(addresses: list[IPAddress], error: Exception | None) -> None:
            self._places.release()
            if found.cancelled():
                return
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

        def look_up() -> None:
            addresses, error = _looked_up(name)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, addresses, error)

        try:
            threading.Thread(target=look_up, name="resolver", daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._places.release()
            raise
        return await found


def _looked_up(name: str) -> tuple[list[IPAddress], Exception | None]:
    try:
        # Bytes: a text would go through the codec "idna", which may not be readable any more.
        found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
        texts = dict.fromkeys(str(place[0]).partition("%")[0] for *_, place in found)
        return [ipaddress.ip_address(text) for text in texts], None
    except Exception as error:  # whatever it is, it is handed on
        return [], error
