"""`netsonde`: finds its commands, and says what to type instead."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest

from netsonde.cli.main import COMMANDS, PROGRAMS
from netsonde.model.answer import TopAnswer

NETSONDE = Path(sys.executable).parent / "netsonde"


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NETSONDE, *argv], capture_output=True, text=True, check=False)


def test_every_program_has_its_script() -> None:
    scripts = entry_points(group="console_scripts").names
    assert {f"netsonde-{name}" for name in PROGRAMS} <= set(scripts)


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert run().returncode == 2


@pytest.mark.parametrize("argv", ["rplay", "replay --top x", "monitor --bad", "lab up --depth 0"])
def test_scripts_end_as_their_commands_do(argv: str) -> None:
    """What they say is in `wrong.txt`; here it is the scripts that run, as users do."""
    done = run(*argv.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_replay_prints_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    done = run("replay", str(path), "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert set(answer) == {"packets", "ip_packets", "bytes", "distinct", "top", "certificate"}
    assert answer["packets"] == 0
    assert answer["top"] == []


EMPTY = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def test_replay_answers_as_v1_does(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(EMPTY)
    done = run("replay", str(path), str(path), "--ask", "top", "--by", "src", "--json")
    assert done.returncode == 0
    answer = msgspec.json.decode(done.stdout, type=TopAnswer)
    assert (answer.by, answer.rows, answer.certificate.coverage.asked) == ("src", (), 2)
    assert "0 IP packets of 0" in run("replay", str(path), "--ask", "count").stdout


def test_replay_tells_what_detectors_hold(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(EMPTY)
    found = json.loads(run("replay", str(path), "--detect", "--json").stdout)
    assert (found["alarms"], found["broken"], found["packets"]) == ([], None, 0)
    assert run("replay", str(path), "--detect").stdout.startswith("0 alarms")
    path.write_bytes(EMPTY + b"x")
    broken = run("replay", str(path), "--detect")
    assert broken.returncode == 1
    assert "truncated at byte" in broken.stderr
