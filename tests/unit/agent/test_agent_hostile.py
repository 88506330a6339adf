"""Any texts in the prototype's messages and in questions: an answer or a sentence, never a 500."""

import asyncio
import json
from typing import Any

from fleet import Agent, Fleet, with_fleet
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROUNDS = 150
TEXTS = st.one_of(
    st.text(max_size=300),
    st.sampled_from(
        [
            *(
                "10.0.0.5",
                "::1",
                "fe80::1%eth0",
                "::ffff:10.0.0.5",
                "10.0.0.0/24",
                "::/0",
                "a" * 70_000,
            ),
            *("src", "src_dst", "src/0/0", "src/32/128", "dst/8/16", "proto_src", "key_num", "tcp"),
            *("last 100ms", "last 24h", "last 0.05s", "total", "before", "real_time", "2250-01-01"),
            *("2026-11-30T00:00:00+23:59/2026-11-30T01:00:00-23:59", "\x1b[2J", "\u202e", "1e309"),
            *(
                "0-65535",
                "80,443",
                ",".join("1-2" for _ in range(20)),
                "INPUT",
                "both",
                "lo",
                "nan",
            ),
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.sampled_from([0, 1, 0.5, 1e-300, 10**400, -1]),
)
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
TYPES = (
    *("config sketch", "config sketch counter", "query heavy hitters", "query sketch"),
    *("query real time counter", "config counter", "query counter", "remove leaf agent"),
    "query leaf agents",
)
NAMES = (
    *("interface", "proto", "src", "dst", "scope", "sketch_id", "counter_key_type", "counter_key"),
    *("increment", "hitter_threshold", "agent_addr", "target", "queue number", "mode"),
)
MESSAGES = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES) | VALUES,
    st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), VALUES, max_size=6),
)
ASKS = ("count", "top", "keys", "distinct", "distribution", "spreaders", "change", "series")
FIELDS = ("by", "of", "key", "k", "share", "limit", "after", "window", "against", "step", "scope")
FILTERS = st.dictionaries(
    st.sampled_from(("interface", "family", "proto", "src", "dst", "sport", "dport", "flow")),
    VALUES | st.lists(VALUES, max_size=4),
    max_size=3,
)
QUESTIONS = st.builds(
    lambda ask, fields, chosen: {"ask": ask, **fields, **chosen},
    st.sampled_from(ASKS),
    st.dictionaries(
        st.sampled_from((*FIELDS, "task", "increment", "quantiles")), VALUES, max_size=5
    ),
    st.fixed_dictionaries(
        {}, optional={"filter": FILTERS, "quantiles": st.lists(NUMBERS, max_size=40)}
    ),
)


async def sent(agent: Agent, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    reply = await agent.client.post(path, content=content, headers=headers)
    assert reply.status_code < 500 or reply.status_code == 503, (body, reply.text)
    if reply.status_code >= 400:
        assert reply.text.strip()
        assert "json" in reply.headers["Content-Type"] or reply.text.isprintable()


def hostile(agent: Agent, loop: asyncio.AbstractEventLoop) -> None:
    """Send what hypothesis thinks of, from its thread."""

    def send(path: str, body: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(sent(agent, path, body), loop).result(30)

    quick = settings(
        max_examples=ROUNDS,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @quick
    @given(MESSAGES)
    def messages(body: dict[str, Any]) -> None:
        send("/", body)

    @quick
    @given(QUESTIONS)
    def questions(body: dict[str, Any]) -> None:
        send("/v1/questions", body)

    messages()
    questions()


@with_fleet
async def test_no_text_in_a_message_or_a_question_ends_an_agent_or_is_a_fault_of_its_own(
    fleet: Fleet,
) -> None:
    """Attack: thousands of random messages and questions, valid and not, beside traffic."""
    (agent,) = await fleet.start(2)
    agent.monitor.totals = (100, 1000)
    await agent.ask("config sketch")
    await asyncio.to_thread(hostile, agent, asyncio.get_running_loop())
    metrics = (await agent.client.get("/metrics")).text
    assert "netsonde_failures_total{" not in metrics
    assert (await agent.post(type="query leaf agents")).text == "[]"
