"""Who sends h5 the most ICMP packets?

Sets up a sketch on h5 with one counter, then asks every five seconds for the sources that make up
more than a tenth of it.
"""

import ast
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


# A sketch says which packets count: here, ICMP that h5 receives. The answer is its id.
sketch = int(ask(type="config sketch", interface="INPUT", proto="icmp"))

# A counter says how they are told apart: here, packets by source address.
ask(type="config sketch counter", sketch_id=sketch, counter_key_type="src", increment="pkt")
print(f"counting on {AGENT}, sketch {sketch}", file=sys.stderr, flush=True)

while True:
    time.sleep(5)
    hitters = ask(type="query heavy hitters", sketch_id=sketch, counter_key_type="src")
    print(json.dumps(ast.literal_eval(hitters), sort_keys=True, indent=4))

    hits = ask(
        type="query sketch", sketch_id=sketch, counter_key_type="src", counter_key="10.0.0.6"
    )
    print(f"h6 hits: {hits}times", flush=True)
