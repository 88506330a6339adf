"""A certificate in full, for people: one fact each; nothing is left out because it is 0."""

from __future__ import annotations

import msgspec

from netsonde.client.sheet import number
from netsonde.model.asked import FilterText
from netsonde.model.certificate import Certificate


def facts(found: Certificate) -> list[tuple[str, str]]:
    """Write a certificate: facts and their names; one without goes on with the fact before."""
    window, evidence = found.window, found.evidence
    hidden = ("spilled", "contended", "thinned")
    return [
        ("exact", "yes" if found.exact else "no: each number has its bounds"),
        ("filter", chosen(found.filter) if found.task is None else f"that of task {found.task}"),
        ("window", f"{window.asked}: {window.begins} to {window.ends}"),
        ("", f"{window.seconds:g} s, ticks {window.first_tick} to {window.last_tick}"),
        *_coverage(found),
        *(("hook", f"{name}: {', '.join(hosts)}") for name, hosts in evidence.hooks.items()),
        ("seen", f"{number(evidence.packets)} packets, {number(evidence.ip_bytes)} IP bytes"),
        ("drops", _drops(evidence.drops)),
        (
            "no record",
            ", ".join(f"{name} {number(getattr(evidence, f'{name}_packets'))}" for name in hidden)
            + f" packets: {found.spilled_ratio:.2%} of those seen",
        ),
        ("E", f"no flow of more than {number(evidence.flow_absent_upper)} packets is missing"),
        ("missed", f"{evidence.missed_ticks} ticks at most at one host"),
        *(
            ("clock set", f"by {step.step_ms} ms at tick {step.tick}")
            for step in evidence.clock_steps
        ),
        *(
            ("clock of", f"{host}: {ms:+.1f} ms, give or take {wrong:.1f}")
            for host, (ms, wrong) in evidence.skew_ms.items()
        ),
        ("tick", f"{evidence.tick_ms} ms at most, flows told: 1 in {evidence.told_one_in}"),
        ("cost", f"{evidence.cpu_ratio:.1%} of a CPU, {evidence.rss_bytes / 1e6:.0f} MB at most"),
        ("software", ", ".join(f"{name} ({n})" for name, n in evidence.software.items())),
        ("asked", f"{found.software}, schema {found.schema}"),
    ]


def _coverage(found: Certificate) -> list[tuple[str, str]]:
    seen = found.coverage
    return [
        ("hosts", f"{seen.answered} of {seen.asked} answered"),
        *(("missing", f"{host}: {why}") for host, why in seen.missing.items()),
        *(("partial", f"{host}: {why}") for host, why in seen.partial.items()),
    ]


def chosen(wanted: FilterText) -> str:
    """Write which packets a filter chooses: `INPUT, proto tcp, dport 443`."""
    given = msgspec.structs.asdict(wanted).items()
    return ", ".join(
        str(value) if name == "interface" else f"{name} {value}"
        for name, value in given
        if value is not None and (name, value) != ("flow", "any")
    )


def _drops(drops: dict[str, int]) -> str:
    return ", ".join(f"{cause} {number(count)}" for cause, count in drops.items()) or "none"
