"""What every way of counting packets has in common, whatever hook it uses."""

from __future__ import annotations

from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from netsonde.kernel import _abi
from netsonde.kernel.notebook import Notebook

CAP_NET_ADMIN, CAP_BPF = 12, 39
"""Numbers of capabilities (linux/capability.h)."""


class Encapsulated(StrEnum):
    """Which one is counted of a packet in a tunnel of this host and the packet that carries it.

    A tunnel is told by the device that is its inner side; a carrier by protocol and port.
    """

    OUTER = "outer"
    """The carrier: what is on the wire."""
    EXCLUDE = "exclude"
    """What is carried: what applications send and receive; carriers are not counted."""

    @property
    def number(self) -> int:
        """As in `core/abi.h`."""
        return {
            Encapsulated.OUTER: _abi.ENCAPSULATED_OUTER,
            Encapsulated.EXCLUDE: _abi.ENCAPSULATED_EXCLUDE,
        }[self]


class CountingPath(Protocol):
    """A flow table that packets of one network namespace are counted into.

    `hot`, `cold` and `slices` are views of it as `core/abi.h` lays it out. A context manager that
    lets go of it at its end: of what is pinned, nothing ends.
    """

    hook: str
    """Name of the hook, as `--hook` takes it and answers show it."""
    capabilities: frozenset[int]
    """What `refresh`, `flip` and `close` need once attached; everything else may be given up."""
    hot: memoryview
    cold: memoryview
    slices: memoryview
    cpus: int
    """Slices per direction and parity."""
    lg_buckets: int
    hash_key: tuple[int, ...]
    """8 secret words that place flows."""
    adopted: bool
    """Whether it counted before this process began, for a monitor that ended."""
    whole: bool
    """Of one that was adopted: whether it counted all of the host's traffic meanwhile."""
    notebook: Notebook | None
    """What one monitor leaves for the next; None for what ends with this process."""
    pin_fault: str | None
    """Why it ends with this process though it was to be pinned."""
    sample_shift: int
    """1 of 2^sample_shift flows is sampled from the next flip on; never below its first value."""

    def attach(self) -> None:
        """Begin to count in the current network namespace, on all its hooks or none.

        Raises UnsupportedByKernel with the reason, or Busy when somebody else holds the hook.
        """

    def refresh(self) -> None:
        """Follow the host: its addresses and devices may have changed. Cheap, once a second."""

    def flip(self) -> int:
        """Close the current epoch and give its number; nobody writes it when this returns."""

    def is_untouched(self) -> bool:
        """Tell whether certainly nothing was counted since the last flip; cheap.

        What is being counted on another CPU at that moment will be of the current epoch.
        """

    def close(self) -> None:
        """Detach and free everything; the views must not be used any more."""

    def __enter__(self) -> Self:
        """Give the path itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the path."""
