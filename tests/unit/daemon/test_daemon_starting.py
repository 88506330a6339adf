"""What daemons do without, and that they do with all the rest."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

import netsonde
from netsonde.daemon.starting import loading

STORY = """
import sys
from netsonde.{room} import daemon
sys.argv[1:] = ["--no-such-option"]
try:
    daemon.main()
except SystemExit:
    pass
print(*sys.modules, sep=",")
"""


@pytest.mark.parametrize(
    ("room", "loaded", "absent"),
    [
        ("agent", {"litestar"}, {"httpx", "pygments", "rich", "textual"}),
        (
            "monitor",
            {"asyncio", "numpy"},
            {
                *("ssl", "_ssl", "hashlib", "_hashlib", "rich", "pyroute2"),
                *("importlib.metadata", "importlib.resources", "email", "zipfile", "tempfile"),
            },
        ),
    ],
)
def test_a_daemon_loads_no_more_than_it_uses(room: str, loaded: set[str], absent: set[str]) -> None:
    story = STORY.format(room=room)
    done = subprocess.run([sys.executable, "-c", story], check=True, capture_output=True, text=True)
    modules = set(done.stdout.strip().split(","))
    assert loaded <= modules
    assert not absent & modules


def test_what_was_passed_over_may_be_loaded_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ImportError), loading(without=("colorsys",)):
        import_module("colorsys")
    assert import_module("colorsys")


def test_what_is_loaded_already_stays() -> None:
    with loading(without=("subprocess",)):
        assert import_module("subprocess") is subprocess


def test_the_release_is_what_was_installed() -> None:
    assert netsonde.__version__ == version("netsonde")
