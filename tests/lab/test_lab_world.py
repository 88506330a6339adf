"""The lab of an ordinary user: made, found again and ended without any right of root's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from conftest import COMMAND


@dataclass
class OrdinaryUser:
    """A user without any right to the kernel: of a user namespace, and not its root."""

    pid: int
    """A process of the user."""

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the lab."""
        be_user = ("nsenter", "--user", "--preserve-credentials", f"--target={self.pid}")
        command = [*be_user, str(COMMAND), *argv]
        return subprocess.run(command, check=False, text=True, capture_output=True, timeout=120)


@pytest.fixture
def user(tmp_path, monkeypatch) -> Iterator[OrdinaryUser]:
    monkeypatch.chdir(tmp_path)
    become = ("unshare", "--user", "--map-user=1234", "--map-group=1234")
    with subprocess.Popen(
        [*become, "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        user = OrdinaryUser(process.pid)
        yield user
        user.run("down")
        process.stdin.close()


def holders() -> list[str]:
    """Processes that hold a world."""
    listed = subprocess.run(["ps", "-eo", "args"], check=True, text=True, capture_output=True)
    return [line for line in listed.stdout.splitlines() if line.startswith("netsonde-lab world")]


def test_a_user_has_no_lab_until_it_is_up(user):
    for argv in (["status"], ["exec", "h1", "--", "true"]):
        done = user.run(*argv)
        assert done.returncode == 2
        assert done.stderr == "netsonde lab: the lab is not up; 'netsonde lab up' builds it\n"
    assert user.run("down").stdout == "the lab is not up\n"
    assert holders() == []


def test_a_failed_start_leaves_nothing(user):
    done = user.run("up", "--hook", "nosuch")
    assert done.returncode == 2
    assert "field 'hook' is 'nosuch'" in done.stderr
    assert holders() == []


def test_each_command_finds_the_same_lab(user, tmp_path):
    up = user.run("up")
    assert up.returncode == 0, up.stderr
    assert "the lab is up already (9 hosts)" in user.run("up").stderr
    assert len(holders()) == 1
    status = json.loads(user.run("status", "--json").stdout)
    assert all(daemon["pid"] for host in status["hosts"][1:] for daemon in host["daemons"].values())
    assert "0% dropped (72/72 received)" in user.run("pingall").stdout
    assert user.run("exec", "h5", "--", "pwd").stdout == f"{tmp_path}\n"
    form = "type=config counter&interface=INPUT&proto=icmp"
    ask = ("exec", "h1", "--", "curl", "-s", "-D", "-", "-d", form, "http://10.0.0.5:8000/")
    assert "200 OK" in user.run(*ask).stdout
    assert user.run("exec", "h6", "--", "ping", "-qc", "3", "-i", "0.1", "10.0.0.5").returncode == 0
    assert user.run(*ask).stdout.endswith("[3, 252]")
    assert user.run("restart", "h5", "monitor").returncode == 0
    assert user.run("down").stdout == "the lab is down\n"
    assert holders() == []
