"""The lab's prompt: the prototype's command lines, a host's name and what it is to run.

    h1 python examples/heavy_hitter.py &      in the background; it ends with the shell
    h1 jobs                                   what each job printed since last asked
    h6 nc -z 10.0.0.5 8008-8092               in the foreground; Ctrl-C ends it, not the shell
    pingall, status, help, exit

Lines go to `sh -c`, so pipes and redirections work; a host's name among the words is replaced by
its address, as in Mininet. Commands may also be piped in; each is then shown before its output.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import IO

from netsonde.command import terminal
from netsonde.lab import namespace
from netsonde.lab.errors import LabError
from netsonde.lab.execute import environment
from netsonde.lab.topology import Host, Topology

PROMPT = "netsonde> "
KEPT_BYTES = 256 * 1024
"""How much a job may print between two looks at it; what is older is dropped and said so."""
END_WAIT_S = 2.0


class Job:
    """A background command on a host, and what it printed since last looked at."""

    def __init__(self, number: int, text: str, process: subprocess.Popen[bytes]) -> None:
        self.number = number
        self.text = text
        self._process = process
        self._printed = bytearray()
        self._dropped_bytes = 0
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether its shell has not ended."""
        return self._process.poll() is None

    def look(self) -> str:
        """Give its state, and what it printed since the last look."""
        if not self.running:
            self._reader.join(END_WAIT_S)  # a child of its own may hold the pipe open
        status = self._process.returncode
        state = "running" if status is None else f"ended with status {status}"
        with self._lock:
            text = self._printed.decode(errors="replace")
            dropped = (
                f"  ({self._dropped_bytes} earlier bytes dropped)" if self._dropped_bytes else ""
            )
            self._printed.clear()
            self._dropped_bytes = 0
        return f"[{self.number}] {state}: {self.text}{dropped}\n{text}"

    def end(self) -> None:
        """End its whole process group: SIGTERM, and SIGKILL after a grace period."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_WAIT_S)
                return

    def _read(self, output: IO[bytes]) -> None:
        with output:
            while chunk := os.read(output.fileno(), 65536):
                with self._lock:
                    self._printed += chunk
                    excess = max(0, len(self._printed) - KEPT_BYTES)
                    del self._printed[:excess]
                    self._dropped_bytes += excess


class Shell:
    """Reads lines until EOF or `exit`; `commands` are those that are not a host's."""

    def __init__(self, topology: Topology, commands: Mapping[str, Callable[[], object]]) -> None:
        self._hosts = {host.name: host for host in topology.hosts}
        self._commands = {"help": self._help, **commands}
        self._jobs: dict[str, list[Job]] = {}

    def run(self) -> None:
        """Obey every line; background jobs end when this returns or raises."""
        try:
            for line in _lines():
                if line in {"exit", "quit"}:
                    break
                try:
                    self._obey(line)
                except LabError as error:
                    print(error)
                except KeyboardInterrupt:
                    print("\ninterrupted")
        finally:
            for jobs in self._jobs.values():
                for job in jobs:
                    job.end()

    def _obey(self, line: str) -> None:
        first, _, rest = line.partition(" ")
        rest = rest.strip()
        if host := self._hosts.get(first):
            self._on_host(host, rest)
        elif first in self._commands and not rest:
            self._commands[first]()
        elif first:
            raise LabError(f"no such command: '{line}'; 'help' lists them")

    def _on_host(self, host: Host, text: str) -> None:
        if not text:
            raise LabError(f"what is {host.name} to run? such as: {host.name} ip address")
        if text == "jobs":
            self._look_at_jobs(host)
        elif text.endswith("&"):
            self._start_job(host, self._addressed(text[:-1].strip()))
        else:
            with _interrupts_left_to_the_child():
                stdin = None if sys.stdin.isatty() else subprocess.DEVNULL
                _spawn(host, self._addressed(text), stdin=stdin).wait()

    def _addressed(self, text: str) -> str:
        return re.sub(
            r"(?<!\S)h\d+(?!\S)",
            lambda word: self._hosts[word[0]].address if word[0] in self._hosts else word[0],
            text,
        )

    def _start_job(self, host: Host, text: str) -> None:
        jobs = self._jobs.setdefault(host.name, [])
        process = _spawn(host, text, stdin=subprocess.DEVNULL, background=True)
        jobs.append(Job(max((job.number for job in jobs), default=0) + 1, text, process))
        print(f"[{jobs[-1].number}] {text}")

    def _look_at_jobs(self, host: Host) -> None:
        jobs = self._jobs.get(host.name, [])
        ended = [job for job in jobs if not job.running]
        for job in jobs:
            print(job.look(), end="", file=terminal.raw())
        self._jobs[host.name] = [job for job in jobs if job not in ended]
        if not jobs:
            print(f"{host.name} has no jobs")

    def _help(self) -> None:
        print(f"hosts: {' '.join(self._hosts)}")
        print("  HOST COMMAND      run a command on a host, such as: h6 nc -z 10.0.0.5 8008-8092")
        print("  HOST COMMAND &    the same in the background")
        print("  HOST jobs         what its background commands have printed")
        print(f"  {', '.join(sorted(self._commands))}, exit")


def _lines() -> Iterator[str]:
    shown = sys.stdin.isatty()
    if shown:
        import readline  # noqa: PLC0415  importing it gives input() its history

        # A signal is seen only where readline waits for keys by select(), and is lost in its
        # read() or just before: so at the prompt Ctrl-C is a key, which discards the line.
        readline.parse_and_bind(r'"\C-c": "\C-e\C-u\C-m"')
    while True:
        try:
            with _interrupt_is_a_key() if shown else nullcontext():
                line = input(PROMPT if shown else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        if not shown:
            print(f"{PROMPT}{line}", flush=True)
        yield line


def _spawn(
    host: Host, text: str, *, stdin: int | None, background: bool = False
) -> subprocess.Popen[bytes]:
    sys.stdout.flush()
    with namespace.inside(host.namespace):
        return subprocess.Popen(
            ["sh", "-c", text],
            stdin=stdin,
            stdout=subprocess.PIPE if background else None,
            stderr=subprocess.STDOUT if background else None,
            env=environment() | {"PYTHONUNBUFFERED": "1"},
            start_new_session=background,
        )


@contextmanager
def _interrupt_is_a_key() -> Iterator[None]:
    """Let the terminal give Ctrl-C to who reads it, as any other key."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    changed = [*before[:6], [*before[6]]]
    changed[6][termios.VINTR] = os.fpathconf(terminal, "PC_VDISABLE").to_bytes(1, "big")
    termios.tcsetattr(terminal, termios.TCSADRAIN, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def _interrupts_left_to_the_child() -> Iterator[None]:
    # A handler, not SIG_IGN: across exec a handler becomes the default again, SIG_IGN would stay.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
