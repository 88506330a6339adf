"""The privileged daemon: loads, attaches, rotates, folds, answers its agent on a unix socket.

May import `kernel`, `sketch`, `wire`, `model`. It never parses what a stranger sent and gives up
root once attached. Test: `tests/kernel/`, `tests/lab/`.
"""
