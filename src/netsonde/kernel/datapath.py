"""The kernel data path of one network namespace: loaded, attached, flipped, viewed.

The one idea: the packet path writes into the buffer of the current epoch's parity; a flip moves it
to the other one, and after an RCU barrier nobody writes the old buffer any more, so it can be read
through its mmap with no lock and no system call.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType

import numpy as np

from netsonde.kernel import _abi, libbpf, syscall
from netsonde.model.errors import Busy, UnsupportedByKernel

HOOK = "netfilter"
SAMPLE_SHIFT = 6
_FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_LOCAL_IN, _LOCAL_OUT = 1, 3
# Inbound packets are counted before the firewall may drop them (it filters at priority 0), outbound
# ones after: what reached this host, and what left it.
_HOOKS = {"ns_local_in": (_LOCAL_IN, -11), "ns_local_out": (_LOCAL_OUT, 11)}
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_PERFMON": 38, "CAP_BPF": 39}


def missing_capabilities() -> list[str]:
    """Name the capabilities that attaching needs and this process lacks (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]


class Datapath:
    """Programs and maps of one network namespace; a context manager that detaches at its end.

    `hot`, `cold` and `slices` are read-only views of the maps as `core/abi.h` lays them out.
    """

    hot: memoryview
    cold: memoryview
    slices: memoryview
    cpus: int
    """Possible CPUs: slices per direction and parity."""

    def __init__(self, *, hash_key: Sequence[int], lg_buckets: int) -> None:
        """Load the programs; nothing is attached yet.

        `hash_key`: 8 secret 64-bit words. `lg_buckets`: log2 of the buckets of each slice (a CPU
        and direction), 3 to 16. Raises UnsupportedByKernel with the kernel's reason.
        """
        missing = missing_capabilities()
        if missing:
            raise UnsupportedByKernel(
                f"counting in the kernel needs {', '.join(missing)}; start the monitor as root"
            )
        with resources.as_file(resources.files("netsonde.kernel") / "netfilter.bpf.o") as path:
            self._object = libbpf.Object(path)
        self._links: list[int] = []
        self._maps: list[mmap.mmap] = []
        self.lg_buckets = lg_buckets
        try:
            self._load(hash_key)
        except BaseException:
            self.close()
            raise

    def _load(self, hash_key: Sequence[int]) -> None:
        loading = self._object
        self.cpus = loading.possible_cpus
        slices = self.cpus * _abi.DIRECTIONS * _abi.PARITIES
        config = np.zeros(1, _abi.CONFIG)
        config["hash_key"], config["lg_buckets"] = hash_key, self.lg_buckets
        config["sample_shift"] = SAMPLE_SHIFT
        loading.set_constants(config.tobytes())
        loading.set_entries("ns_slices", slices)
        loading.set_entries("ns_hot", slices << self.lg_buckets)
        loading.set_entries("ns_cold", slices << self.lg_buckets)
        for program in _HOOKS:
            loading.use_program(program, libbpf.BPF_PROG_TYPE_NETFILTER, libbpf.BPF_NETFILTER)
        loading.load()
        buckets = slices << self.lg_buckets
        self.slices = self._view("ns_slices", slices * _abi.SLICE.itemsize)
        self.hot = self._view("ns_hot", buckets * _abi.HOT.itemsize)
        self.cold = self._view("ns_cold", buckets * _abi.COLD.itemsize)
        control = self._map("ns_control", _abi.CONTROL.itemsize, writable=True)
        self._control = memoryview(control)
        self._write_epoch(1)

    def attach(self) -> None:
        """Attach to the current network namespace's hooks, all of them or none."""
        for program, (hook, priority) in _HOOKS.items():
            for family, number in _FAMILIES.items():
                try:
                    link = syscall.netfilter_link(
                        self._object.program_fd(program),
                        family=number,
                        hook=hook,
                        priority=priority,
                    )
                except OSError as error:
                    self.detach()
                    raise _attach_error(family, error) from None
                self._links.append(link)

    def detach(self) -> None:
        """Stop counting; the maps stay readable."""
        for link in self._links:
            os.close(link)
        self._links.clear()

    @property
    def epoch(self) -> int:
        """The epoch packets are counted into now."""
        return int(struct.unpack_from("<I", self._control)[0])

    def flip(self) -> int:
        """Move the packet path to the next epoch and give the closed one.

        When it returns, no packet is being counted into the closed epoch any more and all of its
        counts are visible. Blocks for an RCU grace period, some 10 ms, without the GIL.
        """
        closed = self.epoch
        self._write_epoch((closed + 1) & 0xFFFFFFFF or 2)
        inner = struct.pack("<I", self._object.map_fd("ns_barrier_inner"))
        syscall.update_map(self._object.map_fd("ns_barrier"), bytes(4), inner)
        return closed

    def run(self, packet: bytes, repeat: int = 1) -> None:
        """Count a packet (from its IP header on) as if it left this host, through the program."""
        syscall.run_program(self._object.program_fd("ns_local_out"), packet, repeat)

    def close(self) -> None:
        """Detach and free everything; the views must not be used any more."""
        self.detach()
        self._object.close()

    def __enter__(self) -> Datapath:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_epoch(self, epoch: int) -> None:
        # An aligned 4-byte store through a native view is one instruction, hence never torn.
        self._control[:4].cast("I")[0] = epoch

    def _view(self, name: str, size_bytes: int) -> memoryview:
        return memoryview(self._map(name, size_bytes, writable=False))[:size_bytes]

    def _map(self, name: str, size_bytes: int, *, writable: bool) -> mmap.mmap:
        mapped = syscall.map_view(self._object.map_fd(name), size_bytes, writable=writable)
        self._maps.append(mapped)
        return mapped


def _attach_error(family: str, error: OSError) -> Exception:
    if error.errno == errno.EBUSY:
        return Busy(
            f"another program holds the {family} netfilter hook at netsonde's priority; "
            "is a monitor running in this network namespace already?"
        )
    return UnsupportedByKernel(
        f"BPF netfilter links ({family}) need Linux 6.4 with CONFIG_NETFILTER_BPF_LINK: "
        f"{error.strerror}"
    )
