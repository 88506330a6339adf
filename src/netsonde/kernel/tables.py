"""The flow table in BPF maps: loaded with a hook's programs, flipped, viewed.

The one idea: the packet path writes into the buffer of the current epoch's parity; a flip moves it
to the other one, and after an RCU barrier nobody writes the old buffer any more, so it can be read
through its mmap with no lock and no system call. Where there are pins, a load and its links outlive
the process, and the next monitor takes them over instead of loading its own.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from netsonde.kernel import _abi, libbpf, syscall
from netsonde.kernel.notebook import PAGE_BYTES, Note, Notebook
from netsonde.kernel.path import CAP_BPF, CAP_NET_ADMIN, Encapsulated
from netsonde.kernel.pins import Pins, Place
from netsonde.kernel.sizing import possible_cpus
from netsonde.model.errors import UnsupportedByKernel

_OBJECTS = Path(__file__).parent
"""Where the programs are: beside this file, as they are built."""
_CAPABILITIES = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_PERFMON": 38, "CAP_BPF": CAP_BPF}


def missing_capabilities() -> list[str]:
    """Name the capabilities that BPF hooks need and this process lacks (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]


_MAPS = ("ns_control", "ns_slices", "ns_hot", "ns_cold", "ns_barrier", "ns_barrier_inner")
_CONFIG = "rodata"
"""How the map of the constants is pinned; libbpf calls it `.rodata`."""


def next_epoch(epoch: int) -> int:
    """Give the epoch after this one, as `ns_next_epoch` of core/flowtable.h."""
    return (epoch + 1) & 0xFFFFFFFF or 2


class Loaded(Protocol):
    """Maps and programs in the kernel, just loaded or taken over."""

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; it stays the object's."""

    def program_fd(self, name: str) -> int:
        """File descriptor of a program; it stays the object's."""

    def close(self) -> None:
        """Close maps and programs."""


class BpfTables:
    """A BPF object's maps as the flow table; a hook's path derives from it and attaches."""

    hook: str
    capabilities = frozenset({CAP_BPF})
    hot: memoryview
    cold: memoryview
    slices: memoryview
    cpus: int
    hash_key: tuple[int, ...]
    encapsulated: Encapsulated
    sample_shift = _abi.SAMPLE_SHIFT_LEAST
    whole_device = False
    """Whether all packets are counted that pass its devices, whosever they are."""
    maps: tuple[str, ...] = _MAPS
    adopted = False
    """Whether it was taken over from a monitor that ended, with what was counted meanwhile."""
    whole = True
    """Of one taken over: whether all of the host's traffic was counted meanwhile."""
    notebook: Notebook | None = None
    """Where there are pins: what the next monitor must know."""
    pin_fault: str | None = None
    """Why it could not be pinned, and so ends with this process."""

    def __init__(
        self,
        object_name: str,
        programs: Mapping[str, tuple[int, int]],
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
        encapsulated: Encapsulated = Encapsulated.OUTER,
        pins: Pins | None = None,
    ) -> None:
        """Load the programs (name -> program type, attach type); nothing is attached yet.

        `hash_key`: 8 secret 64-bit words; of a load that is taken over, the former ones stay.
        `lg_buckets`: log2 of the buckets of each slice (a CPU and direction), 3 to 16. `pins`:
        where a former load may be, and where this one is kept. Raises UnsupportedByKernel with the
        kernel's reason.
        """
        missing = missing_capabilities()
        if missing:
            raise UnsupportedByKernel(
                f"counting in the kernel needs {', '.join(missing)}; start the monitor as root"
            )
        self._links: dict[Place, int] = {}
        """(program, where) -> file descriptor of its link."""
        self._maps: list[mmap.mmap] = []
        self._read_news: dict[int, bytes] = {}
        """Parity -> its news when it was flipped away from."""
        self._programs = tuple(programs)
        self._pins = pins
        self.lg_buckets = lg_buckets
        self.encapsulated = encapsulated
        self.cpus = possible_cpus()
        self._schema = self._digest(object_name)
        taken = pins.take(self.hook, self._schema) if pins else None
        self._object: Loaded
        if taken:
            self._object, self._links, self.adopted = taken, taken.links, True
        else:
            self._object = self._load(object_name, programs, hash_key)
        try:
            self._view_maps(hash_key)
        except OSError as error:
            self.close()
            raise UnsupportedByKernel(f"the table cannot be mapped ({error.strerror})") from None

    def _config(self, hash_key: Sequence[int]) -> bytes:
        config = np.zeros(1, _abi.CONFIG)
        config["hash_key"], config["lg_buckets"] = hash_key, self.lg_buckets
        config["sample_shift"] = self.sample_shift
        config["encapsulated"] = self.encapsulated.number
        config["whole_device"] = self.whole_device
        return config.tobytes()

    def _digest(self, object_name: str) -> str:
        """Name all that two loads must have in common to be taken for each other."""
        code = (_OBJECTS / object_name).read_bytes()
        constants = self._config([0] * _abi.HASH_WORDS)
        sizes = struct.pack("<II", _abi.ABI_VERSION, self.cpus)
        return f"{crc32(code):08x}{crc32(constants + sizes):08x}"

    def _load(
        self,
        object_name: str,
        programs: Mapping[str, tuple[int, int]],
        hash_key: Sequence[int],
    ) -> libbpf.Object:
        loading = libbpf.Object(_OBJECTS / object_name)
        try:
            loading.set_constants(self._config(hash_key))
            loading.set_entries("ns_control", PAGE_BYTES // _abi.CONTROL.itemsize)
            loading.set_entries("ns_slices", self._slice_count)
            for name in ("ns_hot", "ns_cold"):
                loading.set_entries(name, self._slice_count << self.lg_buckets)
            for program, (program_type, attach_type) in programs.items():
                loading.use_program(program, program_type, attach_type)
            loading.load()
        except BaseException:
            loading.close()
            raise
        return loading

    @property
    def _slice_count(self) -> int:
        return self.cpus * _abi.DIRECTIONS * _abi.PARITIES

    def _view_maps(self, hash_key: Sequence[int]) -> None:
        buckets = self._slice_count << self.lg_buckets
        self.slices = self._view("ns_slices", self._slice_count * _abi.SLICE.itemsize)
        self._counts = _counts(self.slices)
        self.hot = self._view("ns_hot", buckets * _abi.HOT.itemsize)
        self.cold = self._view("ns_cold", buckets * _abi.COLD.itemsize)
        self._page = memoryview(self._map("ns_control", PAGE_BYTES, writable=True))
        self._control = self._page.cast("Q")
        if self.adopted:
            config = np.frombuffer(self._view(_CONFIG, _abi.CONFIG.itemsize), _abi.CONFIG)[0]
            self.hash_key = tuple(int(word) for word in config["hash_key"])
            self.sample_shift = self._control[0] >> 32
            self._barrier()  # the former monitor may have died while it waited for it
        else:
            self.hash_key = tuple(hash_key)
            self._write_control(1)

    def attach(self) -> None:
        """Begin to count in the current network namespace, on all hooks or none.

        Raises UnsupportedByKernel with the reason, or Busy when somebody else holds a hook.
        """
        if self._pins and not self.adopted:
            self._pins.clear()  # what is pinned and cannot be used must not count beside us
        self._attach()
        if self._pins:
            self._keep(self._pins)

    def _attach(self) -> None:
        """Attach wherever nothing of ours is attached yet."""
        raise UnsupportedByKernel(self.hook)

    def _keep(self, pins: Pins) -> None:
        """Let everything outlive this process, if it can."""
        place, notebook = (self.hook, self._schema), Notebook(self._page)
        try:
            if not self.adopted:
                notebook.load_id = int.from_bytes(os.urandom(8), "little")
                notebook.write(Note(0, time.time_ns(), b""))
                maps = {name: self._object.map_fd(name) for name in self.maps}
                maps[_CONFIG] = self._object.map_fd(".rodata")
                programs = {name: self._object.program_fd(name) for name in self._programs}
                pins.keep(*place, maps, programs)
            pins.keep_links(*place, self._links)
        except OSError as error:
            pins.clear()
            self.pin_fault = f"nothing can be pinned ({error.strerror})"
        else:
            self.notebook = notebook

    def refresh(self) -> None:
        """Nothing to follow, unless a hook says otherwise."""

    @property
    def epoch(self) -> int:
        """The epoch packets are counted into now."""
        return self._control[0] & 0xFFFFFFFF

    def flip(self) -> int:
        """Move the packet path to the next epoch and give the closed one.

        When it returns, no packet is being counted into the closed epoch any more and all of its
        counts are visible. Blocks for an RCU grace period, some 10 ms, without the GIL.
        """
        closed = self.epoch
        self._write_control(next_epoch(closed))
        self._barrier()
        self._read_news[closed & 1] = self._news(closed & 1)
        return closed

    def is_untouched(self) -> bool:
        """Tell whether nothing was counted since the last flip."""
        parity = self.epoch & 1
        return self._read_news.get(parity) == self._news(parity)

    def _news(self, parity: int) -> bytes:
        """Copy what changes in a parity's slices whenever anything is counted in a new epoch.

        The first packet of a flow in an epoch is an insert or contended, anything else is a drop
        (core/flowtable.h), and of each the number only grows.
        """
        return self._counts[parity].tobytes()

    def _barrier(self) -> None:
        """Wait until every program that runs now has ended."""
        inner = struct.pack("<I", self._object.map_fd("ns_barrier_inner"))
        syscall.update_map(self._object.map_fd("ns_barrier"), bytes(4), inner)

    def run(self, program: str, packet: bytes, repeat: int = 1) -> None:
        """Count a packet by a program without the network (BPF_PROG_TEST_RUN)."""
        syscall.run_program(self._object.program_fd(program), packet, repeat)

    def detach(self) -> None:
        """Close every link: stop counting, unless it is pinned; the maps stay readable."""
        for link in self._links.values():
            os.close(link)
        self._links.clear()

    def close(self) -> None:
        """Let go: what is not pinned ends. The views must not be used any more."""
        self.detach()
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_control(self, epoch: int) -> None:
        # An aligned store through a native view is one instruction, hence never torn.
        self._control[0] = self.sample_shift << 32 | epoch

    def _view(self, name: str, size_bytes: int) -> memoryview:
        return memoryview(self._map(name, size_bytes, writable=False))[:size_bytes]

    def _map(self, name: str, size_bytes: int, *, writable: bool) -> mmap.mmap:
        mapped = syscall.map_view(self._object.map_fd(name), size_bytes, writable=writable)
        self._maps.append(mapped)
        return mapped


def _counts(slices: memoryview) -> list[NDArray[np.uint64]]:
    """View what slices count, for each parity; `busy` lies before it, the HyperLogLog behind."""
    fields = dict(_abi.SLICE.fields or {})
    begin, end = (fields[name][1] // 8 for name in ("contended_packets", "reserved"))
    words = np.frombuffer(slices, np.uint64).reshape(-1, _abi.SLICE.itemsize // 8)
    return [words[parity :: _abi.PARITIES, begin:end] for parity in range(_abi.PARITIES)]
