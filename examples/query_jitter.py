"""Delay, jitter and loss of the path from one host to another.

    python examples/query_jitter.py 10.0.0.5 10.0.0.9

Any agent may be asked; the probes are sent by the source.
"""

import sys

import requests

ROOT = "http://10.0.0.2:8000"

src, dst = sys.argv[1:3] if len(sys.argv) == 3 else ("10.0.0.5", "10.0.0.9")

for question, unit in (("query delay", "ms"), ("query jitter", "ms"), ("query loss", "of 1")):
    reply = requests.post(ROOT, data={"type": question, "src": src, "dst": dst})
    reply.raise_for_status()
    print(f"{question.removeprefix('query ')}: {reply.text} {unit}", flush=True)
