"""A world for the lab of an ordinary user: user, mount and network namespaces held by one process.

The one idea: whoever joins the world is root in it, and of nothing else, so that everything the lab
does for root it does there unchanged. The holder listens on an abstract unix socket named for the
user (unix(7)): it is found without a file, exists once, and is gone when its process is.

Root needs no world, and is always in it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle

from netsonde.lab.errors import LabError

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
_NAMESPACES = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET
_READY = b"ready"
_END_MS = 3000

_libc = ctypes.CDLL(None, use_errno=True)


class World:
    """The world that this process is in."""

    def __init__(self, holder: int | None = None) -> None:
        """`holder`: pidfd of the process that holds it; None for root."""
        self._holder = holder

    def end(self) -> None:
        """End the holder; the namespaces go with the last process in them."""
        if self._holder is None:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._holder, signal.SIGTERM)
        ended = select.poll()
        ended.register(self._holder, select.POLLIN)
        if not ended.poll(_END_MS):
            raise LabError("the process that holds the lab's namespaces does not end")


def ensure() -> World:
    """Enter the user's world, and make it if there is none; raises LabError."""
    if (entered := join()) is None:
        _make()
        entered = join()
    if entered is None:
        raise LabError("the namespaces of the lab went away; another 'netsonde lab down' runs")
    return entered


def join() -> World | None:
    """Enter the user's world, if there is one. The working directory stays.

    Raises LabError when somebody else has taken its name.
    """
    if os.geteuid() == 0:
        return World()
    holder = _find_holder()
    if holder is None:
        return None
    home = Path.cwd()
    _check(_libc.setns(holder, _NAMESPACES))
    os.chdir(home)
    return World(holder)


def become_root() -> None:
    """Leave for a fresh world: root of a network of its own, with an empty /run.

    Raises OSError where ordinary users may not make namespaces. For a process of one thread.
    """
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NAMESPACES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", ctypes.c_ulong(0), b"mode=755"))


def _name() -> str:
    return f"\0netsonde-lab-{os.geteuid()}"


def _find_holder() -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(_name())
        except ConnectionRefusedError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("<3i", credentials)
        if uid != os.geteuid():
            raise LabError(f"process {pid} of another user has taken the name of your lab")
        try:
            return os.pidfd_open(pid)  # the process lives: it has our connection
        except ProcessLookupError:
            return None


def _make() -> None:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _hold(tell)
    os.close(tell)
    with open(told, "rb") as reader:
        reason = reader.read()
    if reason != _READY:
        os.waitpid(pid, 0)
        raise LabError(
            f"an ordinary user cannot make the lab's namespaces here ({reason.decode()}); "
            "as root: sudo netsonde lab up"
        )


def _hold(tell: int) -> NoReturn:
    """Be the holder, for as long as the lab is up."""
    try:
        os.setsid()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(_name())
        become_root()
        os.chdir("/")
        setproctitle("netsonde-lab world")
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        listener.listen()
        os.write(tell, _READY)
        os.close(tell)
        while True:
            listener.accept()[0].close()
    except OSError as error:
        os.write(tell, str(error).encode())
    finally:
        os._exit(1)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
