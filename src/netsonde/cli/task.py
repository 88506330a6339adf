"""`netsonde task`: what is counted for long, and asked about by its id."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from netsonde.cli import exits
from netsonde.cli.options import Listed, Packets, Plain, Service
from netsonde.command.reading import Whole
from netsonde.model.asked import FilterText
from netsonde.model.resource import TaskBody

app = App(
    name="task",
    help="Tasks: packets that are counted until told otherwise, by the keys that are named.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
)


@app.command(help_epilogue="Such as: netsonde task add src src_dst:bytes --proto tcp --dport 443")
def add(
    *counters: str,
    scope: Literal["host", "subtree"] | None = None,
    packets: Packets = Packets(),
    output: Plain = Plain(),
    service: Service = Service(),
) -> int:
    """Add a task and print its id.

    Args:
        counters: key types to count by, in packets or as src_dst:bytes; without any, totals alone.
        scope: the asked host alone, or everyone below it.
    """
    from netsonde.cli import checking
    from netsonde.client.questions import counter
    from netsonde.model.resource import TaskSpec

    made = tuple(counter(each) for each in counters)
    checking.check_counters(made)
    spec = TaskSpec(filter=packets.filter_text() or FilterText(), counters=made, scope=scope)
    with service.client() as client:
        body = client.tasks.add_spec(spec)
    return _shown(body, output)


@app.command(help_epilogue="Such as: netsonde task change 7 src dst:bytes --dport 443")
def change(
    id: Whole,  # noqa: A002
    *counters: str,
    scope: Literal["host", "subtree"] | None = None,
    packets: Packets = Packets(),
    output: Plain = Plain(),
    service: Service = Service(),
) -> int:
    """Change a task; what is not said stays, and counters that stay go on counting.

    Args:
        id: the task's, as 'netsonde task list' tells it
        counters: all key types to count by from now on; without any, those that it has.
        scope: the asked host alone, or everyone below it.
    """
    from netsonde.cli import checking
    from netsonde.client.questions import counter
    from netsonde.model.resource import TaskSpec

    made = tuple(counter(each) for each in counters)
    checking.check_counters(made)
    with service.client() as client:
        before = client.tasks.get(id)
        known = {(each.by, each.increment): each for each in before.counters}
        spec = TaskSpec(
            filter=packets.filter_text(before.filter) or before.filter,
            counters=tuple(known.get((each.by, each.increment), each) for each in made)
            or before.counters,
            scope=scope,
        )
        body = client.tasks.replace(id, spec, etag=before.etag)
    return _shown(body, output)


@app.command(name="list", help_epilogue="Such as: netsonde task list --json")
def list_(*, output: Listed = Listed(), service: Service = Service()) -> int:
    """List all tasks."""
    from netsonde.cli.listing import listed

    with service.client() as client:
        tasks = client.tasks.list()
    header = ("id", "counters", "packets", "scope", "hosts", "since")
    return listed(tasks, TaskBody, output, header, _row)


@app.command(help_epilogue="Such as: netsonde task show 7")
def show(id: Whole, *, output: Plain = Plain(), service: Service = Service()) -> int:  # noqa: A002
    """Show a task.

    Args:
        id: the task's, as 'netsonde task list' tells it
    """
    with service.client() as client:
        body = client.tasks.get(id)
    return _shown(body, output)


@app.command(help_epilogue="Such as: netsonde task remove 7")
def remove(id: Whole, *, service: Service = Service()) -> int:  # noqa: A002
    """Remove a task and what it counted.

    Args:
        id: the task's, as 'netsonde task list' tells it
    """
    from netsonde.cli import printing

    with service.client() as client:
        client.tasks.remove(id)
    printing.sentences([f"task {id} is removed"])
    return exits.OK


def _shown(body: TaskBody, output: Plain) -> int:
    from netsonde.cli import printing

    if output.json:
        printing.json(body)
    else:
        number, counters, packets, scope, hosts, since = _row(body)
        facts = [
            ("task", number),
            ("counters", counters),
            ("packets", packets),
            ("scope", scope),
            ("since", since),
            ("hosts", hosts),
            *(("missing", f"{host}: {why}") for host, why in body.coverage.missing.items()),
        ]
        printing.facts(facts)
    return exits.PARTIAL if body.coverage.missing else exits.OK


def _row(body: TaskBody) -> tuple[str, ...]:
    from netsonde.client.certificate_text import chosen

    return (
        str(body.id),
        ", ".join(f"{each.by}:{each.increment}" for each in body.counters) or "totals",
        chosen(body.filter),
        body.scope,
        f"{body.coverage.answered}/{body.coverage.asked}",
        body.since,
    )
