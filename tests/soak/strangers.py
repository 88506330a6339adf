"""Strangers: who reads nothing, sends too much, says nothing, or says what nobody understands."""

from __future__ import annotations

import socket
import threading
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from random import Random
from urllib.parse import quote

from netsonde.lab import namespace

HTTP_PORT, PEER_PORT = 8000, 8001
_FLOOD = b"GET / HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n"


class Strangers(threading.Thread):
    """Does one thing after the other until told to stop, from an address of its own."""

    def __init__(
        self, seed: int, source: str, targets: tuple[str, ...], stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._draw = Random(seed)
        self._source, self._targets = source, targets
        self._stop_attacks = stop
        self.done: Tally[str] = Tally()

    def run(self) -> None:
        """Attack and pause."""
        namespace.enter("netsonde-h1")
        kinds: tuple[Callable[[str], None], ...] = (
            self._idle,
            self._pipeline,
            self._unread_streams,
            self._silent_peers,
            self._rubbish,
            self._datagrams,
        )
        while not self._stop_attacks.wait(self._draw.uniform(1, 5)):
            attack = self._draw.choice(kinds)
            self.done[attack.__name__.strip("_").replace("_", " ")] += 1
            with suppress(OSError):
                attack(self._draw.choice(self._targets))

    def _open(
        self, to: str, port: int, count: int, first: Callable[[], bytes]
    ) -> list[socket.socket]:
        opened = []
        for _ in range(count):
            with suppress(OSError):
                one = socket.create_connection((to, port), 2, source_address=(self._source, 0))
                one.setblocking(False)
                opened.append(one)
                with suppress(OSError):
                    one.send(first())
        return opened

    def _hold(self, opened: list[socket.socket], seconds: float) -> None:
        self._stop_attacks.wait(seconds)
        for one in opened:
            one.close()

    def _idle(self, to: str) -> None:
        self._hold(self._open(to, HTTP_PORT, 300, lambda: b""), 3)

    def _pipeline(self, to: str) -> None:
        flood = _FLOOD * (261_000 // len(_FLOOD))
        self._hold(self._open(to, HTTP_PORT, 20, lambda: flood), 3)

    def _unread_streams(self, to: str) -> None:
        asked = quote('{"ask":"top","by":"src_dst_sport_dport_proto","k":1000}')
        path = f"/v1/questions/stream?q={asked}&every=100ms"
        request = f"GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode()
        self._hold(self._open(to, HTTP_PORT, 30, lambda: request), self._draw.uniform(3, 25))

    def _silent_peers(self, to: str) -> None:
        self._hold(self._open(to, PEER_PORT, 100, lambda: b""), self._draw.uniform(1, 12))

    def _rubbish(self, to: str) -> None:
        def frame() -> bytes:
            body = self._draw.randbytes(self._draw.randint(0, 300))
            size = self._draw.choice((len(body), 0, 2**31, 2**32 - 1, len(body) + 5))
            return size.to_bytes(4, "little") + body

        self._hold(self._open(to, PEER_PORT, 50, frame), 1)
        self._hold(self._open(to, HTTP_PORT, 50, lambda: self._draw.randbytes(500)), 1)

    def _datagrams(self, to: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((self._source, 0))
            for _ in range(2000):
                with suppress(OSError):
                    out.sendto(self._draw.randbytes(40), (to, self._draw.randint(1, 65535)))
