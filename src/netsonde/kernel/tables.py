"""The flow table in BPF maps: loaded with a hook's programs, flipped, viewed.

The one idea: the packet path writes into the buffer of the current epoch's parity; a flip moves it
to the other one, and after an RCU barrier nobody writes the old buffer any more, so it can be read
through its mmap with no lock and no system call.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from netsonde.kernel import _abi, libbpf, syscall
from netsonde.kernel.path import CAP_BPF, CAP_NET_ADMIN
from netsonde.model.errors import UnsupportedByKernel

_CAPABILITIES = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_PERFMON": 38, "CAP_BPF": CAP_BPF}


def missing_capabilities() -> list[str]:
    """Name the capabilities that BPF hooks need and this process lacks (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]


class BpfTables:
    """A BPF object's maps as the flow table; a hook's path derives from it and adds `attach`."""

    hook: str
    capabilities = frozenset({CAP_BPF})
    hot: memoryview
    cold: memoryview
    slices: memoryview
    cpus: int
    sample_shift = _abi.SAMPLE_SHIFT_LEAST

    def __init__(
        self,
        object_name: str,
        programs: Mapping[str, tuple[int, int]],
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
    ) -> None:
        """Load the programs (name -> program type, attach type); nothing is attached yet.

        `hash_key`: 8 secret 64-bit words. `lg_buckets`: log2 of the buckets of each slice (a CPU
        and direction), 3 to 16. Raises UnsupportedByKernel with the kernel's reason.
        """
        missing = missing_capabilities()
        if missing:
            raise UnsupportedByKernel(
                f"counting in the kernel needs {', '.join(missing)}; start the monitor as root"
            )
        with resources.as_file(resources.files("netsonde.kernel") / object_name) as path:
            self._object = libbpf.Object(path)
        self._links: dict[tuple[str, int], int] = {}
        """(program, where) -> file descriptor of its link."""
        self._maps: list[mmap.mmap] = []
        self.lg_buckets = lg_buckets
        try:
            self._load(programs, hash_key)
        except BaseException:
            self._object.close()
            raise

    def _load(self, programs: Mapping[str, tuple[int, int]], hash_key: Sequence[int]) -> None:
        loading = self._object
        self.cpus = loading.possible_cpus
        slices = self.cpus * _abi.DIRECTIONS * _abi.PARITIES
        buckets = slices << self.lg_buckets
        config = np.zeros(1, _abi.CONFIG)
        config["hash_key"], config["lg_buckets"] = hash_key, self.lg_buckets
        config["sample_shift"] = self.sample_shift
        loading.set_constants(config.tobytes())
        loading.set_entries("ns_slices", slices)
        loading.set_entries("ns_hot", buckets)
        loading.set_entries("ns_cold", buckets)
        for program, (program_type, attach_type) in programs.items():
            loading.use_program(program, program_type, attach_type)
        loading.load()
        self.slices = self._view("ns_slices", slices * _abi.SLICE.itemsize)
        self.hot = self._view("ns_hot", buckets * _abi.HOT.itemsize)
        self.cold = self._view("ns_cold", buckets * _abi.COLD.itemsize)
        control = self._map("ns_control", _abi.CONTROL.itemsize, writable=True)
        self._control = memoryview(control)[: _abi.CONTROL.itemsize].cast("Q")
        self._write_control(1)

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
        self._write_control((closed + 1) & 0xFFFFFFFF or 2)
        inner = struct.pack("<I", self._object.map_fd("ns_barrier_inner"))
        syscall.update_map(self._object.map_fd("ns_barrier"), bytes(4), inner)
        return closed

    def run(self, program: str, packet: bytes, repeat: int = 1) -> None:
        """Count a packet by a program without the network (BPF_PROG_TEST_RUN)."""
        syscall.run_program(self._object.program_fd(program), packet, repeat)

    def detach(self) -> None:
        """Close every link: stop counting; the maps stay readable."""
        for link in self._links.values():
            os.close(link)
        self._links.clear()

    def close(self) -> None:
        """Detach and free everything; the views must not be used any more."""
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
