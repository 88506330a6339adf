"""Birth and death of a lab: the order in which its parts come and go.

The one idea: what a lab is made of can be found by name, so the end is the same whether a lab was
whole, half built or half removed, and building starts by ending whatever is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from netsonde.lab import daemons, namespace, network, pins, state
from netsonde.lab.errors import LabError
from netsonde.lab.rate import Rate
from netsonde.lab.topology import SWITCH_NAMESPACE, Topology


def build(
    topology: Topology,
    rate: Rate | None,
    hook: str,
    *,
    devices: Sequence[str] = (),
    with_daemons: bool,
) -> None:
    """Make a whole lab or none; raises LabError. Removes what an earlier one left behind."""
    remove()
    try:
        _build(topology, rate, hook, devices, with_daemons=with_daemons)
    except NetlinkError as error:
        remove()
        raise LabError(f"the kernel refuses a part of the network: {error}") from error
    except BaseException:
        remove()
        raise


def remove() -> None:
    """End every process of the lab and remove its network and files."""
    # Processes and pins first: one, or its packet filter, would keep a namespace alive without its
    # name.
    # Hosts before the fork server, which reaps them.
    names = namespace.names()
    namespace.end_processes(name for name in names if name != SWITCH_NAMESPACE)
    namespace.end_processes(names)
    pins.remove()
    network.remove()
    state.remove()


def _build(
    topology: Topology,
    rate: Rate | None,
    hook: str,
    devices: Sequence[str],
    *,
    with_daemons: bool,
) -> None:
    state.ROOT.mkdir(mode=0o755)
    pins.mount()
    network.create_switch_namespace()
    if with_daemons:
        daemons.start_server()  # it loads the daemons while the network is built
    network.build(topology, rate)
    if with_daemons:
        deadline = daemons.deadline_mono_s(len(topology.monitored))
        for name in daemons.DAEMONS:
            daemons.start(
                topology.monitored,
                name,
                hook,
                devices=devices,
                topology=topology,
                deadline_mono_s=deadline,
            )
        daemons.join_overlay(topology)
    shaped = rate.text if rate else None
    state.Lab(
        depth=topology.depth,
        fanout=topology.fanout,
        rate=shaped,
        hook=hook,
        devices=tuple(devices),
    ).save()
