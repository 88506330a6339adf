"""Pins: maps, programs and links that stay in the kernel when their process ends.

Each load of the programs has one directory, named for what may take it over:

    <pin_dir>/<network namespace>-<hook>-<schema>/  map_ns_hot  program_ns_local_in  link_...

The one idea: the schema is a digest of the programs and the sizes of their maps, so a monitor finds
either exactly what it would have loaded itself, or nothing that it may use. The directory is
root's: what a monitor pins, it pins before it gives up root.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netsonde.kernel import syscall
from netsonde.model.errors import UnsupportedByKernel

_LIBC = ctypes.CDLL(None, use_errno=True)
_DEFAULT_MOUNT = Path("/sys/fs/bpf")
_LAST = "map_ns_control"
"""Pinned last: a directory without it is one that a killed monitor left half made."""
_HOME = re.compile(r"\d+-[a-z]+-[0-9a-f]{16}")
_MAP, _PROGRAM, _LINK = "map_", "program_", "link_"
Place = tuple[str, int]
"""A program and where it is attached: a family of addresses, or the index of a device."""


@dataclass(slots=True)
class Pinned:
    """A load that was taken over, with the face of `libbpf.Object`."""

    maps: dict[str, int] = field(default_factory=dict)
    programs: dict[str, int] = field(default_factory=dict)
    links: dict[Place, int] = field(default_factory=dict)

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; it stays the object's."""
        return self.maps[name]

    def program_fd(self, name: str) -> int:
        """File descriptor of a program; it stays the object's."""
        return self.programs[name]

    def close(self) -> None:
        """Close maps and programs; what is pinned lives on. Links are their taker's to close."""
        for descriptor in [*self.maps.values(), *self.programs.values()]:
            os.close(descriptor)
        self.maps.clear()
        self.programs.clear()


class Pins:
    """The pins of one network namespace in a directory of a BPF file system."""

    def __init__(self, directory: Path) -> None:
        """Make the directory, and mount a BPF file system where there is none.

        Raises UnsupportedByKernel with the reason, also when others may write to it.
        """
        self._directory = directory
        self._namespace = os.stat("/proc/thread-self/ns/net").st_ino
        self.removed = 0
        """Loads that were pinned here and had to go."""
        try:
            _mount_where_missing(directory)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(directory)
        except OSError as error:
            raise UnsupportedByKernel(
                f"nothing can be pinned in {directory} ({error.strerror}); "
                f"it must lie on a BPF file system: mount -t bpf bpf {_DEFAULT_MOUNT}"
            ) from None

    def hooks(self) -> list[str]:
        """Name the hooks whose loads are pinned for this network namespace."""
        return [path.name.split("-")[1] for path in self._own()]

    def take(self, hook: str, schema: str) -> Pinned | None:
        """Open what is pinned for this hook and schema; None when it is not there, or not whole."""
        home = self._home(hook, schema)
        if not (home / _LAST).exists():
            return None
        taken = Pinned()
        try:
            for path in sorted(home.iterdir()):
                _take_one(taken, path)
        except OSError:
            for link in taken.links.values():
                os.close(link)
            taken.close()
            return None
        return taken

    def keep(
        self, hook: str, schema: str, maps: Mapping[str, int], programs: Mapping[str, int]
    ) -> None:
        """Pin a load, all of it or nothing; raises OSError. Its links are for `keep_links`."""
        home = self._home(hook, schema)
        home.mkdir(mode=0o700)
        names = {_MAP + name: descriptor for name, descriptor in maps.items()}
        names |= {_PROGRAM + name: descriptor for name, descriptor in programs.items()}
        try:
            for name in sorted(names, key=lambda name: name == _LAST):
                syscall.pin(names[name], str(home / name))
        except OSError:
            _remove(home)
            raise

    def keep_links(self, hook: str, schema: str, links: Mapping[Place, int]) -> None:
        """Pin exactly these links of a load that is kept; raises OSError."""
        home = self._home(hook, schema)
        for path in home.glob(f"{_LINK}*"):
            path.unlink()
        for (program, where), link in links.items():
            syscall.pin(link, str(home / f"{_LINK}{program}_{where}"))

    def clear(self) -> None:
        """Remove whatever is pinned for this network namespace; what no process holds, ends."""
        for home in self._own():
            _remove(home)
            self.removed += 1

    def _own(self) -> list[Path]:
        own = f"{self._namespace}-"
        return [home for home in _homes(self._directory) if home.name.startswith(own)]

    def _home(self, hook: str, schema: str) -> Path:
        return self._directory / f"{self._namespace}-{hook}-{schema}"


def find() -> list[Path]:
    """Give the directory of every load that is pinned on a BPF file system of this system."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = {Path(mount[1]) for mount in mounts if mount[2] == "bpf"}
    return sorted({path.parent for place in places for path in place.rglob(_LAST)})


def _homes(directory: Path) -> list[Path]:
    """List the loads in a directory, whole or half made; others may pin there too."""
    try:
        return sorted(home for home in directory.iterdir() if _HOME.fullmatch(home.name))
    except FileNotFoundError:
        return []


def remove_all(directory: Path) -> int:
    """Remove every load in a pin directory, and it when empty; gives how many there were.

    Raises OSError.
    """
    homes = _homes(directory)
    for home in homes:
        _remove(home)
    if homes and not any(directory.iterdir()) and not directory.is_mount():
        directory.rmdir()
    return len(homes)


def _take_one(taken: Pinned, path: Path) -> None:
    descriptor = syscall.pinned(str(path))
    if path.name.startswith(_MAP):
        taken.maps[path.name.removeprefix(_MAP)] = descriptor
    elif path.name.startswith(_PROGRAM):
        taken.programs[path.name.removeprefix(_PROGRAM)] = descriptor
    else:
        program, _, where = path.name.removeprefix(_LINK).rpartition("_")
        taken.links[program, int(where)] = descriptor


def _remove(home: Path) -> None:
    for path in home.iterdir():
        path.unlink()
    home.rmdir()


def _check_owner(directory: Path) -> None:
    """Refuse a directory in which others could place maps that this monitor would read.

    Raises UnsupportedByKernel.
    """
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise UnsupportedByKernel(
            f"nothing is pinned in {directory}, nor taken from it: other users may write to it"
        )


def _mount_where_missing(directory: Path) -> None:
    """Mount a BPF file system at its usual place, or at a directory elsewhere."""
    place = _DEFAULT_MOUNT if directory.is_relative_to(_DEFAULT_MOUNT) else directory
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    bpf = {Path(mount[1]) for mount in mounts if mount[2] == "bpf"}
    if not bpf & {directory, *directory.parents}:
        place.mkdir(parents=True, exist_ok=True)
        if _LIBC.mount(b"bpf", os.fsencode(place), b"bpf", ctypes.c_ulong(0), b"mode=700"):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
