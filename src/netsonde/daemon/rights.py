"""Rights of a daemon: whom it becomes, and what it can never do again.

The one idea: two daemons are two users, so that neither can signal, trace or read the other, and no
other service of the host is either of them. Both begin with `confine`, before there are threads,
since some of it belongs to a thread; what needs root is done next, and `give_up` ends it for good.
(capabilities(7), prctl(2), proc(5))
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netsonde.model.errors import BadField

AUTO = "auto"
"""The setting that means: the account made for this daemon, else an id that no account has."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_MAX_ID = (1 << 32) - 2
"""The last one means `unchanged`."""


@dataclass(frozen=True, slots=True)
class Service:
    """A daemon that has a user of its own."""

    account: str
    """Name of its account, where the host has one."""
    spare_id: int
    """Its user and group where the host has no such account."""


# 65520 to 65533 belong to nobody: below are systemd's dynamic users (61184 to 65519), above are
# `nobody` and what 16 bits take for none (systemd.io/UIDS-GIDS), useradd ends at 60000 and
# subordinate ids begin at 100000 (login.defs(5)), and Debian keeps 65000 to 65533 free (Policy
# 9.2.2). Being below 65536 they exist in containers too, which are mostly given 65536 ids.
AGENT = Service("netsonde", 65526)
MONITOR = Service("netsonde-monitor", 65527)


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its group."""

    uid: int
    gid: int


def account(field: str, wanted: str, service: Service) -> Account:
    """Find whom a daemon becomes: by name, by number, or by `auto` as `Service` says.

    Where this process cannot become another user, `auto` is the user that it is. Raises BadField
    naming the setting.
    """
    if wanted == AUTO:
        return _automatic(field, service)
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:11]) <= _MAX_ID:
        number = int(wanted)
        with suppress(KeyError):
            return Account(number, pwd.getpwuid(number).pw_gid)
        return Account(number, number)
    try:
        entry = pwd.getpwnam(wanted)
    except (KeyError, ValueError):
        allowed = f"a user of this host, by name or number, or {AUTO}"
        raise BadField(field, wanted, allowed) from None
    return Account(entry.pw_uid, entry.pw_gid)


def own() -> Account:
    """Tell whom this process is."""
    return Account(os.geteuid(), os.getegid())


def is_mapped(uid: int, gid: int) -> bool:
    """Tell whether both exist in this user namespace, so that its root may become them."""
    return _maps("uid_map", uid) and _maps("gid_map", gid)


def confine() -> None:
    """Rule out, for this process and all its threads to come, more rights than it has now.

    Empties the bounding set where that is allowed, as for root: then no program that is run can
    have a capability. Leaves no core. Nothing that this process may do now is taken from it.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for number in range(_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, number)
        except PermissionError:
            break  # no new privileges suffice: an ordinary user has none to lose
        except OSError:
            break  # the kernel has no more of them
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_up(to: Account, capabilities: Iterable[int] = ()) -> None:
    """Become another user, if root, and keep these capabilities alone, for good; raises OSError.

    What is written from here on is that user's alone, and nobody of its user reads its memory.
    """
    # Root of a user namespace may be its only user, and then is an ordinary one outside.
    if os.geteuid() == 0 != to.uid:
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(to.gid, to.gid, to.gid)
        os.setresuid(to.uid, to.uid, to.uid)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(capabilities)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    os.umask(0o077)


def _automatic(field: str, service: Service) -> Account:
    if os.geteuid() != 0:
        return own()
    try:
        entry = pwd.getpwnam(service.account)
        found = Account(entry.pw_uid, entry.pw_gid)
    except KeyError:
        found = Account(service.spare_id, service.spare_id)
        with suppress(KeyError):
            taken = pwd.getpwuid(service.spare_id).pw_name
            raise BadField(
                field,
                AUTO,
                f"a user by name, since {taken} has the id {service.spare_id} that is taken where "
                f"there is no account {service.account}",
            ) from None
    return found if is_mapped(found.uid, found.gid) else own()


def _maps(kind: str, number: int) -> bool:
    for line in Path("/proc/self", kind).read_text().splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= number < first + count:
            return True
    return False


def _set_capabilities(capabilities: Iterable[int]) -> None:
    words = [0, 0, 0, 0, 0, 0]  # effective, permitted, inheritable; low word, then high word
    for number in capabilities:
        effective = 3 * (number // 32)
        words[effective] |= 1 << number % 32
        words[effective + 1] |= 1 << number % 32
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), 8)
    sets = ctypes.create_string_buffer(struct.pack("<6I", *words), 24)
    if _LIBC.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset refused the capabilities to keep")


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
