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


def _flat(found: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(found, dict) and found:
        for key, value in found.items():
            yield from _flat(value, f"{name} {key}".strip())
    elif isinstance(found, list) and any(isinstance(each, dict) for each in found):
        for place, each in enumerate(found, 1):
            yield from _flat(each, f"{name} {place}")
    else:
        yield name, _text(found)


def _text(value: object) -> str:
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
