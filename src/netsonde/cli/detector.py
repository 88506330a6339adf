"""`netsonde detector`: standing questions that raise events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclopts import App, Parameter

from netsonde.cli import exits
from netsonde.cli.options import Increment, Listed, Packets, Plain, Service
from netsonde.command.reading import MaybeWhole
from netsonde.model.asked import FilterText
from netsonde.model.errors import BadField
from netsonde.model.resource import DetectorBody, DetectorSpec

app = App(
    name="detector",
    help="Detectors: standing questions that raise an event when a key is over a threshold.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)
_NEEDED = ("measure", "by", "threshold")


@app.command(name="list", help_epilogue="Such as: netsonde detector list --json")
def list_(*, output: Listed = Listed(), service: Service = Service()) -> int:
    """List all detectors, built-in ones first."""
    from netsonde.cli.listing import listed

    with service.client() as client:
        detectors = client.detectors.list()
    header = ("name", "raised at", "in", "packets", "built-in", "on")
    return listed(detectors, DetectorBody, output, header, _row)


@Parameter(name="*", group="What raises an event")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Fields of a detector; None leaves one as it is."""

    measure: Literal["spread", "count", "change"] | None = None
    "what is compared with the threshold; a new detector needs it"
    by: str | None = None
    "key type of who is named; a new detector needs it"
    of: str | None = None
    "of spread: what is counted once for each key"
    threshold: MaybeWhole = None
    "raise at this measure; a new detector needs it"
    window: str | None = None
    "measured over the last so long, 100ms to 60s"
    increment: Increment | None = None
    "of count and change"
    factor: float | None = None
    "of change: and where it is so many times as large or small"
    clear_ratio: float | None = None
    "clear below this share of the threshold ..."
    clear: str | None = None
    "... for so long"
    sentence: str | None = None
    "what an event says; {key}, {count} and {window} are filled in"
    enabled: bool | None = None
    "whether it is on"

    def given(self) -> dict[str, object]:
        """Give the fields that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@app.command(
    name="set",
    help_epilogue="Such as: netsonde detector set port_scan --threshold 200",
)
def set_(
    name: str,
    *,
    wanted: Wanted = Wanted(),
    packets: Packets = Packets(),
    output: Plain = Plain(),
    service: Service = Service(),
) -> int:
    """Change a detector, or make one; what is not given stays as it is.

    Args:
        name: the detector's: 1 to 40 of a-z, 0-9 and _, a letter first
    """
    from netsonde.cli import checking, printing

    checking.check_detector(name, wanted.given())
    packets.filter_text()
    with service.client() as client:
        known = {body.name: body.spec for body in client.detectors.list()}
        body = client.detectors.set(name, _changed(known.get(name), wanted, packets))
    if output.json:
        printing.json(body)
    else:
        on = "on" if body.spec.enabled else "off"
        printing.sentences([f"{name}: {_reached(body.spec)} in {body.spec.window}, {on}"])
    return exits.OK


@app.command(help_epilogue="Such as: netsonde detector remove my_scan")
def remove(name: str, *, service: Service = Service()) -> int:
    """Remove a detector; a built-in one becomes as it was.

    Args:
        name: the detector's, as 'netsonde detector list' tells it
    """
    from netsonde.cli import printing

    with service.client() as client:
        client.detectors.remove(name)
    printing.sentences([f"detector {name} is removed"])
    return exits.OK


def _changed(known: DetectorSpec | None, wanted: Wanted, packets: Packets) -> DetectorSpec:
    import msgspec

    fields = wanted.given()
    if known is None:
        for name in _NEEDED:
            if name not in fields:
                raise BadField(name, None, f"of a new detector: {', '.join(_NEEDED)}")
        known = DetectorSpec(measure="count", by="src", threshold=1)
    chosen = packets.filter_text(known.filter) or FilterText()
    return msgspec.structs.replace(known, **fields, filter=chosen)


def _reached(spec: DetectorSpec) -> str:
    """Say what raises an event: `50 distinct dport of a src_dst`."""
    what = f"distinct {spec.of} of" if spec.measure == "spread" else f"{spec.increment} of"
    what = f"{spec.increment} more or fewer of" if spec.measure == "change" else what
    return f"{spec.threshold:,} {what} a {spec.by}"


def _row(body: DetectorBody) -> tuple[str, ...]:
    from netsonde.client.certificate_text import chosen

    spec = body.spec
    return (
        body.name,
        _reached(spec),
        spec.window,
        chosen(spec.filter),
        "yes" if body.builtin else "no",
        "yes" if spec.enabled else "no",
    )
