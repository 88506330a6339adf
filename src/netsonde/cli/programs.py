"""What programs of their own take, for completing it: they are not read for that, which costs time.

A test holds this to what they really take.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from cyclopts import App, Parameter

from netsonde.cli.main import PROGRAMS

TAKES: dict[str, str] = {
    "top": "FILTER url= by= increment= window= scope= every=",
    "replay": """FILE ask= detect detectors=FILE key= top= family= proto= src= dst= sport= dport=
        flow= by= of= increment= k= share= limit= after= quantiles= against= step= window= json""",
    "doctor": "json",
    "lab up": "depth= fanout= rate= hook= devices= daemons no-daemons",
    "lab down": "",
    "lab exec": "HOST",
    "lab pingall": "count=",
    "lab shell": "",
    "lab status": "json",
    "lab restart": "HOST DAEMON",
    "monitor": """config=FILE socket= agent-user= user= table-mb= hook= encapsulated= devices=
        device-table-mb= pin-dir=FILE unpin cpu-budget-percent= answer-cpu-percent=
        recorder-mb= log-json""",
    "agent": """config=FILE listen= address= peer-port= parent= monitor-socket= state-dir=FILE
        user= query-deadline-ms= probe-max-bytes= probe-max-ms= probe-tests-per-hour=
        webhook-allow= http-names= answer-cpu-percent= log-json""",
}
"""Command -> its options, with `=` where one takes a value, and in capitals what stands by its
place; FILE: a path."""


def added(whole: App) -> App:
    """Add stand-ins for the programs to the commands that ask."""
    for command, takes in TAKES.items():
        name, _, verb = command.partition(" ")
        if name not in whole:
            whole.command(App(name=name, help=PROGRAMS[name], default_parameter=_NO_NEGATIVE))
        place = whole[name]
        place.command(_taking(takes), name=verb) if verb else place.default(_taking(takes))
    return whole


_NO_NEGATIVE = Parameter(negative=())


def _taking(takes: str) -> Callable[..., None]:
    """Make a function that takes what is written, and does nothing."""

    def stand_in(*_: object, **__: object) -> None:
        return

    parameters = [_parameter(word) for word in takes.split()]
    parameters.sort(key=lambda each: each.kind)
    stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    stand_in.__annotations__ = {each.name: each.annotation for each in parameters}
    return stand_in


def _parameter(word: str) -> inspect.Parameter:
    name, takes_value, kind = word.partition("=")
    if name.isupper():
        annotation: type = Path if name == "FILE" else str
        return inspect.Parameter(
            name.lower(), inspect.Parameter.POSITIONAL_ONLY, annotation=annotation, default=None
        )
    value: type = Path if kind else str
    return inspect.Parameter(
        name.replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        annotation=value if takes_value else bool,
        default=None if takes_value else False,
    )
