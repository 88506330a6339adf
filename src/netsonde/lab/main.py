"""`netsonde lab`: builds, shows, drives and removes the lab, for root and for ordinary users.

Exit status: 0 fine, 1 a ping was lost, 2 the command could not be carried out (a sentence on
stderr says why); `exec` gives the status of its command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import App, Parameter

from netsonde.command import reading
from netsonde.command.reading import Whole
from netsonde.lab import daemons, execute, ping, state, status, world
from netsonde.lab.errors import LabError, OptionError
from netsonde.lab.rate import Rate
from netsonde.lab.shell import Shell
from netsonde.lab.topology import Topology

app = App(
    name="netsonde lab",
    help="A network of hosts on this machine, with real traffic.",
    version_flags=[],
)


@app.command
def up(
    *,
    depth: Whole = 2,
    fanout: Whole = 3,
    rate: str | None = None,
    hook: str = "auto",
    devices: str = "",
    daemons: bool = True,
) -> None:
    """Build the lab: a tree of bridges, fanout ** depth hosts, a monitor and an agent on each.

    h1 is the manager, outside the monitored network; h2 is the root of the overlay.

    Parameters
    ----------
    depth
        Levels of bridges.
    fanout
        Links below each bridge.
    rate
        Rate of each host's link in both directions, such as 100mbit; unshaped without it.
    hook
        Where the monitors count: auto, or a name that `netsonde monitor --hook` knows.
    devices
        Devices of its host that each monitor views as well, such as eth0, with commas between.
    daemons
        Start monitor and agent on every host but h1.
    """
    topology = Topology(depth, fanout)
    link_rate = Rate.parse(rate) if rate is not None else None
    started_mono_s = time.monotonic()
    from netsonde.lab import lifecycle  # noqa: PLC0415  loading netlink costs `exec` 0.2 s

    entered = world.ensure()
    with state.exclusive():
        if lab := state.load():
            count = len(lab.topology.hosts)
            raise LabError(
                f"the lab is up already ({count} hosts); 'netsonde lab down' takes it down"
            )
        if state.leftovers():
            print("removing what an earlier lab left behind", flush=True)
        try:
            viewed = [name for name in devices.split(",") if name]
            lifecycle.build(topology, link_rate, hook, devices=viewed, with_daemons=daemons)
        except BaseException:
            entered.end()
            raise
    took_s = time.monotonic() - started_mono_s
    print(f"the lab is up: h1 to {topology.hosts[-1].name}, {took_s:.1f} s")


@app.command
def down() -> None:
    """End every process of the lab and remove its network; leaves nothing behind."""
    from netsonde.lab import lifecycle  # noqa: PLC0415  loading netlink costs `exec` 0.2 s

    entered = world.join()
    if entered is None:
        print("the lab is not up")
        return
    with state.exclusive():
        was_up = state.leftovers()
        if was_up:
            lifecycle.remove()
    entered.end()
    print("the lab is down" if was_up else "the lab is not up")


@app.command(name="exec")
def exec_(host: str, *command: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Run a command on a host: netsonde lab exec h5 -- ip address.

    Parameters
    ----------
    host
        Name of the host, such as h5.
    command
        The command and its arguments; its exit status becomes this command's.
    """
    found = state.require().topology.host(host)
    if not command:
        raise LabError(f"what is {host} to run? such as: netsonde lab exec {host} -- ip address")
    execute.become(found, command)


@app.command
def pingall(*, count: Whole = 1) -> int:
    """Let every host ping every other host; exit status 1 when a reply is missing.

    Parameters
    ----------
    count
        Echo requests of each host to each other host.
    """
    if not 1 <= count <= 1000:
        raise OptionError("--count", count, "1 to 1000")
    return 0 if ping.ping_all(state.require().topology.hosts, count) else 1


@app.command
def shell() -> None:
    """Open a prompt for commands on hosts; 'help' there lists them."""
    lab = state.require()
    hosts = lab.topology.hosts
    commands = {
        "pingall": lambda: ping.ping_all(hosts, 1),
        "status": lambda: status.print_table(lab),
    }
    Shell(lab.topology, commands).run()


@app.command(name="status")
def status_(*, json: bool = False) -> None:
    """Show hosts, addresses, the overlay, and which daemons run.

    Parameters
    ----------
    json
        Print one JSON object, for programs.
    """
    lab = state.require()
    if json:
        print(status.as_json(lab))
    else:
        status.print_table(lab)


@app.command
def restart(host: str, daemon: Literal["monitor", "agent"] | None = None) -> None:
    """Start a host's daemons again, whether they run or not.

    Parameters
    ----------
    host
        Name of the host, such as h5.
    daemon
        Only this one.
    """
    state.require()
    with state.exclusive():
        lab = state.require()
        found = lab.topology.host(host)
        if found not in lab.topology.monitored:
            raise LabError(f"{host} is the manager and runs no daemons")
        for name in [daemon] if daemon else daemons.DAEMONS:
            daemons.stop(found, name)
            deadline = daemons.deadline_mono_s(1)
            daemons.start(
                [found],
                name,
                lab.hook,
                devices=lab.devices,
                topology=lab.topology,
                deadline_mono_s=deadline,
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its status."""
    try:
        sys.exit(reading.run(app, sys.argv[1:] if argv is None else argv))
    except (LabError, OSError) as error:
        print(f"netsonde lab: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
