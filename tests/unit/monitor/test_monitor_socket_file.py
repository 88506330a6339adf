"""The socket file: a dead monitor's is replaced, and nothing else ever is."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from netsonde.model.errors import Busy, Unavailable
from netsonde.monitor.socket_file import bind


def test_a_dead_monitor_s_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "m.sock"
    bind(path, os.getuid()).close()
    with bind(path, os.getuid()) as listener:
        listener.listen()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(str(path))


def test_a_living_monitor_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with bind(path, os.getuid()) as listener:
        listener.listen(1)
        before = path.stat().st_ino
        with pytest.raises(Busy):
            bind(path, os.getuid())
        # Also one that takes no more connections just now.
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))
            with pytest.raises(Busy):
                bind(path, os.getuid())
        assert path.stat().st_ino == before


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link", "dangling", "to a socket"])
def test_what_is_no_socket_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "m.sock", tmp_path / "target"
    match kind:
        case "file":
            path.write_text("important")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            target.write_text("important")
            path.symlink_to(target)
        case "dangling":
            path.symlink_to(target)
        case "to a socket":
            bind(target, os.getuid()).close()
            path.symlink_to(target)
    before = path.lstat()
    with pytest.raises(Unavailable, match=r"m\.sock is no socket"):
        bind(path, os.getuid())
    assert path.lstat() == before
    assert kind != "file" or path.read_text() == "important"
    assert kind == "dangling" or target.exists() or kind not in ("link", "to a socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a socket away")
def test_it_is_given_to_the_agent_where_nobody_could_exchange_it(tmp_path: Path) -> None:
    agent_uid = 65526
    with bind(tmp_path / "m.sock", agent_uid) as listener:
        assert (tmp_path / "m.sock").lstat().st_uid == agent_uid
        assert isinstance(listener, socket.socket)
    for mode, owner in ((0o777, 0), (0o755, agent_uid)):
        theirs = tmp_path / f"{mode}"
        theirs.mkdir()
        theirs.chmod(mode)
        os.chown(theirs, owner, owner)
        with pytest.raises(Unavailable, match="others may write to"):
            bind(theirs / "m.sock", agent_uid)
        assert list(theirs.iterdir()) == []
