"""A monitor counts and answers whatever becomes of its stderr, and says what its log lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netsonde.wire import monitor
from netsonde.wire.frame import HEADER

pytestmark = pytest.mark.any_kernel

PATIENCE_S = 30


def received(connection: socket.socket) -> monitor.Reply:
    size = monitor.REPLIES.body_bytes(connection.recv(HEADER.size, socket.MSG_WAITALL))
    return monitor.REPLIES.decode(connection.recv(size, socket.MSG_WAITALL))


def status(path: Path) -> monitor.Status:
    """Ask a monitor how it is, once it answers."""
    until_s = time.monotonic() + PATIENCE_S
    with socket.socket(socket.AF_UNIX) as connection:
        while connection.connect_ex(str(path)):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        for request in (monitor.Hello(software="test"), monitor.AskStatus()):
            connection.sendall(monitor.REQUESTS.encode(request))
            reply = received(connection)
    assert isinstance(reply, monitor.Status)
    return reply


@pytest.mark.parametrize(
    ("kind", "cause"), [("full disk", "no_space"), ("no reader", "closed"), ("hangs", "")]
)
def test_a_monitor_counts_whatever_its_stderr_is(kind: str, cause: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    if kind == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), write)
    elif kind == "no reader":
        os.close(read)
    else:
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, bytes(1 << 12))
        os.set_blocking(write, True)
    path = tmp_path / "run" / "monitor.sock"
    argv = [sys.executable, "-m", "netsonde.monitor.main", "--socket", str(path)]
    with subprocess.Popen(["unshare", "--net", *argv], stderr=write) as process:
        try:
            first = status(path)
            while cause and not first.log_dropped[cause]:
                first = status(path)
            until_s = time.monotonic() + PATIENCE_S
            while status(path).last_tick <= first.last_tick:
                assert time.monotonic() < until_s
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    os.close(write)
