"""The system's libbpf (>= 1.1) through ctypes: open an object, size its maps, load it.

The one idea: libbpf is asked for what it alone can do (ELF, CO-RE, loading); links and map updates
are plain bpf(2) calls in `syscall.py`, so an old libbpf does not limit which hooks are known.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque
from functools import cache
from pathlib import Path

from netsonde.model.errors import UnsupportedByKernel

BPF_PROG_TYPE_SCHED_CLS = 3
BPF_PROG_TYPE_NETFILTER = 32
BPF_NETFILTER = 45
BPF_TC_INGRESS, BPF_TC_EGRESS = 1, 2
_TC_PRIORITY = 0x6E73
"""`ns`: how our clsact filters are told from others'."""
OWN_HANDLE, VIEW_HANDLE = 0x6E73, 0x6E74
"""Of them, what tells a filter for the host's own packets from one that views a device."""
_BPF_TC_F_REPLACE = 1
_NO_SUCH_FILTER = (errno.ENOENT, errno.ENODEV, errno.EINVAL)
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
    "bpf_tc_hook_create": (ctypes.c_int, [_Pointer]),
    "bpf_tc_attach": (ctypes.c_int, [_Pointer, _Pointer]),
    "bpf_tc_detach": (ctypes.c_int, [_Pointer, _Pointer]),
    "bpf_tc_query": (ctypes.c_int, [_Pointer, _Pointer]),
    "libbpf_set_print": (_Pointer, [_PRINT]),
}


class _TcHook(ctypes.Structure):
    """`struct bpf_tc_hook` of libbpf.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("device", ctypes.c_int),
        ("where", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class _TcOptions(ctypes.Structure):
    """`struct bpf_tc_opts` of libbpf.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program_fd", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


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


@cache
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


def tc_attach(program_fd: int, device: int, where: int, handle: int = OWN_HANDLE) -> None:
    """Make a program a clsact filter of a device, in place of an earlier one of ours.

    Raises OSError.
    """
    hook = _tc_hook(device, where)
    made = _library().bpf_tc_hook_create(ctypes.byref(hook))
    if made not in (0, -errno.EEXIST):
        raise OSError(-made, os.strerror(-made))
    options = _TcOptions(
        size=ctypes.sizeof(_TcOptions),
        program_fd=program_fd,
        flags=_BPF_TC_F_REPLACE,
        handle=handle,
        priority=_TC_PRIORITY,
    )
    _check_tc(_library().bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options)))


def tc_detach(device: int, where: int, handle: int = OWN_HANDLE) -> bool:
    """Remove our clsact filter of a device; tells whether there was one. Raises OSError."""
    hook = _tc_hook(device, where)
    options = _TcOptions(size=ctypes.sizeof(_TcOptions), handle=handle, priority=_TC_PRIORITY)
    result = _library().bpf_tc_detach(ctypes.byref(hook), ctypes.byref(options))
    if -result in _NO_SUCH_FILTER:
        return False
    _check_tc(result)
    return True


def tc_program_id(device: int, where: int) -> int | None:
    """Give the id of the program of our clsact filter, None where there is none. Raises OSError."""
    hook = _tc_hook(device, where)
    options = _TcOptions(size=ctypes.sizeof(_TcOptions), handle=OWN_HANDLE, priority=_TC_PRIORITY)
    result = _library().bpf_tc_query(ctypes.byref(hook), ctypes.byref(options))
    if -result in _NO_SUCH_FILTER:
        return None
    _check_tc(result)
    return int(options.program_id)


def _tc_hook(device: int, where: int) -> _TcHook:
    return _TcHook(size=ctypes.sizeof(_TcHook), device=device, where=where)


def _check_tc(result: int) -> None:
    if result:
        raise OSError(-result, os.strerror(-result))
