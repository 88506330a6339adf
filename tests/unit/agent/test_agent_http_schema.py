"""Whatever the OpenAPI document allows, and what it does not, is answered as it says.

The agent runs as users run it, over loopback, with a monitor of tables; requests are schemathesis'.
"""

import asyncio
import json
from importlib import resources
from pathlib import Path

import pytest
import schemathesis
from fleet import Fleet, event, with_fleet
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from test_agent_metrics import STATUS, scraped

DOCUMENT = json.loads((resources.files("netsonde.dashboard") / "openapi.json").read_text())
CALLS = {
    operation.ok().label: operation.ok()
    for operation in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if not operation.ok().path.endswith("/stream")  # has no end; its refusals have tests beside it
}
NOTHING_TO_GET_WRONG = {
    "GET /v1/detectors",
    "GET /v1/host",
    "GET /v1/members",
    "GET /v1/tasks",
    "GET /v1/webhooks",
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
"""Of each call; what is found stays found, as schemathesis' seed is fixed."""


def tried(url: str, label: str, mode: schemathesis.GenerationMode) -> None:
    """Try one call in one way; raises what is wrong with an answer."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CALLS[label].as_strategy(generation_mode=mode))
    def call(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=url, checks=CHECKS, timeout=10)

    call()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_request_breaks_it(mode: schemathesis.GenerationMode, tmp_path: Path) -> None:
    """The agent runs in this thread, as its signals want it, and is called from another."""

    async def story(fleet: Fleet) -> None:
        root, leaf = await fleet.start(2, 3)
        await root.ask("add leaf agent", agent_addr=leaf.address)
        for agent in (root, leaf):
            agent.monitor.status = STATUS
            agent.monitor.totals = (8, 800)
            agent.monitor.tables = {"src": {"127.0.0.9": 2, "127.0.0.8": 6}}
            agent.monitor.happen(event(agent.address, 1))
        url = f"http://{root.address}:{fleet.http_port}"
        for label in sorted(CALLS):
            if mode is schemathesis.GenerationMode.POSITIVE or label not in NOTHING_TO_GET_WRONG:
                await asyncio.to_thread(tried, url, label, mode)
        answered = (await scraped(root))["netsonde_http_requests_total"]
        assert sum(answered.values()) > 8 * EXAMPLES
        assert ("500",) not in answered

    with_fleet(story)(tmp_path)
