"""The prompt, without hosts: what it understands by itself, and what a job keeps."""

import io
import os
import pty
import select
import subprocess
import sys

import pytest

from netsonde.lab import shell
from netsonde.lab.topology import Topology


@pytest.fixture
def type_in(monkeypatch, capsys):
    def run(text, commands):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        shell.Shell(Topology(2, 3), commands).run()
        return capsys.readouterr().out

    return run


def test_runs_commands_until_exit(type_in):
    called = []
    output = type_in("pingall\n\nexit\npingall\n", {"pingall": lambda: called.append(1)})
    assert called == [1]
    assert output == "netsonde> pingall\nnetsonde> \nnetsonde> exit\n"


@pytest.mark.parametrize("line", ["nosuch", "h10 ls", "pingall 3"])
def test_names_a_line_it_does_not_know(type_in, line):
    output = type_in(line, {"pingall": lambda: pytest.fail("was run")})
    assert f"no such command: '{line}'; 'help' lists them" in output


def test_help_lists_hosts_and_commands(type_in):
    output = type_in("help", {"pingall": lambda: None})
    assert "h1 h2 h3 h4 h5 h6 h7 h8 h9" in output
    assert "help, pingall, exit" in output


def test_a_host_alone_and_a_host_without_jobs(type_in):
    output = type_in("h3\nh3 jobs\n", {})
    assert "what is h3 to run?" in output
    assert "h3 has no jobs" in output


def _job(text, pass_fds=()):
    process = subprocess.Popen(
        ["sh", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    return shell.Job(1, text, process), process


def test_a_job_shows_each_line_once_and_its_end():
    job, process = _job("echo one; exit 3")
    process.wait(5)
    assert job.look() == "[1] ended with status 3: echo one; exit 3\none\n"
    assert job.look() == "[1] ended with status 3: echo one; exit 3\n"


def test_a_job_keeps_its_last_output_within_a_bound(monkeypatch):
    monkeypatch.setattr(shell, "KEPT_BYTES", 10)
    job, process = _job("printf 0123456789abcdef")
    process.wait(5)
    assert job.look().endswith("(6 earlier bytes dropped)\n6789abcdef")


def test_ending_a_job_ends_what_it_started():
    reading, writing = os.pipe()
    job, _ = _job("sleep 60 | sleep 60", pass_fds=[writing])
    os.close(writing)
    assert job.running
    job.end()
    assert not job.running
    assert os.read(reading, 1) == b""  # every process that held the other end is gone
    os.close(reading)


PROMPT_ALONE = """
from types import SimpleNamespace
from netsonde.lab.shell import Shell
Shell(SimpleNamespace(hosts=[]), {}).run()
"""


def test_ctrl_c_at_the_prompt_discards_the_line_every_time() -> None:
    """As a signal it was lost where readline was not about to wait for keys."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROMPT_ALONE]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, start_new_session=True) as shell:
        os.close(theirs)
        read_until(ours, b"netsonde> ")
        for keys in [b"\x03"] * 100 + [b"exit\x03", b"exit\x01\x03"]:
            os.write(ours, keys)
            read_until(ours, b"\nnetsonde> ")
        os.write(ours, b"exit\n")
        assert shell.wait(10) == 0
    os.close(ours)


def read_until(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        assert select.select([terminal], [], [], 10)[0], seen
        seen += os.read(terminal, 4096)
