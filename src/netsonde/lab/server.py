"""The fork server: the daemons' code is loaded once, and each daemon is a fork of it.

Importing the daemons costs half a second of processor time, eight hosts have sixteen of them. A
request names a namespace, a command line and a log; the answer is the new process's pid. The
server lives in the lab's switch namespace and each fork is born in its host's, so whoever ends
the lab's processes finds them all.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from setproctitle import setproctitle

from netsonde.lab import namespace, state

Command = Callable[[], int | None]
MAX_REQUEST_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A daemon to start."""

    namespace: str
    argv: tuple[str, ...]
    """Its command line; the first word names one of the server's commands."""
    title: str
    """What `ps` shows."""
    log_path: str
    """Where its output is appended."""
    pid_path: str
    """Where it writes down who it is."""


def request(connection: socket.socket, launch: Launch) -> int | None:
    """Ask the server at the other end for a daemon; gives its pid, or None when there is none."""
    connection.send(json.dumps(asdict(launch)).encode())
    reply = connection.recv(MAX_REQUEST_BYTES)
    return int(reply) if reply else None


def serve(listener: socket.socket, commands: Mapping[str, Command]) -> Command:
    """Answer requests for as long as the process lives.

    Returns in each daemon, with the command it is to run: the daemon then has a stack and an end
    of its own.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the daemons
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                launch = Launch(**json.loads(connection.recv(MAX_REQUEST_BYTES)))
                command = commands[launch.argv[0]]
                pid = namespace.fork_inside(launch.namespace)
            except (OSError, ValueError, TypeError, LookupError) as error:
                print(f"bad request: {error!r}", file=sys.stderr)
                continue
            if pid == 0:
                listener.close()
                _become(launch)
                connection.send(str(os.getpid()).encode())
                return command


def _become(launch: Launch) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(launch.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.argv = list(launch.argv)
    setproctitle(launch.title)
    state.record_process(Path(launch.pid_path), os.getpid())


def main() -> None:
    """Serve on the listening socket whose descriptor is the first argument.

    The other arguments name the console scripts to load, by their entry points.
    """
    listener = socket.socket(fileno=int(sys.argv[1]))
    scripts = {script.name: script for script in _console_scripts()}
    commands = {name: _load(scripts[name]) for name in sys.argv[2:]}
    os.chdir("/")
    setproctitle("netsonde-lab server")
    # What is loaded now is never freed: keep the collector from touching, and so copying, it.
    gc.freeze()
    sys.exit(serve(listener, commands)())


def _load(script: importlib.metadata.EntryPoint) -> Command:
    """Load a daemon's console script, and what that loads when it is called: `main` beside it."""
    importlib.import_module(f"{script.module.rpartition('.')[0]}.main")
    command: Command = script.load()
    return command


def _console_scripts() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group="console_scripts")


if __name__ == "__main__":
    main()
