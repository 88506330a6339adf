"""The agent's HTTP face: the prototype's messages on `POST /`, written onto the agent's service.

A request passes `accept` (who has a place), `protocol` (how much of it is read), `front` (is it of
this host, may it begin now: `browsers`, `budget`) and then the routes of `app`. `body` and `query`
read fields, `replies` writes text and headers, `messages` joins both to the service; `server` is
the process's own uvicorn. No decisions about measurement live here.
"""
