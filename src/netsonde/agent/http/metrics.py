"""`/metrics`, as Prometheus reads it."""

from __future__ import annotations

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from netsonde.agent.metrics import Metrics

MEDIA_TYPE = "text/plain; version=0.0.4"
"""Prometheus' text format; the framework adds the charset."""


def routes(metrics: Metrics) -> list[HTTPRouteHandler]:
    """Give the handler over an agent's metrics."""

    @get("/metrics", include_in_schema=False)
    async def scrape() -> Response[bytes]:
        return Response(await metrics.scrape(), media_type=MEDIA_TYPE)

    return [scrape]
