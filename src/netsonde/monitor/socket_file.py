"""The monitor's socket as a file: a dead monitor's is replaced, and nothing else ever is."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from netsonde.daemon.directories import check_parent, parent_of
from netsonde.model.errors import Busy, Unavailable

_NO_OTHERS = 0o177


def bind(path: Path, owner_uid: int) -> socket.socket:
    """Bind the socket file, readable by its owner alone; a dead monitor's file is replaced.

    Everything goes by the descriptor of its directory, and no link is followed in it. Raises Busy
    when a living monitor answers there, Unavailable when something else than a socket is there or
    others could exchange it, OSError otherwise; each changes nothing.
    """
    with parent_of(path) as parent:
        # bind(2) and connect(2) know no directory descriptor, but this path is one.
        reached = f"/proc/self/fd/{parent}/{path.name}"
        _remove_dead(path, parent, reached)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(_NO_OTHERS)
        try:
            if owner_uid != os.geteuid():
                check_parent(path, parent, owner_uid)
            listener.bind(reached)
            if owner_uid != os.geteuid():
                os.chown(path.name, owner_uid, -1, dir_fd=parent, follow_symlinks=False)
        except (OSError, Unavailable):
            listener.close()
            raise
        finally:
            os.umask(before)
    return listener


def _remove_dead(path: Path, parent: int, reached: str) -> None:
    with suppress(FileNotFoundError):
        found = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISSOCK(found.st_mode):
            raise Unavailable(f"{path} is no socket; it is left as it is")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                with suppress(BlockingIOError):  # it is too busy to take another one, so it lives
                    probe.connect(reached)
            except ConnectionRefusedError:
                now = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
                if (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino):
                    os.unlink(path.name, dir_fd=parent)
            else:
                raise Busy(f"another monitor answers on {path}")
