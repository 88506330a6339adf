"""`netsonde replay FILE [FILE ...]`: ask captures what one would ask a host.

Exit status: 0 counted to the end; 1 a file is broken (what came before is printed, and said to be
all); 2 wrong arguments or not a capture.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its idle threads cost memory

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape
from rich.progress import Progress

from netsonde.client.sheet import sheet
from netsonde.client.text import lines
from netsonde.command import reading, terminal
from netsonde.command.reading import MaybeWhole
from netsonde.model.asked import Asked
from netsonde.model.asking import checked_filter
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.meant import meant
from netsonde.model.task import Counter, Increment, Task
from netsonde.model.text import escaped, json_text
from netsonde.model.window import TICKS_PER_S
from netsonde.replay import answering, largest
from netsonde.replay.answering import SECRET_BYTES, Progressed
from netsonde.replay.choosing import chosen
from netsonde.replay.detecting import Detection, event_line, run_detectors
from netsonde.replay.options import Kind, Passing, Wanted, question
from netsonde.replay.stream import Stream

app = App(
    name="netsonde replay",
    help="Count capture files as the monitor counts a host: no root, no daemon.",
    version=lambda: version("netsonde"),
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
)

_EVERYTHING = Passing()
_NOTHING = Wanted()


@app.default
def replay(
    *files: Annotated[Path, Parameter(name="FILE")],
    ask: Kind | None = None,
    detect: bool = False,
    detectors: Path | None = None,
    key: str | None = None,
    top: MaybeWhole = None,
    passing: Passing = _EVERYTHING,
    wanted: Wanted = _NOTHING,
    json: bool = False,
) -> int:
    """Count capture files; several are one stream, in the order given.

    Parameters
    ----------
    files
        Captures: pcap or pcapng, plain or gzip, or pipes.
    ask
        Answer a question as a host does; without it, the largest keys of --key are told.
    detect
        Run every detector, over the packets that pass, and say what each raises.
    detectors
        With --detect: a file of detectors, as 'netsonde detector list --json' prints; they take the
        place of built-in ones of the same names.
    key
        Without --ask, the key type (default src_dst): src, dst, sport, dport and proto joined by
        '_'. With --ask count or series, one key of --by, its parts joined by commas.
    top
        Without --ask: number of largest keys to print (default 20).
    json
        Print JSON.
    """
    if not files:
        raise BadField("FILE", None, "one or more captures: netsonde replay FILE.pcap")
    if detect:
        _nothing_with("--detect", ask=ask, key=key, top=top, **wanted.given())
        return _detected(files, passing, detectors, json)
    if detectors is not None:
        raise BadField("detectors", detectors, "--detect with --detectors")
    if ask is not None:
        _nothing_with("--ask", top=top)
        return _answered(files, question(ask, wanted, key, passing), json)
    others = {name: value for name, value in wanted.given().items() if name != "increment"}
    for name, value in others.items():
        raise BadField(name, value, f"--ask KIND with --{name}")
    asked = _asked_largest(key or "src_dst", wanted.increment or "packets", top, passing)
    return _largest(files, asked, json)


def _nothing_with(option: str, **others: object) -> None:
    for name, value in others.items():
        if value is not None:
            raise BadField(name, value, f"nothing beside {option}")


def _asked_largest(key: str, increment: str, top: int | None, passing: Passing) -> largest.Asked:
    most = 20 if top is None else top
    if not 0 < most <= largest.MAX_TOP:
        raise BadField("top", most, f"1 to {largest.MAX_TOP}")
    key_type = KeyType.parse(key, "key")
    counter = Counter(key_type=key_type.name, increment=Increment(increment))
    chosen = checked_filter(passing.text())
    task = Task(series="sketch", id=0, filter=chosen, counters=(counter,), since_tick=0)
    return largest.Asked(task, key_type, most)


def _largest(files: Sequence[Path], asked: largest.Asked, json: bool) -> int:
    stream = Stream(files, secrets.token_bytes(SECRET_BYTES))
    with _progress() as progress:
        counted = largest.count(stream, asked, progress)
    if json:
        _print_json(largest.as_json(asked, counted))
    else:
        console = terminal.console()
        console.print(largest.as_table(asked, counted))
        console.print(largest.certificate_line(counted), style="dim", highlight=False)
    return _status(stream.broken, files)


def _answered(files: Sequence[Path], asked: Asked, json: bool) -> int:
    with _bar() as progressed:
        found = answering.ask(files, asked, progressed)
    answer = found.answer
    if json:
        _print_json(answer)
    else:
        console, shown = terminal.console(highlight=False), sheet(answer)
        for text in lines(shown, console.width):
            console.print(text, soft_wrap=True)
        for note in shown.notes:
            console.print(note, soft_wrap=True)
        said = answering.line(answer.certificate, found)
        console.print(said, style="dim", soft_wrap=True)
    return _status(found.broken, files)


def _detected(files: Sequence[Path], passing: Passing, detectors: Path | None, json: bool) -> int:
    wanted = chosen(detectors)
    only = None if passing == _EVERYTHING else checked_filter(passing.text())
    with _bar() as progressed:
        found = run_detectors(files, progressed, wanted, only)
    if json:
        _print_json(found)
    else:
        for event in found.events:
            sys.stdout.write(escaped(event_line(event, found.first_tick or 0)) + "\n")
        sys.stdout.write(_summary(found))
    return _status(found.broken, files)


def _summary(found: Detection) -> str:
    ticks = 0 if found.first_tick is None else (found.last_tick or 0) - found.first_tick + 1
    said = [f"{len(found.alarms)} {'alarm' if len(found.alarms) == 1 else 'alarms'}"]
    said.append(f"{found.ip_packets} IP packets of {found.packets}")
    said.append(f"{ticks / TICKS_PER_S:.1f} s")
    if found.hidden_packets:
        said.append(f"{found.hidden_packets} packets in no record: an alarm may be missing")
    if found.events_dropped:
        said.append(f"{found.events_dropped} later events left out")
    most = [escaped(f"{alarm.detector}: {alarm.sentence}") for alarm in found.alarms]
    return "\n".join([*most, " · ".join(said)]) + "\n"


@contextmanager
def _progress() -> Iterator[Progress]:
    console = terminal.console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def _bar() -> Iterator[Progressed]:
    """Give what moves a bar on a terminal, and does nothing elsewhere."""
    with _progress() as progress:
        bar = progress.add_task("counting", total=None)

        def progressed(what: str, done_bytes: int, all_bytes: int) -> None:
            progress.update(
                bar, description=escape(what), completed=done_bytes, total=all_bytes or None
            )

        yield progressed


def _print_json(value: object) -> None:
    sys.stdout.write(json_text(msgspec.json.encode(value)) + "\n")


def _status(broken: str | None, files: Sequence[Path]) -> int:
    if broken is None:
        return 0
    named = broken if len(files) > 1 else f"{files[0]} is {broken}"
    sys.stderr.write(f"netsonde replay: {named}; counted up to there\n")
    return 1


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        sys.exit(reading.run(app, arguments))
    except BadField as error:
        guess = meant(error.field, str(error.value), error.allowed)
        sys.exit(reading.refuse(app, arguments, error, guess))


if __name__ == "__main__":
    main()
