"""System calls that a daemon never makes once it runs: refused by the kernel, for good.

The one idea: a daemon that was taken over should find nothing to go on with: no program to run, no
process to trace, no namespace, mount, module or key, and no corner of the kernel that only faults
would lead to. What is refused fails with EPERM; all else is as before. (seccomp(2))

It is a list of what is refused, not of what is allowed: calls of Python, libc and numpy differ from
release to release, and a host that is counted must not lose its counts to an update of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

import structlog

from netsonde.model.errors import UnsupportedByKernel

_X86_64, _AARCH64 = 0, 1
_MACHINES = {"x86_64": (_X86_64, 0xC000003E), "aarch64": (_AARCH64, 0xC00000B7)}
"""Column of CALLS, and AUDIT_ARCH_ of linux/audit.h."""
CALLS: dict[str, tuple[int, int]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "mknodat": (259, 33),
}
"""Name -> its number on x86_64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h)."""
_OF_X86_64 = {"mknod": 133, "uselib": 134, "modify_ldt": 154, "iopl": 172, "ioperm": 173}
_BPF = (321, 280)
_CLONE, _CLONE3 = (56, 220), 435
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW* of linux/sched.h, but NEWTIME, which is no flag of clone(2)."""
_X32_BIT = 0x40000000

_LOAD, _IS, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_RET|K of linux/filter.h."""
_NR_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
"""Of struct seccomp_data; the argument's lower half, both machines being little-endian."""
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1

_LIBC = ctypes.CDLL(None, use_errno=True)
_log = structlog.get_logger()


def refuse(*, bpf: bool) -> None:
    """Refuse these calls to all threads, now and to come; `bpf`: also bpf(2).

    Must come after `rights.give_up`. Where it cannot be done the log says so, and all goes on.
    """
    try:
        _install(bpf=bpf)
    except UnsupportedByKernel as error:
        _log.warning("no system calls are refused", reason=str(error))


def _install(*, bpf: bool) -> None:
    machine = platform.machine()
    if machine not in _MACHINES:
        raise UnsupportedByKernel(f"nobody has written down those of {machine}")
    code = b"".join(_filter(machine, bpf=bpf))
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    done = _LIBC.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _FLAG_TSYNC, program)
    if done != 0:
        why = os.strerror(ctypes.get_errno()) if done < 0 else f"thread {done} has other filters"
        raise UnsupportedByKernel(why)


def _filter(machine: str, *, bpf: bool) -> Iterable[bytes]:
    """Write the program for the kernel: 8 bytes an instruction, jumps over the next ones only."""
    column, architecture = _MACHINES[machine]
    refused = [numbers[column] for numbers in CALLS.values()]
    if column == _X86_64:
        refused += _OF_X86_64.values()
    if bpf:
        refused.append(_BPF[column])
    yield _step(_LOAD, _ARCH_AT)
    yield from _when(_IS, architecture, otherwise=errno.EPERM)
    yield _step(_LOAD, _NR_AT)
    if column == _X86_64:
        yield from _unless(_AT_LEAST, _X32_BIT, errno.EPERM)
    for number in sorted(refused):
        yield from _unless(_IS, number, errno.EPERM)
    # Its flags lie in memory, which a filter cannot read; libc falls back to clone.
    yield from _unless(_IS, _CLONE3, errno.ENOSYS)
    yield _step(_IS, _CLONE[column], yes=1)
    yield _step(_RETURN, _ALLOW)
    yield _step(_LOAD, _FIRST_ARGUMENT_AT)
    yield from _unless(_ANY_BIT, _NEW_NAMESPACES, errno.EPERM)
    yield _step(_RETURN, _ALLOW)


def _when(test: int, value: int, *, otherwise: int) -> Iterable[bytes]:
    yield _step(test, value, yes=1)
    yield _step(_RETURN, _ERRNO | otherwise)


def _unless(test: int, value: int, error: int) -> Iterable[bytes]:
    yield _step(test, value, no=1)
    yield _step(_RETURN, _ERRNO | error)


def _step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", operation, yes, no, value)
