"""Where the lab's monitors pin what counts on without them: a BPF file system of the lab's own.

The one idea: it is mounted among the lab's files, so when it goes, all that was pinned in it ends,
and nothing is ever left in the machine's own.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from netsonde.lab import state
from netsonde.lab.topology import Host

MOUNT = state.ROOT / "bpf"
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def mount() -> None:
    """Mount it; where that is not allowed, monitors pin nothing."""
    MOUNT.mkdir()
    _libc.mount(b"bpf", os.fsencode(MOUNT), b"bpf", ctypes.c_ulong(0), b"mode=700")


def remove() -> None:
    """Unmount it, and so end whatever is pinned."""
    while MOUNT.is_mount():
        if _libc.umount2(os.fsencode(MOUNT), _MNT_DETACH):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(MOUNT))


def directory(host: Host) -> Path | None:
    """Give the pin directory of a host's monitor, None where there can be none."""
    return MOUNT / host.name if MOUNT.is_mount() else None
