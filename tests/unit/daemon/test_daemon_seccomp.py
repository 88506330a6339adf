"""What a daemon that was taken over finds refused; numbers are the kernel's, on both machines."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from netsonde.daemon import rights, seccomp

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}
ALLOWED = "allowed"
LIBC = ctypes.CDLL(None, use_errno=True)


def answer(machine: str, arch: str, number: int, argument: int = 0, *, bpf: bool = False) -> object:
    """Run the filter as the kernel does (Documentation/networking/filter.rst)."""
    code = b"".join(seccomp._filter(machine, bpf=bpf))
    steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    data = struct.pack("<IIQQ", number, AUDIT[arch], 0, argument)
    at = held = 0
    while True:
        operation, yes, no, value = steps[at]
        at += 1
        match operation:
            case 0x20:
                held = struct.unpack_from("<I", data, value)[0]
            case 0x15:
                at += yes if held == value else no
            case 0x35:
                at += yes if held >= value else no
            case 0x45:
                at += yes if held & value else no
            case 0x06:
                return ALLOWED if value == 0x7FFF0000 else value & 0xFFFF
            case _:
                pytest.fail(f"operation {operation:#x}")


def numbers(machine: str) -> dict[str, int]:
    found = re.findall(
        r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text(errors="replace")
    )
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("machine", HEADERS)
def test_it_refuses_exactly_what_it_says(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are elsewhere")
    known = numbers(machine)
    refused = {known[name] for name in seccomp.CALLS}
    if machine == "x86_64":
        refused |= {known[name] for name in ("mknod", "uselib", "modify_ldt", "iopl", "ioperm")}
    for number in range(600):
        expected: object = errno.EPERM if number in refused else ALLOWED
        if number == known["clone3"]:
            expected = errno.ENOSYS
        assert answer(machine, machine, number) == expected, number
    assert answer(machine, machine, known["bpf"], bpf=True) == errno.EPERM
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, machine, known["clone"], flag | 17) == errno.EPERM
    assert answer(machine, machine, known["clone"], 0x3D0F00) == ALLOWED, "a thread of glibc's"
    for other in AUDIT:
        if other != machine:
            assert answer(machine, other, known["openat"]) == errno.EPERM
    if machine == "x86_64":
        assert answer(machine, machine, 0x40000000 + known["read"]) == errno.EPERM


def in_a_child(story: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            story()
        except BaseException as error:  # told by the status
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.uname().machine not in HEADERS, reason="another machine")
def test_a_daemon_runs_no_program_and_traces_nobody_and_lives() -> None:
    def story() -> None:
        before = threading.Event()
        seen: list[int] = []

        def try_later() -> None:
            before.wait()
            seen.append(LIBC.ptrace(16, os.getppid(), 0, 0))

        early = threading.Thread(target=try_later)
        early.start()
        rights.give_up(rights.own())
        with capture_logs() as logs:
            seccomp.refuse(bpf=True)
        assert logs == []
        before.set()
        early.join()
        assert seen == [-1], "threads that were there are bound too"
        with pytest.raises(PermissionError):
            os.execv("/bin/true", ["true"])  # noqa: S606 # it is refused
        assert LIBC.unshare(0x10000000) == -1
        assert ctypes.get_errno() == errno.EPERM
        assert LIBC.syscall(numbers(os.uname().machine)["bpf"], 0, None, 0) == -1
        late: list[int] = []
        worker = threading.Thread(target=lambda: late.append(1))
        worker.start()
        worker.join()
        assert late == [1]
        assert Path("/proc/self/status").read_text().count("Seccomp:\t2") == 1
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    in_a_child(story)


def test_where_it_cannot_be_done_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with capture_logs() as logs:
        seccomp.refuse(bpf=True)
    assert [log["event"] for log in logs] == ["no system calls are refused"]
