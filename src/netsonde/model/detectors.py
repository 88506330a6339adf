"""The built-in detectors; `docs/reference/detectors.md` says what each means and when it is wrong.

Thresholds are for one host and its own traffic. They stand at about twice the most that captures of
ordinary traffic reach, or where an attack begins to hurt, whichever is more.
"""

from __future__ import annotations

from netsonde.model.detector import Detector
from netsonde.model.flow import FlowClass
from netsonde.model.task import Filter, Increment, Interface

BUILTIN = (
    Detector(
        name="port_scan",
        measure="spread",
        filter=Filter(interface=Interface.BOTH, flow=FlowClass.PROBE),
        by="src_dst",
        of="dport",
        threshold=50,
        window_ticks=100,
        sentence="{src} scans ports of {dst}: {count} ports in {window}",
    ),
    Detector(
        name="host_scan",
        measure="spread",
        filter=Filter(interface=Interface.BOTH, flow=FlowClass.HALF_OPEN),
        by="src_dport",
        of="dst",
        threshold=100,
        window_ticks=100,
        sentence="{src} tries TCP port {dport} of many hosts: {count} hosts in {window}",
    ),
    Detector(
        name="superspreader",
        measure="spread",
        filter=Filter(interface=Interface.BOTH, flow=FlowClass.ATTEMPT),
        by="src",
        of="dst",
        threshold=600,
        window_ticks=100,
        sentence="{src} turns to very many hosts: {count} hosts in {window}",
    ),
    Detector(
        name="service_probe",
        measure="spread",
        filter=Filter(proto=6, flow=FlowClass.ATTEMPT),
        by="src_dst_dport",
        of="sport",
        threshold=30,
        window_ticks=100,
        sentence="{src} keeps connecting to port {dport} of {dst}: {count} times in {window}",
    ),
    Detector(
        name="syn_flood",
        measure="spread",
        filter=Filter(flow=FlowClass.HALF_OPEN),
        by="dst",
        of="src_sport",
        threshold=1000,
        window_ticks=10,
        sentence="{dst} is flooded with SYNs: {count} half-open connections in {window}",
    ),
    Detector(
        name="reflection",
        measure="spread",
        filter=Filter(flow=FlowClass.UNASKED),
        by="dst",
        of="src",
        threshold=500,
        window_ticks=10,
        sentence="{dst} gets replies from very many hosts: {count} hosts in {window}",
    ),
    Detector(
        name="flood_victim",
        measure="spread",
        by="dst",
        of="src",
        threshold=2000,
        window_ticks=10,
        sentence="{dst} is reached by very many sources at once: {count} sources in {window}",
    ),
    Detector(
        name="heavy_change",
        measure="change",
        filter=Filter(interface=Interface.BOTH),
        by="dst",
        increment=Increment.BYTES,
        threshold=500_000_000,
        factor=4.0,
        window_ticks=100,
        sentence="traffic to {dst} changed from {before} to {now} in {window}",
    ),
)
"""Run on every host unless switched off or changed."""
