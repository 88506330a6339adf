"""What a kernel must have for a test: a skip names the feature, and has to be the kernel's fault.

    pytestmark = needs("netfilter_link", minimum=(6, 4))
    @needs("netem")

A test whose feature is missing is skipped on a kernel older than its minimum, and fails on a newer
one: there it is a bug, of ours or of the probe. A feature without a minimum is one that every
kernel can have and some builds leave out; the kernels of `tests/kernels` have them all, so there
its absence fails too.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

STOCK_KERNEL = "NETSONDE_STOCK_KERNEL"
"""Set where the kernel is a distribution's own, with all its modules."""
SPARE_CPU = Path("/sys/devices/system/cpu/cpu1/online")
"""Takes a CPU away and brings it back, in a machine that is the test's own."""
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
_SCHED_CLS, _NETFILTER = 3, 32
_TCX_INGRESS, _AT_NETFILTER, _LOCAL_IN = 46, 45, 1
# r0 = 1 (accept); exit. include/uapi/linux/bpf.h: struct bpf_insn.
_ACCEPT = struct.pack("<BBhi", 0xB7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def needs(feature: str, *, minimum: tuple[int, int] | None = None) -> pytest.MarkDecorator:
    """Mark a test that cannot run without a feature, which Linux has from `minimum` on."""
    if feature not in _PROBES:
        raise KeyError(f"feature is {feature!r}; allowed: {', '.join(_PROBES)}")
    return pytest.mark.needs(feature=feature, minimum=minimum)


def release() -> tuple[int, int]:
    """Version of the running kernel, to the second number."""
    first, second = os.uname().release.split("-")[0].split(".")[:2]
    return int(first), int(second)


def require(feature: str, minimum: tuple[int, int] | None) -> None:
    """Skip or fail the running test when the feature is missing."""
    reason = missing(feature)
    if reason is None:
        return
    running = ".".join(map(str, release()))
    if minimum is None:
        if os.environ.get(STOCK_KERNEL):
            pytest.fail(f"{feature} is missing from a stock kernel: {reason}")
        pytest.skip(f"{feature} is not in this kernel ({running}): {reason}")
    wanted = ".".join(map(str, minimum))
    if release() >= minimum:
        pytest.fail(f"{feature} is missing though Linux {running} >= {wanted}: {reason}")
    pytest.skip(f"{feature} needs Linux {wanted}, this is {running}: {reason}")


@cache
def missing(feature: str) -> str | None:
    """Say why the running kernel lacks a feature; None when it has it."""
    return _PROBES[feature]()


def _netfilter_link() -> str | None:
    return _attaches(_NETFILTER, _AT_NETFILTER, [0, socket.AF_INET, _LOCAL_IN, -123])


def _tcx() -> str | None:
    return _attaches(_SCHED_CLS, _TCX_INGRESS, [socket.if_nametoindex("lo"), 0, 0, 0])


def _attaches(program_type: int, attach_type: int, target: list[int]) -> str | None:
    """Load a program that does nothing, attach it and let it go again; independent of netsonde."""
    code, license_name = ctypes.create_string_buffer(_ACCEPT, 16), ctypes.c_char_p(b"GPL")
    load = struct.pack(
        "<IIQQIIQII16sII",
        *(program_type, 2, ctypes.addressof(code)),
        *(ctypes.cast(license_name, ctypes.c_void_p).value or 0, 0, 0, 0, 0, 0),
        *(b"probe", 0, attach_type),
    )
    try:
        program = _bpf(_PROG_LOAD, load)
    except OSError as error:
        return f"a program of its type does not load ({error.strerror})"
    index, *rest = target
    create = struct.pack("<IIII3iI", program, index, attach_type, 0, *rest, 0)
    try:
        os.close(_bpf(_LINK_CREATE, create))
    except OSError as error:
        return f"a program does not attach ({error.strerror})"
    finally:
        os.close(program)
    return None


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(_SYS_BPF[platform.machine()], command, attributes.ljust(128, b"\0"), 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def _link(*kind: str) -> Callable[[], str | None]:
    """Probe in a network namespace of its own, which ends with the command."""
    make = f"ip link add probe0 type veth peer probe1 && {' '.join(kind)}"

    def probe() -> str | None:
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", make], capture_output=True, text=True, check=False
        )
        return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]

    return probe


def _spare_cpu() -> str | None:
    if not os.environ.get(STOCK_KERNEL):
        return "this machine's CPUs are others' too"
    return None if SPARE_CPU.exists() else f"there is no {SPARE_CPU}"


_PROBES: dict[str, Callable[[], str | None]] = {
    "netfilter_link": _netfilter_link,
    "tcx": _tcx,
    "netem": _link("tc qdisc add dev probe0 root netem delay 1ms"),
    "spare_cpu": _spare_cpu,
    "vlan": _link("ip link add link probe0 name probe0.5 type vlan id 5"),
    "vxlan": _link("ip link add probe2 type vxlan id 5 dstport 4789 dev probe0"),
    "geneve": _link("ip link add probe2 type geneve id 5 remote 192.0.2.1"),
    "ipip": _link("ip link add probe2 type ipip remote 192.0.2.1"),
    "sit": _link("ip link add probe2 type sit remote 192.0.2.1"),
    "gre": _link("ip link add probe2 type gre remote 192.0.2.1"),
    "gretap": _link("ip link add probe2 type gretap remote 192.0.2.1"),
    "ip6tnl": _link("ip link add probe2 type ip6tnl mode ipip6 remote 2001:db8::1"),
}

HOOK_NEEDS: dict[str, tuple[str, tuple[int, int]] | None] = {
    "netfilter": ("netfilter_link", (6, 4)),
    "tcx": ("tcx", (6, 6)),
    "clsact": None,
    "afpacket": None,
}
"""What each hook needs; None for what every kernel has."""
