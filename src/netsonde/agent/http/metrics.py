"""`/metrics`, as Prometheus reads it."""

from __future__ import annotations

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from netsonde.agent.metrics import Metrics


def routes(metrics: Metrics) -> list[HTTPRouteHandler]:
    """Give the handler over an agent's metrics."""

    @get("/metrics", include_in_schema=False)
    async def scrape() -> Response[bytes]:
        return Response(await metrics.scrape(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return [scrape]
