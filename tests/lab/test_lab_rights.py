"""Daemons as they really run: whose they are, what they may do, and what others may do to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from asking import ROOT, ask, sketch, until

from netsonde.daemon import rights
from netsonde.monitor import keep

H5 = "10.0.0.5"
HOME = Path("/run/netsonde-lab/h5")
CAP_BPF = 39

as_root = pytest.mark.skipif(os.geteuid() != 0 or not rights.is_mapped(1, 1), reason="one user")


def status(task: Path) -> dict[str, str]:
    lines = (task / "status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def tasks(pid: int) -> list[dict[str, str]]:
    return [status(task) for task in Path(f"/proc/{pid}/task").iterdir()]


@as_root
@pytest.mark.parametrize(
    ("daemon", "service", "kept"),
    [("monitor", rights.MONITOR, 1 << CAP_BPF), ("agent", rights.AGENT, 0)],
)
def test_each_daemon_is_a_user_of_its_own_without_rights(lab, daemon, service, kept):
    owner = rights.account("user", rights.AUTO, service)
    for told in tasks(lab.pid("h5", daemon)):
        assert told["Uid"].split() == [str(owner.uid)] * 4
        assert told["Gid"].split() == [str(owner.gid)] * 4
        assert told["Groups"].split() == []
        assert {int(told[name], 16) for name in ("CapEff", "CapPrm")} <= {kept, 0}
        for name in ("CapInh", "CapBnd", "CapAmb"):
            assert int(told[name], 16) == 0
        assert told["NoNewPrivs"].strip() == "1"
        assert told["Seccomp"].strip() == "2"
    files = list((HOME / ("state" if daemon == "agent" else "monitor.kept")).rglob("*"))
    assert files
    for file in files:
        assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (owner.uid, 0o600)
        assert file.parent.stat().st_mode & 0o777 == 0o700


def test_no_account_is_left_behind(lab):
    users = Path("/etc/passwd").read_text()
    assert "netsonde" not in users
    assert lab.pid("h5", "agent")


def as_user(owner: rights.Account, *argv: str) -> subprocess.CompletedProcess[bytes]:
    become = ["setpriv", "--reuid", str(owner.uid), "--regid", str(owner.gid), "--clear-groups"]
    return subprocess.run([*become, *argv], capture_output=True, check=False)


@as_root
def test_an_agent_that_was_taken_over_cannot_reach_the_monitor(lab):
    agent = rights.account("user", rights.AUTO, rights.AGENT)
    monitor = lab.pid("h5", "monitor")
    kept = HOME / "monitor.kept" / "monitor.kept"
    until(kept.exists, "nothing is kept")
    for argv in (
        ("kill", "-STOP", str(monitor)),
        ("cat", f"/proc/{monitor}/mem"),
        ("ls", f"/proc/{monitor}/fd"),
        ("cat", str(kept)),
        ("cp", "/dev/null", str(kept)),
        ("rm", str(HOME / "monitor.sock")),
    ):
        assert as_user(agent, *argv).returncode != 0, argv
    nobody = rights.account("user", "nobody", rights.AGENT)
    for argv in (("cat", str(HOME / "state" / "agent.json")), ("ls", str(HOME / "state"))):
        assert as_user(nobody, *argv).returncode != 0, argv
    assert lab.pid("h5", "monitor") == monitor


@as_root
def test_counts_that_another_user_forged_are_not_answered(lab):
    """The attack: +10^9 packets in every sum of what was kept, before the monitor comes back."""
    hits = sketch(H5, "src", proto="icmp")
    wanted = {"type": "query sketch", "sketch_id": hits, "counter_key_type": "src"}
    wanted["counter_key"] = "10.0.0.6"
    lab.exec("h6", "ping", "-c", "3", "-i", "0.01", "-q", H5)
    until(lambda: ask(H5, **wanted).text == "3", "the pings are not counted")
    os.kill(lab.pid("h5", "monitor"), signal.SIGTERM)
    until(lambda: lab.pid("h5", "monitor") is None, "the monitor does not end")
    file = HOME / "monitor.kept" / "monitor.kept"
    good = file.read_bytes()
    file.unlink()
    file.write_bytes(msgspec.msgpack.encode(forged(msgspec.msgpack.decode(good))))
    agent = rights.account("user", rights.AUTO, rights.AGENT)
    os.chown(file, agent.uid, agent.gid)
    try:
        lab.restart("h5", "monitor")
        until(lambda: ask(H5, **wanted).status == 200, "the agent does not find the monitor")
        assert ask(H5, **wanted).value <= 3
        assert "counts are not kept" in (HOME / "monitor.log").read_text()
    finally:
        file.unlink()
        lab.restart("h5", "monitor")


def forged(kept: object) -> object:
    if isinstance(kept, dict):
        return {
            name: value + 10**9 if name == "packets" else forged(value)
            for name, value in kept.items()
        }
    return [forged(one) for one in kept] if isinstance(kept, list) else kept


def test_a_kept_file_has_the_sums_that_are_forged():
    fields = [field.name for field in msgspec.structs.fields(keep.Seen)]
    assert "packets" in fields


@as_root
def test_a_full_disk_refuses_a_change_and_keeps_the_old_state(lab):
    state = HOME / "state"
    before = (state / "agent.json").read_bytes()
    os.kill(lab.pid("h5", "agent"), signal.SIGTERM)
    until(lambda: lab.pid("h5", "agent") is None, "the agent does not end")
    agent = rights.account("user", rights.AUTO, rights.AGENT)
    size = f"size=64k,mode=700,uid={agent.uid},gid={agent.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", state], check=True)
    try:
        (state / "agent.json").write_bytes(before)
        os.chown(state / "agent.json", agent.uid, agent.gid)
        lab.restart("h5", "agent")
        until(lambda: ask(H5, type="config counter").status == 200, "the agent does not answer")
        before = (state / "agent.json").read_bytes()
        fill = state / "fill"
        subprocess.run(["dd", "if=/dev/zero", f"of={fill}", "bs=512"], check=False)
        refused = ask(H5, type="config sketch")
        assert (refused.status, "cannot be written" in refused.text) == (503, True)
        assert (state / "agent.json").read_bytes() == before
        fill.unlink()
        assert ask(H5, type="config sketch").status == 200
    finally:
        os.kill(lab.pid("h5", "agent"), signal.SIGKILL)
        until(lambda: lab.pid("h5", "agent") is None, "the agent does not end")
        subprocess.run(["umount", state], check=True)
        lab.restart("h5", "agent")
    until(
        lambda: "missing" not in ask(ROOT, type="config counter").headers["x-netsonde-coverage"],
        "the agent does not come back",
    )


@as_root
def test_a_link_in_a_state_directory_gives_nobody_anything(lab, tmp_path):
    """The attack that made a local user root: what the link points to, given away at a restart."""
    victim = tmp_path / "victim"
    victim.write_text("root:*:19000:0:99999:7:::")
    victim.chmod(0o600)
    nobody = rights.account("user", "nobody", rights.AGENT)
    state = Path("/run/netsonde-old")
    state.mkdir()
    try:
        (state / "agent.json").write_text('{"schema": 1}')
        for name in ("agent.x", "agent.bad"):
            (state / name).symlink_to(victim)
        for path in (state, *state.iterdir()):
            os.chown(path, nobody.uid, nobody.gid, follow_symlinks=False)
        listen = ("--listen", "10.0.0.1:18000", "--peer-port", "18001", "--address", "10.0.0.1")
        with lab.popen("h1", "netsonde-agent", *listen, "--state-dir", str(state)) as agent:
            assert agent.stdout
            assert any("agent serves" in line for line in agent.stdout)
            agent.terminate()
        assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o600)
        owner = rights.account("user", rights.AUTO, rights.AGENT)
        assert (state / "agent.json").stat().st_uid == owner.uid
        assert json.loads((state / "agent.json").read_text())["schema"] == 1
    finally:
        subprocess.run(["rm", "-rf", state], check=True)
