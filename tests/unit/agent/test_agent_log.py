"""An agent lives whatever becomes of its stderr, and says what its log lost."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleet import free_port

ADDRESS = "127.0.0.6"
TOO_LARGE = b"\xff\xff\xff\xff"
"""How a frame of 4 GB begins, which costs a line of the log."""


@contextmanager
def agent(stderr: int) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Give an agent whose log goes there, and its ports, HTTP and peers, once it answers."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        Path(name).chmod(0o755)  # the user nobody may enter
        port, peer_port = free_port(), free_port()
        process = stack.enter_context(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "netsonde.agent.main", "--state-dir", f"{name}/state"),
                    *("--monitor-socket", f"{name}/m.sock", "--peer-port", str(peer_port)),
                    *("--listen", f"{ADDRESS}:{port}"),
                ],
                stderr=stderr,
            )
        )
        stack.callback(process.kill)
        while process.poll() is None and not accepts(port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield process, port, peer_port


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=10) as it:
        it.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return bool(it.recv(1))
    return False


def lost(port: int) -> dict[str, int]:
    """Lines that the agent's log lost, by cause, as `/metrics` says."""
    with urllib.request.urlopen(f"http://{ADDRESS}:{port}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    found = re.findall(r'^netsonde_log_lines_dropped_total{cause="(\w+)",.*} (\S+)$', text, re.M)
    return {cause: int(float(n)) for cause, n in found if float(n)}


def offend(peer_port: int, times: int) -> None:
    for _ in range(times):
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((ADDRESS, peer_port), timeout=20) as connection,
        ):
            connection.sendall(TOO_LARGE)
            while connection.recv(1000):
                pass  # until it is closed


@pytest.mark.parametrize(
    ("kind", "cause"), [("full disk", "no_space"), ("no reader", "closed"), ("hangs", None)]
)
def test_it_serves_and_stops_whatever_its_stderr_is(kind: str, cause: str | None) -> None:
    read, write = os.pipe()
    if kind == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), write)
    elif kind == "no reader":
        os.close(read)
    with agent(write) as (process, port, peer_port):
        offend(peer_port, 10)
        while cause and lost(port).get(cause, 0) <= 10:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_reader_that_hangs_does_not_freeze_it() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(1 << 12))
    os.set_blocking(write, True)
    with agent(write) as (process, port, peer_port):
        offend(peer_port, 2000)
        assert accepts(port)
        assert lost(port)["rate"] > 1900
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    os.close(read)


def test_a_storm_is_few_lines() -> None:
    read, write = os.pipe()
    with agent(write) as (process, _, peer_port):
        os.close(write)
        offend(peer_port, 300)
        process.send_signal(signal.SIGTERM)
        with os.fdopen(read) as log:
            said = [line for line in log if "peer gone" in line]
    told = sum(int(found[1]) for line in said if (found := re.search(r" more=(\d+)", line)))
    assert len(said) < 60
    assert told + sum(" reason=" in line for line in said) == 300
