"""How much of everything a run does: enough to be believed, or seconds to see that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes of a run."""

    ladder_rounds: int
    ladder_runs: int
    """Program runs of one measurement."""
    ladder_warm_runs: int
    """Most runs before the first measurement, to fill the tables."""
    largest_flows: int
    """Entries of the kernel's maps where flows are not bounded, and most uniform flows."""
    traffic_rounds: int
    """Even: the twins change places after each."""
    burst_s: float
    """Length of one burst."""
    traffic_pairs: int
    """Bursts to either receiver in one phase of a round."""
    promised_times: int
    """So many times as many bursts for the pipeline that promises are about, and for what it is
    compared with there."""
    capture_rounds: int
    capture_packets: int
    """Packets of the generated capture."""
    tick_rounds: int
    accuracy_packets: int


FULL = Scale(
    ladder_rounds=15,
    ladder_runs=100_000,
    ladder_warm_runs=4_000_000,
    largest_flows=1 << 20,
    traffic_rounds=6,
    burst_s=0.1,
    traffic_pairs=6,
    promised_times=4,
    capture_rounds=9,
    capture_packets=500_000,
    tick_rounds=15,
    accuracy_packets=2_000_000,
)
SMOKE = Scale(
    ladder_rounds=2,
    ladder_runs=2_000,
    ladder_warm_runs=2_000,
    largest_flows=1 << 12,
    traffic_rounds=2,
    burst_s=0.05,
    traffic_pairs=1,
    promised_times=1,
    capture_rounds=1,
    capture_packets=10_000,
    tick_rounds=2,
    accuracy_packets=20_000,
)
