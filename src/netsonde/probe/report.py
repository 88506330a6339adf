"""From what a test saw to the message that answers for it.

The one idea: figures go into fields of their own, and whatever a careful reader must know about
them goes into the notes, a sentence each.
"""

from __future__ import annotations

from netsonde.probe.echo import Result
from netsonde.probe.throughput import Estimate, Transfer
from netsonde.wire import peer

_CARRIED_SHARE = 0.9
_SETTLED_PACKETS = 50


def throughput_result(transfer: Transfer, received_bytes: int | None) -> peer.ProbeResult:
    """Report a TCP transfer; `received_bytes` is dst's count, None when it could not be had."""
    estimate, last = transfer.estimate, transfer.last
    notes = [
        f"one TCP flow, congestion control {transfer.congestion_control}",
        f"{transfer.bytes_acked} bytes in {transfer.elapsed_ms:.0f} ms",
    ]
    if last.min_rtt_us is not None:
        notes.append(
            f"round trip {last.min_rtt_us / 1000:.3f} ms at least, "
            f"{last.rtt_us / 1000:.3f} ms at the end under load"
        )
    if last.bytes_retransmitted:
        share = last.bytes_retransmitted / last.bytes_sent
        notes.append(f"{share:.2%} of the bytes were sent again")
    if not estimate.converged:
        notes.append(_why_not_converged(estimate))
    if received_bytes is None:
        notes.append("dst did not say how much it received")
    elif received_bytes < _CARRIED_SHARE * transfer.bytes_acked:
        notes.append(
            f"dst received {received_bytes} bytes only: "
            "something on the path acknowledges in its place"
        )
    return peer.ProbeResult(
        id=0,
        throughput_bytes_per_s=estimate.goodput_bytes_per_s,
        throughput_ci_bytes_per_s=estimate.ci_bytes_per_s,
        converged=estimate.converged,
        notes=tuple(notes),
    )


def _why_not_converged(estimate: Estimate) -> str:
    cap = {"time": "time", "bytes": "byte"}.get(estimate.reason, estimate.reason)
    return f"stopped by its {cap} cap before it converged, after {estimate.batches} steady batches"


def echo_result(result: Result) -> peer.ProbeResult:
    """Report an echo exchange."""
    notes = []
    if result.delay_p99_ms is not None:
        notes.append(f"99 % of the delays are at most {result.delay_p99_ms:.3f} ms")
    if result.unstamped:
        notes.append(
            f"{result.unstamped} of {result.returned} returned probes lack a kernel timestamp "
            "at src: their delay holds time of this process"
        )
    if result.clock_set:
        notes.append("the clock of src was set during the test: no delay and no jitter")
    elif result.jitter_ms is not None and result.returned < _SETTLED_PACKETS:
        notes.append(f"jitter from {result.returned} packets reads low: its filter starts at 0")
    if result.duplicates:
        notes.append(f"{result.duplicates} replies came more than once")
    if result.reordered:
        notes.append(f"{result.reordered} replies came after a later probe's")
    if result.received is None:
        notes.append("dst did not say how many probes it received")
    return peer.ProbeResult(
        id=0,
        sent=result.sent,
        received=result.received,
        returned=result.returned,
        delay_ms=result.delay_ms,
        jitter_ms=result.jitter_ms,
        notes=tuple(notes),
    )
