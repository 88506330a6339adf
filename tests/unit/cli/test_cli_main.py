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


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        (["rplay"], 2, "did you mean 'replay'?"),
        (["frobnicate"], 2, "no command 'frobnicate'"),
        (["replay", "/nowhere.pcap"], 2, "field 'FILE' is '/nowhere.pcap'"),
        (["replay", __file__], 2, "a pcap or pcapng file"),
        (["replay", __file__, "--key", "src_src"], 2, "field 'key' is 'src_src'"),
        (["replay", __file__, "--top", "0"], 2, "field 'top' is 0"),
        (["replay", __file__, "--proto", "tpc"], 2, "field 'proto' is 'tpc'"),
        (["replay", __file__, "--src", "10.0.0.1/24"], 2, "field 'src' is '10.0.0.1/24'"),
        (["replay"], 2, "field 'FILE' is missing"),
        (["replay", __file__, "--by", "src"], 2, "--ask KIND with --by"),
        (["replay", __file__, "--ask", "top"], 2, "--by with --ask top, such as --by src"),
        (["replay", __file__, "--ask", "top", "--by", "src", "--of", "dst"], 2, "is of spreaders"),
        (["replay", __file__, "--ask", "topp"], 2, "Did you mean"),
        (["replay", __file__, "--detect", "--ask", "top"], 2, "nothing beside --detect"),
        (["replay", __file__, "--detect", "--src", "::1"], 2, "detectors have their own"),
        (["replay", __file__, "--dport", "99999"], 2, "field 'dport' is '99999'"),
        (["monitor", "--table-mb", "-1"], 2, "field 'table_mb' is '-1'"),
        (["top", "--by", "source"], 2, "field 'by' is 'source'"),
        (["top", "--window", "total"], 2, "total of a task only"),
        (["top", "--every", "0.1"], 2, "field 'every' is 0.1"),
        (["top", "tcp", "dprt=443"], 2, "allowed: dport= perhaps"),
        (["top"], 2, "is 'not a terminal'"),
        (["top", "--colour"], 2, "--colour"),
        (["agent", "--listen", "nowhere"], 2, "field 'listen' is 'nowhere'"),
    ],
)
def test_errors_are_sentences(argv: list[str], status: int, sentence: str) -> None:
    done = run(*argv)
    assert done.returncode == status
    assert sentence in done.stderr
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
