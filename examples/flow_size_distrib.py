"""How much does every host send to every other? The whole network, asked at its root, h2.

The root hands the sketch to all hosts; each counts what it receives, and the counts are added up
on their way back to the root.
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


sketch = int(ask(type="config sketch", interface="INPUT", proto="icmp"))
ask(type="config sketch counter", sketch_id=sketch, counter_key_type="src_dst", increment="bytes")
print(f"counting on every host, sketch {sketch}", file=sys.stderr, flush=True)

while True:
    time.sleep(5)
    flows = ask(type="query heavy hitters", sketch_id=sketch, counter_key_type="src_dst")
    print(json.dumps(ast.literal_eval(flows), sort_keys=True, indent=4))

    one = ask(
        type="query sketch",
        sketch_id=sketch,
        counter_key_type="src_dst",
        counter_key="10.0.0.6,10.0.0.5",
    )
    print(f"h6 sent h5: {one} bytes", flush=True)
