"""Loading that fails: the next hook is tried, the reason is kept, and nothing is left attached."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from features import HOOK_NEEDS, missing, needs

from netsonde.kernel.hooks import AUTO, HOOKS

LG_BUCKETS = 4
OF_BPF = ("netfilter", "tcx", "clsact")
WORKING = [hook for hook in HOOKS if (wanted := HOOK_NEEDS[hook]) is None or not missing(wanted[0])]
# In a process and a network namespace of its own; address space is limited once all is imported.
OPEN = """
import json, resource, sys
from pathlib import Path
from netsonde.kernel.attached import attachments
from netsonde.kernel.hooks import namespace_is_claimed, open_path
from netsonde.model.errors import UnsupportedByKernel
hook, lg_buckets, room_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
import pyroute2, numpy, netsonde.kernel.devices
if room_bytes:
    taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + room_bytes,) * 2)
try:
    opened = open_path(hook, hash_key=[1] * 8, lg_buckets=lg_buckets)
except UnsupportedByKernel as error:
    try:
        ours = [one.where for one in attachments() if one.ours and one.here]
    except UnsupportedByKernel:
        ours = []
    left = {"claimed": namespace_is_claimed(), "filters": [at for at in ours if "lo" in at.split()]}
    print(json.dumps({"hook": None, "refused": {hook: str(error)}} | left))
else:
    print(json.dumps({"hook": opened.path.hook, "refused": opened.refused}))
    opened.path.close()
"""


@dataclass(frozen=True)
class Said:
    hook: str | None
    """What counts, None when nothing can."""
    refused: dict[str, str]
    claimed: bool = False
    filters: tuple[str, ...] | list[str] = ()


def opened(hook: str, *within: str, lg_buckets: int = LG_BUCKETS, room_bytes: int = 0) -> Said:
    """Open a path in a network namespace of its own, behind other commands."""
    argv = [sys.executable, "-c", OPEN, hook, str(lg_buckets), str(room_bytes)]
    done = subprocess.run(
        ["unshare", "--net", *within, *argv], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Said(**json.loads(done.stdout))


def first_of(hooks: list[str]) -> str:
    return next(hook for hook in WORKING if hook in hooks)


@pytest.mark.parametrize("capability", ["bpf", "perfmon", "net_admin"])
def test_without_a_capability_packet_sockets_count(capability: str) -> None:
    said = opened(AUTO, "setpriv", f"--bounding-set=-{capability}")
    assert said.hook == "afpacket"
    assert list(said.refused) == list(OF_BPF)
    assert all(f"needs CAP_{capability.upper()}" in reason for reason in said.refused.values())


def test_without_any_right_every_hook_tells_its_reason() -> None:
    said = opened(AUTO, "setpriv", "--bounding-set=-all")
    assert said.hook is None
    for hook in HOOKS:
        assert f"{hook}: " in said.refused[AUTO]
    assert "packet sockets need CAP_NET_RAW" in said.refused[AUTO]
    assert not said.claimed


def test_without_kernel_types_a_device_hook_counts() -> None:
    hidden = 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"'
    said = opened(AUTO, "unshare", "--mount", "sh", "-c", hidden)
    assert said.hook == first_of(["tcx", "clsact"])
    assert said.refused["netfilter"].startswith("BPF netfilter links need Linux 6.4")


def too_large() -> int:
    """Log2 of so many buckets that the machine has not the memory for them."""
    total_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return (total_kb * 1024 // 256).bit_length()


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param("netfilter", marks=needs("netfilter_link", minimum=(6, 4))),
        pytest.param("tcx", marks=needs("tcx", minimum=(6, 6))),
        "clsact",
    ],
)
def test_maps_that_the_kernel_refuses_are_told(hook: str) -> None:
    said = opened(hook, lg_buckets=too_large())
    assert said.hook is None
    # Before Linux 5.11 arrays are below 4 GiB, memory or not.
    assert re.search(
        "the kernel refused the programs: (Cannot allocate memory|Argument list too long)",
        said.refused[hook],
    )
    assert not said.claimed
    assert not said.filters


@pytest.mark.parametrize("hook", [AUTO, *WORKING])
def test_no_memory_for_the_table_is_a_reason_and_no_crash(hook: str) -> None:
    said = opened(hook, lg_buckets=16, room_bytes=96 << 20)
    assert said.hook is None
    for name in HOOKS if hook == AUTO else [hook]:
        assert f"{name}: " in said.refused[hook]
    assert "memory" in said.refused[hook]
    assert not said.claimed
    assert not said.filters
