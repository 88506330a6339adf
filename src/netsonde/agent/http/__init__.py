"""The agent's HTTP face: the prototype's messages on `POST /`, written onto the agent's service.

`body` reads fields, `replies` writes text and headers, `messages` joins both to the service, `app`
is the routes and `server` the process's own uvicorn. No decisions about measurement live here.
"""
