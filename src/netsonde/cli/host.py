"""`netsonde host`: how the asked host is, and who is below it.

What an operator looks for first comes first: who is missing, and what was not counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from netsonde.cli import exits
from netsonde.cli.options import Plain, Service
from netsonde.model.certificate import Covered
from netsonde.model.detector import DetectorState
from netsonde.model.resource import DeviceView, Host, Level, Reach
from netsonde.model.window import TICKS_PER_S, span_text, wall_text

_MIB = 1 << 20
_STEP_NAMES = {100: "100 ms", 1000: "1 s", 10_000: "10 s"}


def host(*, output: Plain = Plain(), service: Service = Service()) -> int:
    """Show how the asked host's monitor and flight recorder are, and who is below it."""
    from netsonde.cli import printing

    with service.client() as client:
        found = client.host()
        members = client.members()
    if output.json:
        printing.json({"host": found, "members": members})
    else:
        printing.facts([*_agent(found), *_members(members), *_monitor(found)])
        if found.devices:
            views = ("device", "state", "packets", "bytes of IP", "dropped", "not IP", "tasks")
            printing.sentences([""])
            printing.listing(views, map(_device, found.devices))
        if found.detectors:
            header = ("detector", "alarms now", "raised", "suppressed", "most", "keys", "CPU ms")
            printing.sentences([""])
            printing.listing(header, map(_detector, found.detectors))
    return exits.PARTIAL if members.missing else exits.OK


def _agent(found: Host) -> Iterator[tuple[str, str]]:
    place = "root" if found.parent is None else f"below {found.parent}"
    yield "host", f"{found.host}, {place}; netsonde {found.software}"


def _members(members: Covered) -> Iterator[tuple[str, str]]:
    yield "hosts", f"{members.answered} of {members.asked} answer"
    yield from (("missing", f"{member}: {why}") for member, why in members.missing.items())


def _monitor(found: Host) -> Iterator[tuple[str, str]]:
    ticks = max(1, found.last_tick + 1 - found.since_tick)
    not_ip = found.drops.get("not_ip", 0)
    drops = {cause: n for cause, n in found.drops.items() if n and cause != "not_ip"}
    causes = ", ".join(f"{cause} {n:,}" for cause, n in drops.items())
    yield "dropped", f"{sum(drops.values()):,} packets" + (f": {causes}" if causes else "")
    yield (
        "counted",
        f"{found.packets:,} packets, {found.ip_bytes:,} bytes of IP; not IP: {not_ip:,}",
    )
    yield "since", f"{wall_text(found.since_tick)}, {span_text(ticks / TICKS_PER_S)}"
    yield "hook", f"{found.hook}; of tunnels: {found.encapsulated}"
    yield "tick", f"{found.tick_ms} ms, {found.late_ticks:,} were late; {_told(found.told_one_in)}"
    if found.failed_refreshes:
        failed = f"could not be followed, {found.failed_refreshes:,} tries failed"
        yield "addresses", f"{failed}: INPUT and OUTPUT may be mistaken"
    share = found.cpu_seconds * TICKS_PER_S / ticks
    yield "cost", f"{share:.1%} of a CPU, {found.rss_bytes / _MIB:.0f} MiB at most"
    yield from _recorder(found.recorder, found.last_tick)
    yield "tasks", f"{found.tasks}"


def _told(one_in: int) -> str:
    return "all flows told" if one_in == 1 else f"flows told: 1 in {one_in}, for the rest estimates"


def _recorder(reach: Reach, last_tick: int) -> Iterator[tuple[str, str]]:
    held = sum(level.bytes for level in reach.levels) / _MIB
    memory = f"{held:.1f} of {reach.budget_bytes / _MIB:.0f} MiB"
    if reach.first_tick is None or reach.begins is None:
        yield "recorder", f"holds nothing yet; {memory}"
        return
    back = span_text((last_tick + 1 - reach.first_tick) / TICKS_PER_S)
    yield "recorder", f"reaches back {back}, to {reach.begins}; {memory}"
    yield "", "steps " + ", ".join(_level(level, last_tick) for level in reach.levels)


def _level(level: Level, last_tick: int) -> str:
    step = _STEP_NAMES.get(level.step_ms, f"{level.step_ms} ms")
    if level.first_tick is None:
        return f"of {step}: none yet"
    return f"of {step} for {span_text((last_tick + 1 - level.first_tick) / TICKS_PER_S)}"


def _device(view: DeviceView) -> tuple[str, ...]:
    not_ip = view.drops.get("not_ip", 0)
    counts = (view.packets, view.ip_bytes, sum(view.drops.values()) - not_ip, not_ip, view.tasks)
    state = f"gone {view.gone}" if view.gone else "counts"
    return (view.hook, state, *(f"{count:,}" for count in counts))


def _detector(state: DetectorState) -> tuple[str, ...]:
    counts = (state.active, state.raised, state.suppressed, state.suppressed_most, state.keys)
    return (state.name, *(f"{count:,}" for count in counts), f"{state.cpu_ms:,}")
