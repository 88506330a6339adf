"""The daemons of the lab: started through the fork server, awaited, joined into the overlay.

The one idea: nothing here waits for a time, all of it for a condition (a socket that accepts)
under one deadline, and a daemon that fails it is shown by the last lines of its own log.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlencode

from netsonde.lab import namespace, pins, server, state
from netsonde.lab.errors import LabError
from netsonde.lab.topology import SWITCH_NAMESPACE, Host, Topology, overlay_parent, overlay_tree

DAEMONS = ("monitor", "agent")
"""In the order they start: an agent looks for its monitor."""
HTTP_PORT = 8000
POLL_S = 0.01
LOG_TAIL_LINES = 15
_USUAL = Topology()
SERVER_SOCKET = state.ROOT / "server.sock"
SERVER_LOG = state.ROOT / "server.log"


def command_line(
    host: Host, daemon: str, hook: str, devices: Sequence[str], topology: Topology
) -> tuple[str, ...]:
    """Give the command line of a daemon on a host.

    `hook` is where its monitor counts, `devices` are those that it views as well.
    """
    monitor_socket = str(_monitor_socket(host))
    if daemon == "monitor":
        pin_dir = pins.directory(host)
        return (
            *("netsonde-monitor", "--socket", monitor_socket),
            *("--hook", hook),
            *(("--devices", ",".join(devices)) if devices else ()),
            *(("--pin-dir", str(pin_dir)) if pin_dir else ()),
        )
    return (
        *("netsonde-agent", "--listen", f"{host.address}:{HTTP_PORT}"),
        *("--address", host.address, "--peer-port", "8001"),
        *("--monitor-socket", monitor_socket, "--state-dir", str(state.directory(host) / "state")),
        *("--probe-max-bytes", "4000000000"),
        *("--parent", overlay_parent(topology, host)),
        *("--probe-tests-per-hour", "1000000"),  # nobody else's host, and measured all the time
    )


def deadline_mono_s(hosts: int) -> float:
    """Say when a number of hosts, started together from now on, must all be ready."""
    return time.monotonic() + 10 + hosts


def start_server() -> None:
    """Start the fork server; it loads the daemons' code while the caller goes on."""
    SERVER_SOCKET.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        SERVER_LOG.open("ab") as log,
        namespace.inside(SWITCH_NAMESPACE),
    ):
        listener.bind(str(SERVER_SOCKET))
        SERVER_SOCKET.chmod(0o600)
        listener.listen()
        names = [f"netsonde-{daemon}" for daemon in DAEMONS]
        subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", server.__name__, str(listener.fileno()), *names],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )


def start(
    hosts: Iterable[Host],
    daemon: str,
    hook: str,
    *,
    devices: Sequence[str] = (),
    topology: Topology = _USUAL,
    deadline_mono_s: float,
) -> None:
    """Start one daemon on each host and wait until all of them accept; raises LabError."""
    started = list(hosts)
    for host in started:
        argv = command_line(host, daemon, hook, devices, topology)
        _start_one(host, daemon, argv, deadline_mono_s)
    for host in started:
        _await_ready(host, daemon, deadline_mono_s)


def stop(host: Host, daemon: str) -> None:
    """End a daemon if it runs: SIGTERM, and SIGKILL after a grace period."""
    path = state.pid_path(host, daemon)
    if pid := state.recorded_process(path):
        namespace.end_process(pid, lambda: state.recorded_process(path) == pid)


def join_overlay(topology: Topology) -> None:
    """Tell each parent of its children by the prototype's `add leaf agent`; raises LabError."""
    for parent, children in overlay_tree(topology.depth, topology.fanout).items():
        for child in children:
            message = {"type": "add leaf agent", "agent_addr": topology.host(child).address}
            _post(topology.host(parent), message)


def _start_one(host: Host, daemon: str, argv: tuple[str, ...], deadline_mono_s: float) -> None:
    home = state.directory(host)
    home.mkdir(exist_ok=True)
    launch = server.Launch(
        namespace=host.namespace,
        argv=argv,
        title=f"netsonde-{daemon} {host.name}",
        log_path=str(state.log_path(host, daemon)),
        pid_path=str(state.pid_path(host, daemon)),
    )
    try:
        with _connect_server(deadline_mono_s) as connection:
            pid = server.request(connection, launch)
    except OSError as error:
        raise _failure("the fork server does not answer", SERVER_LOG, error) from None
    if pid is None:
        raise _failure(f"the fork server cannot start {launch.title}", SERVER_LOG)


def _connect_server(deadline_mono_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(max(POLL_S, deadline_mono_s - time.monotonic()))
    try:
        connection.connect(str(SERVER_SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):  # none yet, or it was killed
        start_server()
        connection.connect(str(SERVER_SOCKET))
    return connection


def _await_ready(host: Host, daemon: str, deadline_mono_s: float) -> None:
    title, log = f"netsonde-{daemon} on {host.name}", state.log_path(host, daemon)
    with namespace.inside(host.namespace):
        while not _accepts(host, daemon):
            if state.recorded_process(state.pid_path(host, daemon)) is None:
                raise _failure(f"{title} ended before it was ready", log)
            if time.monotonic() > deadline_mono_s:
                raise _failure(f"{title} is not ready in time", log)
            time.sleep(POLL_S)


def _accepts(host: Host, daemon: str) -> bool:
    family = socket.AF_UNIX if daemon == "monitor" else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        where = str(_monitor_socket(host)) if daemon == "monitor" else (host.address, HTTP_PORT)
        try:
            probe.connect(where)
        except OSError:
            return False
        return True


def _post(host: Host, message: dict[str, str]) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection(host.address, HTTP_PORT, timeout=5)
    try:
        with namespace.inside(host.namespace):
            connection.request("POST", "/", urlencode(message), headers)
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        log = state.log_path(host, "agent")
        raise _failure(f"{host.name} does not answer '{message['type']}'", log, error) from None
    finally:
        connection.close()
    if reply.status != http.client.OK:
        raise LabError(f"{host.name} refuses '{message['type']}' ({reply.status}): {text}")


def _monitor_socket(host: Host) -> Path:
    return state.directory(host) / "monitor.sock"


def _failure(what: str, log: Path, error: Exception | None = None) -> LabError:
    cause = f" ({error})" if error else ""
    try:
        tail: Sequence[str] = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        tail = ()
    said = "".join(f"\n    {line}" for line in tail) or " nothing"
    return LabError(f"{what}{cause}; {log} says:{said}")
