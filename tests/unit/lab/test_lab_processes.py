"""Who a process is: ended or known again only when it is the one that was meant."""

import os
import socket
import subprocess
import sys

import pytest

from netsonde.lab import namespace, state, world
from netsonde.lab.errors import LabError

UNUSED_UID = 4_242_424
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); signal.pause()"
)


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_recorded_process_is_known_again(tmp_path, sleeper):
    path = tmp_path / "pid"
    state.record_process(path, sleeper.pid)
    assert state.recorded_process(path) == sleeper.pid
    sleeper.kill()
    sleeper.wait()
    assert state.recorded_process(path) is None


def test_a_zombie_has_ended(tmp_path, sleeper):
    path = tmp_path / "pid"
    state.record_process(path, sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert state.recorded_process(path) is None


@pytest.mark.parametrize("record", ["{pid} 1", "{pid}", "", "nonsense here"])
def test_a_record_of_another_start_time_is_not_this_process(tmp_path, record):
    path = tmp_path / "pid"
    path.write_text(record.format(pid=os.getpid()))
    assert state.recorded_process(path) is None


def test_a_user_without_a_world_has_no_lab(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: UNUSED_UID)
    with pytest.raises(LabError, match="the lab is not up"):
        state.require()


def test_a_world_of_somebody_elses_is_not_entered(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: UNUSED_UID)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as impostor:
        impostor.bind(f"\0netsonde-lab-{UNUSED_UID}")
        impostor.listen()
        with pytest.raises(LabError, match="of another user has taken the name of your lab"):
            world.join()


def test_ends_a_process_by_sigterm(sleeper):
    namespace.end_process(sleeper.pid, lambda: True)
    assert sleeper.wait(5) == -15


def test_leaves_a_process_that_is_not_ours(sleeper):
    namespace.end_process(sleeper.pid, lambda: False)
    assert sleeper.poll() is None


def test_kills_a_process_that_ignores_sigterm(monkeypatch):
    monkeypatch.setattr(namespace, "GRACE_S", 0.05)
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        namespace.end_process(process.pid, lambda: True)
        assert process.wait(5) == -9
