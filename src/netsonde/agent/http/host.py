"""`/v1/host` and `/v1/members`: how the monitor is, and who belongs to the subtree."""

from __future__ import annotations

from litestar import get
from litestar.handlers import HTTPRouteHandler

from netsonde.agent.http.document import problems
from netsonde.agent.http.tasks import covered
from netsonde.agent.service import Service
from netsonde.model.certificate import Covered
from netsonde.model.resource import Host


def routes(service: Service) -> list[HTTPRouteHandler]:
    """Give the handlers over an agent."""

    @get(
        "/v1/host",
        tags=["hosts"],
        summary="Tell how the host's monitor is",
        responses=problems(503),
    )
    async def show_host() -> Host:
        return await service.host()

    @get("/v1/members", tags=["hosts"], sync_to_thread=False, summary="List who is missing")
    def show_members() -> Covered:
        _, coverage = service.leaves()
        return covered(coverage)

    return [show_host, show_members]
