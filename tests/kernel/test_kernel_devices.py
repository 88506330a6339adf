"""The device programs: which frames are the host's own, behind which link headers."""

from __future__ import annotations

import secrets
import socket

import pytest
from packets import Flow, packet

from netsonde.kernel.addresses import local_addresses
from netsonde.kernel.devices import counted_devices
from netsonde.kernel.path import Encapsulated
from netsonde.kernel.tc import TcxPath
from netsonde.model import address
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader

OURS = packet(Flow("127.0.0.1", "127.0.0.1", 1000, 53, 17), 20)
OTHERS = packet(Flow("9.9.9.9", "9.9.9.8", 1000, 53, 17), 20)
IPV4 = b"\x08\x00"
LINKS = {
    "plain": IPV4,
    "vlan": b"\x81\x00\x00\x05" + IPV4,
    "qinq": b"\x88\xa8\x00\x05\x81\x00\x00\x06" + IPV4,
    "mpls": b"\x88\x47" + b"\x00\x01\x00\x40" + b"\x00\x01\x01\x40",
    "pppoe": b"\x88\x64" + b"\x11\x00\x00\x01\x00\x32" + b"\x00\x21",
}


SECRET = [secrets.randbits(64) for _ in range(8)]


@pytest.fixture
def path():
    with TcxPath(hash_key=SECRET, lg_buckets=4) as loaded:
        loaded.follow_addresses()
        yield loaded


def side(path: TcxPath, direction: int):
    reader = Reader(path.hot, path.cold, path.slices, lg_buckets=4, cpus=path.cpus, hash_key=SECRET)
    return reader.read(path.flip(), 0).sides[direction]


@pytest.mark.parametrize("link", LINKS)
def test_own_packets_behind_every_link_header(path, link):
    path.run("ns_egress", bytes(12) + LINKS[link] + OURS)
    counted = side(path, _abi.OUT)
    assert (counted.packets, counted.ip_bytes) == (1, len(OURS))


def test_packets_of_others_are_not_counted(path):
    path.run("ns_egress", bytes(12) + IPV4 + OTHERS)
    path.run("ns_ingress", bytes(12) + IPV4 + OTHERS)
    assert side(path, _abi.OUT).packets == 0


def test_devices_without_a_link_header(path):
    path.run("ns_egress_ip", OURS)
    assert side(path, _abi.OUT).packets == 1


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (bytes(12) + b"\x08\x06" + bytes(40), "not_ip"),
        (bytes(12) + IPV4 + b"\x44" + bytes(39), "bad_header"),
        (bytes(12) + b"\x81\x00\x00\x05" * 20 + IPV4 + OURS, "too_nested"),
    ],
)
def test_what_belongs_to_no_flow_is_a_named_drop(path, frame, cause):
    path.run("ns_egress", frame)
    assert side(path, _abi.OUT).drops[cause] == 1


def test_local_addresses_and_devices_are_found():
    assert address.mapped("127.0.0.1") in local_addresses()
    names = {device.name: device for device in counted_devices(Encapsulated.OUTER)}
    assert names["lo"].ethernet
    assert names["lo"].index == socket.if_nametoindex("lo")
