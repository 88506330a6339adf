"""Is anybody scanning the ports of h5 right now?

Watches how many different ports were asked for within the last second. A jump of more than 20
between two looks is a scan; then the counter of (source, port) tells who it was.
"""

import ast
import collections
import json
import sys
import time

import requests

AGENT = "http://10.0.0.5:8000"


def ask(**message: object) -> str:
    """Send one message and give the answer's text."""
    reply = requests.post(AGENT, data=message)
    reply.raise_for_status()
    return reply.text


sketch = int(ask(type="config sketch", interface="INPUT"))
for key_type in ("src_dport", "dport"):
    ask(type="config sketch counter", sketch_id=sketch, counter_key_type=key_type, increment="pkt")
print(f"watching {AGENT}, sketch {sketch}", file=sys.stderr, flush=True)


def ports_now() -> int:
    """Number of different ports asked for within the last second."""
    return int(
        ask(
            type="query sketch",
            sketch_id=sketch,
            counter_key_type="dport",
            counter_key="real_time_key_num",
        )
    )


before, ports = 0, ports_now()
while True:
    time.sleep(0.3)
    before, ports = ports, ports_now()
    if ports - before <= 20:
        continue
    print("portscan detected.", flush=True)
    # It may still be going on: ask who it was once it brings no new ports.
    while ports > before:
        time.sleep(0.1)
        before, ports = ports, ports_now()
    now = ask(type="query real time counter", sketch_id=sketch, counter_key_type="src_dport")
    sources = collections.Counter(key.split(",")[0] for key in ast.literal_eval(now))
    print(json.dumps(sources, sort_keys=True, indent=4), flush=True)
