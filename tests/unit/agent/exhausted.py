"""An agent on a host that has nothing more to give: SIGUSR1 takes a resource from it, SIGUSR2 gives
it back. The first argument names the resource, such as NOFILE; the others are an agent's options.
"""

import resource
import signal
import sys
from pathlib import Path

from netsonde.agent import main


def least(name: str) -> int:
    """Give what it has by now, where that can be told."""
    if name != "AS":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(name: str, options: list[str]) -> None:
    """Run the agent."""
    name, at_once, _ = name.partition("!")
    what = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(what)
    signal.signal(signal.SIGUSR1, lambda *_: resource.setrlimit(what, (least(name), hard)))
    signal.signal(signal.SIGUSR2, lambda *_: resource.setrlimit(what, (soft, hard)))
    if at_once:
        signal.raise_signal(signal.SIGUSR1)
    main.main(options)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
