"""Connections of the HTTP interface, as the kernel has them."""

import os
import socket
from pathlib import Path

from fleet import Fleet, with_fleet

from netsonde.agent.http import server


@with_fleet
async def test_answers_leave_at_once_and_wait_for_nobody_for_ever(fleet: Fleet) -> None:
    """With Nagle's algorithm on, a body would wait 40 ms for the acknowledgement of its head."""
    (agent,) = await fleet.start(2)
    await agent.client.get("/")
    assert options((agent.address, fleet.http_port)) == {(True, server.UNTAKEN_S * 1000)}


def options(place: tuple[str, int]) -> set[tuple[bool, int]]:
    """Whether this process's connections from a place send at once, and their patience in ms."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            connection = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # is no socket
        with connection:
            listens = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if connection.getsockname() == place and not listens:
                at_once = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                patience_ms = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                found.add((at_once, patience_ms))
    return found
