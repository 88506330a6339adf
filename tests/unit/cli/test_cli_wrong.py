"""What commands say of wrong arguments: `wrong.txt` holds it all, to be read as a user would.

`python tests/unit/cli/test_cli_wrong.py` writes the file anew; then read what has changed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclopts import App

from netsonde.cli import app, main
from netsonde.lab.main import app as lab

SAID = Path(__file__).parent / "wrong.txt"
NOBODY = "http://127.0.0.1:9"
"""Port 9 is discard's, which nobody serves."""
ROOMS = {"top": "cli.top", "replay": "replay", "lab": "lab", "monitor": "monitor", "agent": "agent"}


@dataclass(frozen=True)
class Case:
    """One line typed, and what came of it."""

    typed: str
    said: str
    status: int

    def __str__(self) -> str:
        return f"$ {self.typed}\n{self.said}[{self.status}]\n"


def cases() -> Iterator[Case]:
    for block in SAID.read_text().split("$ netsonde ")[1:]:
        typed, _, rest = block.partition("\n")
        said, _, status = rest.rstrip("\n").removesuffix("]").rpartition("[")
        yield Case(f"netsonde {typed}", said, int(status))


@contextlib.contextmanager
def below() -> Iterator[list[str]]:
    """Take what is written to the descriptor of stderr: daemons write there, not to a file."""
    written: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written.append(file.read().decode())


def run(typed: str) -> Case:
    """Run a command in this process, as its console script does."""
    argv = shlex.split(typed)[1:]
    room = ROOMS.get(argv[0]) if argv else None
    said = io.StringIO()
    with (
        below() as written,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
    ):
        try:
            if argv and argv[0] == "doctor":
                importlib.import_module("netsonde.monitor.doctor").main(argv[1:])
            elif room:
                importlib.import_module(f"netsonde.{room}.main").main(argv[1:])
            else:
                main.main(argv)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Case(typed, said.getvalue() + "".join(written), status)


def commands(parent: App, typed: str) -> Iterator[str]:
    for name in parent:
        if not name.startswith("-"):
            child = parent[name]
            if child.default_command is not None:
                yield f"{typed} {name}"
            yield from commands(child, f"{typed} {name}")


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSONDE_URL", NOBODY)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.typed)
def test_a_wrong_line_is_answered_with_a_sentence(case: Case) -> None:
    found = run(case.typed)
    assert str(found) == str(case)
    assert found.status in (2, 3)
    assert "Traceback" not in found.said


def test_every_command_is_typed_wrongly() -> None:
    programs = {f"netsonde {name}" for name in main.PROGRAMS} - {"netsonde lab"}
    every = {*commands(app.app, "netsonde"), *commands(lab, "netsonde lab"), *programs}
    typed = [case.typed for case in cases()]
    assert not [name for name in every if not any(f"{name} --bad" in each for each in typed)]


if __name__ == "__main__":
    os.environ["NETSONDE_URL"] = NOBODY
    lines = sys.stdin.read().splitlines() or [case.typed for case in cases()]
    SAID.write_text("\n".join(str(run(line)) for line in lines))
