"""The fork server, with commands of its own: each daemon is born where it was asked for."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyroute2 import netns

from netsonde.lab import server, state

NAMESPACE = f"netsonde-test-{os.getpid()}"
SERVE = """
import os, socket, sys, time
from netsonde.lab import server

def tiny():
    print(os.stat("/proc/self/ns/net").st_ino, sys.argv[1:], flush=True)
    return 3

def lasting():
    time.sleep(60)

listener = socket.socket(fileno=int(sys.argv[1]))
sys.exit(server.serve(listener, {"tiny": tiny, "lasting": lasting})())
"""


@pytest.fixture
def elsewhere():
    netns.create(NAMESPACE)
    yield Path("/var/run/netns", NAMESPACE).stat().st_ino
    netns.remove(NAMESPACE)


@pytest.fixture
def connect(tmp_path):
    address = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    connections = []

    def connected():
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(10)
        connection.connect(address)
        connections.append(connection)
        return connection

    yield connected
    for connection in connections:
        connection.close()
    process.kill()
    process.communicate()


def launch(directory, name, namespace=NAMESPACE):
    return server.Launch(
        namespace=namespace,
        argv=(name, "--flag", "value"),
        title=f"netsonde-test {name}",
        log_path=str(directory / "log"),
        pid_path=str(directory / "pid"),
    )


def test_a_daemon_is_born_in_its_namespace_with_its_log(tmp_path, connect, elsewhere):
    server.request(connect(), launch(tmp_path, "tiny"))
    end = time.monotonic() + 10
    while not (said := (tmp_path / "log").read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert said == f"{elsewhere} ['--flag', 'value']\n"


@pytest.mark.usefixtures("elsewhere")
def test_a_daemon_is_written_down_and_reaped(tmp_path, connect):
    pid = server.request(connect(), launch(tmp_path, "lasting"))
    assert state.recorded_process(tmp_path / "pid") == pid
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"netsonde-test lasting\0")
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():  # a process that nobody reaps stays here as a zombie
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("request_bytes", [b"not json", b"{}", b"[]", b"3"])
def test_a_bad_request_starts_nothing_and_harms_nothing(tmp_path, connect, request_bytes):
    bad = connect()
    bad.send(request_bytes)
    assert bad.recv(100) == b""
    assert server.request(connect(), launch(tmp_path, "nosuch")) is None
    assert server.request(connect(), launch(tmp_path, "tiny", namespace="netsonde-none")) is None
    assert server.request(connect(), launch(tmp_path, "tiny")) is not None


@pytest.mark.parametrize("daemon", ["monitor", "agent"])
def test_what_a_daemon_loads_is_loaded_before_it_is_forked(daemon):
    """Else each of them loads it for itself, which takes most of the time of `lab up`."""
    code = (
        "import sys; from importlib.metadata import entry_points; from netsonde.lab import server; "
        f"(script,) = entry_points(group='console_scripts', name='netsonde-{daemon}'); "
        f"server._load(script); assert 'netsonde.{daemon}.main' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
