"""The two trees of the lab: bridges and overlay."""

import pytest

from netsonde.lab.errors import LabError, OptionError
from netsonde.lab.topology import MAX_HOSTS, Host, Topology, overlay_tree

SHAPES = [(1, 2), (1, 5), (2, 2), (2, 3), (3, 2), (3, 4), (7, 2), (1, MAX_HOSTS)]


def test_overlay_of_the_prototype():
    assert overlay_tree(2, 3) == {
        "h2": ["h3", "h4", "h7"],
        "h4": ["h5", "h6"],
        "h7": ["h8", "h9"],
    }


def test_overlay_of_three_levels():
    assert overlay_tree(3, 2) == {
        "h2": ["h3", "h5"],
        "h3": ["h4"],
        "h5": ["h6", "h7"],
        "h7": ["h8"],
    }


@pytest.mark.parametrize(("depth", "fanout"), SHAPES)
def test_overlay_holds_every_monitored_host_once_below_h2(depth, fanout):
    tree = overlay_tree(depth, fanout)
    reached, waiting = [], ["h2"]
    while waiting:
        reached.append(waiting.pop())
        waiting += tree.get(reached[-1], [])
    assert sorted(reached) == sorted(host.name for host in Topology(depth, fanout).monitored)


@pytest.mark.parametrize(("depth", "fanout"), SHAPES)
def test_every_bridge_has_fanout_links_below_it(depth, fanout):
    topology = Topology(depth, fanout)
    bridges = topology.bridges()
    below = [above for above in bridges.values() if above]
    below += [topology.bridge_of(host) for host in topology.hosts]
    assert {bridge: below.count(bridge) for bridge in bridges} == dict.fromkeys(bridges, fanout)


def test_neighbours_share_a_bridge():
    topology = Topology(2, 3)
    assert topology.bridges() == {"s1": None, "s2": "s1", "s3": "s1", "s4": "s1"}
    assert [topology.bridge_of(host) for host in topology.hosts] == [
        *("s2", "s2", "s2"),
        *("s3", "s3", "s3"),
        *("s4", "s4", "s4"),
    ]


def test_addresses():
    host = Host(26)
    assert (host.name, host.namespace) == ("h26", "netsonde-h26")
    assert (host.address, host.address6) == ("10.0.0.26", "fd00::1a")


@pytest.mark.parametrize(
    ("depth", "fanout", "option"),
    [(0, 3, "--depth"), (8, 2, "--depth"), (2, 1, "--fanout"), (2, 16, "--fanout")],
)
def test_a_shape_that_cannot_be_is_refused_by_name(depth, fanout, option):
    with pytest.raises(OptionError, match=f"^{option} is '.*'; allowed: "):
        Topology(depth, fanout)


def test_an_unknown_host_is_refused_with_those_there_are():
    with pytest.raises(LabError, match="no host 'h10'; hosts are h1 to h9"):
        Topology(2, 3).host("h10")
