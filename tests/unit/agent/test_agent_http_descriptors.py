"""An agent with few descriptors: it serves as many as it can, rests, and says so once."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import free_port

RUN = "import sys; from netsonde.agent.main import main; main(sys.argv[1:])"
PATIENCE_S = 60


class Process:
    """An agent in a process of its own."""

    def __init__(self, directory: Path, descriptors: int) -> None:
        self.port = free_port()
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("prlimit", f"--nofile={descriptors}:{descriptors}"),
                    *(sys.executable, "-c", RUN),
                    *("--listen", f"127.0.0.2:{self.port}", "--peer-port", str(free_port())),
                    *("--state-dir", str(directory / "state"), "--user", str(os.getuid())),
                    *("--monitor-socket", str(directory / "none.sock")),
                ],
                stderr=log,
            )

    def connect(self, number: int) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE_S)
        try:
            connection.bind((f"127.0.0.{100 + number % 100}", 0))
            connection.connect(("127.0.0.2", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, path: str = "/") -> bytes:
        with self.connect(0) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.2\r\nConnection: close\r\n\r\n".encode()
            )
            with connection.makefile("rb") as stream:
                return stream.read()

    def until_it_serves(self) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(ConnectionError):
                if b"200 OK" in self.ask()[:20]:
                    return
        raise AssertionError(self.log.read_text())


@contextlib.contextmanager
def agent(directory: Path, descriptors: int) -> Iterator[Process]:
    one = Process(directory, descriptors)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("descriptors", [32, 1024])
def test_more_connections_than_descriptors_cost_no_log_and_no_life(
    tmp_path: Path, descriptors: int
) -> None:
    """asyncio's own loop wrote 20,000 tracebacks in ten seconds."""
    with agent(tmp_path, descriptors) as one:
        one.until_it_serves()
        flood = [one.connect(number) for number in range(150)]
        for connection in flood:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\n")
        for connection in flood:
            connection.close()
        one.until_it_serves()
        assert len(one.log.read_bytes()) < 10_000
        assert b"Traceback" not in one.log.read_bytes()
        metrics = one.ask("/metrics")
        assert b"netsonde_http_refused_total{" in metrics


@pytest.mark.parametrize("descriptors", [12, 16, 20, 26])
def test_with_fewer_than_it_needs_it_serves_or_ends_with_a_sentence(
    tmp_path: Path, descriptors: int
) -> None:
    with agent(tmp_path, descriptors) as one:
        try:
            one.until_it_serves()
        except AssertionError:
            assert one.process.returncode in (1, 2)
            assert "Traceback" not in one.log.read_text()
            assert len(one.log.read_text().splitlines()) <= 3
