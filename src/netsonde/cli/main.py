"""`netsonde COMMAND`: daemons and tools run as `netsonde-COMMAND`, as with git; what asks, here.

The one idea: each process is a room of its own, with its own imports and privileges, so this
command knows their names and nothing else of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ASKING = {
    "ask": "count, top, keys, distinct, distribution, spreaders, change, series",
    "task": "what is counted for long: add, change, list, show, remove",
    "events": "alarms of the past, or as they happen",
    "detector": "standing questions that raise events: list, set, remove",
    "webhook": "where events are sent: list, set, remove",
    "host": "how the asked host is, and who is below it",
    "completion": "script that completes this command in bash, zsh or fish",
}
"""Commands that ask an agent, or need nobody."""
LIVE = {"top": "live: who talks most, alarms, coverage, own cost"}
ON_A_HOST = {
    "replay": "count a capture file; no root, no daemon",
    "doctor": "what this host supports, who is attached, a self-probe",
    "lab": "nine hosts in network namespaces that measure themselves",
    "monitor": "the privileged daemon: counts this host's packets in the kernel",
    "agent": "the unprivileged daemon: HTTP, overlay, active probes",
}
PROGRAMS = LIVE | ON_A_HOST
"""Commands that are programs of their own."""
COMMANDS = ASKING | PROGRAMS


def usage() -> str:
    """Give the text of `netsonde --help`."""
    width = max(len(name) for name in COMMANDS)

    def listed(commands: dict[str, str]) -> list[str]:
        return [f"  {name:<{width}}  {about}" for name, about in commands.items()]

    return "\n".join(
        [
            "usage: netsonde COMMAND [ARGUMENTS]",
            "",
            "End-host based network measurement that certifies its own error.",
            "",
            "ask an agent (--url, or NETSONDE_URL; default http://127.0.0.1:8000):",
            *listed(LIVE | ASKING),
            "",
            "on a host:",
            *listed(ON_A_HOST),
            "",
            "'netsonde COMMAND --help' tells more; 'netsonde --version' the version.",
            "",
        ]
    )


def program(command: str) -> Path:
    """Give the path of a command's program, beside this one."""
    return Path(sys.executable).parent / f"netsonde-{command}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script; a known program replaces this process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        sys.stdout.write(f"netsonde {version('netsonde')}\n")
        sys.exit(0)
    command = arguments[0]
    if command in ASKING:
        from netsonde.cli.app import run

        sys.exit(run(arguments))
    if command not in PROGRAMS:
        from netsonde.command import terminal
        from netsonde.command.wording import no_command

        terminal.guard()
        sys.stderr.write(no_command("netsonde", command, [*COMMANDS, "--help", "--version"]))
        sys.exit(2)
    path = program(command)
    try:
        os.execv(path, [str(path), *arguments[1:]])  # noqa: S606 - that is what it is for
    except OSError as error:
        sys.stderr.write(f"netsonde: cannot run {path}: {error.strerror}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
