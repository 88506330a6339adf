"""The goodput estimator on sample lists with a known truth."""

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from netsonde.model.errors import UnsupportedByKernel
from netsonde.probe.throughput import (
    EARLY_SAMPLE_INTERVAL_NS,
    FLOOR_NS,
    QUIET_NS,
    SAMPLE_INTERVAL_NS,
    Estimate,
    Estimator,
    Plan,
    Sample,
)

PLAN = Plan(max_ns=3_000_000_000, max_bytes=250_000_000)
START_MONO_NS = 7_000_000_000
MS = 1_000_000


def run(
    rate: Callable[[int], float], plan: Plan = PLAN, min_rtt_us: int | None = 200
) -> tuple[Estimate, int]:
    """Drive the estimator over a path of `rate(elapsed_ns)` bytes/s; give the end and its time."""
    acked, elapsed_ns = 9.0, 0
    estimator = Estimator(plan, Sample(mono_ns=START_MONO_NS, bytes_acked=9))
    while True:
        step_ns = estimator.interval_ns
        acked += rate(elapsed_ns) * step_ns / 1e9
        elapsed_ns += step_ns
        sample = Sample(
            mono_ns=START_MONO_NS + elapsed_ns, bytes_acked=int(acked), min_rtt_us=min_rtt_us
        )
        estimate = estimator.add(sample)
        if estimate is not None:
            return estimate, elapsed_ns


def test_a_constant_rate_is_known_soon_after_the_floor() -> None:
    estimate, elapsed_ns = run(lambda _: 12_000_000.0)
    assert estimate.converged
    assert estimate.goodput_bytes_per_s == pytest.approx(12_000_000, rel=1e-3)
    assert estimate.ci_bytes_per_s == pytest.approx(0, abs=12_000)
    assert FLOOR_NS <= elapsed_ns <= FLOOR_NS + SAMPLE_INTERVAL_NS


def test_slow_start_is_left_out_of_the_mean() -> None:
    estimate, _ = run(lambda ns: min(25_000_000.0, 100_000 * 2 ** (ns / (40 * MS))))
    assert estimate.converged
    assert estimate.goodput_bytes_per_s == pytest.approx(25_000_000, rel=0.02)


def test_noise_widens_the_interval_and_lengthens_the_test() -> None:
    rng = random.Random(3)
    estimate, elapsed_ns = run(lambda _: max(0.0, rng.gauss(12_000_000, 3_000_000)))
    assert estimate.converged
    assert elapsed_ns > FLOOR_NS + 2 * SAMPLE_INTERVAL_NS
    assert estimate.goodput_bytes_per_s is not None
    assert estimate.ci_bytes_per_s is not None
    assert abs(estimate.goodput_bytes_per_s - 12_000_000) < 2 * estimate.ci_bytes_per_s


def test_a_rate_that_never_settles_ends_at_the_time_cap_unconverged() -> None:
    estimate, elapsed_ns = run(lambda ns: 5_000_000.0 if ns // (160 * MS) % 2 else 20_000_000.0)
    assert (estimate.reason, estimate.converged) == ("time", False)
    assert elapsed_ns == pytest.approx(PLAN.max_ns, abs=SAMPLE_INTERVAL_NS)
    assert estimate.goodput_bytes_per_s == pytest.approx(12_500_000, rel=0.2)
    assert estimate.ci_bytes_per_s is not None
    assert estimate.ci_bytes_per_s > 0.04 * 12_500_000


def test_the_byte_cap_ends_a_fast_test_with_a_figure() -> None:
    plan = Plan(max_ns=3_000_000_000, max_bytes=250_000_000)
    left = [plan.max_bytes]

    def until_spent(_: int) -> float:
        step = min(left[0], 2_500_000_000 * EARLY_SAMPLE_INTERVAL_NS // 1_000_000_000)
        left[0] -= step
        return step * 1e9 / EARLY_SAMPLE_INTERVAL_NS

    estimate, elapsed_ns = run(until_spent, plan)
    assert (estimate.reason, estimate.converged) == ("bytes", False)
    assert elapsed_ns < FLOOR_NS
    assert estimate.goodput_bytes_per_s == pytest.approx(2_500_000_000, rel=0.01)


def test_the_sample_in_which_the_bytes_ran_out_does_not_lower_the_figure() -> None:
    plan = Plan(max_ns=3_000_000_000, max_bytes=100_000_000)
    samples = [
        Sample(mono_ns=i * 5 * MS, bytes_acked=i * 9_500_000, min_rtt_us=50) for i in range(11)
    ]
    estimator = Estimator(plan, samples[0])
    assert [estimator.add(sample) for sample in samples[1:]] == [None] * 10
    spent = estimator.add(Sample(mono_ns=75 * MS, bytes_acked=100_000_000, min_rtt_us=50))
    assert spent is not None
    assert spent.goodput_bytes_per_s == pytest.approx(1_900_000_000, rel=1e-6)


@pytest.mark.parametrize(("min_rtt_us", "quiet_ns"), [(200, QUIET_NS), (200_000, 800 * MS)])
def test_a_stall_ends_the_test_without_a_figure(min_rtt_us: int, quiet_ns: int) -> None:
    stalls_at_ns = 100 * MS
    estimate, elapsed_ns = run(
        lambda ns: 12_000_000.0 if ns < stalls_at_ns else 0.0, min_rtt_us=min_rtt_us
    )
    assert estimate.reason == "quiet"
    assert estimate.goodput_bytes_per_s is None
    assert elapsed_ns - stalls_at_ns == pytest.approx(quiet_ns, abs=2 * SAMPLE_INTERVAL_NS)


def test_a_pause_shorter_than_the_quiet_time_is_part_of_the_rate() -> None:
    estimate, _ = run(lambda ns: 0.0 if 100 * MS <= ns < 300 * MS else 12_000_000.0)
    assert estimate.goodput_bytes_per_s is not None
    assert estimate.reason != "quiet"


def test_batches_last_four_round_trips_on_a_long_path() -> None:
    """At 100 ms a burst a round trip must not look like noise: 5 batches need 2 s."""
    estimate, elapsed_ns = run(
        lambda ns: 30_000_000.0 if ns % (100 * MS) < 40 * MS else 0.0, min_rtt_us=100_000
    )
    assert estimate.converged
    assert elapsed_ns >= 2_000 * MS
    assert estimate.goodput_bytes_per_s == pytest.approx(12_000_000, rel=0.05)


def test_a_test_too_short_for_any_batch_has_no_figure() -> None:
    plan = Plan(max_ns=10 * MS, max_bytes=250_000_000)
    estimate, _ = run(lambda _: 12_000_000.0, plan, min_rtt_us=50_000)
    assert estimate == Estimate(
        goodput_bytes_per_s=None, ci_bytes_per_s=None, batches=0, reason="time"
    )


def test_one_batch_gives_a_figure_without_an_interval() -> None:
    plan = Plan(max_ns=70 * MS, max_bytes=250_000_000)
    estimate, _ = run(lambda _: 12_000_000.0, plan, min_rtt_us=12_500)
    assert estimate.goodput_bytes_per_s == pytest.approx(12_000_000, rel=1e-3)
    assert (estimate.ci_bytes_per_s, estimate.batches) == (None, 1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 seeded tests that time cut off, 190 are expected to; 3 sigma below that is 181."""
    plan = Plan(max_ns=340 * MS, max_bytes=250_000_000)
    covered = 0
    for seed in range(200):
        rng = random.Random(seed)
        estimate, _ = run(lambda _, r=rng: max(0.0, r.gauss(12e6, 4e6)), plan)  # type: ignore[misc]
        assert estimate.goodput_bytes_per_s is not None
        assert estimate.ci_bytes_per_s is not None
        covered += abs(estimate.goodput_bytes_per_s - 12e6) <= estimate.ci_bytes_per_s
    assert covered >= 181


def tcp_info_fields() -> Iterator[tuple[int, str, int]]:
    """Offsets of linux/tcp.h `struct tcp_info`, counted by hand."""
    yield 68, "=I", 4321
    yield 120, "=Q", 5_000_000_009
    yield 148, "=I", 187
    yield 200, "=Q", 5_000_100_000
    yield 208, "=Q", 43_440


def test_tcp_info_is_read_at_the_kernels_offsets() -> None:
    raw = bytearray(280)
    for offset, kind, value in tcp_info_fields():
        struct.pack_into(kind, raw, offset, value)
    assert Sample.from_tcp_info(bytes(raw), 42) == Sample(
        mono_ns=42,
        bytes_acked=5_000_000_009,
        rtt_us=4321,
        min_rtt_us=187,
        bytes_sent=5_000_100_000,
        bytes_retransmitted=43_440,
    )


def test_a_round_trip_the_kernel_does_not_know_yet_is_none() -> None:
    raw = bytearray(280)
    struct.pack_into("=I", raw, 148, 0xFFFFFFFF)
    assert Sample.from_tcp_info(bytes(raw), 0).min_rtt_us is None


def test_an_old_kernels_tcp_info_is_refused_by_size() -> None:
    with pytest.raises(UnsupportedByKernel, match="104 bytes"):
        Sample.from_tcp_info(bytes(104), 0)
