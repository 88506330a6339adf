"""What a monitor does without, and that it says which release it is."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import netsonde

STORY = """
import sys
from netsonde.monitor import daemon
sys.argv[1:] = ["--no-such-option"]
try:
    daemon.main()
except SystemExit:
    pass
print("asyncio" in sys.modules, "numpy" in sys.modules)
print(*(name for name in NAMES if name in sys.modules))
"""
NAMES = (
    *("ssl", "_ssl", "hashlib", "_hashlib", "rich", "pyroute2"),
    *("importlib.metadata", "importlib.resources", "email", "zipfile", "tempfile"),
)


def test_a_monitor_loads_neither_tls_nor_a_terminal() -> None:
    story = STORY.replace("NAMES", repr(NAMES))
    done = subprocess.run([sys.executable, "-c", story], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["True True", ""]


def test_the_release_is_what_was_installed() -> None:
    assert netsonde.__version__ == version("netsonde")
