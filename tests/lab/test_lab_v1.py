"""`/v1` through the root of a network, with the monitors that count it."""

from __future__ import annotations

import http.client
import json
import time
from itertools import chain

import pytest
from asking import AGENT_PORT, PATIENCE_S, ROOT, until

from netsonde.lab import namespace
from netsonde.model.window import TICK_NS, wall_text

HOSTS = [f"10.0.0.{n}" for n in range(2, 10)]


def call(method: str, path: str, body: object = None, address: str = ROOT):
    """Send one request from h1; gives status, headers and what JSON says."""
    connection = http.client.HTTPConnection(address, AGENT_PORT, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    told = json.loads(text) if "json" in reply.headers.get("Content-Type", "") else text
    return reply.status, reply.headers, told


def ask(**question: object):
    status, _, answer = call("POST", "/v1/questions", question)
    assert status == 200, answer
    return answer


def since(begun: str) -> str:
    """Give the window from then to the last tick that every host has closed."""
    return f"{begun}/{wall_text(time.time_ns() // TICK_NS - 1)}"


def test_the_past_is_asked_about_before_there_is_a_task(lab):
    begun = wall_text(time.time_ns() // TICK_NS)  # other tests have pinged before
    lab.exec("h6", "ping", "-c", "7", "-i", "0.02", "-q", "10.0.0.5")
    pings = {"proto": "icmp", "src": "10.0.0.6", "dst": "10.0.0.5"}
    until(
        lambda: ask(ask="count", filter=pings, window=since(begun))["count"]["estimate"] >= 7,
        "the flight recorder does not hold the pings",
    )
    top = ask(ask="top", by="src_dst", filter=pings, window=since(begun))
    assert [row["key"] for row in top["rows"]] == ["10.0.0.6,10.0.0.5"]
    count = top["rows"][0]["count"]
    assert count["lower"] <= 7 <= count["upper"]
    certificate = top["certificate"]
    assert (certificate["coverage"]["asked"], certificate["coverage"]["answered"]) == (8, 8)
    assert sorted(chain(*certificate["evidence"]["hooks"].values())) == HOSTS
    # One machine has one clock, so every host's is within the error that is stated for it.
    skews = certificate["evidence"]["skew_ms"]
    assert sorted(skews) == HOSTS[1:]
    assert all(abs(offset_ms) <= error_ms for offset_ms, error_ms in skews.values())


def test_a_task_comes_counts_changes_and_goes(lab):
    spec = {"filter": {"proto": "icmp", "dst": "10.0.0.9"}, "counters": [{"by": "src"}]}
    status, headers, task = call("POST", "/v1/tasks", spec)
    assert status == 201, task
    assert task["coverage"]["answered"] == 8
    lab.exec("h3", "ping", "-c", "5", "-i", "0.02", "-q", "10.0.0.9")
    top = ask(ask="top", task=task["id"], by="src")
    assert top["rows"] == [{"key": "10.0.0.3", "count": {"lower": 5, "estimate": 5, "upper": 5}}]
    assert top["certificate"]["exact"]
    more = {**spec, "counters": [*spec["counters"], {"by": "src_dst", "increment": "bytes"}]}
    connection = http.client.HTTPConnection(ROOT, AGENT_PORT, timeout=PATIENCE_S)
    with namespace.inside("netsonde-h1"):
        connection.connect()
    tag = {"If-Match": headers["ETag"], "Content-Type": "application/json"}
    connection.request("PUT", headers["Location"], json.dumps(more), tag)
    assert connection.getresponse().status == 200
    connection.close()
    lab.exec("h3", "ping", "-c", "2", "-i", "0.02", "-q", "10.0.0.9")
    assert ask(ask="count", task=task["id"])["count"]["estimate"] == 7
    both = ask(ask="top", task=task["id"], by="src_dst", increment="bytes")
    assert both["rows"][0]["count"]["estimate"] == 2 * 84
    assert call("DELETE", headers["Location"])[0] == 204
    assert call("GET", headers["Location"])[0] == 404


def test_a_scan_is_an_event_at_the_root(lab):
    began = time.monotonic()
    lab.exec("h6", "nc", "-z", "10.0.0.5", "9001-9090", check=False)

    def alarms() -> list[dict[str, object]]:
        _, _, page = call("GET", "/v1/events?detector=port_scan&state=raised&limit=1000")
        return [one for one in page["events"] if "10.0.0.6" in one["key"]]

    until(alarms, "the root does not hear of a scan below it")
    assert time.monotonic() - began < PATIENCE_S
    told = alarms()[-1]
    assert told["key"] == "10.0.0.6,10.0.0.5"
    assert told["host"] in ("10.0.0.5", "10.0.0.6")
    assert told["count"]["lower"] >= told["threshold"]


@pytest.mark.parametrize("address", [ROOT, "10.0.0.9"])
def test_every_host_is_scraped_for_itself(lab, address):
    status, headers, text = call("GET", "/metrics", address=address)
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "netsonde_monitor_up 1.0" in text
    members = 8 if address == ROOT else 1
    assert f"netsonde_members {members}.0" in text
    _, _, host = call("GET", "/v1/host", address=address)
    assert (host["host"], host["recorder"]["levels"][0]["step_ms"]) == (address, 100)
