"""The console script `netsonde-monitor`: says what shall not be loaded, then loads the rest.

A monitor speaks no TLS and prints no colours, so what would load OpenSSL and rich is passed over:
8 MB of the memory that a host gives for being measured. That is of this process alone, so nothing
else may import this module.
"""

from __future__ import annotations

from netsonde.daemon.starting import loading


def main() -> None:
    """Run the monitor; see `netsonde.monitor.main`."""
    with loading(without=("ssl", "rich")):
        from netsonde.monitor.main import main as run  # noqa: PLC0415 # not before
    run()


if __name__ == "__main__":
    main()
