"""Hooks on devices: TCX links (Linux 6.6) and clsact filters (any Linux), one program for both.

The one idea: a device shows everybody's packets, so the program asks which are this host's: its
addresses are in a map that `refresh` keeps current, and devices that come are attached to. A view
of one device counts everybody's, and follows nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from netsonde.kernel import libbpf, syscall
from netsonde.kernel.addresses import local_addresses
from netsonde.kernel.devices import Device, counted_devices
from netsonde.kernel.path import CAP_BPF, CAP_NET_ADMIN, Encapsulated
from netsonde.kernel.pins import Pins
from netsonde.kernel.tables import BpfTables
from netsonde.model.errors import UnsupportedByKernel

_ADDRESS_BYTES = 16
_SIDES = 2
"""Of a device: ingress and egress."""
_PROGRAMS = ("ns_ingress", "ns_egress", "ns_ingress_ip", "ns_egress_ip")


class _DevicePath(BpfTables):
    """What TCX and clsact share: they differ in how a program is attached to a device."""

    capabilities = frozenset({CAP_BPF, CAP_NET_ADMIN})
    view_capabilities: frozenset[int]
    """What a view of one device needs once attached."""
    requirement: str
    """What the kernel must have, for the error that says it has not."""

    maps = (*BpfTables.maps, "ns_local")
    _devices: frozenset[Device] = frozenset()

    def __init__(
        self,
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
        encapsulated: Encapsulated = Encapsulated.OUTER,
        pins: Pins | None = None,
        device: Device | None = None,
    ) -> None:
        """Load the programs, or take over pinned ones; raises as `BpfTables`.

        `device`: count all that passes it and nothing else; never with `pins`.
        """
        kind = (libbpf.BPF_PROG_TYPE_SCHED_CLS, 0)
        self.whole_device, self._viewed = device is not None, device
        if device:
            self.capabilities = self.view_capabilities
        super().__init__(
            "tc.bpf.o",
            dict.fromkeys(_PROGRAMS, kind),
            hash_key=hash_key,
            lg_buckets=lg_buckets,
            encapsulated=encapsulated,
            pins=pins,
        )
        local = self._object.map_fd("ns_local")
        self._addresses = frozenset(syscall.keys_of_map(local, _ADDRESS_BYTES))

    def _attach(self) -> None:
        """Attach to every counted device, or to none; those of a former load stay as they are.

        What was not known to a former load, a device or an address, was not counted meanwhile.
        """
        try:
            if self._viewed:
                self._attach_device(self._viewed)
                return
            known, devices = self._addresses, counted_devices(self.encapsulated)
            self.follow_addresses()
            if self.adopted:
                self._devices = frozenset(filter(self._is_attached, devices))
                self.whole = self._addresses <= known and self._devices == devices
            for device in sorted(devices - self._devices):
                self._attach_device(device)
        except OSError as error:
            self.detach()
            raise UnsupportedByKernel(f"{self.requirement}: {error.strerror}") from None

    def refresh(self) -> None:
        """Follow the host's addresses, and attach to devices that came; a view stays what it is."""
        if self._viewed:
            return
        self.follow_addresses()
        devices = counted_devices(self.encapsulated)
        for device in sorted(devices - self._devices):
            # It may be gone again already; then there is nothing to count.
            with contextlib.suppress(OSError):
                self._attach_device(device)
        for device in self._devices - devices:
            self._forget_device(device)

    def follow_addresses(self) -> None:
        """Make the programs' set of local addresses the host's; raises OSError."""
        wanted, local = local_addresses(), self._object.map_fd("ns_local")
        for address in wanted - self._addresses:
            syscall.update_map(local, address, b"\1")
        for address in self._addresses - wanted:
            syscall.delete_from_map(local, address)
        self._addresses = wanted

    def _attach_device(self, device: Device) -> None:
        suffix = "" if device.ethernet else "_ip"
        self._attach_programs(device.index, f"ns_ingress{suffix}", f"ns_egress{suffix}")
        self._devices |= {device}

    def _attach_programs(self, device: int, ingress: str, egress: str) -> None:
        raise UnsupportedByKernel(self.hook)

    def _is_attached(self, device: Device) -> bool:
        """Whether programs that were taken over count at both sides of a device."""
        raise UnsupportedByKernel(self.hook)

    def _forget_device(self, device: Device) -> None:
        self._devices -= {device}


class TcxPath(_DevicePath):
    """Counts through TCX links: first at ingress, last at egress; gone with their last holder."""

    hook = "tcx"
    view_capabilities = frozenset({CAP_BPF})
    requirement = "TCX links need Linux 6.6"

    def _attach(self) -> None:
        super()._attach()
        present = {device.index for device in self._devices}
        for device in {place[1] for place in self._links} - present:
            self._close_links(device)

    def _attach_programs(self, device: int, ingress: str, egress: str) -> None:
        self._close_links(device)
        for program, attach_type, place in (
            (ingress, syscall.BPF_TCX_INGRESS, syscall.BPF_F_BEFORE),
            (egress, syscall.BPF_TCX_EGRESS, syscall.BPF_F_AFTER),
        ):
            self._links[program, device] = syscall.tcx_link(
                self._object.program_fd(program), device, attach_type, place
            )

    def _is_attached(self, device: Device) -> bool:
        at_device = [link for place, link in self._links.items() if place[1] == device.index]
        return [syscall.device_of_link(link) for link in at_device] == [device.index] * _SIDES

    def _forget_device(self, device: Device) -> None:
        super()._forget_device(device)
        self._close_links(device.index)

    def _close_links(self, device: int) -> None:
        for place in [place for place in self._links if place[1] == device]:
            syscall.close_link(self._links.pop(place))


class ClsactPath(_DevicePath):
    """Counts through clsact filters of a priority and handle of our own.

    A filter outlives a killed process: the next monitor finds it by priority and handle and takes
    its place. So there are no links to pin.
    """

    hook = "clsact"
    view_capabilities = frozenset({CAP_BPF, CAP_NET_ADMIN})  # to remove its filters at the end
    requirement = "clsact needs CONFIG_NET_CLS_BPF"

    def _attach_programs(self, device: int, ingress: str, egress: str) -> None:
        handle = libbpf.VIEW_HANDLE if self._viewed else libbpf.OWN_HANDLE
        for program, where in ((ingress, libbpf.BPF_TC_INGRESS), (egress, libbpf.BPF_TC_EGRESS)):
            libbpf.tc_attach(self._object.program_fd(program), device, where, handle)

    def _is_attached(self, device: Device) -> bool:
        ours = {syscall.program_id(self._object.program_fd(name)) for name in self._programs}
        sides = (libbpf.BPF_TC_INGRESS, libbpf.BPF_TC_EGRESS)
        return all(libbpf.tc_program_id(device.index, side) in ours for side in sides)

    def detach(self) -> None:
        """Remove our filters, unless they are to stay; the qdisc may be somebody else's too."""
        if self.notebook:
            return
        handle = libbpf.VIEW_HANDLE if self._viewed else libbpf.OWN_HANDLE
        remove_filters((device.index for device in self._devices), [handle])
        self._devices = frozenset()


def remove_filters(
    devices: Iterable[int],
    handles: Sequence[int] = (libbpf.OWN_HANDLE, libbpf.VIEW_HANDLE),
) -> int:
    """Remove clsact filters of ours, a dead monitor's too; gives how many there were.

    Raises OSError.
    """
    sides = (libbpf.BPF_TC_INGRESS, libbpf.BPF_TC_EGRESS)
    return sum(
        libbpf.tc_detach(device, side, handle)
        for device in devices
        for side in sides
        for handle in handles
    )
