"""What once ended an agent, or ended it at every start."""

import asyncio
import tempfile
import time
from pathlib import Path

from fleet import event, free_port
from process import Process

LEAVES = (
    *("fe80::1%..", "fe80::1%" + 64 * "a", "fe80::1%a\0b", "fe80::1%eth0", "::ffff:127.0.0.1"),
    *("127.0.0.1%..", "b\u00fccher.example", "xn--", 300 * "a", "127.0.0.9\n", "..", "\ud800"),
)
URLS = (
    *("http://[fe80::1%25..]/", "http://[fe80::1%25eth0]:8080/", "http://b\u00fccher.example/"),
    *("http://xn--/", f"http://{64 * 'a'}.example/", "http://[::1%25]/", "http://a..b/"),
)


async def attack(agent: Process) -> None:
    """Name leaf agents and receivers that no resolver can take, while the state is written."""

    async def name_leaf(number: int) -> int:
        leaf = LEAVES[number % len(LEAVES)]
        body = {"type": "add leaf agent", "agent_addr": leaf}
        content = str(body).replace("'", '"').encode("utf-8", "surrogatepass")
        headers = {"Content-Type": "application/json"}
        reply = await agent.client.post("/", content=content, headers=headers)
        return reply.status_code

    async def name_receiver(number: int) -> int:
        url = {"url": URLS[number % len(URLS)]}
        return (await agent.client.put(f"/v1/webhooks/h{number % 15}", json=url)).status_code

    for first in range(0, 60, 10):
        these = range(first, first + 10)
        statuses = await asyncio.gather(*map(name_leaf, these), *map(name_receiver, these))
        assert set(statuses) <= {200, 400, 503}
        agent.monitor.happen(event(agent.address, first, wall_ns=time.time_ns()))
    listed = await agent.client.post("/", json={"type": "query leaf agents"})
    assert (listed.status_code, listed.text) == (200, "[]")


def test_names_that_no_resolver_takes_end_no_agent_now_or_at_its_next_start() -> None:
    ports = free_port(), free_port()

    async def story() -> None:
        for _ in range(2):
            async with agent.running():
                await asyncio.wait_for(attack(agent), 30)

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        agent = Process(2, Path(name), ports)
        asyncio.run(story())
    assert "Traceback" not in agent.said
    assert "part failed" not in agent.said
