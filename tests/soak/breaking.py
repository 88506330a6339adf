"""Faults: processes that are killed or stopped, disks that are full, logs that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from askers import Disturbed
from daemons_watched import Watched

from netsonde.lab import daemons, state
from netsonde.lab.errors import LabError
from netsonde.lab.topology import Host

HUNG = "h6"
"""Its daemons' logs are pipes that nobody reads."""
READY_S = 20.0


class Faults(threading.Thread):
    """Does one fault after the other until told to stop; the last one is over when it ends."""

    def __init__(
        self,
        *,
        seed: int,
        hosts: dict[str, Host],
        hook: str,
        watched: Watched,
        disturbed: Disturbed,
        stop: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self._draw = Random(seed)
        self._hosts, self._hook = hosts, hook
        self._watched, self._disturbed = watched, disturbed
        self._stop_faults = stop
        self.done: Tally[str] = Tally()

    def run(self) -> None:
        """Wait a while, do something, and put it right."""
        while not self._stop_faults.wait(self._draw.uniform(2, 8)):
            kind = self._draw.choices(("kill", "stop", "full disk"), (6, 3, 1))[0]
            daemon = self._draw.choice(daemons.DAEMONS)
            host = self._draw.choice(sorted(self._hosts))
            self.done[kind if kind == "full disk" else f"{kind} {daemon}"] += 1
            if kind == "kill":
                self._kill(host, daemon)
            elif kind == "stop":
                self._pause(host, daemon)
            else:
                self._fill()

    def _kill(self, host: str, daemon: str) -> None:
        self._disturbed.during(host, READY_S + 10)
        pid = self._watched.release(host, daemon)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _await_end(pid)
        self._stop_faults.wait(self._draw.choice((0, 0.05, 0.3, 1.0, 2.5)))
        self._start(host, daemon)
        self._disturbed.over(host)

    def _start(self, host: str, daemon: str) -> None:
        try:
            deadline = time.monotonic() + READY_S
            daemons.start([self._hosts[host]], daemon, self._hook, deadline_mono_s=deadline)
        except LabError as error:
            self._watched.deaths.append(f"{daemon} of {host} does not start: {error}")
            return
        self._watched.expect(host, daemon)

    def _pause(self, host: str, daemon: str) -> None:
        pid = self._watched.pid(host, daemon)
        if pid is None:
            return
        seconds = self._draw.uniform(0.2, 8)
        self._disturbed.during(host, seconds + 10)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
            self._disturbed.over(host)

    def _fill(self) -> None:
        """Leave no byte free where logs, states and counts are kept, for some seconds."""
        with full_disk(Path("/run")):
            self._stop_faults.wait(self._draw.uniform(2, 6))


@contextmanager
def full_disk(mount: Path) -> Iterator[None]:
    """Fill a tmpfs with a file, and remove it again."""
    filler = mount / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
            file.flush()
    try:
        yield
    finally:
        filler.unlink()


def limit_disk(mount: Path, size_mb: int) -> None:
    """Give a tmpfs a size that can be filled."""
    subprocess.run(["mount", "-o", f"remount,size={size_mb}m", str(mount)], check=True)


def hang_logs(host: Host) -> list[int]:
    """Make a host's logs pipes that are open and never read, from its daemons' next start on."""
    held = []
    for daemon in daemons.DAEMONS:
        path = state.log_path(host, daemon)
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o666)
        held.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    return held


def _await_end(pid: int) -> None:
    while True:
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        if words[0] in "ZX":
            return
        time.sleep(0.005)
