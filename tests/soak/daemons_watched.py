"""The daemons of the lab as processes: which shall be alive, and what each takes of the host."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netsonde.lab import state
from netsonde.lab.daemons import DAEMONS
from netsonde.lab.topology import Host

Name = tuple[str, str]
"""Host and daemon."""


@dataclass(frozen=True)
class Usage:
    """What a process takes."""

    rss_bytes: int
    descriptors: int
    threads: int


class Watched:
    """Who shall be alive; thread-safe."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self._hosts = hosts
        self._lock = threading.Lock()
        self._expected: dict[Name, int] = {}
        self.deaths: list[str] = []
        for name in hosts:
            for daemon in DAEMONS:
                self.expect(name, daemon)

    def expect(self, host: str, daemon: str) -> None:
        """Take the process that runs now as the one that shall be alive."""
        pid = state.recorded_process(state.pid_path(self._hosts[host], daemon))
        with self._lock:
            if pid is None:
                self.deaths.append(f"{daemon} of {host} did not come up: {self.tail(host, daemon)}")
            else:
                self._expected[host, daemon] = pid

    def release(self, host: str, daemon: str) -> int | None:
        """Give the process up to whoever ends it; None when it is not there."""
        with self._lock:
            return self._expected.pop((host, daemon), None)

    def pid(self, host: str, daemon: str) -> int | None:
        """Give the process that shall be alive."""
        with self._lock:
            return self._expected.get((host, daemon))

    def look(self) -> list[Name]:
        """Find who has ended by itself, and note it."""
        with self._lock:
            gone = [name for name, pid in self._expected.items() if not _lives(pid)]
            for name in gone:
                pid = self._expected.pop(name)
                self.deaths.append(f"{name[1]} of {name[0]} ({pid}) ended: {self.tail(*name)}")
        return gone

    def usage(self) -> Iterator[tuple[Name, Usage]]:
        """Measure everybody who is alive."""
        with self._lock:
            expected = dict(self._expected)
        for name, pid in expected.items():
            try:
                yield name, _usage(pid)
            except OSError:
                continue

    def tracebacks(self) -> list[str]:
        """Find in all logs what nobody foresaw: the last line of each traceback."""
        found = []
        for name, host in self._hosts.items():
            for daemon in DAEMONS:
                path = state.log_path(host, daemon)
                text = path.read_text(errors="replace") if path.is_file() else ""
                count = text.count("Traceback (most recent call last)")
                found += [f"{daemon} of {name}: {count} tracebacks"] if count else []
        return found

    def tail(self, host: str, daemon: str) -> str:
        """Give the end of a daemon's log."""
        path = state.log_path(self._hosts[host], daemon)
        if not path.is_file():
            return f"{path} is no file"
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 2000))
            return log.read().decode(errors="replace")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _usage(pid: int) -> Usage:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Usage(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(status["Threads"]),
    )
