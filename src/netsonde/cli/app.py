"""The commands that ask an agent: each read when it is needed, errors told in sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from netsonde.cli import exits, wording
from netsonde.command import terminal
from netsonde.command.reading import is_group
from netsonde.command.wording import chain_of, command_of, of_arguments, told
from netsonde.model.errors import NetsondeError

app = App(
    name="netsonde",
    help="End-host based network measurement that certifies its own error.",
    help_format="plaintext",
    help_epilogue=exits.HELP,
    version=lambda: version("netsonde"),
)

app.command("netsonde.cli.ask:app", name="ask")
app.command("netsonde.cli.task:app", name="task")
app.command(
    "netsonde.cli.events:events",
    name="events",
    help_epilogue="Such as: netsonde events --follow --detector port_scan",
)
app.command("netsonde.cli.detector:app", name="detector")
app.command("netsonde.cli.webhook:app", name="webhook")
app.command(
    "netsonde.cli.host:host",
    name="host",
    help_epilogue="Such as: netsonde host --url http://10.0.0.2:8000",
)
app.command(
    "netsonde.cli.completion:completion",
    name="completion",
    help_epilogue="Such as: netsonde completion bash",
)


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit status, and says on stderr what was wrong."""
    terminal.guard()
    try:
        status = app(
            arguments,
            console=terminal.console(),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
        if isinstance(status, int):
            return status
        return exits.WRONG if is_group(app, arguments) else exits.OK
    except CycloptsError as error:
        chain = chain_of(app, arguments)
        said, status = of_arguments(error, app, chain), exits.WRONG
    except NetsondeError as error:
        chain = chain_of(app, arguments)
        said, status = wording.of_failure(error, command_of(app, chain))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    sys.stderr.write(told(app, chain, said, wrong=status == exits.WRONG))
    return status
