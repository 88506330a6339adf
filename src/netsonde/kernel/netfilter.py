"""Hook: BPF netfilter links at LOCAL_IN and LOCAL_OUT, IPv4 and IPv6 (Linux 6.4).

Sees the host's own traffic on every device and on loopback, reassembled, and nothing that is only
forwarded.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence

from netsonde.kernel import libbpf, syscall
from netsonde.kernel.path import Encapsulated
from netsonde.kernel.pins import Pins
from netsonde.kernel.tables import BpfTables
from netsonde.model.errors import Busy, UnsupportedByKernel

_FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_REQUIREMENT = "BPF netfilter links need Linux 6.4 with CONFIG_NETFILTER_BPF_LINK"
_LOCAL_IN, _LOCAL_OUT = 1, 3
# Inbound packets are counted before the firewall may drop them (it filters at priority 0), outbound
# ones after: what reached this host, and what left it.
_HOOKS = {"ns_local_in": (_LOCAL_IN, -11), "ns_local_out": (_LOCAL_OUT, 11)}


class NetfilterPath(BpfTables):
    """Counts on netfilter's hooks of one network namespace."""

    hook = "netfilter"

    def __init__(
        self,
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
        encapsulated: Encapsulated = Encapsulated.OUTER,
        pins: Pins | None = None,
    ) -> None:
        """Load the programs, or take over pinned ones; raises as `BpfTables`."""
        kind = (libbpf.BPF_PROG_TYPE_NETFILTER, libbpf.BPF_NETFILTER)
        super().__init__(
            "netfilter.bpf.o",
            dict.fromkeys(_HOOKS, kind),
            hash_key=hash_key,
            lg_buckets=lg_buckets,
            encapsulated=encapsulated,
            pins=pins,
        )

    def _load(
        self,
        object_name: str,
        programs: Mapping[str, tuple[int, int]],
        hash_key: Sequence[int],
    ) -> libbpf.Object:
        try:
            return super()._load(object_name, programs, hash_key)
        except UnsupportedByKernel as error:
            raise UnsupportedByKernel(f"{_REQUIREMENT}: {error}") from None

    def _attach(self) -> None:
        for program, (hook, priority) in _HOOKS.items():
            for family, number in _FAMILIES.items():
                if (program, number) in self._links:
                    continue
                self.whole = not self.adopted
                try:
                    self._links[program, number] = syscall.netfilter_link(
                        self._object.program_fd(program),
                        family=number,
                        hook=hook,
                        priority=priority,
                    )
                except OSError as error:
                    self.detach()
                    raise _attach_error(family, error) from None


def _attach_error(family: str, error: OSError) -> Exception:
    if error.errno == errno.EBUSY:
        return Busy(
            f"another program holds the {family} netfilter hook at netsonde's priority; "
            "is a monitor running in this network namespace already, or did one that ended leave "
            "it pinned? (netsonde doctor names pins, netsonde monitor --unpin removes them)"
        )
    return UnsupportedByKernel(f"{_REQUIREMENT}: {family}: {error.strerror}")
