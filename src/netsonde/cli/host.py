"""`netsonde host`: how the asked host is, and who is below it."""

from __future__ import annotations

from collections.abc import Iterator

from netsonde.cli import exits
from netsonde.cli.options import Plain, Service


def host(*, output: Plain = Plain(), service: Service = Service()) -> int:
    """Show how the asked host's monitor and flight recorder are, and who is below it."""
    from netsonde.cli import printing

    with service.client() as client:
        status = client.host()
        members = client.members()
    if output.json:
        printing.json({"host": status, "members": members})
    else:
        facts = [
            *_flat(status),
            ("members", f"{members.answered}/{members.asked}"),
            *((f"missing {member}", why) for member, why in members.missing.items()),
        ]
        width = max(len(name) for name, _ in facts)
        printing.sentences(f"{name:<{width}}  {what}" for name, what in facts)
    return exits.PARTIAL if members.missing else exits.OK


def _flat(status: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in status.items():
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            yield from ((name, _text(each)) for each in value)
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    """Write a value on one line: an object as its fields, unknown as '-'."""
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
