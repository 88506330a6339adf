"""The agent's HTTP face: the prototype's messages on `POST /`, written onto the agent's service."""
