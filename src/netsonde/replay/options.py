"""Options of `netsonde replay`, in the words of questions, and the questions they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec
from cyclopts import Parameter

from netsonde.command.reading import MaybeWhole
from netsonde.model import asked as model
from netsonde.model.asked import Asked, FilterText, FlowName, IncrementName, StepName
from netsonde.model.errors import BadField

Kind = Literal["count", "top", "keys", "distinct", "distribution", "spreaders", "change", "series"]

KINDS: dict[str, type[Asked]] = {kind.__struct_config__.tag: kind for kind in get_args(model.Asked)}


def _said(text: str) -> Parameter:
    return Parameter(help=text)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """Which packets count; what is left out matches everything."""

    family: Annotated[Literal[4, 6] | None, _said("count this version of IP only")] = None
    proto: Annotated[
        str | None, _said("count this protocol only: a name (tcp, udp, icmp, ...) or number")
    ] = None
    src: Annotated[str | None, _said("count packets from this address or prefix only")] = None
    dst: Annotated[str | None, _said("count packets to this address or prefix only")] = None
    sport: Annotated[str | None, _said("count these source ports only, such as 53,8000-8010")] = (
        None
    )
    dport: Annotated[str | None, _said("count these destination ports only")] = None
    flow: Annotated[
        FlowName,
        _said("count flows only that look like attempts to open, half-open ones, replies, probes"),
    ] = "any"

    def text(self) -> FilterText:
        """Give the filter."""
        return FilterText(
            family=self.family,
            proto=self.proto,
            src=self.src,
            dst=self.dst,
            sport=self.sport,
            dport=self.dport,
            flow=self.flow,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked; each option belongs to some kinds of questions."""

    by: Annotated[str | None, _said("with --ask: the key type: src, src_dst, dst/24 ...")] = None
    of: Annotated[
        str | None, _said("of spreaders: what is counted once for each key; default dst")
    ] = None
    increment: Annotated[
        IncrementName | None, _said("what to add for each packet: packets (default) or bytes")
    ] = None
    k: Annotated[MaybeWhole, _said("of top, spreaders and change: how many keys, 1 to 1000")] = None
    share: Annotated[float | None, _said("of top: keys over this share of the total, 0 to 1")] = (
        None
    )
    limit: Annotated[MaybeWhole, _said("of keys: how many on a page, 1 to 1000")] = None
    after: Annotated[str | None, _said("of keys: the last key of the page before")] = None
    quantiles: Annotated[
        list[float] | None, _said("of distribution: shares 0 to 1; repeat the option for more")
    ] = None
    against: Annotated[
        str | None, _said("of change: the other window; default: as long, just before")
    ] = None
    step: Annotated[StepName | None, _said("of series: length of a step; default 1s")] = None
    window: Annotated[
        str | None,
        _said("'last 30s' before the end, or a range of time; default: all of the capture"),
    ] = None

    def given(self) -> dict[str, object]:
        """Give the options that were given."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in named.items() if value is not None}


def question(kind: Kind, wanted: Wanted, key: str | None, passing: Passing) -> Asked:
    """Make a question; raises BadField naming an option that is missing or of another kind."""
    struct = KINDS[kind]
    given = wanted.given() | ({} if key is None else {"key": key})
    for name, value in given.items():
        if name not in struct.__struct_fields__:
            others = sorted(each for each, one in KINDS.items() if name in one.__struct_fields__)
            raise BadField(name, value, f"nothing with --ask {kind}; it is of {', '.join(others)}")
    required = {one.name for one in msgspec.structs.fields(struct) if one.required}
    for name in sorted(required - set(given)):
        raise BadField(name, None, f"--{name} with --ask {kind}, such as --{name} src")
    if "quantiles" in given:
        given["quantiles"] = tuple(wanted.quantiles or ())
    return struct(**given, filter=passing.text())  # type: ignore[arg-type]
