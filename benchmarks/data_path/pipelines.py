"""Who measures at the receiver, each started and asked as its users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from benchmarks.baseline.queue_sketch import PARSERS, QUEUE
from benchmarks.data_path.link import Receiver, inside
from benchmarks.data_path.programs import compile_program
from netsonde.kernel.hooks import HOOKS

NONE = "no measurement"
PROTOTYPE = "prototype"
EMPTY = "empty program, netfilter"
PROMISED = f"netsonde, {next(iter(HOOKS))}"
"""The pipeline that is promised: the hook that is tried first."""
ROOT = Path(__file__).parents[2]
_AGENT = "127.0.0.1:8000"
_NETFLOW_PORT = 9995
_PATIENCE_S = 15.0
_POLL_S = 0.02
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
Reported = dict[str, int]
"""Phase -> packets, as the pipeline says."""


class Pipeline:
    """Measures nothing; the others start from here."""

    def __init__(self, folder: Path, at: Receiver) -> None:
        self.folder = folder
        self.at = at
        self._running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """Begin to count; returns when every packet from now on is seen."""

    def stop(self) -> Reported:
        """End, and tell what was counted."""
        self._end()
        return {}

    def kill(self) -> None:
        """End what still runs, however the round went."""
        for process in self._running:
            process.kill()
            process.wait()

    def groups(self) -> list[int]:
        """Give its process groups: what is to be held while it shall not measure."""
        return [process.pid for process in self._running]

    def cpu_s(self) -> float:
        """Processor time so far of every process in the sessions that were started."""
        sessions = {process.pid for process in self._running}
        used = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) in sessions:
                used += sum(int(field) for field in fields[11:15])
        return used / _CLOCK_TICKS

    def rss_mb(self) -> float | None:
        """Peak resident memory of the part that must stay small, where there is one."""
        return None

    def _launch(self, *command: str, stdout: IO[str] | int | None = None) -> subprocess.Popen[str]:
        log = (self.folder / "log").open("a")
        process = subprocess.Popen(
            inside(self.at.namespace, *command),
            stdout=log if stdout is None else stdout,
            stderr=log,
            text=True,
            start_new_session=True,
            cwd=self.folder,
        )
        self._running.append(process)
        return process

    def _end(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(_PATIENCE_S)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > deadline_s:
                tail = (self.folder / "log").read_text()[-500:]
                raise RuntimeError(f"{type(self).__name__}: {what}: {tail}")
            time.sleep(_POLL_S)


class Netsonde(Pipeline):
    """Monitor and agent with their defaults, on one hook; asked over HTTP."""

    hook = next(iter(HOOKS))

    def start(self) -> None:
        """Start both and configure a counter for each phase."""
        state, programs = self.folder / "state", Path(sys.executable).parent
        socket = ["--monitor-socket", str(self.folder / "monitor.sock")]
        self._monitor = self._launch(
            str(programs / "netsonde-monitor"),
            *("--socket", socket[1], "--hook", self.hook),
        )
        self._agent = self._launch(
            str(programs / "netsonde-agent"),
            *("--listen", _AGENT, *socket, "--state-dir", str(state)),
        )
        self._until(lambda: self._ask("config") is not None, "the agent does not answer")

    def stop(self) -> Reported:
        """Ask for the counters, then end both."""
        answer = self._ask("query")
        if answer is None:
            raise RuntimeError("netsonde: the agent does not answer any more")
        self._end()
        return answer

    def rss_mb(self) -> float | None:
        """Peak resident memory of the monitor, in 10^6 bytes."""
        return _peak_mb(self._monitor)

    def agent_rss_mb(self) -> float:
        """The same of the agent."""
        return _peak_mb(self._agent)

    def _ask(self, verb: str) -> Reported | None:
        counts: Reported = {}
        for phase, address in self.at.addresses.items():
            message = f"type={verb} counter&interface=INPUT&dst={address}"
            command = inside(self.at.namespace, "curl", "-sf", "-d", message, f"http://{_AGENT}/")
            reply = subprocess.run(command, check=False, capture_output=True, text=True)
            if reply.returncode:
                return None
            counts[phase] = int(json.loads(reply.stdout)[0])
        return counts


class EmptyProgram(Pipeline):
    """A program that does nothing at the hook of the promised pipeline: the least any can cost."""

    def start(self) -> None:
        """Compile and attach it."""
        made = compile_program("empty_netfilter", self.folder)
        holder = self._launch(
            *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m"),
            *("benchmarks.data_path.empty_hook", str(made)),
            stdout=subprocess.PIPE,
        )
        assert holder.stdout
        holder.stdout.readline()


class Prototype(Pipeline):
    """Every packet of both directions through a queue to Python."""

    parser = next(iter(PARSERS))

    def start(self) -> None:
        """Start the reader, then divert packets to it."""
        reader = self._launch(
            *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m"),
            *("benchmarks.baseline.queue_sketch", self.parser),
            stdout=subprocess.PIPE,
        )
        assert reader.stdout
        reader.stdout.readline()
        self._rules("-A")

    def stop(self) -> Reported:
        """Let packets pass again; what it did not count did not pass."""
        self._rules("-D")
        self._end()
        return {}

    def _rules(self, change: str) -> None:
        for chain in ("INPUT", "OUTPUT"):
            rule = (change, chain, "-j", "NFQUEUE", "--queue-num", str(QUEUE))
            subprocess.run(inside(self.at.namespace, "iptables-legacy", "-w", *rule), check=True)


class PrototypeByStruct(Prototype):
    """The same without scapy: the most the idea can give in Python."""

    parser = "struct"


class Softflowd(Pipeline):
    """softflowd exporting NetFlow 9 to nfcapd on the same host."""

    def start(self) -> None:
        """Start the collector and the exporter."""
        flows = self.folder / "flows"
        flows.mkdir()
        collector = ("-w", str(flows), "-p", str(_NETFLOW_PORT), "-b", "127.0.0.1")
        self._collector = self._launch("nfcapd", *collector, "-B", "4000000")
        self._control = str(self.folder / "control")
        self._exporter = self._launch(
            *(
                "softflowd",
                "-i",
                self.at.device,
                "-n",
                f"127.0.0.1:{_NETFLOW_PORT}",
                "-v",
                "9",
                "-d",
            ),
            *("-c", self._control, "-p", str(self.folder / "pid")),
        )
        self._until(lambda: _captures(self._exporter), "softflowd does not capture")
        self._until(lambda: _backlog_bytes(self._collector) == 0, "nfcapd does not listen")

    def stop(self) -> Reported:
        """Export what is held, end, and sum up the collected flows."""
        for order in ("expire-all", "shutdown"):
            command = inside(self.at.namespace, "softflowctl", "-c", self._control, order)
            subprocess.run(command, check=True, capture_output=True)
        self._exporter.wait(_PATIENCE_S)
        self._until(lambda: _backlog_bytes(self._collector) == 0, "nfcapd does not keep up")
        self._end()
        command = ["nfdump", "-R", str(self.folder / "flows"), "-q", "-N", "-o", "fmt:%da,%pkt"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return _by_phase(done.stdout, self.at)


class Pmacctd(Pipeline):
    """pmacctd with its print plugin."""

    def start(self) -> None:
        """Start it."""
        self._printed = self.folder / "printed.csv"
        settings = {
            "daemonize": "false",
            "pcap_interface": self.at.device,
            "aggregate": "dst_host",
            "plugins": "print[p]",
            "print_output[p]": "csv",
            "print_output_file[p]": str(self._printed),
            "print_output_file_append[p]": "true",
            "print_refresh_time[p]": "60",
        }
        file = self.folder / "pmacctd.conf"
        file.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        self._daemon = self._launch("pmacctd", "-f", str(file))
        self._until(lambda: _captures(self._daemon), "pmacctd does not capture")

    def stop(self) -> Reported:
        """Interrupt it, which prints what it holds, and read that."""
        self._daemon.send_signal(signal.SIGINT)
        self._daemon.wait(_PATIENCE_S)
        self._until(self._printed.exists, "pmacctd prints nothing")
        return _by_phase(self._printed.read_text(), self.at)


def pipelines() -> dict[str, type[Pipeline]]:
    """Name every pipeline, no measurement first."""
    ours = {f"netsonde, {hook}": type("Hooked", (Netsonde,), {"hook": hook}) for hook in HOOKS}
    return {
        NONE: Pipeline,
        EMPTY: EmptyProgram,
        **ours,
        PROTOTYPE: Prototype,
        "prototype, struct for scapy": PrototypeByStruct,
        "softflowd": Softflowd,
        "pmacctd": Pmacctd,
    }


def _by_phase(lines: str, at: Receiver) -> Reported:
    """Add up lines that end in `destination, packets` or `destination,packets,bytes`."""
    phases = {address: phase for phase, address in at.addresses.items()}
    counts = dict.fromkeys(at.addresses, 0)
    for line in lines.splitlines():
        address, _, rest = line.partition(",")
        if (phase := phases.get(address.strip())) is not None:
            counts[phase] += int(rest.split(",")[0])
    return counts


def _peak_mb(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _captures(process: subprocess.Popen[str]) -> bool:
    """Whether a packet socket is open in a process's network (proc: one line each, and a head)."""
    return Path(f"/proc/{process.pid}/net/packet").read_text().count("\n") > 1


def _backlog_bytes(process: subprocess.Popen[str]) -> int | None:
    """Bytes that wait in the collector's socket; None: there is no such socket."""
    for line in Path(f"/proc/{process.pid}/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == _NETFLOW_PORT:
            return int(fields[4].split(":")[1], 16)
    return None
