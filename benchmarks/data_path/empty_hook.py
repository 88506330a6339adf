"""Attach a program that does nothing where netsonde's would be, until ended.

Run as a program inside the network namespace that is measured: `empty_hook OBJECT`.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

from netsonde.kernel import libbpf, syscall

_LOCAL_IN, _LOCAL_OUT = 1, 3
_KIND = (libbpf.BPF_PROG_TYPE_NETFILTER, libbpf.BPF_NETFILTER)
_PRIORITY = -11


def main() -> None:
    """Attach IPv4 and IPv6, in and out, say so, and wait for SIGTERM."""
    loading = libbpf.Object(Path(sys.argv[1]))
    programs = {"ns_local_in": _LOCAL_IN, "ns_local_out": _LOCAL_OUT}
    for name in programs:
        loading.use_program(name, *_KIND)
    loading.load()
    links = [
        syscall.netfilter_link(
            loading.program_fd(name), family=family, hook=hook, priority=_PRIORITY
        )
        for name, hook in programs.items()
        for family in (socket.AF_INET, socket.AF_INET6)
    ]
    print(f"{len(links)} links", flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
