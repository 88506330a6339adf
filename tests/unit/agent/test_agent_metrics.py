"""`/metrics`: what a scraper reads, and that a scrape is bounded."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from fleet import Agent, Fleet, event, with_fleet
from prometheus_client.parser import text_string_to_metric_families

from netsonde.agent import metrics
from netsonde.model.resource import Level, Reach
from netsonde.wire import monitor

REFERENCE = (Path(__file__).parents[3] / "docs/reference/http.md").read_text()
STATUS = monitor.Status(
    hook="tables",
    encapsulated="outer",
    since_tick=1,
    last_tick=602,
    packets=7,
    ip_bytes=700,
    drops={"not_ip": 3},
    tasks=0,
    tick_ms=200,
    told_one_in=4,
    late_ticks=5,
    failed_refreshes=0,
    cpu_seconds=1.5,
    rss_bytes=1 << 20,
    detectors=(),
    failures={"ask: ValueError": 2},
    refused={"connection": 3},
    log_dropped={"full": 6},
    recorder=Reach(
        first_tick=3,
        begins="1969-12-31T23:59:00.3Z",
        levels=(Level(step_ms=100, steps=600, first_tick=3, bytes=4096),),
        budget_bytes=1 << 20,
    ),
)

Read = dict[str, dict[tuple[str, ...], float]]


async def scraped(agent: Agent) -> Read:
    reply = await agent.client.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    read: Read = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            read.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return read


@with_fleet
async def test_agent_and_monitor_tell_how_they_are(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.status = STATUS
    agent.monitor.happen(event(agent.address, 1), event(agent.address, 2, state="cleared"))
    await agent.client.get("/nowhere")
    await agent.client.put("/v1/webhooks/mine", json={"url": "http://127.0.0.1:9/"})
    read = await scraped(agent)
    assert read["netsonde_monitor_up"] == {(): 1}
    assert read["netsonde_packets_total"] == {(): 7}
    assert read["netsonde_drops_total"] == {("not_ip",): 3}
    assert read["netsonde_tick_seconds"] == {(): 0.2}
    assert read["netsonde_recorder_reach_seconds"] == {(): 60}
    assert read["netsonde_recorder_bytes"] == {("100",): 4096}
    assert read["netsonde_told_one_in"] == {(): 4}
    assert read["netsonde_http_requests_total"][("404",)] == 1
    assert read["netsonde_events_total"] == {
        ("port_scan", "raised"): 1,
        ("port_scan", "cleared"): 1,
    }
    assert read["netsonde_webhook_events_total"][("dropped", "mine")] == 0
    assert read["netsonde_members"] == {(): 1}
    assert read["netsonde_log_lines_dropped_total"] == {("full", "monitor"): 6}


@with_fleet
async def test_the_reference_names_every_metric_and_no_other(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.status = STATUS
    agent.monitor.tables = {"src": {"10.0.0.1": 1}, "dst": {"10.0.0.1": 1}}
    counters = [{"by": "src"}, {"by": "dst", "increment": "bytes"}]
    await agent.client.post("/v1/tasks", json={"counters": counters})
    text = (await agent.client.get("/metrics")).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told == set(re.findall(r"`(netsonde_\w+)`", REFERENCE.partition("| metric |")[2]))


@with_fleet
async def test_tasks_are_told_with_their_largest_keys(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.status = STATUS
    agent.monitor.totals = (8, 800)
    agent.monitor.tables = {"src": {f"10.0.{n // 250}.{n % 250}": n + 1 for n in range(600)}}
    counters = [{"by": "src"}, {"by": "dst", "increment": "bytes"}]
    await agent.client.post("/v1/tasks", json={"counters": counters})
    await agent.ask("config counter", proto="udp")
    read = await scraped(agent)
    assert read["netsonde_task_packets_total"] == {("sketch", "0"): 8, ("counter", "0"): 8}
    assert read["netsonde_task_bytes_total"][("sketch", "0")] == 800
    keys = read["netsonde_task_key_packets"]
    assert len(keys) == metrics.MAX_KEYS
    assert keys[("src", "10.0.2.99", "0")] == 600
    assert read["netsonde_scrape_keys_cut"] == {(): 580}
    assert read["netsonde_scrape_counters_cut"] == {(): 0}


@with_fleet
async def test_a_scrape_asks_so_much_and_no_more(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "DEADLINE_S", 60)  # of its bounds this one is not meant here
        await _scraped_with_too_many_counters(fleet)


async def _scraped_with_too_many_counters(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.status = STATUS
    agent.monitor.tables = {"src": {f"10.0.0.{n}": n + 1 for n in range(200)}}
    for number in range(metrics.MAX_QUESTIONS + 5):
        spec = {"filter": {"proto": number}, "counters": [{"by": "src"}]}
        assert (await agent.client.post("/v1/tasks", json=spec)).status_code == 201
    read, again = await asyncio.gather(scraped(agent), scraped(agent))
    assert read == again
    assert len(agent.monitor.asked) == metrics.MAX_QUESTIONS
    assert read["netsonde_scrape_counters_cut"] == {(): 5}
    assert len(read["netsonde_task_key_packets"]) == metrics.MAX_KEY_SERIES
    cut = metrics.MAX_QUESTIONS * 200 - metrics.MAX_KEY_SERIES
    assert read["netsonde_scrape_keys_cut"] == {(): cut}


@with_fleet
async def test_a_scrape_tells_the_heaviest_keys_of_a_counter(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.status = STATUS
    agent.monitor.tables = {"src": {f"10.0.0.{n}": n + 1 for n in range(200)}}
    spec = {"filter": {"proto": 6}, "counters": [{"by": "src"}]}
    assert (await agent.client.post("/v1/tasks", json=spec)).status_code == 201
    read = await scraped(agent)
    told = sorted(read["netsonde_task_key_packets"].values())
    assert told == list(range(200 - metrics.MAX_KEYS + 1, 201))
    assert read["netsonde_scrape_keys_cut"] == {(): 200 - metrics.MAX_KEYS}


@with_fleet
async def test_a_monitor_that_is_away_or_hangs_does_not_hold_a_scrape_up(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "DEADLINE_S", 0.2)
        (agent,) = await fleet.start(2)
        agent.monitor.answering.clear()
        began_mono_s = time.monotonic()
        read = await scraped(agent)
        assert time.monotonic() - began_mono_s < 2
        assert read["netsonde_monitor_up"] == {(): 0}
        assert "netsonde_packets_total" not in read
        await agent.monitor.stop()
        assert (await scraped(agent))["netsonde_monitor_up"] == {(): 0}
