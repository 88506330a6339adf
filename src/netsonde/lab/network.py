"""The lab's network: namespaces, bridges, links and their rates, by netlink.

The one idea: everything made here lives in a named namespace, so removing the names removes it
all, and the machine's own namespace is never touched. Links are quiet: no router solicitations,
no autoconfiguration, no spanning tree, so that what is counted is what was sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, config, netns  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifaddrmsg import (  # type: ignore[import-untyped]
    IFA_F_NODAD,
)

from netsonde.lab import namespace
from netsonde.lab.rate import Rate
from netsonde.lab.topology import SWITCH_NAMESPACE, Host, Topology

HOST_DEVICE = "eth0"
# A child process makes each namespace; on a busy machine it takes more than the usual 1 s.
config.default_communicate_timeout = 30
QUIET_IPV6 = {
    "accept_dad": 0,
    "accept_ra": 0,
    "addr_gen_mode": 1,  # no link-local address, so nobody to announce
    "autoconf": 0,
    "mldv2_unsolicited_report_interval": 1,  # ms: groups are announced now, not a second later
    "router_solicitations": 0,
}


def create_switch_namespace() -> None:
    """Make the namespace of the bridges, empty: the lab exists from here on."""
    _create(SWITCH_NAMESPACE, ipv6={"disable_ipv6": 1})


def build(topology: Topology, rate: Rate | None) -> None:
    """Make every host, bridge and link, and bring them up; raises OSError or NetlinkError."""
    for host in topology.hosts:
        _create(host.namespace, ipv6=QUIET_IPV6)
    with namespace.inside(SWITCH_NAMESPACE), IPRoute() as links:
        for bridge in topology.bridges():
            links.link("add", ifname=bridge, kind="bridge", br_mcast_snooping=0)
        for bridge, above in topology.bridges().items():
            if above:
                links.link("add", ifname=f"{bridge}-{above}", kind="veth", peer=f"{above}-{bridge}")
        for host in topology.hosts:
            peer = {"ifname": HOST_DEVICE, "net_ns_fd": host.namespace}
            links.link("add", ifname=host.name, kind="veth", peer=peer)
        index = {link.get_attr("IFLA_IFNAME"): link["index"] for link in links.get_links()}
        _plug(links, topology, index)
        for host in topology.hosts:
            _shape(links, index[host.name], rate)
    for host in topology.hosts:
        _bring_up(host, rate)


def remove() -> None:
    """Unname every namespace of the lab; the kernel frees each one, its processes being gone."""
    for name in namespace.names():
        try:
            netns.remove(name)
        except FileNotFoundError:
            continue


def _create(name: str, ipv6: dict[str, int]) -> None:
    netns.create(name)
    with namespace.inside(name):
        for setting, value in ipv6.items():
            for scope in ("all", "default"):
                path = Path("/proc/sys/net/ipv6/conf", scope, setting)
                if path.exists():  # a kernel may be without IPv6
                    path.write_text(str(value))


def _plug(links: Any, topology: Topology, index: dict[str, int]) -> None:
    ports = {host.name: topology.bridge_of(host) for host in topology.hosts}
    for bridge, above in topology.bridges().items():
        if above:
            ports |= {f"{bridge}-{above}": bridge, f"{above}-{bridge}": above}
    for port, bridge in ports.items():
        links.link("set", index=index[port], master=index[bridge], state="up")
    for bridge in topology.bridges():
        links.link("set", index=index[bridge], state="up")


def _bring_up(host: Host, rate: Rate | None) -> None:
    with namespace.inside(host.namespace), IPRoute() as links:
        device = links.link_lookup(ifname=HOST_DEVICE)[0]
        links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
        links.addr("add", index=device, address=host.address, prefixlen=24)
        if Path("/proc/sys/net/ipv6").exists():
            links.addr("add", index=device, address=host.address6, prefixlen=64, flags=IFA_F_NODAD)
        _shape(links, device, rate)
        links.link("set", index=device, state="up")


def _shape(links: Any, device: int, rate: Rate | None) -> None:
    if rate:
        links.tc(
            "add",
            "tbf",
            device,
            rate=f"{rate.bits_per_s}bit",
            burst=rate.burst_bytes,
            limit=rate.limit_bytes,
        )
