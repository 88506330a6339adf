"""Who is attached where packets pass: netfilter links, TCX programs, clsact filters, in order.

Devices are asked in the current network namespace. A netfilter link does not tell its namespace,
but of those at one hook and priority a namespace has one: whether this one has it, the kernel says
to whoever would attach there too, which is tried with a program that accepts every packet.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from netsonde.kernel import syscall
from netsonde.model.errors import UnsupportedByKernel

_LINK_NETFILTER = 10
_NETFILTER_HOOKS = ("PREROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POSTROUTING")
_FAMILIES: dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_SIDES = {syscall.BPF_TCX_INGRESS: "ingress", syscall.BPF_TCX_EGRESS: "egress"}
_CLSACT_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """One program on one hook."""

    where: str
    """Such as `netfilter LOCAL_IN IPv4` or `tcx eth0 ingress`."""
    order: int
    """Programs of one place run in this order; for netfilter, its priority."""
    program: str
    """Name of the program, as the kernel keeps it (15 characters)."""

    here: bool | None = True
    """Whether it is in this network namespace; None where that cannot be told."""

    @property
    def ours(self) -> bool:
        """Whether it is netsonde's, of this monitor or another."""
        return self.program.startswith("ns_")


def attachments() -> list[Attachment]:
    """List every program on a hook that netsonde may use; raises UnsupportedByKernel."""
    try:
        found = {*_netfilter(), *_tcx(), *_filters()}
        return sorted(found, key=lambda one: (one.here is not True, str(one.here), one))
    except OSError as error:
        raise UnsupportedByKernel(
            f"what is attached is known to root alone ({error.strerror})"
        ) from None


def _netfilter() -> Iterator[Attachment]:
    places: dict[tuple[int, int, int], list[str]] = {}
    for info in syscall.links():
        kind, _, program_id = struct.unpack_from("<III", info)
        if kind != _LINK_NETFILTER:
            continue
        family, hook, priority = struct.unpack_from("<IIi", info, 16)
        if family in _FAMILIES and hook < len(_NETFILTER_HOOKS):
            named = places.setdefault((family, hook, priority), [])
            named.append(syscall.program_name(program_id))
    for (family, hook, priority), programs in places.items():
        where = f"netfilter {_NETFILTER_HOOKS[hook]} {_FAMILIES[family]}"
        for program, here in _namespaces(programs, _is_taken(family, hook, priority)):
            yield Attachment(where, priority, program, here)


def _namespaces(programs: list[str], taken: bool | None) -> Iterator[tuple[str, bool | None]]:
    """Tell of programs at one place of all namespaces whether they are here, equal ones once."""
    if taken and len(set(programs)) == 1:
        yield programs[0], True
        programs = programs[1:]
    elif taken:
        taken = None  # one of them is, but which?
    for program in set(programs):
        yield program, taken and False


def _is_taken(family: int, hook: int, priority: int) -> bool | None:
    """Tell whether some program has this place in this namespace; None: the kernel does not say."""
    try:
        program = syscall.netfilter_program()
    except OSError:
        return None
    try:
        link = syscall.netfilter_link(program, family=family, hook=hook, priority=priority)
    except OSError as error:
        return True if error.errno == errno.EBUSY else None
    else:
        os.close(link)
        return False
    finally:
        os.close(program)


def _tcx() -> Iterator[Attachment]:
    for index, name in socket.if_nameindex():
        for attach_type, side in _SIDES.items():
            programs = syscall.programs_at(index, attach_type)
            for order, program_id in enumerate(programs, 1):
                yield Attachment(f"tcx {name} {side}", order, syscall.program_name(program_id))


def _filters() -> Iterator[Attachment]:
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # noqa: PLC0415  0.2 s to load
    from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
        NetlinkError,
    )

    with IPRoute() as netlink:
        for index, name in socket.if_nameindex():
            for side, parent in _CLSACT_PARENTS.items():
                try:
                    found = netlink.get_filters(index=index, parent=parent)
                except NetlinkError:
                    continue  # no clsact on this device
                for one in found:
                    options = one.get_attr("TCA_OPTIONS")
                    program = options.get_attr("TCA_BPF_NAME") if options else None
                    if program:
                        yield Attachment(f"clsact {name} {side}", one["info"] >> 16, str(program))


def kernel_release() -> str:
    """Release of the running kernel, such as 6.1.0-18-amd64."""
    return os.uname().release
