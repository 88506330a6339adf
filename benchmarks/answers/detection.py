"""From the packet that reaches a detector's threshold to the event at whoever listens.

Real scans over a link, monitor and agent as they are; an event is read from the agent's stream.
Both clocks are this machine's wall clock.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
from typing import Any

from benchmarks.answers.latency import AGENT, counting
from benchmarks.answers.scale import Scale
from benchmarks.data_path.link import SENDER, TWINS, inside
from benchmarks.data_path.pipelines import ROOT
from benchmarks.spread import Spread, spread
from netsonde.model.detectors import BUILTIN

SCANS = next(detector for detector in BUILTIN if detector.name == "port_scan")
_BEYOND = 5
"""Ports that a scan goes on after the threshold."""
_PATIENCE_S = 5.0


def measure(scale: Scale) -> dict[str, Spread]:
    """Give {"delay_ms": each scan's, "p99_ms", "missed"}."""
    with counting():
        raised: dict[str, int] = {}
        command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.answers.listener"]
        with subprocess.Popen(
            inside(TWINS[0].namespace, *command, AGENT), stdout=subprocess.PIPE, text=True
        ) as listener:
            try:
                assert listener.stdout
                if listener.stdout.readline() != "ready\n":
                    raise RuntimeError("the stream of events cannot be read")
                complete = threading.Event()
                reading = threading.Thread(
                    target=_read, args=(listener.stdout, raised, scale.scans, complete), daemon=True
                )
                reading.start()
                reached = _scan(scale)
                complete.wait(_PATIENCE_S)
            finally:
                listener.terminate()
    delays_ms = [
        (raised[source] - at_ns) / 1e6 for source, at_ns in reached.items() if source in raised
    ]
    if not delays_ms:
        raise RuntimeError("no scan was detected")
    p99_ms = statistics.quantiles([*delays_ms, *delays_ms[:1]], n=100, method="inclusive")[98]
    return {
        "delay_ms": spread(delays_ms),
        "p99_ms": spread([p99_ms]),
        "missed": spread([len(reached) - len(delays_ms)]),
    }


def _scan(scale: Scale) -> dict[str, int]:
    """Send the scans; give {source: when its packet number `threshold` was sent}."""
    at = TWINS[0]
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "benchmarks.answers.scanner"]
    command += [at.out_device, at.mac, at.addresses["few"], str(SCANS.threshold + _BEYOND)]
    command += [str(SCANS.threshold), str(scale.scans)]
    done = subprocess.run(inside(SENDER, *command), check=True, capture_output=True, text=True)
    lines = (line.split() for line in done.stdout.splitlines())
    return {source: int(at_ns) for source, at_ns in lines}


def _read(stream: Any, raised: dict[str, int], wanted: int, complete: threading.Event) -> None:
    for line in stream:
        at_ns, event = json.loads(line)
        if event["detector"] == SCANS.name and event["state"] == "raised":
            raised.setdefault(event["key"].split(",")[0], at_ns)
        if len(raised) >= wanted:
            complete.set()
