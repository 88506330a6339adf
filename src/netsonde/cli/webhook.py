"""`netsonde webhook`: where events are sent."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from netsonde.cli import exits
from netsonde.cli.options import Plain, Service

app = App(
    name="webhook",
    help="Webhooks: events are sent there by POST, one JSON object each.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)


@app.command(name="list", help_epilogue="Such as: netsonde webhook list --json")
def list_(*, output: Plain = Plain(), service: Service = Service()) -> int:
    """List all webhooks and how they fare."""
    from netsonde.cli import printing

    with service.client() as client:
        hooks = client.webhooks.list()
    if output.json:
        printing.json(hooks)
        return exits.OK
    rows = [
        (
            body.name,
            body.webhook.url,
            ", ".join(body.webhook.detectors or ()) or "all",
            str(body.delivered),
            str(body.failed),
            str(body.dropped),
            str(body.waiting),
        )
        for body in hooks
    ]
    printing.listing(
        ("name", "url", "detectors", "delivered", "failed", "dropped", "waiting"), rows
    )
    return exits.OK


@app.command(
    name="set", help_epilogue="Such as: netsonde webhook set pager http://10.0.0.1:9000/alarm"
)
def set_(
    name: str,
    to: str,
    *,
    detector: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    output: Plain = Plain(),
    service: Service = Service(),
) -> int:
    """Make or change a webhook.

    Args:
        name: of the webhook: lower case, a-z 0-9 _
        to: where to send events: http://...
        detector: only events of this detector; may be given again.
    """
    from netsonde.cli import printing

    with service.client() as client:
        body = client.webhooks.set(name, to, detectors=detector or None)
    if output.json:
        printing.json(body)
    else:
        printing.sentences([f"webhook {name} sends to {body.webhook.url}"])
    return exits.OK


@app.command(help_epilogue="Such as: netsonde webhook remove pager")
def remove(name: str, *, service: Service = Service()) -> int:
    """Remove a webhook.

    Args:
        name: of the webhook, as 'netsonde webhook list' tells it
    """
    from netsonde.cli import printing

    with service.client() as client:
        client.webhooks.remove(name)
    printing.sentences([f"webhook {name} is removed"])
    return exits.OK
