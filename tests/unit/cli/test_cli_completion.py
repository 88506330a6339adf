"""Completion scripts, run by the shells they are for."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from netsonde.agent.main import Settings as AgentSettings
from netsonde.cli.main import PROGRAMS
from netsonde.cli.programs import TAKES
from netsonde.cli.top.main import app as top
from netsonde.lab.main import app as lab
from netsonde.monitor.doctor import app as doctor
from netsonde.monitor.main import Settings as MonitorSettings
from netsonde.replay.main import app as replay

NETSONDE = Path(sys.executable).parent / "netsonde"
DEADLINE_S = 30
SHELLS = [
    pytest.param(
        shell,
        marks=pytest.mark.skipif(
            shutil.which(shell) is None, reason=f"the shell {shell} is not here: make test has it"
        ),
    )
    for shell in ("bash", "zsh", "fish")
]
TYPED = {
    "netsonde a": "ask",
    "netsonde ask sp": "spreaders",
    "netsonde task ch": "change",
    "netsonde ask top src --wind": "--window",
    "netsonde ask count --increment pac": "packets",
    "netsonde task add src --pro": "--proto",
    "netsonde detector set mine --thr": "--threshold",
    "netsonde events --fol": "--follow",
    "netsonde completion zs": "zsh",
    "netsonde replay --detec": "--detect",
    "netsonde replay capt": "capture.pcap",
    "netsonde lab pin": "pingall",
    "netsonde lab up --fan": "--fanout",
    "netsonde monitor --reco": "--recorder-mb",
    "netsonde agent --lis": "--listen",
    "netsonde top --eve": "--every",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of all shells, and a capture."""
    made = tmp_path_factory.mktemp("completion")
    (made / "capture.pcap").touch()
    for shell, name in (("bash", "netsonde.bash"), ("zsh", "_netsonde"), ("fish", "netsonde.fish")):
        done = subprocess.run([NETSONDE, "completion", shell], check=True, capture_output=True)
        (made / name).write_bytes(done.stdout)
    return made


def run(folder: Path, *command: str) -> str:
    return subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=DEADLINE_S
    ).stdout


def bash(folder: Path, line: str) -> str:
    typed = f"COMP_WORDS=({line}); COMP_CWORD={line.count(' ')}"
    done = f'source netsonde.bash; {typed}; _netsonde; echo "${{COMPREPLY[@]}}"'
    return run(folder, "bash", "-c", done)


def fish(folder: Path, line: str) -> str:
    return run(folder, "fish", "--no-config", "-c", f"source netsonde.fish; complete -C '{line}'")


def zsh(folder: Path, line: str) -> str:
    """Type into a shell of a terminal, as zsh completes nowhere else; press Tab."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(TERM="xterm", PS1="> ", COLUMNS="200")
        os.execlp("zsh", "zsh", "-f", "-i")  # noqa: S606 - a shell is what it is about
    try:
        begin = "fpath=($PWD $fpath); autoload -Uz compinit && compinit -u -D; print RE''ADY\n"
        os.write(terminal, begin.encode())
        said = _until(terminal, "READY\r")
        os.write(terminal, f"{line}\t\t".encode())
        return said + _until(terminal, TYPED[line])
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _until(terminal: int, wanted: str) -> str:
    said, deadline_s = "", time.monotonic() + DEADLINE_S
    while wanted not in said:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ready:
            break
        said += os.read(terminal, 65536).decode(errors="replace")
    return said


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", TYPED)
def test_a_shell_completes_what_is_typed(folder: Path, shell: str, line: str) -> None:
    completed = {"bash": bash, "zsh": zsh, "fish": fish}[shell](folder, line)
    assert TYPED[line] in completed


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell.values[0] == "fish"])
def test_files_are_offered_where_a_path_is_taken_alone(folder: Path, shell: str) -> None:
    assert shell == "fish"
    assert "capture" not in fish(folder, "netsonde ask ")
    assert "capture" in fish(folder, "netsonde agent --config ")


def test_zsh_takes_the_script_from_a_pipe_too(folder: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("the shell zsh is not here: make test has it")
    line = "autoload -Uz compinit; compinit -u -D; source ./_netsonde; print $_comps[netsonde]"
    assert run(folder, "zsh", "-f", "-c", line) == "_cyclopts_netsonde\n"


def taken(app: App) -> set[str]:
    """What a command really takes, as `TAKES` has it."""
    found = set()
    for argument in app.assemble_argument_collection():
        for name in argument.names:
            if argument.field_info.is_keyword_only and name.startswith("--"):
                found.add(name.removeprefix("--"))
    return found


def programs() -> Iterator[tuple[str, set[str]]]:
    for name, app in (("top", top), ("replay", replay), ("doctor", doctor)):
        yield name, taken(app)
    for name in lab:
        if not name.startswith("-"):
            yield f"lab {name}", taken(lab[name])
    for name, config in (("monitor", MonitorSettings), ("agent", AgentSettings)):
        fields = {field.name.replace("_", "-") for field in msgspec.structs.fields(config)}
        yield name, {*fields, "config"}


def test_programs_take_what_is_completed() -> None:
    found = dict(programs())
    assert found.keys() == TAKES.keys()
    assert {name.partition(" ")[0] for name in TAKES} == PROGRAMS.keys()
    for name, options in found.items():
        written = {word.partition("=")[0] for word in TAKES[name].split() if not word.isupper()}
        assert written - options == set(), name
        assert {option for option in options - written if not option.startswith("no-")} == set(), (
            name
        )
