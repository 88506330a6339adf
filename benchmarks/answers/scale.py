"""How much of everything a run does: enough to be believed, or seconds to see that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes of a run."""

    rounds: int
    live_flows: int
    questions: int
    """Of one round, to each of monitor and agent."""
    monitor_questions_per_s: int
    agent_questions_per_s: int
    fold_flows: int
    """Flows of each tick that tasks fold."""
    fold_ticks: int
    idle_s: float
    scans: int
    """Scans whose detection is timed."""
    memory_ticks: int
    """Simulated ticks: 36,000 are an hour."""


FULL = Scale(
    rounds=5,
    live_flows=16_384,
    questions=1000,
    monitor_questions_per_s=50,
    agent_questions_per_s=200,
    fold_flows=10_000,
    fold_ticks=100,
    idle_s=10.0,
    scans=100,
    memory_ticks=36_000,
)
SMOKE = Scale(
    rounds=1,
    live_flows=1024,
    questions=20,
    monitor_questions_per_s=50,
    agent_questions_per_s=50,
    fold_flows=500,
    fold_ticks=20,
    idle_s=0.5,
    scans=2,
    memory_ticks=200,
)
