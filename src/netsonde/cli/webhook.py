"""`netsonde webhook`: where events are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from netsonde.cli import exits
from netsonde.cli.options import Listed, Plain, Service
from netsonde.model.errors import BadField
from netsonde.model.resource import WebhookBody

MAX_SECRET_BYTES = 4096
"""Of a file with a secret; more is no secret."""

app = App(
    name="webhook",
    help="Webhooks: events are sent there by POST, one JSON object each.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)


@app.command(name="list", help_epilogue="Such as: netsonde webhook list --json")
def list_(*, output: Listed = Listed(), service: Service = Service()) -> int:
    """List all webhooks and how they fare."""
    from netsonde.cli.listing import listed

    with service.client() as client:
        hooks = client.webhooks.list()
    header = ("name", "delivered", "failed", "dropped", "waiting", "signed", "detectors", "url")
    return listed(hooks, WebhookBody, output, header, _row)


@app.command(
    name="set", help_epilogue="Such as: netsonde webhook set pager http://10.0.0.1:9000/alarm"
)
def set_(
    name: str,
    to: str,
    *,
    detector: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    secret_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    unsigned: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: Plain = Plain(),
    service: Service = Service(),
) -> int:
    """Make or change a webhook.

    Args:
        name: the webhook's: 1 to 40 of a-z, 0-9 and _, a letter first
        to: where to send events, such as http://10.0.0.1:9000/alarm
        detector: only events of this detector; may be given again.
        secret_file: sign what is sent with the secret in this file, '-' for standard input.
            A webhook that is changed keeps the one it has
        unsigned: take its secret away
    """
    from netsonde.cli import checking, printing
    from netsonde.client import errors

    checking.check_webhook(name, to, detector)
    secret = _secret(secret_file, unsigned=unsigned)
    with service.client() as client:
        try:
            body = client.webhooks.set(name, to, detectors=detector or None, secret=secret)
        except errors.WrongField as error:
            if error.field != "url" or error.allowed is None:
                raise
            # '--url' is the agent that was asked.
            raise BadField("to", error.value, error.allowed) from None
    if output.json:
        printing.json(body)
    else:
        signed = ", signed" if body.signed else ""
        printing.sentences([f"webhook {name} sends to {body.webhook.url}{signed}"])
    return exits.OK


@app.command(help_epilogue="Such as: netsonde webhook remove pager")
def remove(name: str, *, service: Service = Service()) -> int:
    """Remove a webhook.

    Args:
        name: the webhook's, as 'netsonde webhook list' tells it
    """
    from netsonde.cli import printing

    with service.client() as client:
        client.webhooks.remove(name)
    printing.sentences([f"webhook {name} is removed"])
    return exits.OK


def _secret(path: Path | None, *, unsigned: bool) -> str | None:
    """Read a secret, less the end of its line; None keeps the one before, an empty one removes it.

    Raises BadField.
    """
    import sys

    if path is None:
        return "" if unsigned else None
    if unsigned:
        raise BadField("unsigned", "given beside --secret-file", "one of the two")
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            secret = file.read(MAX_SECRET_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not ASCII"
        raise BadField("secret-file", str(path), f"a file with a secret ({why})") from None
    if not secret:
        raise BadField("secret-file", str(path), "a file with a secret (it is empty)")
    return secret


def _row(body: WebhookBody) -> tuple[str, ...]:
    # The URL is last: it may be longer than the terminal is wide, and is copied.
    return (
        body.name,
        f"{body.delivered:,}",
        f"{body.failed:,}",
        f"{body.dropped:,}",
        f"{body.waiting:,}",
        "yes" if body.signed else "no",
        ", ".join(body.webhook.detectors or ()) or "all",
        body.webhook.url,
    )
