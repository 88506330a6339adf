"""What the lab is doing: one row per host, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from netsonde.command import terminal
from netsonde.lab import state
from netsonde.lab.daemons import DAEMONS
from netsonde.lab.topology import overlay_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRow:
    """A daemon of a host."""

    pid: int | None
    """None when it is down."""
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """A host."""

    name: str
    address: str
    address6: str
    namespace: str
    parent: str | None
    """Host above it in the overlay; None for the root and the manager."""
    daemons: dict[str, DaemonRow]
    """`monitor` and `agent`; empty on the manager, and in a lab without daemons."""


def rows(lab: state.Lab) -> list[HostRow]:
    """Look at every host of a lab that is up."""
    tree = overlay_tree(lab.depth, lab.fanout)
    parents = {child: parent for parent, children in tree.items() for child in children}
    return [
        HostRow(
            name=host.name,
            address=host.address,
            address6=host.address6,
            namespace=host.namespace,
            parent=parents.get(host.name),
            daemons={
                daemon: DaemonRow(
                    pid=state.recorded_process(state.pid_path(host, daemon)),
                    log=str(state.log_path(host, daemon)),
                )
                for daemon in DAEMONS
                if state.pid_path(host, daemon).exists()
            },
        )
        for host in lab.topology.hosts
    ]


def as_json(lab: state.Lab) -> str:
    """Give the lab and its rows as one JSON object."""
    return json.dumps(asdict(lab) | {"hosts": [asdict(row) for row in rows(lab)]}, indent=2)


def print_table(lab: state.Lab) -> None:
    """Print the rows for people; a daemon that is down is said in red."""
    rate = f"{lab.rate} each way" if lab.rate else "unshaped"
    table = Table(title=f"{len(lab.topology.hosts)} hosts, links {rate}", title_justify="left")
    for column in ("host", "address", "IPv6", "parent", *DAEMONS):
        table.add_column(column)
    for row in rows(lab):
        cells = [
            "" if daemon is None else f"pid {daemon.pid}" if daemon.pid else Text("down", "red")
            for daemon in map(row.daemons.get, DAEMONS)
        ]
        table.add_row(row.name, row.address, row.address6, row.parent or "", *cells)
    console = terminal.console()
    console.print(table)
    console.print(f"logs: {state.ROOT}/HOST/{{{','.join(DAEMONS)}}}.log", highlight=False)
