"""`pingall`: every host asks every other host for an echo, and the losses are counted.

Each directed pair sends exactly `count` echo requests, by the system's ping(8), so that a test
may know to the packet what went over the network.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from netsonde.lab import namespace
from netsonde.lab.errors import LabError
from netsonde.lab.topology import Host

AT_ONCE = 12
"""Pings in flight: more than the cores, as most of a ping is waiting."""
WAIT_S = 1
"""How long the last echo reply is waited for."""


def ping_all(hosts: Sequence[Host], count: int) -> bool:
    """Ping and print as Mininet does, a line per host as it finishes; gives whether none is lost.

    What ping(8) complains of follows at the end. Raises LabError when it cannot be run.
    """
    pairs = [(source, target) for source in hosts for target in hosts if source != target]
    received = 0
    complaints: set[str] = set()
    print("*** Ping: testing ping reachability", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = zip(pairs, pool.map(lambda pair: _ping(pair, count), pairs), strict=True)
        for source, row in groupby(results, key=lambda result: result[0][0]):
            print(f"{source.name} ->", end="")
            for (_, target), (replies, complaint) in row:
                received += replies
                complaints |= {f"{source.name}: {complaint}"} if complaint else set()
                print(f" {target.name if replies == count else 'X'}", end="", flush=True)
            print(flush=True)
    sent = len(pairs) * count
    print(
        f"*** Results: {100 * (sent - received) / sent:.0f}% dropped ({received}/{sent} received)"
    )
    for complaint in sorted(complaints):
        print(complaint)
    return received == sent


def _ping(pair: tuple[Host, Host], count: int) -> tuple[int, str]:
    # Gives how many replies came, and what ping said when it could not even send.
    source, target = pair
    argv = ["ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W", str(WAIT_S), target.address]
    try:
        with namespace.inside(source.namespace):
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise LabError("there is no ping command; on Debian it is in iputils-ping") from None
    output, _ = process.communicate()
    found = re.search(rb"(\d+) received", output)
    return (int(found[1]), "") if found else (0, output.decode(errors="replace").strip())
