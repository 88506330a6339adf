"""The console script `netsonde-agent`: says what shall not be loaded, then loads the rest.

An agent prints no colours, so rich and pygments, which structlog loads where it finds
them, are passed over: 4 MB. That is of this process alone, so nothing else may import this module.
"""

from __future__ import annotations

from netsonde.daemon.starting import loading


def main() -> None:
    """Run the agent; see `netsonde.agent.main`."""
    with loading(without=("pygments", "rich")):
        from netsonde.agent.main import main as run  # noqa: PLC0415 # not before
    run()


if __name__ == "__main__":
    main()
