#!/usr/bin/python3
"""The lab's nine hosts on Mininet: the same network, daemons and command lines.

Needs root and Debian's packages mininet and bridge-utils; Mininet's module belongs to the
system's Python. Its bridges are made where it is started, so give it a namespace of its own:

    sudo unshare --net /usr/bin/python3 examples/mininet/mt.py                  a prompt
    sudo unshare --net /usr/bin/python3 examples/mininet/mt.py --run pingall    one line, then end
    sudo unshare --net /usr/bin/python3 examples/mininet/mt.py --demo           a tour
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topolib import TreeTopo

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = PROJECT / ".venv" / "bin"
RUN = Path("/run/netsonde-mininet")

# Who is above whom in the overlay. h1 is the manager, outside the monitored network.
OVERLAY = {"h2": ["h3", "h4", "h7"], "h4": ["h5", "h6"], "h7": ["h8", "h9"]}

# Run on h1, which reaches every agent: wait until each one listens, then tell parents of children.
JOIN = """
import json, socket, sys, time
import requests
deadline = time.monotonic() + 60
pairs = json.loads(sys.argv[1])
for address in sorted({address for pair in pairs for address in pair}):
    while True:
        try:
            socket.create_connection((address, 8000), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"the agent of {address} does not listen")
            time.sleep(0.05)
for parent, child in pairs:
    message = {"type": "add leaf agent", "agent_addr": child}
    requests.post(f"http://{parent}:8000/", message, timeout=5).raise_for_status()
"""

DEMO = [
    "h1 python examples/heavy_hitter.py &",
    "h1 sleep 2",
    "pingall",
    "h1 sleep 2",
    "h1 jobs",
    "h1 python examples/portscan.py &",
    "h1 sleep 2",
    "h6 nc -z 10.0.0.5 8008-8092",
    "h1 sleep 2",
    "h1 jobs",
]


def start_daemons(host):
    """Start monitor and agent on a host; gives their processes."""
    home = RUN / host.name
    state = home / "state"
    above = [up for up, downs in OVERLAY.items() if host.name in downs]
    parent = f"10.0.0.{above[0][1:]}" if above else "none"
    home.mkdir(parents=True)
    monitor = f"--socket {home}/monitor.sock"
    agent = (
        f"--listen {host.IP()}:8000 --address {host.IP()} --peer-port 8001"
        f" --monitor-socket {home}/monitor.sock --state-dir {state} --probe-max-bytes 4000000000"
        f" --parent {parent}"
    )
    processes = []
    for name, options in (("monitor", monitor), ("agent", agent)):
        with open(home / f"{name}.log", "wb") as log:
            command = [f"{PROGRAMS}/netsonde-{name}", *options.split()]
            processes.append(host.popen(command, stdout=log, stderr=subprocess.STDOUT))
    return processes


def join_overlay(net):
    """Tell each parent of its children; gives what went wrong, or nothing."""
    pairs = [[net[up].IP(), net[down].IP()] for up, downs in OVERLAY.items() for down in downs]
    text = str(pairs).replace("'", '"')
    output, errors, status = net["h1"].pexec(["python", "-c", JOIN, text])
    return output + errors if status else ""


def run_lines(net, lines):
    """Give lines to Mininet's prompt, or open it for people when there are none."""
    if not lines:
        CLI(net)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".mininet") as script:
        script.write("\n".join(lines) + "\n")
        script.flush()
        CLI(net, script=script.name)


def stop(processes):
    """End the daemons: ask all of them, then insist."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description="The lab's nine hosts on Mininet.")
    parser.add_argument("--run", metavar="LINE", action="append", help="run a line, then end")
    parser.add_argument("--demo", action="store_true", help="run a short tour, then end")
    parser.add_argument("--no-daemons", action="store_true", help="only the network")
    options = parser.parse_args()
    if os.geteuid() != 0:
        return "Mininet needs root"
    if not options.no_daemons and not (PROGRAMS / "netsonde-agent").exists():
        return f"netsonde is not installed in {PROGRAMS.parent}; run 'make setup' first"
    os.environ["PATH"] = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.chdir(PROJECT)
    setLogLevel("info")

    shutil.rmtree(RUN, ignore_errors=True)  # the logs of an earlier run
    net = Mininet(TreeTopo(depth=2, fanout=3), switch=LinuxBridge, controller=None)
    processes = []
    try:
        net.start()
        if not options.no_daemons:
            for host in net.hosts[1:]:
                processes += start_daemons(host)
            if failure := join_overlay(net):
                return f"{failure}\nthe logs are in {RUN}"
        run_lines(net, DEMO if options.demo else options.run)
    finally:
        stop(processes)
        net.stop()
    return None


if __name__ == "__main__":
    sys.exit(main())
