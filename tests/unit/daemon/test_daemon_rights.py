"""Whom a daemon becomes, and what it can never do again; each try in a process of its own."""

from __future__ import annotations

import os
import pwd
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from netsonde.daemon import rights
from netsonde.daemon.rights import AGENT, AUTO, MONITOR, Account, account
from netsonde.model.errors import BadField

CAP_NET_RAW, CAP_BPF = 13, 39

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")


def status(task: str = "self") -> dict[str, str]:
    lines = Path(f"/proc/{task}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def in_a_child(story: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            story()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@as_root
@pytest.mark.parametrize("kept", [(), (CAP_BPF,), (CAP_NET_RAW, CAP_BPF)])
def test_nothing_is_left_but_what_is_kept(kept: tuple[int, ...]) -> None:
    def story() -> None:
        os.setgroups([0, 4, 27])
        rights.confine()
        idle = threading.Event()
        threading.Thread(target=idle.wait, daemon=True).start()
        rights.give_up(Account(65526, 65526), kept)
        told, mask = status(), sum(1 << number for number in kept)
        assert told["Uid"].split() == told["Gid"].split() == ["65526"] * 4
        assert told["Groups"].split() == []
        assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == mask
        for other in os.listdir("/proc/self/task"):
            found = status(f"self/task/{other}")
            assert found["NoNewPrivs"] == "1"
            for field in ("CapBnd", "CapInh", "CapAmb"):
                assert int(found[field], 16) == 0, (field, other)
            assert int(found["CapPrm"], 16) in (mask, 0)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        assert rights._LIBC.prctl(3, 0, 0, 0, 0) == 0, "dumpable"
        assert os.umask(0) == 0o077
        for way in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            with pytest.raises(PermissionError):
                way()

    in_a_child(story)


@as_root
def test_two_daemons_cannot_reach_one_another() -> None:
    """The attack: one user for both, which stopped the monitor and read what it kept."""

    def story() -> None:
        ready, done = os.pipe(), os.pipe()
        monitor = os.fork()
        if monitor == 0:
            rights.give_up(account("user", AUTO, MONITOR))
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        rights.give_up(account("user", AUTO, AGENT))
        with pytest.raises(PermissionError):
            os.kill(monitor, 19)
        with pytest.raises(PermissionError):
            Path(f"/proc/{monitor}/mem").read_bytes()
        with pytest.raises(PermissionError):
            os.listdir(f"/proc/{monitor}/fd")
        assert rights._LIBC.ptrace(16, monitor, 0, 0) == -1
        os.write(done[1], b"x")
        os.waitpid(monitor, 0)

    in_a_child(story)


def test_by_name_by_number_or_refused() -> None:
    nobody = pwd.getpwnam("nobody")
    both = Account(nobody.pw_uid, nobody.pw_gid)
    assert account("user", "nobody", AGENT) == account("user", str(nobody.pw_uid), AGENT) == both
    assert account("user", "4000000001", AGENT) == Account(4_000_000_001, 4_000_000_001)
    for wrong in ("no-such-user", "", "-1", "4294967295", "99999999999999999999", "a\0b", "٣"):
        with pytest.raises(BadField, match="field 'user'"):
            account("user", wrong, AGENT)


@as_root
def test_auto_is_the_account_or_an_id_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, int] = {}

    def by_name(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_name=name, pw_uid=known[name], pw_gid=known[name] + 1)

    def by_number(number: int) -> SimpleNamespace:
        return by_name(next((name for name, uid in known.items() if uid == number), "none"))

    monkeypatch.setattr(pwd, "getpwnam", by_name)
    monkeypatch.setattr(pwd, "getpwuid", by_number)
    found = {service.account: account("user", AUTO, service) for service in (AGENT, MONITOR)}
    assert found == {"netsonde": Account(65526, 65526), "netsonde-monitor": Account(65527, 65527)}
    known |= {"netsonde": 990, "netsonde-monitor": 991}
    assert account("user", AUTO, AGENT) == Account(990, 991)
    assert account("user", AUTO, MONITOR) == Account(991, 992)
    known.clear()
    known["somebody"] = 65527
    with pytest.raises(BadField, match="somebody has the id 65527"):
        account("user", AUTO, MONITOR)
    monkeypatch.setattr(rights, "is_mapped", lambda uid, gid: False)
    known.clear()
    assert account("user", AUTO, MONITOR) == account("user", AUTO, AGENT) == Account(0, 0)


def test_the_spare_ids_are_no_range_that_anybody_gives_out() -> None:
    for service in (AGENT, MONITOR):
        assert 65520 <= service.spare_id <= 65533
    assert AGENT.spare_id != MONITOR.spare_id
