"""`netsonde completion`: a script that completes the command in a shell."""

from __future__ import annotations

from typing import Literal

from netsonde.cli import exits
from netsonde.command import terminal

Shell = Literal["bash", "zsh", "fish"]

_AFTER: dict[Shell, str] = {
    "bash": "",
    # A file that zsh loads for `_netsonde` must also run what it defines; a sourced one must not.
    "zsh": """
if [[ "$funcstack[1]" == "_netsonde" ]]; then
  _cyclopts_netsonde "$@"
else
  compdef _cyclopts_netsonde netsonde
fi
""",
    # Files only where a path is taken.
    "fish": """
complete -c netsonde -f
complete -c netsonde -n '__fish_netsonde_using_command replay' -F
""",
}


def completion(shell: Shell) -> int:
    """Print the completion script of a shell.

    Args:
        shell: bash, zsh or fish; for bash add 'source <(netsonde completion bash)' to ~/.bashrc
    """
    from netsonde.cli.app import app
    from netsonde.cli.programs import added

    script = added(app).generate_completion(prog_name="netsonde", shell=shell)
    terminal.raw().write(script.rstrip("\n") + "\n" + _AFTER[shell])
    return exits.OK
