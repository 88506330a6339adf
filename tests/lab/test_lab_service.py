"""The service as users meet it: the prototype's examples and promises on real packets."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from asking import (
    HOOKS,
    PATIENCE_S,
    ROOT,
    ask,
    assert_transfer_is_exact,
    example,
    host_status,
    printed,
    sketch,
    until,
)

TRANSFER_BYTES = 1_000_000_000


def test_heavy_hitters_of_one_host(lab):
    with example(lab, "heavy_hitter.py") as process:
        lab.run("pingall")
        text = printed(process, r"h6 hits: .*\n")
    table, _, rest = text.partition("}\n")
    others = {f"10.0.0.{n}": 2 for n in range(1, 10) if n != 5}
    assert json.loads(table + "}") == others
    assert rest == "h6 hits: 2times\n"


def test_flow_sizes_of_the_network(lab):
    with example(lab, "flow_size_distrib.py") as process:
        lab.run("pingall")
        text = printed(process, r"h6 sent h5: .*\n")
    table, _, rest = text.partition("}\n")
    pairs = {
        f"10.0.0.{src},10.0.0.{dst}": 168
        for src in range(1, 10)
        for dst in range(2, 10)
        if src != dst
    }
    assert len(pairs) == 64
    assert json.loads(table + "}") == pairs
    assert rest == "h6 sent h5: 168 bytes\n"


def test_port_scan_in_real_time(lab):
    with example(lab, "portscan.py") as process:
        begin = time.monotonic()
        lab.exec("h6", "nc", "-z", "10.0.0.5", "8008-8092", check=False)
        text = printed(process, "portscan detected")
        assert time.monotonic() - begin < 1
        text += printed(process, "}")
    assert json.loads(text.partition("detected.\n")[2])["10.0.0.6"] == 85


def test_counts_ipv6_and_prefixes(lab):
    pings = sketch("10.0.0.5", "src_dst", proto="icmpv6", src="fd00::/64", interface="INPUT")
    lab.exec("h6", "ping", "-6", "-c", "3", "-i", "0.1", "-q", "fd00::5")
    reply = ask(
        "10.0.0.5",
        type="query sketch",
        sketch_id=pings,
        counter_key_type="src_dst",
        counter_key="fd00::6,fd00::5",
    )
    # Neighbour discovery may add to the three requests, whose number the next line shows.
    requests = ask(
        "10.0.0.5",
        type="query heavy hitters",
        sketch_id=pings,
        counter_key_type="src_dst",
    )
    assert int(reply.text) >= 3
    assert requests.value["fd00::6,fd00::5"] == int(reply.text)
    assert reply.headers["x-netsonde-bounds"] == "exact"


def test_a_gigabyte_is_counted_to_the_last_segment(lab):
    assert_transfer_is_exact(lab, TRANSFER_BYTES)


def test_dead_daemons_are_named_and_harm_nobody(lab):
    sketch_id = sketch(ROOT, "src_dst", proto="icmp", increment="pkt")
    wanted = {"type": "query sketch", "sketch_id": sketch_id, "counter_key_type": "src_dst"}
    wanted["counter_key"] = "10.0.0.6,10.0.0.5"
    assert ask(ROOT, **wanted).headers["x-netsonde-coverage"] == "8/8"
    with (
        lab.popen("h6", "ping", "-i", "0.02", "-c", "150", "-q", "10.0.0.5") as pings,
        lab.popen("h8", "iperf3", "-s", "-1", "--forceflush") as server,
    ):
        assert "listening" in printed(server, "listening")
        with lab.popen("h5", "iperf3", "-c", "10.0.0.8", "-t", "2", "-J") as stream:
            for host, daemon in (("h5", "monitor"), ("h6", "agent"), ("h7", "monitor")):
                os.kill(lab.pid(host, daemon), signal.SIGKILL)
            report = json.loads(stream.communicate(timeout=PATIENCE_S)[0])
        assert "0% packet loss" in pings.communicate(timeout=PATIENCE_S)[0]
    assert min(i["sum"]["bits_per_second"] for i in report["intervals"]) > 0
    begin = time.monotonic()
    reply = ask(ROOT, **wanted)
    assert time.monotonic() - begin < 1.5
    assert reply.status == 200
    coverage = reply.headers["x-netsonde-coverage"]
    assert coverage == "5/8; missing=10.0.0.5,10.0.0.6,10.0.0.7"
    away = ask("10.0.0.5", **wanted, scope="host")
    assert away.status == 503
    assert "monitor away" in away.text

    for host, daemon in (("h5", "monitor"), ("h6", "agent"), ("h7", "monitor")):
        lab.restart(host, daemon)
    until(
        lambda: "missing" not in ask(ROOT, **wanted).headers["x-netsonde-coverage"],
        "a restarted daemon does not come back by itself",
    )
    # The monitors that died may have forgotten some of what they had counted; then the answer says
    # whose that is.
    reply = ask(ROOT, **wanted)
    answered, _, partial = reply.headers["x-netsonde-coverage"].partition("; partial=")
    assert answered == "8/8"
    assert set(filter(None, partial.split(","))) <= {"10.0.0.5", "10.0.0.7"}
    assert reply.value == 150 or "10.0.0.5" in partial


def test_a_killed_monitor_does_not_keep_others_from_counting(lab):
    os.kill(lab.pid("h3", "monitor"), signal.SIGKILL)
    until(lambda: lab.pid("h3", "monitor") is None, "the monitor does not die")
    # What it left attached would refuse a second load; it is taken over instead.
    lab.restart("h3", "monitor")
    assert lab.pid("h3", "monitor") is not None


@pytest.mark.parametrize("kind", ["delay", "jitter", "loss"])
def test_paths_may_be_asked_of_any_agent(lab, kind):
    reply = ask("10.0.0.3", type=f"query {kind}", src="10.0.0.5", dst="10.0.0.9")
    assert reply.status == 200, reply.text
    assert 0 <= reply.value < 50
    assert "sent=100" in reply.headers["x-netsonde-probe"]


def test_bandwidth_of_a_shaped_link(no_lab):
    no_lab.up("--rate", "100mbit")
    reply = ask("10.0.0.5", type="query bw", src="10.0.0.5", dst="10.0.0.6")
    shaped_mbytes_per_s = 100 / 8 * 1448 / 1514
    assert abs(reply.value / shaped_mbytes_per_s - 1) < 0.1, reply


def test_a_host_tells_how_it_is(lab):
    host = host_status(lab, "10.0.0.5")
    assert host["hook"] == HOOKS[0]
    assert host["encapsulated"] == "outer"
    assert host["tick_ms"] == 100
    assert set(host["drops"]) >= {"not_ip", "truncated", "bad_header"}
    assert host["packets"] > 0
