"""The lab itself: it comes up whole, carries what it is told to, and leaves nothing behind."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import COMMAND

RUN = Path("/run/netsonde-lab")
NAMESPACES = Path("/run/netns")

RECEIVER = """
import socket, time
with socket.create_server(("", 9000)) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    begin = time.monotonic() + 0.5  # slow start and the first bucket are not the rate
    while time.monotonic() < begin:
        connection.recv(1 << 20)
    taken = 0
    while chunk := connection.recv(1 << 20):
        taken += len(chunk)
        end = time.monotonic()
print(taken * 8 / (end - begin))
"""
SENDER = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 9000)) as connection:
    end = time.monotonic() + 3
    while time.monotonic() < end:
        connection.sendall(bytes(1 << 16))
"""


def remains():
    """List what exists of a lab: namespaces, files, live processes, links in this namespace."""
    named = [path.name for path in NAMESPACES.glob("netsonde-[nh]*")]
    files = list(RUN.rglob("*")) if RUN.exists() else []
    programs = (read(path).split(b"\0")[0] for path in Path("/proc").glob("[0-9]*/cmdline"))
    processes = [program for program in programs if program.startswith(b"netsonde-")]
    return named, files, processes, sorted(os.listdir("/sys/class/net"))


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_until(condition, deadline_s=10.0):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.001)


def test_down_leaves_nothing(no_lab):
    before = remains()
    assert before[:3] == ([], [], [])
    no_lab.up()
    assert len(remains()[0]) == 10
    no_lab.down()
    assert remains() == before


@pytest.mark.parametrize("reached", ["/run/netns/netsonde-h5", "/run/netsonde-lab/h4/monitor.pid"])
@pytest.mark.parametrize("then", ["up", "down"])
def test_after_kill_9_halfway_the_next_command_cleans_up(no_lab, reached, then):
    before = remains()
    with subprocess.Popen([COMMAND, "up"], stdout=subprocess.DEVNULL) as building:
        wait_until(lambda: Path(reached).exists() or building.poll() is not None)
        assert building.poll() is None, "it ended before it could be killed"
        building.kill()
    assert remains() != before
    if then == "up":
        assert "removing what an earlier lab left behind" in no_lab.up().stdout
        assert all(host["daemons"] for host in no_lab.status()["hosts"][1:])
    no_lab.down()
    assert remains() == before


def test_up_when_it_is_up(lab):
    done = lab.run("up", check=False)
    assert done.returncode == 2
    assert "the lab is up already (9 hosts); 'netsonde lab down' takes it down" in done.stderr


@pytest.mark.parametrize(
    "argv", [["exec", "h1", "--", "true"], ["pingall"], ["shell"], ["status"], ["restart", "h5"]]
)
def test_commands_when_it_is_not_up(no_lab, argv):
    done = no_lab.run(*argv, check=False)
    assert done.returncode == 2
    assert done.stderr == "netsonde lab: the lab is not up; 'netsonde lab up' builds it\n"


def test_down_when_it_is_not_up(no_lab):
    assert no_lab.run("down").stdout == "the lab is not up\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rate", "fast"], "--rate is 'fast'; allowed: a number and kbit, mbit or gbit"),
        (["--fanout", "1"], "--fanout is '1'; allowed: 2 or more"),
        (["--depth", "9"], "--depth is '9'; allowed: 1 to 7"),
    ],
)
def test_a_bad_option_is_named_and_changes_nothing(no_lab, options, sentence):
    before = remains()
    done = no_lab.run("up", *options, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert remains() == before


def test_another_shape(no_lab):
    no_lab.up("--depth", "3", "--fanout", "2", "--no-daemons")
    assert [host["parent"] for host in no_lab.status()["hosts"]] == [
        *(None, None, "h2", "h3", "h2", "h5", "h5", "h7")
    ]
    assert "*** Results: 0% dropped (56/56 received)" in no_lab.run("pingall").stdout


def test_the_tree_is_built(lab):
    for name, children in {
        "h2": ["h3", "h4", "h7"],
        "h4": ["h5", "h6"],
        "h7": ["h8", "h9"],
    }.items():
        form = "type=query leaf agents"
        reply = lab.exec(name, "curl", "-s", "-d", form, f"http://{lab.address(name)}:8000/")
        assert all(lab.address(child) in reply.stdout for child in children)


def test_exec_gives_the_commands_output_and_status(lab):
    done = lab.exec("h5", "sh", "-c", "cat; echo $0 >&2; exit 7", "--", check=False, input="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "--\n")


def test_exec_runs_our_python_where_the_caller_is(lab, tmp_path):
    code = "import os, sys, msgspec; print(sys.executable, os.getcwd())"
    done = lab.exec("h1", "python", "-c", code, cwd=tmp_path)
    assert done.stdout == f"{Path(sys.executable).parent}/python {tmp_path}\n"


def test_exec_passes_signals(lab):
    with lab.popen("h1", "sh", "-c", "echo ready; exec sleep 60") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_exec_of_what_there_is_not(lab):
    for argv, sentence in ([["h10", "true"], "no host 'h10'"], [["h1", "nosuch"], "'nosuch'"]):
        done = lab.exec(*argv, check=False)
        assert done.returncode == 2
        assert sentence in done.stderr


def echo_requests(lab):
    """Count echo requests each host ever sent."""
    counts = []
    for number in range(1, 10):
        lines = lab.exec(f"h{number}", "grep", "^Icmp:", "/proc/net/snmp").stdout.splitlines()
        names, values = (line.split() for line in lines)
        counts.append(int(values[names.index("OutEchos")]))
    return counts


def test_pingall_sends_one_request_per_directed_pair(lab):
    before = echo_requests(lab)
    done = lab.run("pingall")
    assert "h1 -> h2 h3 h4 h5 h6 h7 h8 h9\n" in done.stdout
    assert done.stdout.endswith("*** Results: 0% dropped (72/72 received)\n")
    assert [after - count for after, count in zip(echo_requests(lab), before, strict=True)] == [
        8
    ] * 9


def test_pingall_names_who_does_not_answer(lab):
    lab.exec("h9", "ip", "link", "set", "eth0", "down")
    done = lab.run("pingall", check=False)
    lab.exec("h9", "ip", "link", "set", "eth0", "up")
    lab.exec("h9", "ip", "-6", "address", "replace", "fd00::9/64", "dev", "eth0", "nodad")
    assert done.returncode == 1
    assert "h1 -> h2 h3 h4 h5 h6 h7 h8 X\n" in done.stdout
    assert "h9 -> X X X X X X X X\n" in done.stdout
    assert "*** Results: 22% dropped (56/72 received)\nh9: ping: connect: " in done.stdout


def test_hosts_reach_each_other_by_ipv6(lab):
    lab.exec("h1", "ping", "-c", "1", "-W", "2", "fd00::9")


def test_rate_is_what_tcp_gets(no_lab):
    no_lab.up("--rate", "50mbit", "--no-daemons")
    for source, target in (("h1", "h9"), ("h9", "h1")):
        with no_lab.popen(target, "python", "-c", RECEIVER) as receiver:
            assert receiver.stdout.readline() == "listening\n"
            no_lab.exec(source, "python", "-c", SENDER, no_lab.address(target))
            goodput_bits_per_s = float(receiver.stdout.read())
        # 1448 bytes of every 1514 are the user's: 95.6 % of the rate.
        assert goodput_bits_per_s == pytest.approx(50e6 * 1448 / 1514, rel=0.03)


def test_a_killed_daemon_is_shown_and_started_again(lab):
    for daemon in ("agent", "monitor"):
        first = lab.pid("h6", daemon)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda daemon=daemon: lab.pid("h6", daemon) is None)
        lab.restart("h6", daemon)
        assert lab.pid("h6", daemon) not in {None, first}
    assert read(Path(f"/proc/{lab.pid('h6', 'agent')}/cmdline")).startswith(b"netsonde-agent h6")


def test_restart_works_without_the_fork_server(lab):
    server = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if read(path).startswith(b"netsonde-lab server")
    ]
    assert len(server) == 1
    os.kill(server[0], signal.SIGKILL)
    first = lab.pid("h5", "monitor")
    lab.restart("h5", "monitor")
    assert lab.pid("h5", "monitor") not in {None, first}


def test_restart_of_the_manager(lab):
    done = lab.run("restart", "h1", check=False)
    assert (done.returncode, done.stderr) == (
        *(2, "netsonde lab: h1 is the manager and runs no daemons\n"),
    )


def test_a_shell_session_from_a_pipe(lab, tmp_path):
    flag = tmp_path / "flag"
    session = f"""\
h1 python -c "import time; print('configured'); open('{flag}', 'w'); time.sleep(60)" &
h5 sh -c 'nc -kl 8010 & nc -kl 8012' &
h1 until test -e {flag}; do sleep 0.05; done
h6 until nc -z 10.0.0.5 8010 && nc -z 10.0.0.5 8012; do sleep 0.05; done
h6 nc -zv h5 8010-8012 2>&1 | grep -c succeeded
h2 cat
h1 jobs
h1 jobs
pingall
status
exit
h2 echo not reached
"""
    output = lab.run("shell", input=session).stdout
    assert "8010-8012 2>&1 | grep -c succeeded\n2\n" in output
    looks = output.split("netsonde> h1 jobs\n[1] running: ")
    assert "configured\n" in looks[1]
    assert "\nconfigured\n" not in looks[2]
    assert "*** Results: 0% dropped (72/72 received)" in output
    assert "10.0.0.9" in output.split("netsonde> status")[1]
    assert "not reached" not in output
    assert lab.exec("h5", "nc", "-z", "10.0.0.5", "8010", check=False).returncode == 1


def test_ctrl_c_ends_the_command_and_not_the_shell(lab):
    child, terminal = pty.fork()
    if child == 0:
        os.execv(COMMAND, [str(COMMAND), "shell"])  # noqa: S606
    try:
        # Not sh's own echo: a SIGINT before sh forks its next command is lost on that command.
        line = b"""h1 python -c "import time; print('be' + 'gun', flush=True); time.sleep(60)"\n"""
        type_and_read(terminal, line, until=b"begun")
        type_and_read(terminal, b"\x03", until=b"netsonde> ")
        type_and_read(terminal, b"h1 echo af''ter\n", until=b"after\r\nnetsonde> ")
        type_and_read(terminal, b"\x03", until=b"netsonde> ")
        type_and_read(terminal, b"exit\n", until=None)
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def type_and_read(terminal, keys, until):
    os.write(terminal, keys)
    seen = b""
    deadline_mono_s = time.monotonic() + 10
    while until is None or until not in seen:
        while not select.select([terminal], [], [], 1)[0]:
            assert time.monotonic() < deadline_mono_s, f"nothing more after {seen!r}"
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other end has closed
            break
    return seen
