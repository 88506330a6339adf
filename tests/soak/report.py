"""What came out of a soak: for the terminal, and as a page of the documentation."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

MIB = 1 << 20
_WHAT = """\
`make soak MINUTES=60` runs the lab of nine hosts under load, faults and attacks at once, and
watches every daemon: valid questions and invalid ones, streams that nobody reads, floods of
connections and of pipelined requests, `kill -9`, SIGSTOP, full disks, and logs that nobody reads.
Answers are held against the sender's own counters. It writes this page."""


@dataclass
class Outcome:
    """Figures and verdicts."""

    minutes: float
    seed: int
    facts: list[tuple[str, str]] = field(default_factory=list)
    verdicts: list[tuple[str, str, bool]] = field(default_factory=list)
    """What, the figure, whether it holds."""
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every promise holds."""
        return all(holds for _, _, holds in self.verdicts)

    def text(self) -> str:
        """Write it for the terminal."""
        lines = [f"{name}: {value}" for name, value in self.facts]
        lines += [
            f"{'holds' if holds else 'FAILS'}  {name}: {value}"
            for name, value, holds in self.verdicts
        ]
        return "\n".join([*lines, *self.faults])

    def page(self) -> str:
        """Write it as a page."""
        rows = [f"| {name} | {value} |" for name, value in self.facts]
        held = [
            f"| {name} | {value} | {'yes' if holds else '**no**'} |"
            for name, value, holds in self.verdicts
        ]
        return "\n".join(
            [
                "# Soak",
                "",
                _WHAT,
                "",
                f"{datetime.now(UTC):%Y-%m-%d}, {self.minutes:g} minutes, seed {self.seed}, Linux "
                f"{platform.release()}, {os.cpu_count()} CPUs ({_processor()}).",
                "",
                "| promise | measured | holds |",
                "|---|---|---|",
                *held,
                "",
                "| what happened | how often |",
                "|---|---|",
                *rows,
                "",
            ]
        )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()
