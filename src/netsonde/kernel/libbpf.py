"""The system's libbpf (>= 1.1) through ctypes: open an object, size its maps, load it.

The one idea: libbpf is asked for what it alone can do (ELF, CO-RE, loading); links and map updates
are plain bpf(2) calls in `syscall.py`, so an old libbpf does not limit which hooks are known.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from pathlib import Path

from netsonde.model.errors import UnsupportedByKernel

BPF_PROG_TYPE_NETFILTER = 32
BPF_NETFILTER = 45
_VERIFIER_LOG_BYTES = 1 << 20
_Pointer = ctypes.c_void_p
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, _Pointer)

_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "bpf_object__open_file": (_Pointer, [ctypes.c_char_p, _Pointer]),
    "bpf_object__load": (ctypes.c_int, [_Pointer]),
    "bpf_object__close": (None, [_Pointer]),
    "bpf_object__find_map_by_name": (_Pointer, [_Pointer, ctypes.c_char_p]),
    "bpf_object__find_program_by_name": (_Pointer, [_Pointer, ctypes.c_char_p]),
    "bpf_map__fd": (ctypes.c_int, [_Pointer]),
    "bpf_map__set_max_entries": (ctypes.c_int, [_Pointer, ctypes.c_uint32]),
    "bpf_map__set_initial_value": (ctypes.c_int, [_Pointer, _Pointer, ctypes.c_size_t]),
    "bpf_program__fd": (ctypes.c_int, [_Pointer]),
    "bpf_program__set_type": (ctypes.c_int, [_Pointer, ctypes.c_int]),
    "bpf_program__set_expected_attach_type": (ctypes.c_int, [_Pointer, ctypes.c_int]),
    "bpf_program__set_autoload": (ctypes.c_int, [_Pointer, ctypes.c_bool]),
    "bpf_program__set_log_buf": (ctypes.c_int, [_Pointer, ctypes.c_char_p, ctypes.c_size_t]),
    "libbpf_num_possible_cpus": (ctypes.c_int, []),
    "libbpf_set_print": (_Pointer, [_PRINT]),
}


_LIBC = ctypes.CDLL(None)
_WARN = 0
_WARNINGS: deque[str] = deque(maxlen=8)


def _keep_warning(level: int, template: bytes, arguments: int | None) -> int:
    """Keep libbpf off stderr and its warnings for the error that follows them."""
    if level == _WARN:
        line = ctypes.create_string_buffer(512)
        _LIBC.vsnprintf(line, ctypes.c_size_t(len(line)), template, _Pointer(arguments))
        _WARNINGS.append(line.value.decode(errors="replace").strip().removeprefix("libbpf: "))
    return 0


# Kept for the life of the process: libbpf calls it whenever it has something to say.
_PRINT_WARNING = _PRINT(_keep_warning)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise UnsupportedByKernel(
            f"libbpf.so.1 cannot be loaded ({error}); install Debian's libbpf1"
        ) from None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    library.libbpf_set_print(_PRINT_WARNING)
    return library


class Object:
    """A BPF object file, opened and then loaded; `close` frees its programs and maps."""

    def __init__(self, path: Path) -> None:
        self._lib = _library()
        self._object = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            raise UnsupportedByKernel(f"cannot open {path.name}: {os.strerror(ctypes.get_errno())}")
        self._logs: dict[str, ctypes.Array[ctypes.c_char]] = {}

    @property
    def possible_cpus(self) -> int:
        """Number of CPUs this kernel may ever bring up."""
        return int(self._lib.libbpf_num_possible_cpus())

    def set_constants(self, data: bytes) -> None:
        """Set the object's `.rodata`, which the verifier then sees as constants."""
        _check(
            self._lib.bpf_map__set_initial_value(self._map(".rodata"), data, len(data)),
            "set the constants",
        )

    def set_entries(self, name: str, entries: int) -> None:
        """Size a map before load."""
        _check(self._lib.bpf_map__set_max_entries(self._map(name), entries), f"size the map {name}")

    def use_program(self, name: str, program_type: int, attach_type: int) -> None:
        """Choose a program to load, and say what it is where libbpf does not know its section."""
        program = self._program(name)
        self._logs[name] = ctypes.create_string_buffer(_VERIFIER_LOG_BYTES)
        for result in (
            self._lib.bpf_program__set_autoload(program, True),
            self._lib.bpf_program__set_type(program, program_type),
            self._lib.bpf_program__set_expected_attach_type(program, attach_type),
            self._lib.bpf_program__set_log_buf(program, self._logs[name], _VERIFIER_LOG_BYTES),
        ):
            _check(result, f"choose the program {name}")

    def load(self) -> None:
        """Create the maps and load the chosen programs; raises with the verifier's last words."""
        _WARNINGS.clear()
        result = self._lib.bpf_object__load(self._object)
        if result:
            said = [log.value.decode(errors="replace").strip() for log in self._logs.values()]
            last = [text.splitlines()[-1] for text in said if text] or list(_WARNINGS)[:1]
            reason = "; ".join([os.strerror(-result), *last])
            raise UnsupportedByKernel(f"the kernel refused the programs: {reason}")
        self._logs.clear()

    def map_fd(self, name: str) -> int:
        """File descriptor of a loaded map; it stays the object's."""
        return int(self._lib.bpf_map__fd(self._map(name)))

    def program_fd(self, name: str) -> int:
        """File descriptor of a loaded program; it stays the object's."""
        return int(self._lib.bpf_program__fd(self._program(name)))

    def close(self) -> None:
        """Close the object; maps that are mmapped live on until they are unmapped."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None

    def _map(self, name: str) -> int:
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise KeyError(name)
        return int(found)

    def _program(self, name: str) -> int:
        found = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise KeyError(name)
        return int(found)


def _check(result: int, what: str) -> None:
    if result:
        raise UnsupportedByKernel(f"cannot {what}: {os.strerror(-result)}")
