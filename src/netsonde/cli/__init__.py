"""The `netsonde` command: asks agents by the public client, and finds `netsonde-<command>`, each in
a room of its own.

May import `client`, `wire` and `model`; what is not needed to read arguments is imported when a
command runs, so that help and errors come at once. Test: `tests/unit/cli/`.
"""
