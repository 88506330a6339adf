"""The cost ladder: ns per packet in the kernel, each rung beside all others in one run.

Rungs take turns in every round, so what disturbs one disturbs all; net figures and ratios are made
within a round. Every packet has another key; a rung's own tables are filled before it is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine
from benchmarks.data_path import programs, zipf
from benchmarks.data_path.programs import Rung
from benchmarks.data_path.scale import Scale
from benchmarks.spread import Spread, ratios, spread
from netsonde.kernel.sizing import lg_buckets as lg_buckets_of
from netsonde.kernel.sizing import possible_cpus

ZERO = "harness"
TABLE = "flow table"
KERNEL_MAPS = {
    "HASH": ("bench_hash", "map_hash"),
    "LRU_HASH": ("bench_lru", "map_lru"),
    "PERCPU_HASH": ("bench_percpu", "map_percpu"),
    "LRU_PERCPU_HASH": ("bench_lru_percpu", "map_lru_percpu"),
}
_UNIFORM, _DRAWN, _FRESH = 0, 1, 2
Load = Callable[[], AbstractContextManager[Rung]]


@dataclass(frozen=True, slots=True)
class Keys:
    """A sequence of flow keys."""

    name: str
    mode: int
    flows: int
    """Distinct flows, a power of two where they are uniform."""
    table: bytes = b""


def key_sets(scale: Scale) -> list[Keys]:
    """List the sequences: uniform over 1 K to 1 M flows, Zipf, and every packet a new flow."""
    sizes = {"1 K": 1 << 10, "16 K": 1 << 14, "64 K": 1 << 16, "1 M": 1 << 20}
    uniform = [
        Keys(name, _UNIFORM, min(flows, scale.largest_flows)) for name, flows in sizes.items()
    ]
    drawn = zipf.draw(programs.KEY_TABLE_ENTRIES, 1 << 20, seed=1).astype("<u4").tobytes()
    uneven = Keys(f"Zipf {zipf.EXPONENT}", _DRAWN, scale.largest_flows, drawn)
    return [*uniform, uneven, Keys("flood", _FRESH, scale.largest_flows)]


@dataclass(frozen=True, slots=True)
class _Objects:
    """Compiled programs."""

    floor: Path
    hashes: Path
    table: Path
    unguarded: Path
    unsafe: Path

    @classmethod
    def compiled(cls, folder: Path) -> _Objects:
        """Compile them all, side by side."""
        jobs = (
            ("floor", ()),
            ("hashes", ()),
            ("table", ()),
            ("table", ("BENCH_NO_SLICE_GUARD",)),
            ("table", ("BENCH_NO_ATOMICS",)),
        )
        with ThreadPoolExecutor() as pool:
            return cls(
                *pool.map(lambda job: programs.compile_program(job[0], folder, job[1]), jobs)
            )


def _rungs(keys: Keys, made: _Objects) -> dict[str, Load]:
    """Name every program of a round, in the order of the ladder."""
    lg_buckets = lg_buckets_of(0, possible_cpus())
    rungs: dict[str, Load] = {
        "empty program": partial(programs.plain, made.floor, "bench_empty", {}),
        "parse": partial(programs.plain, made.floor, "bench_parsing", {}),
        ZERO: partial(programs.plain, made.floor, "bench_harness", {}),
        "fingerprint": partial(programs.plain, made.floor, "bench_fingerprint", {}),
        TABLE: partial(programs.flow_table, made.table, lg_buckets),
        "flow table, no slice guard": partial(programs.flow_table, made.unguarded, lg_buckets),
        "flow table, not safe at all": partial(programs.flow_table, made.unsafe, lg_buckets),
        "flow table, twice the size": partial(programs.flow_table, made.table, lg_buckets + 1),
    }
    # Room for every flow of a bounded set, with some to spare; the most of all otherwise.
    entries = 2 * keys.flows if keys.mode == _UNIFORM and keys.flows < 1 << 20 else keys.flows
    for name, (program, map_name) in KERNEL_MAPS.items():
        rungs[name] = partial(programs.plain, made.hashes, program, {map_name: entries})
    return rungs


def _rounds(keys: Keys, scale: Scale, made: _Objects) -> dict[str, list[float]]:
    """Time every rung on one sequence of keys, taking turns; ns per packet by rung and round."""
    with ExitStack() as held:
        loaded = {name: held.enter_context(load()) for name, load in _rungs(keys, made).items()}
        for rung in loaded.values():
            rung.set_keys(keys.mode, keys.flows - 1, keys.table)
            rung.run(min(4 * keys.flows, scale.ladder_warm_runs))
        # What the other rungs pushed out of the caches comes back before the clock starts.
        again = min(2 * keys.flows, scale.ladder_runs)
        times: dict[str, list[float]] = {name: [] for name in loaded}
        for _ in range(scale.ladder_rounds):
            for name, rung in loaded.items():
                rung.run(again)
                times[name].append(rung.run(scale.ladder_runs))
    machine.require_fit()
    return times


def measure(scale: Scale) -> dict[str, dict[str, dict[str, Spread]]]:
    """Give {keys: {"gross_ns", "net_ns", "against_best_map"}: {rung: spread}}}."""
    machine.require_fit()
    before = os.sched_getaffinity(0)
    with TemporaryDirectory(prefix="netsonde-bench-") as folder:
        made = _Objects.compiled(Path(folder))
        os.sched_setaffinity(0, {max(before)})
        try:
            return {keys.name: _summed(_rounds(keys, scale, made)) for keys in key_sets(scale)}
        finally:
            os.sched_setaffinity(0, before)


def _summed(times: dict[str, list[float]]) -> dict[str, dict[str, Spread]]:
    net = {
        name: [ns - zero for ns, zero in zip(values, times[ZERO], strict=True)]
        for name, values in times.items()
    }
    best = [min(values) for values in zip(*(net[name] for name in KERNEL_MAPS), strict=True)]
    return {
        "gross_ns": {name: spread(values) for name, values in times.items()},
        "net_ns": {name: spread(values) for name, values in net.items()},
        "against_best_map": {TABLE: spread(ratios(net[TABLE], best))},
    }
