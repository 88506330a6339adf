"""Prints every event of `GET /v1/events/stream` with its time: `listener URL`.

Run as a program in the network namespace of the host that detects. One JSON line for each event:
the wall clock in ns when it was read, and the event; the first line is `ready`.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from urllib.parse import urlsplit


def main() -> None:
    """Read the stream until it or this process ends."""
    connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc)
    connection.request("GET", "/v1/events/stream")
    reply = connection.getresponse()
    if reply.status != 200:
        sys.exit(f"{reply.status}: {reply.read(300)!r}")
    print("ready", flush=True)
    for line in reply:
        if line.startswith(b"data:"):
            event = json.loads(line[5:])
            print(json.dumps([time.time_ns(), event]), flush=True)


if __name__ == "__main__":
    main()
