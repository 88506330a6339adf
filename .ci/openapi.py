"""Generate the OpenAPI document of /v1 from the agent's handlers.

`make openapi` writes it; `--check` fails when the file in the repository is another.
"""

import sys
from pathlib import Path
from unittest.mock import Mock

import msgspec

from netsonde.agent.http import app, document

FILE = Path(__file__).resolve().parent.parent / "src/netsonde/dashboard/openapi.json"


def text() -> bytes:
    """Write the document; no handler is called, so any service will do."""
    described = msgspec.json.encode(document.generated(app.versioned(Mock())))
    return msgspec.json.format(described, indent=1) + b"\n"


def main() -> int:
    """Write or check; returns the exit status."""
    if "--check" not in sys.argv[1:]:
        FILE.write_bytes(text())
        return 0
    if FILE.read_bytes() == text():
        print("the OpenAPI document is the handlers'")
        return 0
    print(f"{FILE.name} is not what the handlers say: make openapi, and commit it")
    return 1


if __name__ == "__main__":
    sys.exit(main())
