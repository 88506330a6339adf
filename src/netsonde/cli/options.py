"""Options that several commands share, as groups of fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from netsonde.command.reading import MaybeWhole
from netsonde.model.asked import FilterText, FlowName, IncrementName
from netsonde.model.errors import BadField

if TYPE_CHECKING:
    from netsonde.client import Client

PACKETS = Group("Which packets", sort_key=2)
TIME = Group("Which time and hosts", sort_key=3)
OUTPUT = Group("Output", sort_key=4)
SERVICE = Group("Service", sort_key=5)

Increment = IncrementName


@Parameter(name="*", group=PACKETS)
@dataclass(frozen=True, kw_only=True)
class Packets:
    """Which packets count; what is left out matches everything."""

    interface: Literal["INPUT", "OUTPUT", "both"] | str | None = None
    "for a host (INPUT, the default), from it, both, or a device that its monitor views: eth0"
    proto: str | None = None
    "protocol: tcp, udp, icmp, ..., or its number"
    src: str | None = None
    "source address or prefix: 10.0.0.6, 10.0.0.0/24, 2001:db8::/32"
    dst: str | None = None
    "destination address or prefix"
    sport: str | None = None
    "source ports: 80 or 80,443,8000-8010"
    dport: str | None = None
    "destination ports"
    family: Literal[4, 6] | None = None
    "version of IP"
    flow: FlowName | None = None
    "flows that look like attempts to open something, half-open ones, replies, probes"

    def filter_text(self, before: FilterText | None = None) -> FilterText | None:
        """Give the filter, changed from another where there is one; None without any option."""
        from netsonde.model.asking import checked_filter

        given = {name: getattr(self, name) for name in FilterText.__struct_fields__}
        taken = {name: value for name, value in given.items() if value is not None}
        if not taken:
            return before
        import msgspec

        made = msgspec.structs.replace(before or FilterText(), **taken)
        checked_filter(made)
        return made


@Parameter(name="*", group=TIME)
@dataclass(frozen=True, kw_only=True)
class About:
    """What a question is about, beside its packets."""

    window: str | None = None
    "'last 30s', real_time, total (of a task), or a range 2026-11-24T12:04:00Z/2026-11-24T12:05:00Z"
    task: MaybeWhole = None
    "ask about a task, by its id, instead of packets chosen here"
    scope: Literal["host", "subtree"] | None = None
    "the asked host alone, or everyone below it (the default of a root)"


def _check_form(*, json: bool, csv: bool) -> None:
    if json and csv:
        raise BadField("csv", "given beside --json", "one of --json and --csv")


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class Output:
    """How an answer is printed."""

    json: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "print the answer as JSON, a line each, as /v1 gives it"
    csv: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "print the rows as CSV; the certificate goes to stderr"
    certificate: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "print the whole certificate instead of one line"

    def __post_init__(self) -> None:
        """Raise BadField for two forms at once."""
        _check_form(json=self.json, csv=self.csv)


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class Plain:
    """How what is no answer is printed."""

    json: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "print it as JSON, as /v1 gives it"


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class Listed(Plain):
    """How a list is printed."""

    csv: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "print it as CSV, a column for every field of the JSON"

    def __post_init__(self) -> None:
        """Raise BadField for two forms at once."""
        _check_form(json=self.json, csv=self.csv)


@Parameter(name="*", group=SERVICE)
@dataclass(frozen=True, kw_only=True)
class Service:
    """Who is asked."""

    url: Annotated[str | None, Parameter(env_var="NETSONDE_URL", show_env_var=True)] = None
    "an agent; a root answers for everyone below it. Default: http://127.0.0.1:8000"
    timeout: float = 30.0
    "seconds to wait for an answer"

    def client(self) -> Client:
        """Give a client of it."""
        if not 0 < self.timeout < float("inf"):
            raise BadField("timeout", self.timeout, "more than 0 seconds")
        from netsonde.client import Client

        return Client(self.url, timeout_s=self.timeout)
