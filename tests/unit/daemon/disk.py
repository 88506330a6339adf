"""A disk of one directory that fails, fills, tears and forgets, under `files.System`.

It is as weak as POSIX allows: until a file is synced any of its pages may be lost, and until the
directory is synced any of its names may be as before, each by itself. Its calls are numbered; at
one of them the process ends, or the call fails.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from itertools import count

from netsonde.daemon.files import System

PAGE_BYTES = 7
"""So small that what is written has many."""


class Killed(BaseException):
    """The process ends here; nothing of it runs any more."""


class Inode:
    """A file: what readers see, and what is on the disk for certain."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.durable = b""

    def after_power_cut(self, draw: random.Random) -> bytes:
        """Give what may be found: pages new, old or zero, and any length between."""
        size = draw.randint(
            min(len(self.seen), len(self.durable)), max(len(self.seen), len(self.durable))
        )
        found = bytearray(size)
        for begin in range(0, size, PAGE_BYTES):
            pages = {data[begin : begin + PAGE_BYTES] for data in (bytes(self.seen), self.durable)}
            page = draw.choice(sorted(pages if len(pages) == 1 else pages | {b""}))
            found[begin : begin + len(page)] = page
        return bytes(found[:size])


class Disk(System):
    """One directory, whatever its descriptor."""

    def __init__(self, names: dict[str, bytes]) -> None:
        self.names = {name: Inode() for name in names}
        for name, data in names.items():
            self.names[name].seen[:] = data
            self.names[name].durable = data
        self._durable_names = dict(self.names)
        self._open: dict[int, tuple[Inode | None, int]] = {}
        self._numbers = count(10)
        self.calls = 0
        self.at: Callable[[int, str], None] = lambda number, call: None
        """Is told of each call before it is done; raises to have it fail, or the process end."""
        self.short: Callable[[int], int] = lambda size: size
        """How much of a write or read is done."""

    def power_cut(self, draw: random.Random) -> Disk:
        """Give the disk as it may be found afterwards."""
        if draw.random() < 0.3:  # names are as nobody has lost them, mostly
            names = dict(self.names)
        else:
            names = {
                name: inode
                for name in sorted({*self.names, *self._durable_names})
                if (inode := draw.choice([self.names, self._durable_names]).get(name))
            }
        return Disk({name: inode.after_power_cut(draw) for name, inode in names.items()})

    def killed(self) -> Disk:
        """Give the disk after the process alone has ended: the kernel loses nothing."""
        return Disk({name: bytes(inode.seen) for name, inode in self.names.items()})

    def _call(self, call: str) -> None:
        self.calls += 1
        self.at(self.calls, call)

    def open(self, name: str, flags: int, directory: int) -> int:
        self._call("open")
        if flags & os.O_CREAT:
            if name in self.names and flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, name)
            self.names.setdefault(name, Inode())
        elif name not in self.names:
            raise FileNotFoundError(errno.ENOENT, name)
        number = next(self._numbers)
        self._open[number] = (self.names[name], 0)
        return number

    def stat(self, descriptor: int) -> os.stat_result:
        inode, _ = self._open[descriptor]
        size = len(inode.seen) if inode else 0
        return os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, os.geteuid(), 0, size, 0, 0, 0))

    def read(self, descriptor: int, most: int) -> bytes:
        self._call("read")
        inode, place = self._open[descriptor]
        assert inode
        data = bytes(inode.seen[place : place + min(most, max(1, self.short(most)))])
        self._open[descriptor] = inode, place + len(data)
        return data

    def write(self, descriptor: int, data: memoryview) -> int:
        inode, place = self._open[descriptor]
        assert inode
        done = max(1, self.short(len(data)))
        try:
            self._call("write")
        except BaseException:
            inode.seen[place : place + done // 2] = data[: done // 2]  # torn
            raise
        inode.seen[place : place + done] = data[:done]
        self._open[descriptor] = inode, place + done
        return done

    def sync(self, descriptor: int) -> None:
        self._call("sync")
        inode = self._open[descriptor][0] if descriptor in self._open else None
        if inode is None:
            self._durable_names = dict(self.names)
        else:
            inode.durable = bytes(inode.seen)

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._call("close")

    def rename(self, name: str, new: str, directory: int) -> None:
        self._call("rename")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, name)
        self.names[new] = self.names.pop(name)

    def unlink(self, name: str, directory: int) -> None:
        self._call("unlink")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, name)
        del self.names[name]

    def modified_ns(self, name: str, directory: int) -> int:
        self._call("stat")
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, name)
        return 0

    def left_open(self) -> Iterator[int]:
        """Give the descriptors that nobody has closed."""
        return iter(self._open)
