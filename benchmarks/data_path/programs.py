"""Benchmark programs: compiled from this folder, loaded, given keys, and timed by the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netsonde.kernel import libbpf, syscall
from netsonde.kernel.tables import BpfTables

HERE = Path(__file__).parent
KEY_TABLE_ENTRIES = 1 << 20
"""Flows of a drawn sequence, as `keys.bpf.h` has them."""
_KEYS_BYTES = 16 + 4 * KEY_TABLE_ENTRIES
_SCHED_CLS = (3, 0)
_SECRET = tuple(0x9E3779B97F4A7C15 * n % 2**64 for n in range(1, 9))
_FRAME = bytes.fromhex(
    "0001000200000002000300000800"  # Ethernet
    "4500003200004000401100000a0001010a000202"  # IPv4, 50 bytes, UDP, 10.0.1.1 to 10.0.2.2
    "12340035001e0000"  # UDP, port 4660 to 53
) + bytes(22)


class _RunOptions(ctypes.Structure):
    """`struct bpf_test_run_opts` of libbpf's bpf.h."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


def compile_program(name: str, into: Path, defines: Sequence[str] = ()) -> Path:
    """Compile `<name>.bpf.c` as the product's programs are; give the object file."""
    root = HERE.parents[1]
    made = into / "-".join([name, *defines, "bench.bpf.o"])
    multiarch = subprocess.run(
        ["gcc", "-print-multiarch"], check=True, capture_output=True, text=True
    ).stdout.strip()
    folders = [root / "core", root / "bpf", HERE, Path("/usr/include") / multiarch]
    flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-fno-strict-aliasing"]
    flags += [f"-D{define}" for define in defines]
    flags += [flag for folder in folders for flag in ("-I", str(folder))]
    source = str(HERE / f"{name}.bpf.c")
    subprocess.run(["clang", *flags, "-c", source, "-o", str(made)], check=True)
    return made


class Rung:
    """One loaded program with its maps and its own sequence of keys."""

    def __init__(self, program_fd: int, keys: mmap.mmap) -> None:
        self._fd = program_fd
        self._keys = keys

    def set_keys(self, mode: int, mask: int, table: bytes) -> None:
        """Begin a sequence of keys; `table` may be empty unless the mode needs one."""
        words = memoryview(self._keys)
        words[:8] = mode.to_bytes(4, "little") + mask.to_bytes(4, "little")
        words[8:16] = bytes(8)
        words[16 : 16 + len(table)] = table

    def run(self, repeat: int) -> int:
        """Run the program `repeat` times; give the kernel's mean ns per run, rounded down."""
        options = _RunOptions(
            sz=ctypes.sizeof(_RunOptions),
            data_in=_FRAME,
            data_size_in=len(_FRAME),
            repeat=repeat,
        )
        result = _LIBBPF.bpf_prog_test_run_opts(self._fd, ctypes.byref(options))
        if result:
            raise OSError(-result, os.strerror(-result))
        return int(options.duration)


_LIBBPF = ctypes.CDLL("libbpf.so.1")


@contextmanager
def plain(path: Path, program: str, entries: dict[str, int]) -> Iterator[Rung]:
    """Load one program of an object, with maps of so many entries."""
    loading = libbpf.Object(path)
    try:
        for name, size in entries.items():
            loading.set_entries(name, size)
        loading.use_program(program, *_SCHED_CLS)
        loading.load()
        keys = syscall.map_view(loading.map_fd("bench_keys"), _KEYS_BYTES, writable=True)
        yield Rung(loading.program_fd(program), keys)
    finally:
        loading.close()


class _Table(BpfTables):
    """The product's maps, loaded as its hooks load them, around `table.bpf.c`."""

    hook = "benchmark"

    def rung(self) -> Rung:
        """Give the program."""
        keys = self._map("bench_keys", _KEYS_BYTES, writable=True)
        return Rung(self._object.program_fd("bench_table"), keys)


@contextmanager
def flow_table(path: Path, lg_buckets: int) -> Iterator[Rung]:
    """Load a variant of the flow table."""
    programs = {"bench_table": _SCHED_CLS}
    with _Table(str(path), programs, hash_key=_SECRET, lg_buckets=lg_buckets) as table:
        yield table.rung()
