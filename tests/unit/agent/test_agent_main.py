"""The agent as a process: settings, ports, signals, privilege."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet import free_port

from netsonde.agent import main
from netsonde.daemon import rights
from netsonde.model.errors import BadField

ADDRESS = "127.0.0.6"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the agent's user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def command(directory: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "netsonde.agent.main", "--state-dir", str(directory / "state")),
        *("--monitor-socket", str(directory / "m.sock"), *more),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_within_a_second(directory: Path, number: int) -> None:
    port = free_port()
    listen = ("--listen", f"{ADDRESS}:{port}", "--peer-port", str(free_port()))
    with subprocess.Popen(command(directory, *listen), stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr
        try:
            assert any("agent serves" in line for line in agent.stderr)
            with socket.create_connection((ADDRESS, port)) as idle:
                with urllib.request.urlopen(f"http://{ADDRESS}:{port}/") as reply:
                    assert b"netsonde" in reply.read()
                if os.geteuid() == 0:
                    assert Path(f"/proc/{agent.pid}").stat().st_uid != 0
                began_mono_s = time.monotonic()
                agent.send_signal(number)
                rest = agent.stderr.read()
                assert agent.wait(5) == 0
                assert time.monotonic() - began_mono_s < 1
                assert idle.recv(1) == b""
        finally:
            agent.kill()
    assert "Traceback" not in rest
    assert rest.rstrip().endswith('event="agent stopped"')


@pytest.mark.parametrize("parent", ["nobody", "10.0.0.300", "fe80::1%eth0", "10.0.0.0/8"])
def test_a_parent_that_is_no_address_is_a_sentence(parent: str) -> None:
    assert main.parent(main.Settings(parent="none")) == "none"
    assert main.parent(main.Settings(parent="10.0.0.4")) == "10.0.0.4"
    with pytest.raises(BadField, match="'parent'"):
        main.parent(main.Settings(parent=parent))


def test_a_port_in_use_is_a_sentence(directory: Path) -> None:
    with socket.create_server((ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            command(directory, "--listen", f"{ADDRESS}:{port}"),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert result.returncode == main.EXIT_FAILED
    assert result.stderr.startswith("netsonde agent: cannot listen on 127.0.0.6 port")
    assert len(result.stderr.splitlines()) == 1


def _spoiled(file: Path) -> None:
    file.write_bytes(b"{")


def _of_a_later_release(file: Path) -> None:
    file.write_bytes(b'{"schema": 99}')


def _zeroes(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _shadow(file: Path) -> None:
    file.symlink_to("/etc/shadow")


@pytest.mark.parametrize(
    "made", [os.mkfifo, Path.mkdir, _zeroes, _shadow, _spoiled, _of_a_later_release]
)
def test_a_state_that_cannot_be_read_ends_it_with_a_sentence_and_stays(
    directory: Path, made: Callable[[Path], None]
) -> None:
    """The attacks: a FIFO at which a start hung, a link to /dev/zero that took all memory."""
    (directory / "state").mkdir(mode=0o700)
    file = directory / "state" / "agent.json"
    made(file)
    owner = rights.account("user", rights.AUTO, rights.AGENT)
    os.chown(file, owner.uid, owner.gid, follow_symlinks=False)
    os.chown(directory / "state", owner.uid, owner.gid)
    before = file.lstat()
    listen = ("--listen", f"{ADDRESS}:{free_port()}", "--peer-port", str(free_port()))
    result = subprocess.run(
        command(directory, *listen), capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == main.EXIT_FAILED, result.stderr
    assert result.stderr.startswith(f"netsonde agent: {file} ")
    assert len(result.stderr.splitlines()) == 1
    assert file.lstat()[:7] == before[:7]


def test_two_agents_cannot_share_one_state(directory: Path) -> None:
    def listen() -> tuple[str, ...]:
        return ("--listen", f"{ADDRESS}:{free_port()}", "--peer-port", str(free_port()))

    with subprocess.Popen(command(directory, *listen()), stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stderr
            assert any("agent serves" in line for line in one.stderr)
            result = subprocess.run(
                command(directory, *listen()),
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        finally:
            one.kill()
    assert result.returncode == main.EXIT_FAILED
    assert f"is in use by process {one.pid};" in result.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--peer-port", "0"),
        ("--query-deadline-ms", "soon"),
        ("--probe-max-ms", "1"),
        ("--config", "/proc/none"),
    ],
)
def test_bad_settings_are_named(flag: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([flag, value])
    assert stop.value.code == main.EXIT_BAD_SETTINGS
    said = capfd.readouterr().err
    assert said.startswith(f"netsonde agent: field '{flag[2:].replace('-', '_')}' is '{value}'")


def test_a_user_or_directory_that_cannot_be_is_refused(directory: Path) -> None:
    result = subprocess.run(
        command(directory, "--user", "no-such-user"), capture_output=True, text=True, check=False
    )
    assert result.returncode == main.EXIT_BAD_SETTINGS
    assert "field 'user' is 'no-such-user'" in result.stderr
    with pytest.raises(BadField, match="field 'state_dir' is '/proc/none'"):
        main.prepare("/proc/none", rights.own())


@pytest.mark.parametrize("listen", ["8000", "h5:8000", "10.0.0.1:99999", "10.0.0.1:"])
def test_a_place_to_listen_is_an_address_and_a_port(listen: str) -> None:
    with pytest.raises(BadField, match=f"field 'listen' is '{listen}'"):
        main.place(main.Settings(listen=listen))


def test_a_wildcard_needs_a_name() -> None:
    with pytest.raises(BadField, match="field 'address'"):
        main.place(main.Settings(listen="0.0.0.0:18999"))
    named = main.place(main.Settings(listen="[::]:18999", address="10.0.0.5"))
    assert (named.own, named.listen, named.http_port) == ("10.0.0.5", "::", 18999)
