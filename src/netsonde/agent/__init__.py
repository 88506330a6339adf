"""The unprivileged daemon: everything that listens to a network.

Composition only: HTTP in `http/`, the overlay's and the probes' sockets and clocks, the link to the
monitor. May import `overlay`, `probe`, `sketch`, `wire`, `model`. Test: `tests/unit/agent/`,
`tests/lab/`.
"""
