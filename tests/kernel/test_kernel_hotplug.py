"""CPUs that come and go: slices are there for every CPU that may ever be, so none is missed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from features import HOOK_NEEDS, SPARE_CPU, missing, needs
from pyroute2 import IPRoute, netns

from netsonde.kernel.hooks import HOOKS, open_path
from netsonde.lab import namespace
from netsonde.sketch.tick import Reader

pytestmark = needs("spare_cpu")

HERE = f"netsonde-test-{os.getpid()}-hotplug"
LG_BUCKETS = 4
SPARE = 1
WORKING = [hook for hook in HOOKS if (wanted := HOOK_NEEDS[hook]) is None or not missing(wanted[0])]


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with loopback alone, and every CPU back at the end."""
    mine = os.sched_getaffinity(0)
    netns.create(HERE)
    try:
        with namespace.inside(HERE), IPRoute() as links:
            links.link("set", index=links.link_lookup(ifname="lo")[0], state="up")
            yield
    finally:
        SPARE_CPU.write_text("1")
        os.sched_setaffinity(0, mine)
        netns.remove(HERE)


def send(packets: int, cpu: int) -> None:
    """Send datagrams over loopback from one CPU."""
    os.sched_setaffinity(0, {cpu})
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        for _ in range(packets):
            sender.sendto(b"netsonde", receiver.getsockname())
            receiver.recv(64)


@pytest.mark.parametrize("hook", WORKING)
def test_a_cpu_that_comes_is_counted_and_one_that_goes_leaves_its_counts(hook: str) -> None:
    SPARE_CPU.write_text("0")
    opened = open_path(hook, hash_key=list(range(8)), lg_buckets=LG_BUCKETS)
    with opened.claim, opened.path as path:
        reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=LG_BUCKETS,
            cpus=path.cpus,
            hash_key=path.hash_key,
        )
        counted = []
        for step, packets in enumerate((3, 5, 7)):
            send(packets, cpu=0)
            if step == 1:  # it comes, sends, and is gone again before anybody reads
                SPARE_CPU.write_text("1")
                send(11, cpu=SPARE)
                os.sched_setaffinity(0, {0})
                SPARE_CPU.write_text("0")
            sides = reader.read(path.flip(), step).sides
            counted.append([side.packets for side in sides])
        assert counted == [[3, 3], [16, 16], [7, 7]]
