"""`/v1/webhooks`: where events are sent."""

from __future__ import annotations

from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from netsonde.agent.http.detectors import NamePath
from netsonde.agent.http.document import problems
from netsonde.agent.http.strict import Strict
from netsonde.agent.webhooks import Webhooks
from netsonde.model.resource import Webhook, WebhookBody, WebhookList


def routes(webhooks: Webhooks) -> list[HTTPRouteHandler]:
    """Give the handlers over an agent's webhooks."""

    @get("/v1/webhooks", tags=["webhooks"], sync_to_thread=False, summary="List webhooks")
    def list_webhooks() -> WebhookList:
        return WebhookList(webhooks=webhooks.all())

    @put(
        "/v1/webhooks/{name:str}",
        tags=["webhooks"],
        dto=Strict.of(Webhook),
        return_dto=None,
        sync_to_thread=False,
        summary="Set a webhook",
        responses=problems(503),
    )
    def set_webhook(name: NamePath, data: JSONBody[Webhook]) -> WebhookBody:
        return webhooks.put(name, data)

    @delete(
        "/v1/webhooks/{name:str}",
        tags=["webhooks"],
        sync_to_thread=False,
        summary="Delete a webhook",
        responses=problems(400, 404, 503),
    )
    def delete_webhook(name: NamePath) -> None:
        webhooks.delete(name)

    return [list_webhooks, set_webhook, delete_webhook]
