"""What the lab keeps on disk, all of it under /run/netsonde-lab and gone with the lab.

lab.json              shape and rate; written last, so its presence says the lab is whole
server.sock .log      the fork server
bpf/                  a BPF file system, where monitors pin what counts on without them
h5/{monitor,agent}.log .pid, monitor.sock, state/    one host
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from netsonde.lab import namespace, world
from netsonde.lab.errors import LabError
from netsonde.lab.topology import SWITCH_NAMESPACE, Host, Topology

ROOT = Path("/run/netsonde-lab")
RECORD = ROOT / "lab.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """The lab that is up."""

    depth: int
    fanout: int
    rate: str | None
    """Rate of every host's link in each direction; None is unshaped."""
    hook: str
    """Where the monitors count, as `netsonde monitor --hook` takes it."""
    devices: tuple[str, ...] = ()
    """What they view beside, as `netsonde monitor --devices` takes it."""

    @property
    def topology(self) -> Topology:
        """Its hosts and bridges."""
        return Topology(self.depth, self.fanout)

    def save(self) -> None:
        """Write it down: from now on the lab is up."""
        RECORD.write_text(json.dumps(asdict(self)))


def load() -> Lab | None:
    """Read the lab that is up, or None: also when one was left half made or half removed."""
    try:
        lab = Lab(**json.loads(RECORD.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    expected = {SWITCH_NAMESPACE, *(host.namespace for host in lab.topology.hosts)}
    return lab if expected <= set(namespace.names()) else None


def require() -> Lab:
    """Enter the user's world and read the lab that is up; raises LabError when it is not."""
    if world.join() and (lab := load()):
        return lab
    raise LabError("the lab is not up; 'netsonde lab up' builds it")


def leftovers() -> bool:
    """Whether anything of a lab exists, whole or not."""
    return ROOT.exists() or bool(namespace.names())


def remove() -> None:
    """Remove everything under ROOT."""
    shutil.rmtree(ROOT, ignore_errors=True)


def directory(host: Host) -> Path:
    """Directory of one host."""
    return ROOT / host.name


def log_path(host: Host, daemon: str) -> Path:
    """Everything a daemon of a host printed since the lab came up."""
    return directory(host) / f"{daemon}.log"


def pid_path(host: Host, daemon: str) -> Path:
    """Where a daemon of a host is written down."""
    return directory(host) / f"{daemon}.pid"


@contextmanager
def exclusive() -> Iterator[None]:
    """Keep a second command from building or removing the lab; raises LabError at once.

    For a caller that is in the user's world. The lock is on /run itself: a file of its own would be
    left behind.
    """
    descriptor = os.open("/run", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("another 'netsonde lab' command is changing the lab; wait") from None
        yield
    finally:
        os.close(descriptor)


def record_process(path: Path, pid: int) -> None:
    """Write down a process so that a later one with its pid is not taken for it."""
    path.write_text(f"{pid} {_start_ticks(pid)}\n")


def recorded_process(path: Path) -> int | None:
    """Give the pid of a process written down, or None when it has ended."""
    try:
        pid, start_ticks = (int(word) for word in path.read_text().split())
        return pid if _start_ticks(pid) == start_ticks else None
    except (OSError, ValueError):
        return None


def _start_ticks(pid: int) -> int:
    # Field 22 of proc(5)'s stat; the second field, a name in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])
