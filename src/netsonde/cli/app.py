"""The commands that ask an agent: each read when it is needed, errors told in sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from netsonde.cli import exits, wording
from netsonde.model.errors import NetsondeError

app = App(
    name="netsonde",
    help="End-host based network measurement that certifies its own error.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
    version=lambda: version("netsonde"),
)
_HELP = {"-h", "--help", "--version"}

app.command("netsonde.cli.ask:app", name="ask")
app.command("netsonde.cli.task:app", name="task")
app.command("netsonde.cli.events:events", name="events")
app.command("netsonde.cli.detector:app", name="detector")
app.command("netsonde.cli.webhook:app", name="webhook")
app.command("netsonde.cli.host:host", name="host")
app.command("netsonde.cli.completion:completion", name="completion")


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit status, and says on stderr what was wrong."""
    try:
        status = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
        if isinstance(status, int):
            return status
        # A group without a command prints its help as well, but nothing was done.
        return exits.OK if _HELP & set(arguments) else exits.WRONG
    except CycloptsError as error:
        said = wording.of_arguments(error)
        status = exits.WRONG
    except NetsondeError as error:
        said, status = wording.of_failure(error, _chain(arguments))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    sys.stderr.write(wording.told(_chain(arguments), said, status, app))
    return status


def _chain(arguments: Sequence[str]) -> tuple[str, ...]:
    chain, _, _ = app.parse_commands(list(arguments))
    return chain
