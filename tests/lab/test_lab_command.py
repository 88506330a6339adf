"""The command as a manager uses it: from h1, of the root, on real packets."""

from __future__ import annotations

import csv
import json
import signal
from os import kill

from asking import AGENT_PORT, ROOT, until

URL = f"http://{ROOT}:{AGENT_PORT}"
HOSTS, OTHERS = 8, 8
OK, REFUSED, WRONG, UNREACHABLE, PARTIAL = range(5)


def netsonde(lab, *argv: str):
    """Run the command on h1; gives what it printed, and its exit status."""
    return lab.exec("h1", "netsonde", *argv, "--url", URL, check=False)


def answer(lab, *argv: str) -> dict[str, object]:
    done = netsonde(lab, "ask", *argv, "--json")
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)


def test_a_task_counts_every_ping(lab):
    """Each host gets a request and a reply of every other host, h1 included."""
    added = netsonde(lab, "task", "add", "src_dst", "--proto", "icmp", "--json")
    assert added.returncode == OK, added.stderr
    task = str(json.loads(added.stdout)["id"])
    lab.run("pingall")
    count = answer(lab, "count", "--task", task)
    pings = HOSTS * OTHERS * 2
    assert count["count"] == {"lower": pings, "estimate": pings, "upper": pings}
    assert count["certificate"]["exact"]
    assert count["certificate"]["coverage"]["answered"] == HOSTS
    assert answer(lab, "distinct", "src_dst", "--task", task)["distinct"]["estimate"] == pings // 2
    rows = netsonde(lab, "ask", "top", "src_dst", "--task", task, "--k", "100", "--csv").stdout
    counted = {(row["src"], row["dst"]): row["estimate"] for row in csv.DictReader(rows.split())}
    assert len(counted) == pings // 2
    assert set(counted.values()) == {"2"}
    assert netsonde(lab, "task", "remove", task).returncode == OK
    gone = netsonde(lab, "task", "show", task)
    assert gone.returncode == REFUSED
    assert task in gone.stderr


def test_a_host_that_is_away_has_a_status_of_its_own(lab):
    kill(lab.pid("h9", "agent"), signal.SIGKILL)

    def named() -> bool:
        done = netsonde(lab, "ask", "count", "--window", "last 1s")
        return done.returncode == PARTIAL and f"missing {lab.address('h9')}" in done.stdout

    try:
        until(named, "the host that is away is named")
    finally:
        lab.restart("h9", "agent")
    until(
        lambda: netsonde(lab, "ask", "count", "--window", "real_time").returncode == OK,
        "all are back",
    )


def test_nobody_there_is_told(lab):
    done = lab.exec("h1", "netsonde", "host", "--url", "http://10.0.0.99:8000", check=False)
    assert done.returncode == UNREACHABLE
    assert "10.0.0.99" in done.stderr
    assert "Traceback" not in done.stderr
