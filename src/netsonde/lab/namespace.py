"""Network namespaces by name, and the processes that live in them.

The one idea: a process belongs to the lab if and only if its network namespace does. So nothing
has to be written down to find every process of a lab, a killed lab included, and a pid that was
given to somebody else is never taken for ours.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netsonde.lab.errors import LabError

DIRECTORY = Path("/run/netns")
OURS = re.compile(r"netsonde-(net|h\d+)")
GRACE_S = 3.0
"""How long a process may take to end by itself after SIGTERM."""
CLONE_NEWNET = 0x40000000

Identity = tuple[int, int]

_libc = ctypes.CDLL(None, use_errno=True)


def _set(descriptor: int) -> None:
    # os.setns needs Python 3.12, and importing pyroute2 for it costs each `lab exec` 0.2 s.
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter(name: str) -> None:
    """Move the calling thread into a namespace; raises OSError when there is none."""
    descriptor = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Run a block in a namespace: sockets opened and processes started in it stay there.

    Affects the calling thread alone, and brings it home however the block ends.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            _set(home)
    finally:
        os.close(home)


def fork_inside(name: str) -> int:
    """Fork as os.fork does, the child being born in a namespace while the parent stays at home."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            pid = os.fork()
        except OSError:
            _set(home)
            raise
        if pid:
            _set(home)
        return pid
    finally:
        os.close(home)


def names() -> list[str]:
    """List the lab's namespaces that have a name, whole or half made."""
    try:
        return sorted(name for name in os.listdir(DIRECTORY) if OURS.fullmatch(name))
    except FileNotFoundError:
        return []


def processes(where: Iterable[str]) -> list[int]:
    """List the pids of everything that lives in these namespaces, except the calling process."""
    homes = _identities(where)
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != os.getpid() and _lives_in(pid, homes)]


def end_processes(where: Iterable[str]) -> None:
    """End everything that lives in these namespaces: SIGTERM, and SIGKILL after a grace period.

    Returns when they are gone, not merely dying; raises LabError when one outlives both signals.
    """
    where = list(where)
    homes = _identities(where)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):  # again, for late forks
        with _held(processes(where)) as held:
            _end([held[pid] for pid in held if _lives_in(pid, homes)], number)
    if left := processes(where):
        raise LabError(f"processes {left} do not end, even by SIGKILL")


def end_process(pid: int, ours: Callable[[], bool]) -> None:
    """End one process as `end_processes` does, if `ours` says it is still the one meant."""
    with _held([pid]) as held:
        descriptors = list(held.values()) if ours() else []
        if not _end(descriptors, signal.SIGTERM):
            _end(descriptors, signal.SIGKILL)


@contextmanager
def _held(pids: Iterable[int]) -> Iterator[dict[int, int]]:
    # A pid may change hands, a descriptor may not: hold first, then look who it is, then signal.
    descriptors: dict[int, int] = {}
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                descriptors[pid] = os.pidfd_open(pid)
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _end(descriptors: Iterable[int], number: signal.Signals) -> bool:
    # A pidfd becomes readable when its process has ended (pidfd_open(2)).
    left = set(descriptors)
    poll = select.poll()
    for descriptor in left:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        poll.register(descriptor, select.POLLIN)
    deadline_mono_s = time.monotonic() + GRACE_S
    while left and (remaining_s := deadline_mono_s - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining_s * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
    return not left


def _identities(where: Iterable[str]) -> set[Identity]:
    found = (_identity(DIRECTORY / name) for name in where)
    return {identity for identity in found if identity}


def _lives_in(pid: int, homes: set[Identity]) -> bool:
    return _identity(Path(f"/proc/{pid}/ns/net")) in homes


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
