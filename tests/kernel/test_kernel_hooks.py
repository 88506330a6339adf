"""A hook counts, or the monitor says which kernel it needs; told apart by a probe of its own."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest
from features import HOOK_NEEDS, missing, require

from netsonde.kernel.hooks import AUTO, HOOKS

# In a network namespace of its own, where nothing else counts.
_OPEN = """
import sys
from netsonde.kernel.hooks import open_path
from netsonde.model.errors import UnsupportedByKernel
try:
    opened = open_path(sys.argv[1], hash_key=[int(sys.argv[2])] * 8, lg_buckets=4)
except UnsupportedByKernel as error:
    print(error)
else:
    print("counts at", opened.path.hook, "after", *opened.refused)
    opened.path.close()
"""


def opened(hook: str) -> str:
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", _OPEN, hook, str(secrets.randbits(64))],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_counts_or_names_its_kernel(hook: str) -> None:
    said, wanted = opened(hook), HOOK_NEEDS[hook]
    if wanted is None or missing(wanted[0]) is None:
        assert said == f"counts at {hook} after"
        return
    feature, minimum = wanted
    assert said.startswith(f"no hook can count here: {hook}: ")
    assert f"need Linux {minimum[0]}.{minimum[1]}" in said
    require(feature, minimum)


def test_the_first_hook_that_works_is_taken() -> None:
    lacking = [hook for hook in HOOKS if (wanted := HOOK_NEEDS[hook]) and missing(wanted[0])]
    first = next(hook for hook in HOOKS if hook not in lacking)
    tried = list(HOOKS)[: list(HOOKS).index(first)]
    assert opened(AUTO) == " ".join(["counts at", first, "after", *tried])


_AS_A_USER = """
import os
from netsonde.kernel.hooks import HOOKS
from netsonde.monitor.selfprobe import probe
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for hook in HOOKS:
    print(hook, probe(hook).reason)
"""


def test_an_ordinary_user_is_told_that_it_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AS_A_USER], check=True, capture_output=True, text=True
    )
    reasons = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for hook in ("netfilter", "tcx", "clsact"):
        assert reasons[hook].startswith("not root: needs CAP_NET_ADMIN")
    assert "not root" not in reasons["afpacket"]
