"""Directories of state files: made by root, given to the user who writes them, taken over once.

The one idea: an owner changes by descriptor alone, and only where nobody else can have a hand in
what that descriptor is: of a directory that was just made or is root's and empty, below one that no
other user may write; and, once, of what a user owns there as whom daemons ran before: `nobody`, or
the id of a daemon that had no account yet.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netsonde.daemon.files import Directory
from netsonde.daemon.rights import AGENT, MONITOR, Account, is_mapped
from netsonde.model.errors import Unavailable

_TO_HOLD = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TO_TAKE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS_WRITE = 0o022


def prepared(path: Path, owner: Account, keeps: Sequence[str]) -> tuple[Directory, bool]:
    """Open a directory for its owner; where it is missing, make it, readable by the owner alone.

    `keeps`: the files in it that are taken over from a former user together with it; tells also
    whether that was done. Raises Unavailable with a sentence when another user has or may write it.
    """
    try:
        with parent_of(path) as parent:
            descriptor, made = _opened(path, parent)
            try:
                taken = _given(path, descriptor, parent, owner, keeps, made=made)
            except BaseException:
                os.close(descriptor)
                raise
    except OSError as error:
        raise Unavailable(f"{path} cannot be used: {error.strerror or error}") from None
    return Directory(descriptor, str(path)), taken


@contextmanager
def parent_of(path: Path) -> Iterator[int]:
    """Give a descriptor of the directory that a path is in, and make that where it is missing.

    Raises OSError.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield parent
    finally:
        os.close(parent)


def check_parent(path: Path, parent: int, uid: int) -> None:
    """Refuse to give what is at a path to a user where others could have put something else there.

    Raises Unavailable.
    """
    above = os.fstat(parent)
    others = above.st_mode & _OTHERS_WRITE and not above.st_mode & stat.S_ISVTX
    if others or above.st_uid not in (0, os.geteuid()):
        raise Unavailable(f"{path} is not given to user {uid}: others may write to {path.parent}")


def _opened(path: Path, parent: int) -> tuple[int, bool]:
    """Open it, and tell whether its owner may be changed as that of one just made."""
    name = path.name
    made = False
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        made = True
    return os.open(name, _TO_HOLD | (os.O_NOFOLLOW if made else 0), dir_fd=parent), made


def _given(
    path: Path, descriptor: int, parent: int, owner: Account, keeps: Sequence[str], *, made: bool
) -> bool:
    found = os.fstat(descriptor)
    taken = False
    if found.st_uid != owner.uid:
        if os.geteuid() != 0 or not _is_no_link(path.name, parent, found):
            raise _belongs(path, found, owner)
        taken = found.st_uid in _former_uids() and is_mapped(found.st_uid, found.st_gid)
        if not taken and not (made or (found.st_uid == 0 and not os.listdir(descriptor))):
            raise _belongs(path, found, owner)
        check_parent(path, parent, owner.uid)
        if not found.st_mode & _OTHERS_WRITE:
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, 0o700)
    if found.st_mode & _OTHERS_WRITE:
        raise Unavailable(f"other users may write to {path}; chmod go-w {path}")
    if taken:
        for name in keeps:
            _take(name, descriptor, found.st_uid, owner)
    return taken


def _take(name: str, directory: int, former_uid: int, owner: Account) -> None:
    """Take over a file of the former user's; one that is anything else stays whose it is."""
    try:
        descriptor = os.open(name, _TO_TAKE, dir_fd=directory)
    except OSError:
        return
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == former_uid:
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _is_no_link(name: str, parent: int, found: os.stat_result) -> bool:
    here = os.stat(name, dir_fd=parent, follow_symlinks=False)
    return (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino)


def _former_uids() -> set[int]:
    uids = {AGENT.spare_id, MONITOR.spare_id}
    try:
        return {pwd.getpwnam("nobody").pw_uid, *uids}
    except KeyError:
        return uids


def _belongs(path: Path, found: os.stat_result, owner: Account) -> Unavailable:
    return Unavailable(
        f"{path} belongs to user {found.st_uid}; chown -R {owner.uid}:{owner.gid} {path}"
    )
