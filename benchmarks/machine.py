"""The machine a run was made on, and the one setting that would spoil it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
_VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")


class Unfit(Exception):
    """The machine is set so that its figures would be wrong."""


def require_fit() -> None:
    """Raise Unfit while the kernel times every BPF program, which adds some 70 ns to each run."""
    if _STATS.read_text().strip() != "0":
        raise Unfit(
            "kernel.bpf_stats_enabled is on and would add its own cost to every program run; "
            "turn it off: sysctl kernel.bpf_stats_enabled=0"
        )


def describe() -> dict[str, object]:
    """Record what figures depend on: processor, cores, kernel, mitigations, load, stolen time."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
        "mitigations": _mitigations(),
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def stolen_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Share of all processor time that the hypervisor gave to others between two `cpu_times`."""
    total = after[1] - before[1]
    return round((after[0] - before[0]) / total, 4) if total else 0.0


def cpu_times() -> tuple[int, int]:
    """Give (stolen, all) processor time since boot in clock ticks (proc(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return fields[7], sum(fields[:8])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _mitigations() -> dict[str, str]:
    if not _VULNERABILITIES.is_dir():
        return {}
    found = {path.name: path.read_text().strip() for path in sorted(_VULNERABILITIES.iterdir())}
    return {name: state for name, state in found.items() if state != "Not affected"}
