"""`netsonde top`: opens the view on an agent.

Exit status: 0 it was left; 2 wrong arguments, or no terminal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

from cyclopts import App, Parameter

from netsonde.cli import exits, wording
from netsonde.cli.top import words
from netsonde.cli.top.choice import Choice
from netsonde.cli.top.view import TopView
from netsonde.client import AsyncClient
from netsonde.command import reading
from netsonde.command.wording import told
from netsonde.model.asked import IncrementName
from netsonde.model.errors import BadField, NetsondeError
from netsonde.model.key import KeyType
from netsonde.model.task import Scope
from netsonde.model.window import TOTAL, Window

_EVERY_S = (0.5, 3600.0)

app = App(
    name="netsonde top",
    help="Show live who talks most, with bounds, alarms, coverage and own cost.",
    version=lambda: version("netsonde"),
    help_format="plaintext",
)


@app.default
def top(
    *filter_: Annotated[str, Parameter(name="FILTER")],
    url: str | None = None,
    by: str = "src",
    increment: IncrementName = "packets",
    window: str = "last 10s",
    scope: Scope | None = None,
    every: float = 1.0,
) -> int:
    """Show live who talks most.

    Parameters
    ----------
    filter_: which packets: words such as `tcp dport=443 src=10.0.0.0/8`.
    url: of the agent; default: NETSONDE_URL, else http://127.0.0.1:8000.
    by: fields that make the key: src, src_dst, dport, src/24 ...
    increment: what to add for each packet.
    window: real_time, or such as "last 60s".
    scope: host or subtree; default: everyone below an agent without a parent.
    every: seconds between questions.
    """
    if not _EVERY_S[0] <= every <= _EVERY_S[1]:
        raise BadField("every", every, f"{_EVERY_S[0]} to {_EVERY_S[1]:.0f} seconds")
    chosen = Window.parse(window)
    if chosen == TOTAL:
        raise BadField("window", window, "total of a task only; the view's key t chooses a task")
    choice = Choice(
        by=KeyType.parse(by, "by").name,
        increment=increment,
        window=chosen.text,
        filter=words.read(" ".join(filter_)),
        scope=scope,
    )
    for name, stream in (("stdin", sys.stdin), ("stderr", sys.__stderr__)):  # Textual paints there
        if stream is None or not stream.isatty():
            raise BadField(name, "not a terminal", "a terminal; programs use netsonde ask top")
    asyncio.run(_show(url, choice, every))
    return 0


async def _show(url: str | None, choice: Choice, every_s: float) -> None:
    async with AsyncClient(url) as client:
        await TopView(client, client.url, choice, every_s=every_s).run_async()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        sys.exit(reading.run(app, arguments))
    except NetsondeError as error:
        said, status = wording.of_failure(error, app)
        sys.stderr.write(told(app, (), said, wrong=status == exits.WRONG))
        sys.exit(status)


if __name__ == "__main__":
    main()
