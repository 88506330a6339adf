"""The certificate's line: what a person must know, and nothing that is as it should be."""

from __future__ import annotations

import msgspec
import pytest

from netsonde.model.asked import FilterText
from netsonde.model.certificate import Certificate, Covered, covered
from netsonde.model.evidence import ClockStep, Evidence

FIRST_TICK = 17_639_858_412
GOOD = "exact · 8/8 hosts · 0 dropped · 30.0 s ending 12:04:31.2 · netfilter"


def certificate(
    *, exact: bool = True, seen: Covered | None = None, ticks: int = 300, **found: object
) -> Certificate:
    evidence = Evidence(
        software={"0.1.0": 8},
        hooks={"netfilter": ("10.0.0.2",)},
        first_tick=FIRST_TICK,
        last_tick=FIRST_TICK + ticks - 1,
        packets=1_000_000,
    )
    evidence = msgspec.structs.replace(evidence, **found)
    return Certificate(
        software="netsonde 0.1.0",
        task=None,
        filter=FilterText(),
        exact=exact,
        window=covered("last 30s", evidence),
        coverage=seen or Covered(asked=8, answered=8),
        evidence=evidence,
        spilled_ratio=evidence.spilled_packets / evidence.packets,
    )


def test_the_window_is_what_was_covered() -> None:
    window = certificate().window
    assert (window.begins, window.ends) == ("2025-11-24T12:04:01.2Z", "2025-11-24T12:04:31.2Z")
    assert (window.asked, window.seconds) == ("last 30s", 30.0)
    assert (window.first_tick, window.last_tick) == (FIRST_TICK, FIRST_TICK + 299)


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (certificate(), GOOD),
        (certificate(exact=False), GOOD.replace("exact", "within bounds")),
        (
            certificate(exact=False, spilled_packets=12_345),
            GOOD.replace("exact", "within bounds · 1.23% in no record"),
        ),
        (
            certificate(exact=False, spilled_packets=1),
            GOOD.replace("exact", "within bounds · under 0.01% in no record"),
        ),
        (
            certificate(drops={"not_ip": 5, "truncated": 2, "ring_full": 1}),
            GOOD.replace("0 dropped", "3 dropped · 5 not IP"),
        ),
        (
            certificate(seen=Covered(asked=1, answered=1)),
            GOOD.replace("8/8 hosts", "1/1 host"),
        ),
        (
            certificate(seen=Covered(asked=8, answered=7, missing={"10.0.0.7": "no answer"})),
            GOOD.replace("8/8 hosts", "7/8 hosts · missing 10.0.0.7"),
        ),
        (
            certificate(
                exact=False,
                seen=Covered(asked=8, answered=8, partial={f"h{n}": "late" for n in range(8)}),
            ),
            GOOD.replace("8/8 hosts", "8/8 hosts · partial h0, h1, h2 and 5 more").replace(
                "exact", "within bounds"
            ),
        ),
        (
            certificate(missed_ticks=15, told_one_in=4),
            GOOD + " · 1.5 s missed · flows told: 1 in 4",
        ),
        (certificate(clock_steps=(ClockStep(tick=1, step_ms=-5),)), GOOD + " · a clock was set"),
        (
            certificate(skew_ms={"h3": (-350.0, 20.0), "h4": (90.0, 1.0)}),
            GOOD + " · clocks 330 ms apart",
        ),
        (certificate(skew_ms={"h3": (-350.0, 300.0)}), GOOD),
        (
            certificate(hooks={"tcx": ("h3",), "afpacket": ("h4",)}),
            GOOD.replace("netfilter", "afpacket+tcx"),
        ),
        (certificate(hooks={}), GOOD.replace("netfilter", "no hook")),
        (
            certificate(ticks=9000),
            GOOD.replace("30.0 s ending 12:04:31.2", "15.0 min ending 12:19:01.2"),
        ),
        (
            certificate(ticks=108_000),
            GOOD.replace("30.0 s ending 12:04:31.2", "3.0 h ending 15:04:01.2"),
        ),
        (
            certificate(ticks=8_640_000),
            GOOD.replace("30.0 s ending 12:04:31.2", "10.0 days ending 12:04:01.2"),
        ),
    ],
)
def test_a_line_for_people(made: Certificate, line: str) -> None:
    assert made.line == line


def test_it_is_read_as_it_was_written() -> None:
    made = certificate(
        exact=False,
        seen=Covered(asked=2, answered=1, missing={"h2": "gone"}),
        skew_ms={"h3": (1.5, 0.25)},
        clock_steps=(ClockStep(tick=7, step_ms=1000),),
    )
    assert msgspec.json.decode(msgspec.json.encode(made), type=Certificate) == made
