"""How long an answer takes while its host counts: asked of the monitor, and over HTTP.

The load is UDP of so many live flows, each with a packet or more in every tick, at half of what the
sender can: a host that works, not one that drowns. Truth is the clock of the asker.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.answers.scale import Scale
from benchmarks.data_path import link
from benchmarks.data_path.link import SENDER, TWINS, inside
from benchmarks.data_path.pipelines import ROOT, Netsonde
from benchmarks.spread import Spread, spread

PACKETS_PER_FLOW_S = 10
AGENT = "http://127.0.0.1:8000"


def measure(scale: Scale) -> dict[str, dict[str, Spread]]:
    """Give {asked: {"p50_ms", "p99_ms", "per_s"}}, asked being `monitor` or `agent`."""
    found: dict[str, dict[str, list[float]]] = {
        asked: {"p50_ms": [], "p99_ms": [], "per_s": []} for asked in ("monitor", "agent")
    }
    with counting() as (host, load), sending(load, scale):
        for _ in range(scale.rounds):
            for asked, kind, where in (
                ("monitor", "monitor", f"{host.folder}/monitor.sock"),
                ("agent", "http", AGENT),
            ):
                took_ms, seconds = ask(kind, where, scale)
                cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
                found[asked]["p50_ms"].append(cuts[49])
                found[asked]["p99_ms"].append(cuts[98])
                found[asked]["per_s"].append(len(took_ms) / seconds)
    return {
        asked: {name: spread(values) for name, values in figures.items()}
        for asked, figures in found.items()
    }


@contextmanager
def counting() -> Iterator[tuple[Netsonde, Path]]:
    """Build the network, and start monitor and agent on one host of it."""
    with TemporaryDirectory(prefix="netsonde-bench-", dir="/run") as name, link.network():
        folder = Path(name)
        folder.chmod(0o755)  # the agent has a user of its own
        load = link.compile_load(folder)
        host = Netsonde(folder, TWINS[0])
        try:
            host.start()
            yield host, load
        finally:
            host.kill()


@contextmanager
def sending(load: Path, scale: Scale) -> Iterator[None]:
    """Send the load until the end; the first seconds of it have passed when this returns."""
    rate = str(scale.live_flows * PACKETS_PER_FLOW_S)
    to, cores = TWINS[0], sorted(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(cores[0]), str(load), to.out_device, to.mac]
    command += [to.addresses["few"], to.first_source, str(scale.live_flows), "3600", rate]
    before = link.arrived(to)
    with subprocess.Popen(inside(SENDER, *command), stdout=subprocess.DEVNULL) as sender:
        try:
            while link.arrived(to) < before + 2 * int(rate):
                if sender.poll() is not None:
                    raise RuntimeError("the load ended early")
            yield
        finally:
            sender.terminate()


def ask(kind: str, where: str, scale: Scale) -> tuple[list[float], float]:
    """Ask questions of one host; give ms each and the seconds they took together."""
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.answers.asker"]
    rate = scale.agent_questions_per_s if kind == "http" else scale.monitor_questions_per_s
    command += [kind, where, str(scale.questions), str(rate)]
    done = subprocess.run(
        inside(TWINS[0].namespace, *command), check=True, stdout=subprocess.PIPE, text=True
    )
    answered = json.loads(done.stdout)
    return answered["took_ms"], answered["seconds"]
