"""Commands on a host: in its network, with everything else as at the caller's prompt.

The one idea: the command *becomes* the process that was asked for it, so its input, output,
signals and exit status need no passing on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from netsonde.lab import namespace
from netsonde.lab.errors import LabError
from netsonde.lab.topology import ROOT_URL, Host


def environment() -> dict[str, str]:
    """Give our environment with our interpreter's directory first in PATH, root's tools last.

    So `python` on a host is the one that has the packages of the examples, and an ordinary user,
    who is root there, finds `nft` and `tc`. `netsonde` asks the root of the overlay.
    """
    path = os.environ.get("PATH", os.defpath)
    places = (str(Path(sys.executable).parent), path, "/usr/sbin", "/sbin")
    return {"NETSONDE_URL": ROOT_URL, **os.environ, "PATH": os.pathsep.join(places)}


def become(host: Host, argv: Sequence[str]) -> NoReturn:
    """Replace this process by a command on a host; raises LabError when it cannot be run."""
    variables = environment()
    namespace.enter(host.namespace)
    # The interpreter ignores these, and what is ignored stays so across exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), variables)  # noqa: S606
    except OSError as error:
        raise LabError(f"cannot run '{argv[0]}': {error.strerror}") from None
