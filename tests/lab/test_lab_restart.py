"""Settings that change: a restarted monitor keeps what still fits and tells what does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import HOOKS, ask, sketch, until

pytestmark = pytest.mark.skipif("netfilter" not in HOOKS, reason="an ordinary user pins nothing")

H5 = "10.0.0.5"
HOME = Path("/run/netsonde-lab/h5")
PINS = Path("/run/netsonde-lab/bpf/h5")


def away(lab) -> None:
    """End the monitor of h5, as a service manager does."""
    os.kill(lab.pid("h5", "monitor"), signal.SIGTERM)
    until(lambda: lab.pid("h5", "monitor") is None, "the monitor does not end")


@contextmanager
def monitor(lab, *settings: str) -> Iterator[None]:
    """Run a monitor on h5 with settings of its own, in place of the lab's."""
    argv = ["netsonde-monitor", "--socket", str(HOME / "monitor.sock"), "--pin-dir", str(PINS)]
    with lab.popen("h5", *argv, *settings, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(10) == 0


def pinged(lab, hits: int, count: int) -> tuple[int, str]:
    """Ping h5 once its monitor is there; gives what it counted and who is partial."""
    wanted = {"type": "query sketch", "sketch_id": hits, "counter_key_type": "src"}
    wanted["counter_key"] = "10.0.0.6"
    until(lambda: ask(H5, **wanted).status == 200, "the agent does not find the monitor")
    lab.exec("h6", "ping", "-c", str(count), "-i", "0.01", "-q", H5)
    reply = ask(H5, **wanted)
    return reply.value, reply.headers["x-netsonde-coverage"]


def test_a_change_of_settings_keeps_what_still_fits(lab, tmp_path):
    hits = sketch(H5, "src", proto="icmp")
    assert pinged(lab, hits, 3) == (3, "1/1")
    away(lab)
    try:
        file = tmp_path / "monitor.toml"
        file.write_text("cpu_budget_percent = 20.0\n")
        with monitor(lab, "--config", str(file)):
            assert pinged(lab, hits, 4) == (7, "1/1")
        with monitor(lab, "--table-mb", "40"):
            # The table is another, so nobody counted in between; what was kept is still there.
            assert pinged(lab, hits, 5) == (12, "1/1; partial=10.0.0.5")
        report = json.loads(lab.exec("h5", "netsonde-doctor", "--json").stdout)
        assert not report["monitor_counts_here"]
        assert [Path(home).parent for home in report["pinned"] if str(PINS) in home] == [PINS]
        assert any(one["ours"] and one["namespace"] == "this" for one in report["attached"])
        assert f"\n  {PINS}/" in lab.exec("h5", "netsonde-doctor").stdout
        done = lab.exec("h5", "netsonde-monitor", "--unpin", "--pin-dir", str(PINS))
        assert "unpinned" in done.stdout + done.stderr
        assert not PINS.exists()
    finally:
        lab.restart("h5", "monitor")
    assert pinged(lab, hits, 1)[1] == "1/1; partial=10.0.0.5"


def test_unpinning_under_a_monitor_is_refused(lab):
    done = lab.exec("h5", "netsonde-monitor", "--unpin", "--pin-dir", str(PINS), check=False)
    assert done.returncode == 1
    assert "another netsonde monitor counts" in done.stderr
    done = lab.exec("h5", "netsonde-monitor", "--unpin", check=False)
    assert done.returncode == 2
    assert "pin_dir" in done.stderr


def test_the_lab_takes_its_pins_with_it(no_lab):
    no_lab.up()
    assert list(PINS.iterdir())
    no_lab.down()
    assert not PINS.parent.exists()
    assert "netsonde-lab/bpf" not in Path("/proc/self/mounts").read_text()
