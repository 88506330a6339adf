"""State files of a daemon: replaced whole or not at all, and read only if they seem right.

The one idea: a directory is held by a descriptor, and a file in it is a name below that. A link is
never followed, and only a regular file, of this user or root and not too large, is ever read.

Every call of the system goes through `System`, so that a test can end the process, cut the power or
fill the disk at each of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from netsonde.model.errors import Busy, Unavailable

_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TO_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TO_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o600
"""Whatever is kept may hold secrets."""
_MAX_PID_BYTES = 32
_CLOSED = -1
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class System:
    """The calls of the system that keep a file, each as in `os`; all raise OSError."""

    def open(self, name: str, flags: int, directory: int) -> int:
        """Open a name below a directory; what it makes is its user's alone."""
        return os.open(name, flags, _MODE, dir_fd=directory)

    def stat(self, descriptor: int) -> os.stat_result:
        """Tell what a descriptor is."""
        return os.fstat(descriptor)

    def read(self, descriptor: int, most: int) -> bytes:
        """Read up to so many bytes."""
        return os.read(descriptor, most)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write the beginning of data; gives how much."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until a file, or the names of a directory, are on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close."""
        os.close(descriptor)

    def rename(self, name: str, new: str, directory: int) -> None:
        """Give a file another name, in the place of what has that."""
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=directory)

    def unlink(self, name: str, directory: int) -> None:
        """Remove a name."""
        os.unlink(name, dir_fd=directory)

    def modified_ns(self, name: str, directory: int) -> int:
        """Tell when what has this name was written last; raises FileNotFoundError."""
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns


class Directory:
    """A directory of state files, which this process alone uses once it has locked it."""

    def __init__(self, descriptor: int, path: str, system: System | None = None) -> None:
        """Hold a directory, open already; the descriptor becomes this object's.

        `path` is for people alone.
        """
        self.descriptor = descriptor
        self.path = path
        self._system = system or System()
        self._lock: int | None = None

    def __enter__(self) -> Directory:
        """Use it until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, and so let another process lock it."""
        self.close()

    def close(self) -> None:
        """Let it go, and its lock; harmless when that was done, as the numbers are others' then."""
        held, self._lock, self.descriptor = (self._lock, self.descriptor), None, _CLOSED
        for descriptor in held:
            if descriptor not in (None, _CLOSED):
                self._system.close(descriptor)

    def place(self, name: str) -> str:
        """Say where a file is."""
        return f"{self.path}/{name}"

    def lock(self, name: str) -> None:
        """Make it this process's for life.

        Raises Busy naming the process that has it, Unavailable when it cannot be locked.
        """
        try:
            lock = self._system.open(name, _TO_LOCK, self.descriptor)
        except OSError as error:
            raise Unavailable(f"{self.place(name)} cannot be locked: {_why(error)}") from None
        try:
            self._regular(lock, name)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):  # a full disk: then others are not told who has it
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(lock, _MAX_PID_BYTES, 0).decode("ascii", "replace").strip()
            self._system.close(lock)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise Busy(
                f"{self.path} is in use by {who}; each needs a directory of its own"
            ) from None
        except (OSError, Unavailable) as error:
            self._system.close(lock)
            raise Unavailable(f"{self.place(name)} cannot be locked: {error}") from None
        self._lock = lock

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read a file; None when there is none. What cannot be read stays as it is.

        Raises Unavailable with a sentence, and reads nothing, when it is no regular file, another
        user's, or too large.
        """
        try:
            descriptor = self._retried_open(name, _TO_READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self.place(name)} cannot be read: {_why(error)}") from None
        with self._closing(descriptor):
            if (size := self._regular(descriptor, name).st_size) > max_bytes:
                raise Unavailable(
                    f"{self.place(name)} has {size} bytes, which is more than {max_bytes}"
                )
            try:
                return self._read_all(descriptor, name, max_bytes)
            except OSError as error:
                raise Unavailable(f"{self.place(name)} cannot be read: {_why(error)}") from None

    def replace(self, name: str, data: bytes) -> None:
        """Put data in the place of a file, for good once this returns.

        Raises Unavailable; then the file is what it was or what it was to be, and whole.
        """
        side = f"{name.partition('.')[0]}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._system.unlink(side, self.descriptor)  # of one that was killed
            self._write_side(side, data)
            self._system.rename(side, name, self.descriptor)
            self._sync_names()
        except OSError as error:
            self._forget(side)
            raise Unavailable(f"{self.place(name)} cannot be written: {_why(error)}") from None

    def set_aside(self, stem: str, data: bytes, most: int) -> str:
        """Write data to one of `most` files `<stem>.bad-<n>`, the oldest one when all are there.

        Gives its name; raises Unavailable.
        """
        names = [f"{stem}.bad-{number}" for number in range(1, most + 1)]
        chosen = min(names, key=self._age)
        self.replace(chosen, data)
        return chosen

    def _age(self, name: str) -> int:
        try:
            return self._system.modified_ns(name, self.descriptor)
        except OSError:
            return -1

    def _regular(self, descriptor: int, name: str) -> os.stat_result:
        found = self._system.stat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
            raise Unavailable(f"{self.place(name)} is {kind} and no regular file")
        if found.st_uid not in (0, os.geteuid()):
            raise Unavailable(
                f"{self.place(name)} belongs to user {found.st_uid}, and not to {os.geteuid()}"
            )
        return found

    def _retried_open(self, name: str, flags: int) -> int:
        while True:
            with contextlib.suppress(InterruptedError):
                return self._system.open(name, flags, self.descriptor)

    def _read_all(self, descriptor: int, name: str, max_bytes: int) -> bytes:
        parts: list[bytes] = []
        missing = max_bytes + 1
        while missing:
            try:
                part = self._system.read(descriptor, missing)
            except InterruptedError:
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)
            missing -= len(part)
        raise Unavailable(f"{self.place(name)} grows beyond {max_bytes} bytes")

    def _write_side(self, side: str, data: bytes) -> None:
        descriptor = self._retried_open(side, _TO_MAKE)
        with self._closing(descriptor):
            left = memoryview(data)
            while left:
                with contextlib.suppress(InterruptedError):
                    left = left[self._system.write(descriptor, left) :]
            self._system.sync(descriptor)

    def _sync_names(self) -> None:
        try:
            self._system.sync(self.descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system whose directories have no fsync
                raise

    def _forget(self, side: str) -> None:
        with contextlib.suppress(OSError):
            self._system.unlink(side, self.descriptor)

    @contextmanager
    def _closing(self, descriptor: int) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                self._system.close(descriptor)
            raise
        with contextlib.suppress(InterruptedError):  # it is closed all the same (close(2))
            self._system.close(descriptor)


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    return error.strerror or str(error)
