"""Whatever is printed, no stranger's text steers the terminal or breaks what is printed."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import unicodedata

import msgspec
import pytest
from rich.table import Table

from netsonde.cli import printing
from netsonde.client.sheet import Sheet
from netsonde.command import terminal
from netsonde.model.text import escaped, json_text
from netsonde.monitor.doctor import Report, show
from netsonde.monitor.selfprobe import Verdict

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
EVERY = "".join(map(chr, range(sys.maxunicode + 1)))
HARMFUL = "".join(c for c in EVERY if unicodedata.category(c) in STEERING)
ATTACKS = [
    "\x1b[2Jgone",
    "a\nlevel=info all is well",
    "\u202eright",
    "\r\x9b31m",
    "\udc80",
    "[red]x[/] [/never] [link=http://x]y :boom: \\[",
    HARMFUL,
]


class Stream(io.TextIOWrapper):
    """A terminal's stream of one encoding, or a file's."""

    def __init__(self, encoding: str = "utf-8", *, tty: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def shown(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


on_both = pytest.mark.parametrize("tty", [False, True], ids=["file", "terminal"])


def guarded(monkeypatch: pytest.MonkeyPatch, *, tty: bool) -> Stream:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Stream(tty=tty)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    terminal.guard()
    terminal.guard()
    return stream


def steering(text: str, *, own: bool = False) -> set[str]:
    """Characters that steer; with `own` but those of rich's own colours."""
    if own:
        text = re.sub(r"\x1b\[[\d;]*m", "", text)
    return {c for c in text if unicodedata.category(c) in STEERING} - {"\n"}


@on_both
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_of_printing_shows_and_does_not_obey(
    monkeypatch: pytest.MonkeyPatch, tty: bool, attack: str
) -> None:
    out = guarded(monkeypatch, tty=tty)
    lines = [
        printing.sentences,
        lambda texts: printing.facts([(text, text) for text in texts]),
        lambda texts: printing.listing(["name"], [[text] for text in texts]),
        lambda texts: printing.table(
            Sheet(("key", "n"), tuple((t, "1") for t in texts), (attack,))
        ),
        printing.csv_line,
        lambda texts: [sys.stderr.write(f"netsonde: {text}\n") for text in texts],
        lambda texts: [sys.stdout.write(text) for text in texts],
        sys.stdout.writelines,
        lambda texts: terminal.console(highlight=False).print(*texts),
        lambda texts: terminal.console(stderr=True).print(_table(texts[0])),
    ]
    for print_by in lines:
        print_by([attack])
    shown = out.shown()
    assert steering(shown, own=out.isatty()) == set()
    assert escaped(attack, keep="\n")[:6] in shown


def _table(cell: str) -> Table:
    made = Table("cell")
    made.add_row(cell)
    return made


@on_both
def test_brackets_and_colons_are_letters(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    out = guarded(monkeypatch, tty=tty)
    program = "[/tmp] [red]:boom:"
    report = Report(
        software="netsonde",
        kernel=program,
        cpus=1,
        root=True,
        missing_capabilities=[],
        monitor_counts_here=False,
        hooks=[Verdict(hook="netfilter", works=True, reason=program)],
        chosen="netfilter",
        attached=[
            {"where": "lo", "order": 1, "program": program, "ours": False, "namespace": "this"}
        ],
        attached_unknown=None,
        pinned=[program],
    )
    show(report, terminal.console(highlight=False))
    assert out.shown().count(program) == 4
    assert ("\x1b[32myes" in out.shown()) == out.isatty()


@on_both
def test_a_line_stays_one_line(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    out = guarded(monkeypatch, tty=tty)
    printing.sentences(["said: a\nlevel=error forged"])
    printing.listing(["name"], [["a\nb"]])
    assert out.shown().count("\n") == 1 + 2


@on_both
def test_json_reads_back_as_it_was(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    out = guarded(monkeypatch, tty=tty)
    carried = EVERY.encode("utf-8", "ignore").decode()
    printing.json({carried: [carried]})
    shown = out.shown()
    assert steering(shown) == set()
    assert json.loads(shown) == {carried: [carried]}
    assert json_text(msgspec.json.encode("plain ü")) == '"plain ü"'


@on_both
def test_colours_are_those_of_the_command_alone(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    out = guarded(monkeypatch, tty=tty)
    terminal.console(highlight=False).print("\x1b[31mred", style="bold")
    assert ("\x1b[1m" in out.shown()) == out.isatty()
    assert "\x1b[31m" not in out.shown()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_what_an_encoding_has_no_letter_for_is_no_traceback(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.guard()
    printing.sentences(["exact · 8/8 hosts \U0001f980"])
    sys.stdout.write("µ · ▁▂▃")
    assert "8/8 hosts" in stream.shown()
    assert r"\u2581" in stream.shown()


def test_a_guarded_stream_is_all_else_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """`input()` asks for encoding and descriptor, and without either does without readline."""
    with open(os.devnull, "w", encoding="utf-8") as stream:  # as the interpreter does
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.guard()
        assert sys.stdout is not stream
        for name in ("encoding", "errors", "newlines", "line_buffering", "closed", "name", "mode"):
            assert getattr(sys.stdout, name) == getattr(stream, name), name
        for method in ("fileno", "isatty", "readable", "writable", "seekable"):
            assert getattr(sys.stdout, method)() == getattr(stream, method)(), method
