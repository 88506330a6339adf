"""`/v1/detectors`: questions that stand, each with a threshold: built-in ones and users' own."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, PathParameter

from netsonde.agent.detectors import Detectors
from netsonde.agent.http.document import problems
from netsonde.agent.http.strict import Strict
from netsonde.model.asking import checked_detector, written_detector
from netsonde.model.detector import Choice
from netsonde.model.resource import DetectorBody, DetectorList, DetectorSpec

NamePath = Annotated[
    str,
    PathParameter(pattern="^[a-z][a-z0-9_]{0,39}$", description="lower case letters, digits, _"),
]


def routes(detectors: Detectors) -> list[HTTPRouteHandler]:
    """Give the handlers over an agent's detectors."""

    @get("/v1/detectors", tags=["detectors"], sync_to_thread=False, summary="List detectors")
    def list_detectors() -> DetectorList:
        return DetectorList(detectors=tuple(_body(*one) for one in detectors.all()))

    @put(
        "/v1/detectors/{name:str}",
        tags=["detectors"],
        dto=Strict.of(DetectorSpec),
        return_dto=None,
        summary="Set a detector",
        responses=problems(503),
    )
    async def set_detector(name: NamePath, data: JSONBody[DetectorSpec]) -> Response[DetectorBody]:
        choice = Choice(detector=checked_detector(name, data), enabled=data.enabled)
        done = await detectors.put(choice)
        covered = {"X-Netsonde-Coverage": done.coverage.header()}
        return Response(_body(done.choice, done.built_in), headers=covered)

    @delete(
        "/v1/detectors/{name:str}",
        tags=["detectors"],
        summary="Delete a detector",
        responses=problems(400, 404, 503),
    )
    async def delete_detector(name: NamePath) -> Response[None]:
        coverage = await detectors.delete(name)
        return Response(None, headers={"X-Netsonde-Coverage": coverage.header()})

    return [list_detectors, set_detector, delete_detector]


def _body(choice: Choice, built_in: bool) -> DetectorBody:
    return DetectorBody(name=choice.detector.name, builtin=built_in, spec=written_detector(choice))
