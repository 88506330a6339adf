"""The lab as pytest fixtures: driven by its command, as users drive it.

There is one lab on a machine. `lab` gives it up and running, started on first use and kept for
the next test; `no_lab` gives the machine without one. It is always taken down at the end.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netsonde.lab import world

COMMAND = Path(sys.executable).parent / "netsonde-lab"


def pytest_configure() -> None:
    """Put an ordinary user's run into a world of its own, where it is root.

    Called only when this folder is named on the command line: tests of other tiers stay outside.
    """
    if os.geteuid() != 0:
        os.environ.setdefault("LOGNAME", getpass.getuser())  # pytest names its folder after it
        world.become_root()


@dataclass
class LabCommand:
    """`netsonde-lab`, run as a user would, and the lab it keeps."""

    is_up: bool = False
    hook: str = "auto"

    def run(
        self, *argv: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to the end."""
        defaults = {"text": True, "capture_output": True, "timeout": 120}
        done = subprocess.run([COMMAND, *argv], check=False, **defaults | options)
        if check and done.returncode != 0:
            pytest.fail(f"netsonde-lab {argv} gave {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Bring it up."""
        done = self.run("up", *options)
        self.is_up = True
        return done

    def down(self) -> subprocess.CompletedProcess[str]:
        """Take it down, whatever state it is in."""
        self.is_up = False
        return self.run("down")

    def exec(
        self, host: str, *argv: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to the end."""
        return self.run("exec", host, "--", *argv, check=check, **options)

    def popen(self, host: str, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command on a host, its output in pipes; the caller ends it."""
        defaults = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen([COMMAND, "exec", host, "--", *argv], **defaults | options)

    def status(self) -> dict[str, Any]:
        """What `status --json` says."""
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return status

    def host(self, name: str) -> dict[str, Any]:
        """What `status --json` says of one host."""
        return next(host for host in self.status()["hosts"] if host["name"] == name)

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        address: str = self.host(host)["address"]
        return address

    def pid(self, host: str, daemon: str) -> int | None:
        """Process of `monitor` or `agent` on a host, None when it is down."""
        pid: int | None = self.host(host)["daemons"][daemon]["pid"]
        return pid

    def restart(self, host: str, *daemon: str) -> None:
        """Start a host's daemons again, or one of them."""
        self.run("restart", host, *daemon)


@pytest.fixture(scope="session")
def _lab_command() -> Iterator[LabCommand]:
    command = LabCommand()
    if command.run("status", check=False).returncode == 0:
        pytest.fail("somebody's lab is up; 'netsonde lab down' makes room for the tests' own")
    yield command
    command.down()


@pytest.fixture
def lab(_lab_command: LabCommand) -> LabCommand:
    """Nine hosts with their daemons, unshaped; shared, so put back what you change."""
    if not _lab_command.is_up:
        _lab_command.up()
    return _lab_command


@pytest.fixture
def no_lab(_lab_command: LabCommand) -> Iterator[LabCommand]:
    """The command while no lab is up; whatever the test builds is taken down."""
    if _lab_command.is_up:
        _lab_command.down()
    yield _lab_command
    _lab_command.down()
