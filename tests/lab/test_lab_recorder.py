"""The flight recorder as users meet it: what happened is asked about afterwards."""

from __future__ import annotations

import http.client
import json
import time

from asking import AGENT_PORT, PATIENCE_S, ask, host_status, sketch, until

from netsonde.lab import namespace
from netsonde.model.window import TICK_NS

H2, H5, H6, H9 = "10.0.0.2", "10.0.0.5", "10.0.0.6", "10.0.0.9"
SCANNED = range(9008, 9093)


def asked(address: str, **fields: object) -> tuple[int, str]:
    """Post to `/v1/questions` from h1; gives status and text."""
    connection = http.client.HTTPConnection(address, AGENT_PORT, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/questions", json.dumps(fields), headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def question(address: str, **fields: object) -> dict[str, object]:
    """Ask, and fail on anything but an answer."""
    status, text = asked(address, **fields)
    assert status in (200, 201), text
    return json.loads(text)


def test_a_task_made_afterwards_is_asked_about_the_minute_before(lab):
    lab.exec("h9", "ping", "-c", "20", "-i", "0.01", "-q", H5)
    lab.exec("h6", "nc", "-z", H5, f"{SCANNED[0]}-{SCANNED[-1]}", check=False)
    tcp = sketch(H5, "src", proto="tcp", dst=H5)
    rows = question(H5, ask="top", task=tcp, window="last 1m", by="dport", k=1000)["rows"]
    ports = {int(row["key"]): row["count"] for row in rows}
    assert all(ports[port]["lower"] == ports[port]["upper"] >= 1 for port in SCANNED)
    assert (
        ask(H5, type="query sketch", sketch_id=tcp, counter_key_type="src", counter_key=H6).value
        == 0
    )
    spread = question(
        H5, ask="spreaders", filter={"proto": "tcp"}, window="last 1m", by="src", of="dport"
    )
    assert spread["rows"][0]["key"] == H6
    assert spread["rows"][0]["count"]["lower"] >= len(SCANNED)


def test_what_was_sent_is_counted_to_the_packet_without_any_task(lab):
    filters = {"proto": "icmp", "src": H9, "dst": H5}
    window = "last 10s"
    until(
        lambda: question(H5, ask="count", filter=filters, window=window)["count"]["upper"] == 0,
        "pings of an earlier test do not pass out of the window",
    )
    lab.exec("h9", "ping", "-c", "31", "-i", "0.01", "-q", H5)
    sent_tick = time.time_ns() // TICK_NS
    asked_count = {"ask": "count", "filter": filters, "window": window}
    until(
        lambda: question(H5, **asked_count)["certificate"]["window"]["last_tick"] >= sent_tick,
        "the tick of the last ping does not close",
    )
    answer = question(H5, **asked_count)
    assert answer["count"] == {"lower": 31, "estimate": 31, "upper": 31}
    certificate = answer["certificate"]
    assert certificate["exact"]
    assert certificate["evidence"]["packets"] >= 31
    assert certificate["coverage"]["answered"] == 1
    series = question(H5, ask="series", filter=filters, window=window, step="1s")
    assert sum(point["count"]["estimate"] for point in series["points"] if point["count"]) <= 31


def test_a_window_before_the_recorder_is_refused_by_name(lab):
    reach = host_status(lab, H5)["recorder"]
    assert [level["step_ms"] for level in reach["levels"]] == [100, 1000, 10000]
    window = "2020-01-01T00:00:00Z/2020-01-01T00:01:00Z"
    # One host, and eight of them: no host can answer, so the question is wrong, not the hosts.
    for address, begins_somewhere in ((H5, reach["begins"]), (H2, "it can be")):
        status, text = asked(address, ask="count", window=window)
        said = json.loads(text)
        assert status == 400, text
        assert (said["field"], said["value"]) == ("window", window)
        assert begins_somewhere in said["allowed"]
