"""Sessions printed in the documentation, run and compared with what they print.

A fence marked `console` holds prompts and what follows them. `$ ` is a shell in the root of the
checkout, `netsonde> ` the lab's prompt. What is printed matches when its lines appear in order,
where numbers may be others. A line `...` stands for any lines, and `...` in a line for any text.
Columns may be padded otherwise.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d[\d,.:]*")
_PATIENCE_S = 120
LAB_PROMPT = "netsonde> "


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what it should print."""

    prompt: str
    command: str
    expected: tuple[str, ...]


def sessions(page: Path) -> Iterator[list[Step]]:
    """Give the sessions of a page, in its order."""
    for found in _FENCE.finditer(page.read_text()):
        yield list(_steps(found[1].splitlines()))


def run_shell(command: str) -> str:
    """Run a command as a reader would, in the root of the checkout; gives what it prints."""
    places = [str(ROOT / ".venv/bin"), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-c", _as_root(command)],
        cwd=ROOT,
        env=os.environ | {"PATH": os.pathsep.join(places), "COLUMNS": "110"},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=_PATIENCE_S,
    )
    return done.stdout


def run_prompt(commands: list[str]) -> list[str]:
    """Give lines to the lab's prompt; gives what each of them printed."""
    done = subprocess.run(
        [str(ROOT / ".venv/bin/netsonde"), "lab", "shell"],
        env=os.environ | {"COLUMNS": "110"},
        input="".join(f"{command}\n" for command in commands),
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_PATIENCE_S,
    )
    _, *parts = re.split(rf"^{LAB_PROMPT}.*\n", done.stdout, flags=re.MULTILINE)
    return parts


def difference(expected: tuple[str, ...], printed: str) -> str | None:
    """Tell which expected line is missing from what was printed; None when all are there."""
    lines = iter([_normal(line) for line in printed.splitlines()])
    for line in expected:
        wanted = re.compile(re.escape(_normal(line)).replace(re.escape("..."), ".*"))
        if line.strip() != "..." and not any(wanted.fullmatch(found) for found in lines):
            return f"'{line}' is not printed (any more, or in this order)"
    return None


def _steps(lines: list[str]) -> Iterator[Step]:
    prompt = command = ""
    expected: list[str] = []
    for line in [*lines, "$ "]:
        found = next((p for p in ("$ ", LAB_PROMPT) if line.startswith(p)), None)
        if found is None:
            expected.append(line)
            continue
        if command:
            yield Step(prompt, command, tuple(part for part in expected if part.strip()))
        prompt, command, expected = found, line.removeprefix(found).strip(), []


def _normal(line: str) -> str:
    """Leave of a line what must be the same each time."""
    return " ".join(_NUMBER.sub("0", line).split())


def _as_root(command: str) -> str:
    return command.removeprefix("sudo ") if os.geteuid() == 0 else command
