"""What ends a monitor, as a process, and what does not: memory that runs out does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_kernel_log import PATIENCE_S, status

pytestmark = pytest.mark.any_kernel

FLOWS = 300_000
WITHIN = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
# A monitor whose kernel refuses to end an epoch, from the 15th on.
LOSES_TICKS = """
import errno, itertools, sys
from netsonde.monitor import main
open_path, flips = main.open_path, itertools.count(1)

def opened(*args, **named):
    found = open_path(*args, **named)
    whole = found.path.flip

    def flip():
        if next(flips) >= 15:
            raise OSError(errno.EIO, "the epoch does not end")
        return whole()

    found.path.flip = flip
    return found

main.open_path = opened
main.main(sys.argv[1:])
"""
# A monitor that may take so many bytes more than it has when it begins to count.
LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from netsonde.monitor import main
run, room_bytes = asyncio.run, int(sys.argv[1])

def limited(counting):
    taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + room_bytes,) * 2)
    return run(counting)

asyncio.run = limited
main.main(sys.argv[2:])
"""
# Packets of so many flows to nobody, on the loopback of another network namespace.
FLOOD = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[1])):
    host, port = divmod(number, 60000)
    sender.sendto(b"", (f"127.0.1.{host + 1}", 1024 + port))
"""


def test_a_monitor_whose_ticks_end_exits_with_1_and_a_sentence(tmp_path: Path) -> None:
    argv = ["--socket", str(tmp_path / "run" / "monitor.sock")]
    done = subprocess.run(
        [*WITHIN, sys.executable, "-c", LOSES_TICKS, *argv],
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 1, done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith("netsonde monitor: counting has ended, and so does this monitor: ")
    assert "the epoch does not end" in told
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("room_mb", [8, 23, 38])
def test_a_monitor_without_memory_counts_on(room_mb: int, tmp_path: Path) -> None:
    path = tmp_path / "run" / "monitor.sock"
    argv = [sys.executable, "-c", LIMITED, str(room_mb << 20), "--socket", str(path)]
    log = tmp_path / "log"
    with log.open("w") as stderr, subprocess.Popen([*WITHIN, *argv], stderr=stderr) as process:
        try:
            status(path)
            flood = [sys.executable, "-c", FLOOD, str(FLOWS)]
            subprocess.run(["nsenter", f"--net=/proc/{process.pid}/ns/net", *flood], check=True)
            flooded = status(path)
            until_s = time.monotonic() + PATIENCE_S
            while (now := status(path)).last_tick < flooded.last_tick + 20:
                assert time.monotonic() < until_s
                time.sleep(0.1)  # who asks without a pause is refused its next connection
            assert now.packets + sum(now.drops.values()) >= FLOWS, now
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()
