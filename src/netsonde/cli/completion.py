"""`netsonde completion`: a script that completes the command in a shell."""

from __future__ import annotations

import sys
from typing import Literal

from cyclopts import App

from netsonde.cli import exits


def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print the completion script of a shell.

    Args:
        shell: bash, zsh or fish; for bash add 'source <(netsonde completion bash)' to ~/.bashrc
    """
    from netsonde.cli.app import app
    from netsonde.cli.main import PROGRAMS

    whole = app
    for name, about in PROGRAMS.items():
        if name not in whole:
            whole.command(App(name=name, help=about))
    sys.stdout.write(whole.generate_completion(prog_name="netsonde", shell=shell))
    return exits.OK
