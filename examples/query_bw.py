"""How much can a TCP connection carry from h5 to h6? Asks the agent on h5, which tries it."""

import requests

AGENT = "http://10.0.0.5:8000"

reply = requests.post(AGENT, data={"type": "query bw", "src": "10.0.0.5", "dst": "10.0.0.6"})
reply.raise_for_status()
print(reply.text, "MBytes/s")
