"""A hook counts, or the monitor says which kernel it needs; told apart by a probe of its own."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest
from features import missing, require

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
    print("counts at", opened.path.hook)
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


@pytest.mark.parametrize(
    ("feature", "minimum"),
    [
        pytest.param("netfilter_link", (6, 4), id="netfilter"),
        pytest.param("tcx", (6, 6), id="tcx"),
        pytest.param(None, None, id="clsact"),
    ],
)
def test_a_hook_counts_or_names_its_kernel(
    request: pytest.FixtureRequest, feature: str | None, minimum: tuple[int, int] | None
) -> None:
    hook = request.node.callspec.id
    said = opened(hook)
    if feature is None or minimum is None or missing(feature) is None:
        assert said == f"counts at {hook}"
        return
    assert said.startswith(f"no hook can count here: {hook}: ")
    assert f"need Linux {minimum[0]}.{minimum[1]}" in said
    require(feature, minimum)
