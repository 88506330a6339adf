"""netsonde: end-host based network measurement that certifies its own error.

Rooms, top to bottom; each may import only what stands below it (`pyproject.toml`, import-linter):

    cli | lab                   commands for people; the lab is free of everything else here
    agent | monitor | replay    processes: unprivileged daemon, privileged daemon, capture files
    overlay | probe | kernel    protocols as step functions; the loader of the kernel data path
    sketch | wire               certified tables and their algebra; how things are written down
    model                       what we talk about
"""

__version__ = "0.1.0"
"""As in `pyproject.toml`: reading it from what was installed would load 2 MB."""
