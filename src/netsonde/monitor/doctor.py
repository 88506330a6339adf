"""`netsonde doctor`: what this host supports, who is attached, proof that packets are seen.

Exit status: 0 when a hook can count here, 1 when none can.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads would forbid a user namespace

import msgspec
from cyclopts import App
from rich.console import Console
from rich.table import Table
from rich.text import Text

from netsonde.command import reading, terminal
from netsonde.kernel.attached import Attachment, attachments, kernel_release
from netsonde.kernel.hooks import HOOKS, namespace_is_claimed
from netsonde.kernel.pins import find
from netsonde.kernel.tables import missing_capabilities
from netsonde.model.errors import UnsupportedByKernel
from netsonde.model.text import json_text
from netsonde.monitor.selfprobe import Verdict, probe

app = App(
    name="netsonde doctor",
    help="Say what this host supports, who else is attached, and prove that packets are seen.",
    version=lambda: version("netsonde"),
    help_format="plaintext",
)


_NAMESPACES = {True: "this", False: "another", None: "not known"}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor found; `--json` prints it."""

    software: str
    kernel: str
    cpus: int
    root: bool
    missing_capabilities: list[str]
    monitor_counts_here: bool
    """Whether a monitor holds this network namespace."""
    hooks: list[Verdict]
    """In the order in which a monitor tries them."""
    chosen: str | None
    """The hook that `--hook auto` takes."""
    attached: list[dict[str, object]] | None
    """Programs on these hooks, None where only root may know."""
    attached_unknown: str | None
    pinned: list[str]
    """Directories of loads that count on when their monitor ends."""


def examine() -> Report:
    """Examine this host; takes about a second."""
    verdicts = [probe(name) for name in HOOKS]
    attached: list[Attachment] | None
    try:
        attached, unknown = attachments(), None
    except UnsupportedByKernel as error:
        attached, unknown = None, str(error)
    return Report(
        software=f"netsonde {version('netsonde')}",
        kernel=kernel_release(),
        cpus=os.cpu_count() or 0,
        root=os.geteuid() == 0,
        missing_capabilities=missing_capabilities(),
        monitor_counts_here=namespace_is_claimed(),
        hooks=verdicts,
        chosen=next((verdict.hook for verdict in verdicts if verdict.works), None),
        attached=None if attached is None else [_row(one) for one in attached],
        attached_unknown=unknown,
        pinned=_pinned(),
    )


def _pinned() -> list[str]:
    try:
        return [str(home) for home in find()]
    except PermissionError:
        return []  # then what is attached is unknown too, and said to be


def _row(one: Attachment) -> dict[str, object]:
    namespace = _NAMESPACES[one.here]
    return {
        "where": one.where,
        "order": one.order,
        "program": one.program,
        "ours": one.ours,
        "namespace": namespace,
    }


def show(report: Report, console: Console) -> None:
    """Print a report for people."""
    who = "root" if report.root else "not root"
    console.print(f"{report.software} · Linux {report.kernel} · {report.cpus} CPUs · {who}")
    if report.missing_capabilities:
        console.print(f"missing capabilities: {', '.join(report.missing_capabilities)}")
    counts = "a monitor counts here" if report.monitor_counts_here else "no monitor counts here"
    console.print(f"this network namespace: {counts}\n")
    hooks = Table("hook", "works", "self-probe", box=None, pad_edge=False)
    for verdict in report.hooks:
        mark = Text("yes", "green") if verdict.works else Text("no", "red")
        hooks.add_row(verdict.hook, mark, verdict.reason)
    console.print(hooks)
    needs = ", started as root or with CAP_NET_RAW" if report.missing_capabilities else ""
    takes = f"{report.chosen}{needs}" if report.chosen else "nothing, it cannot count here"
    console.print(f"\na monitor takes: {takes}\n")
    if report.attached is None:
        console.print(f"attached programs: {report.attached_unknown}")
    elif not report.attached:
        console.print("attached programs: none, neither ours nor anybody's")
    else:
        titles = ("attached at", "order", "program", "whose", "network namespace")
        programs = Table(*titles, box=None, pad_edge=False)
        for row in report.attached:
            whose = "netsonde" if row["ours"] else "somebody else's"
            told = (row["where"], row["order"], row["program"], whose, row["namespace"])
            programs.add_row(*map(str, told))
        console.print(programs)
    if report.pinned:
        console.print("\npinned, and so counting on when a monitor has ended:")
    for home in report.pinned:
        console.print(f"  {home}", soft_wrap=True)
    if report.pinned and not report.monitor_counts_here:
        console.print(
            "a monitor with that pin_dir takes it over;\n"
            "'netsonde monitor --unpin --pin-dir DIRECTORY' ends it"
        )


@app.default
def doctor(*, json: bool = False) -> int:
    """Examine this host.

    Parameters
    ----------
    json: print one JSON object.
    """
    report = examine()
    if json:
        sys.stdout.write(json_text(msgspec.json.encode(report)) + "\n")
    else:
        show(report, terminal.console(highlight=False))
    return 0 if report.chosen else 1


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script."""
    sys.exit(reading.run(app, sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    main()
