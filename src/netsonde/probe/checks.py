"""Whether another agent's replies about a test are possible, before anybody believes them.

The one idea: a reply that cannot be true is no measurement. It ends the test with a sentence, and
no figure of it is shown. What is possible is still only that agent's word.
"""

from __future__ import annotations

import math

from netsonde.model.errors import ProbeFailed
from netsonde.probe import stamp
from netsonde.wire import peer

LOWEST_PORT = 1024
"""No receiver listens below it, where another agent could lead us to a service."""
MAX_TIME_MS = 120_000.0
"""Twice the longest test: no probe is under way for longer."""
MAX_BYTES_PER_S = 1e13
MAX_PROBES = 1 << 20


def check_opened(reply: peer.ProbeOpened) -> None:
    """Check where dst says that its receiver is; raises ProbeFailed."""
    if not LOWEST_PORT <= reply.port <= 65535:
        raise _impossible("the receiver's port", reply.port)
    if len(reply.cookie) != stamp.COOKIE_BYTES:
        raise _impossible("the size of the cookie", len(reply.cookie))


def check_received(received: int, *, least: int, most: int) -> None:
    """Check how much dst says has reached it, by what src knows; raises ProbeFailed."""
    if not least <= received <= most:
        raise ProbeFailed(
            f"dst says that {received} reached it, where it must be {least} to {most}"
        )


def check_result(result: peer.ProbeResult) -> None:
    """Check the figures of a whole test; raises ProbeFailed."""
    for name, value, most in (
        ("throughput_bytes_per_s", result.throughput_bytes_per_s, MAX_BYTES_PER_S),
        ("throughput_ci_bytes_per_s", result.throughput_ci_bytes_per_s, math.inf),
        ("delay_ms", result.delay_ms, MAX_TIME_MS),
        ("jitter_ms", result.jitter_ms, MAX_TIME_MS),
    ):
        if value is not None and not (math.isfinite(value) and 0 <= value <= most):
            raise _impossible(name, value)
    reached = result.sent if result.received is None else result.received
    for name, count, most_probes in (
        ("sent", result.sent, MAX_PROBES),
        ("received", result.received, result.sent or 0),
        ("returned", result.returned, reached or 0),
    ):
        if count is not None and not 0 <= count <= most_probes:
            raise _impossible(name, count)


def _impossible(name: str, value: float | None) -> ProbeFailed:
    return ProbeFailed(f"an agent's reply about the test is impossible: {name} is {value!r:.40}")
