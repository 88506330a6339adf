"""Whom does a suspicious host talk to?

    python examples/blacklist_traffic.py 10.0.0.6

Counts, on every host, the bytes that come from this source, by destination.
"""

import ast
import json
import sys
import time

import requests

ROOT = "http://10.0.0.2:8000"


def ask(**message: object) -> str:
    """Send one message and give the answer's text."""
    reply = requests.post(ROOT, data=message)
    reply.raise_for_status()
    return reply.text


suspect = sys.argv[1] if len(sys.argv) > 1 else "10.0.0.6"

sketch = int(ask(type="config sketch", interface="INPUT", src=suspect))
# A threshold of 0 makes every destination a heavy hitter: a list of all of them.
ask(
    type="config sketch counter",
    sketch_id=sketch,
    counter_key_type="dst",
    increment="bytes",
    hitter_threshold=0,
)
print(f"counting what {suspect} sends, sketch {sketch}", file=sys.stderr, flush=True)

while True:
    time.sleep(5)
    destinations = ask(type="query heavy hitters", sketch_id=sketch, counter_key_type="dst")
    print(json.dumps(ast.literal_eval(destinations), sort_keys=True, indent=4), flush=True)
