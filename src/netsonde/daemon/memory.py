"""Memory that is freed goes back to the system: a daemon that was busy once is small again.

The one idea: a large block is the system's the moment it is freed, and what smaller ones leave
between them is given back once a second for all. glibc's own way is one or the other: it
raises its bar (mallopt(3), M_MMAP_THRESHOLD) to the largest block that was ever freed, and keeps
the holes for good. A lower bar costs a page fault for every 4 KiB of each block, each time.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MMAP_THRESHOLD_BYTES = 1 << 20
"""A tick of 10,000 flows is less; a flood's ticks are more."""
_NEVER_BYTES = 1 << 30
_LIBC = ctypes.CDLL(None)


def keep_freed() -> None:
    """Let what is freed be taken again without the kernel, until `give_back` is called.

    An allocator without these settings, such as musl's, stays as it is.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
        mallopt(_M_ARENA_MAX, 1)  # ticks are read by one thread and freed by another


def give_back() -> None:
    """Give every page that holds nothing back to the system (malloc_trim(3)); about a millisecond.

    It takes no lock of the interpreter's; threads that take memory meanwhile may wait for it.
    """
    malloc_trim = getattr(_LIBC, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
