"""Traffic whose truth is known: the sender's own counters, total and at the end of each tick."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from netsonde.lab import namespace

TICK_NS = 100_000_000
PORT = 7777
PAUSE_S = 0.01
_PATIENCE_S = 30.0
_SLOT = struct.Struct("<Q")


class Sender:
    """A process that sends each host one datagram every PAUSE_S, and counts them in shared memory.

    Row 0 is how many were sent so far; row 1 + n is how many had been when tick n of this sender
    ended; a number behind the rows is how many ticks are written. A datagram is counted just after
    it was sent.
    """

    def __init__(self, where: str, source: str, hosts: Sequence[str], seconds: float) -> None:
        self.hosts = tuple(hosts)
        self._first_tick = time.time_ns() // TICK_NS
        self._rows = int(seconds * 10) + 2
        self._row_bytes = _SLOT.size * len(hosts)
        self._written_at = self._rows * self._row_bytes
        self._shared = mmap.mmap(-1, self._written_at + _SLOT.size)
        self._pid = namespace.fork_inside(where)
        if self._pid == 0:
            _leave_with_parent()
            self._send(source)

    def sent(self, host: str) -> int:
        """Count what a host has been sent so far."""
        return self._read(0, host)

    def sent_by_end_of(self, tick: int, host: str) -> int:
        """Count what it had been sent when a tick ended; of a tick to come, what it has now.

        Waits for the sender where that has not come to write the tick down.
        """
        if tick < self._first_tick:
            return 0
        if tick >= time.time_ns() // TICK_NS:
            return self.sent(host)
        row = min(1 + tick - self._first_tick, self._rows - 1)
        until_s = time.monotonic() + _PATIENCE_S
        while int(_SLOT.unpack_from(self._shared, self._written_at)[0]) < row:
            if time.monotonic() > until_s:
                raise TimeoutError("the sender of known traffic does not send any more")
            time.sleep(PAUSE_S)
        return self._read(row, host)

    def end(self) -> None:
        """Stop sending."""
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def _read(self, row: int, host: str) -> int:
        at = row * self._row_bytes + self.hosts.index(host) * _SLOT.size
        return int(_SLOT.unpack_from(self._shared, at)[0])

    def _send(self, source: str) -> None:
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.bind((source, 0))
        counts = [0] * len(self.hosts)
        row = struct.Struct(f"<{len(counts)}Q")
        done = 0
        while True:
            for number, host in enumerate(self.hosts):
                with suppress(OSError):
                    out.sendto(bytes(50), (host, PORT))
                    counts[number] += 1
            row.pack_into(self._shared, 0, *counts)
            ended = min(time.time_ns() // TICK_NS - self._first_tick, self._rows - 1)
            for tick in range(done, ended):
                row.pack_into(self._shared, (1 + tick) * self._row_bytes, *counts)
            done = max(done, ended)
            _SLOT.pack_into(self._shared, self._written_at, done)
            time.sleep(PAUSE_S)


class Crowd:
    """A process that sends datagrams from many ports, so that flow tables and recorders fill."""

    SOCKETS = 1500
    EACH = 30

    def __init__(self, where: str, source: str, to: str) -> None:
        self._pid = namespace.fork_inside(where)
        if self._pid == 0:
            _leave_with_parent()
            self._send(source, to)

    def end(self) -> None:
        """Stop sending."""
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def _send(self, source: str, to: str) -> None:
        sockets = []
        for _ in range(self.SOCKETS):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((source, 0))
            sockets.append(one)
        at = 0
        while True:
            for _ in range(self.EACH):
                at = (at + 1) % len(sockets)
                with suppress(OSError):
                    sockets[at].sendto(bytes(20), (to, PORT + 1))
            time.sleep(PAUSE_S)


def _leave_with_parent() -> None:
    """Be an ordinary process that SIGTERM ends, wherever the caller's handlers stand."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path("/proc/self/oom_score_adj").write_text("500")
