"""Giving up root: what is attached stays attached, and one capability is enough to go on.

After attaching, the monitor reads maps through mmap, so it becomes an ordinary user that holds
only what its hook still needs: CAP_BPF for the barrier of a flip, CAP_NET_ADMIN where devices come
and go (capabilities(7), prctl(2)).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from collections.abc import Iterable

from netsonde.model.errors import BadField

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def user_ids(field: str, name: str) -> tuple[int, int]:
    """Give (uid, gid) of a user; raises BadField naming the setting."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise BadField(field, name, "a user of this host, such as nobody") from None
    return entry.pw_uid, entry.pw_gid


def drop_to(uid: int, gid: int, capabilities: Iterable[int]) -> None:
    """Become another user, if root, and keep these capabilities alone, for good; raises OSError.

    Must be called before other threads exist: capabilities belong to a thread.
    """
    # Root of a user namespace may be its only user, and then is an ordinary one outside.
    if os.getuid() == 0 != uid:
        _prctl(_PR_SET_KEEPCAPS)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    words = [0, 0, 0, 0, 0, 0]  # effective, permitted, inheritable; low word, then high word
    for number in capabilities:
        effective = 3 * (number // 32)
        words[effective] |= 1 << number % 32
        words[effective + 1] |= 1 << number % 32
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), 8)
    sets = ctypes.create_string_buffer(struct.pack("<6I", *words), 24)
    if _LIBC.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset refused the capabilities to keep")
    _prctl(_PR_SET_NO_NEW_PRIVS)


def _prctl(option: int) -> None:
    if _LIBC.prctl(option, 1, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
