"""The whole service in about a minute: `make demo`.

Builds a lab of nine hosts, runs the examples on h1 while real packets cross the network, shows
what each prints, and takes the lab down again.
"""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parent
BIN = Path(sys.executable).parent
LAB = [str(BIN / "netsonde-lab")]
NEEDED = {"nc": "netcat-openbsd", "ping": "iputils-ping"}
PATIENCE_S = 30


class Failed(Exception):
    """The demo cannot go on; the message says what to do."""


def title(number: int, text: str) -> None:
    print(f"\n[{number}/5] {text}", flush=True)


def meaning(text: str) -> None:
    print(f"      => {text}", flush=True)


def show(lines: list[str]) -> None:
    for line in lines:
        print(f"      {line}")
    sys.stdout.flush()


def run(*command: str) -> str:
    """Run a command to its end and give what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Failed(f"'{' '.join(command)}' failed:\n{said}\n'netsonde lab status' tells more.")
    return done.stdout


@contextmanager
def example(name: str) -> Iterator["subprocess.Popen[str]"]:
    """Run an example on h1 beside us; it is counting when the block begins."""
    command = [*LAB, "exec", "h1", "--", "python", str(EXAMPLES / name)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            if "sketch" not in line:
                raise Failed(f"{name} could not set up its counter: {line}{process.stderr.read()}")
            yield process
        finally:
            process.terminate()


def until(process: "subprocess.Popen[str]", wanted: str) -> list[str]:
    """Give an example's lines up to one that contains `wanted`."""
    assert process.stdout is not None
    out = process.stdout.fileno()
    deadline, text = time.monotonic() + PATIENCE_S, ""
    while wanted not in text or not text.endswith("\n"):
        ready, _, _ = select.select([out], [], [], deadline - time.monotonic())
        new = os.read(out, 65536).decode() if ready else ""
        if not new:
            raise Failed(f"'{wanted}' did not come within {PATIENCE_S} s; got: {text!r}")
        text += new
    return text.splitlines()


def bandwidth() -> None:
    title(2, "query_bw.py: how much can TCP carry from h5 to h6?")
    show(run(*LAB, "exec", "h1", "--", "python", str(EXAMPLES / "query_bw.py")).splitlines())
    meaning("10^6 bytes per second of goodput, from a TCP transfer that stopped once it was sure.")


def pings() -> None:
    title(3, "heavy_hitter.py and flow_size_distrib.py, while every host pings each other once")
    with example("heavy_hitter.py") as hitters, example("flow_size_distrib.py") as flows:
        show(run(*LAB, "pingall").splitlines()[-1:])
        print("      heavy_hitter.py, asked of h5:")
        show(until(hitters, "h6 hits"))
        meaning("each of the eight others sent h5 one request and one reply: 2 packets, 1/8 each.")
        lines = until(flows, "h6 sent h5")
        print("      flow_size_distrib.py, asked of the root h2, who asked everybody:")
        show([*lines[:5], f"    ... {len(lines) - 3} pairs in all", *lines[-1:]])
        meaning("two pings of 84 bytes from every host to each monitored one: 168 bytes a pair.")


def scan() -> None:
    title(4, "portscan.py, while h6 knocks at 85 ports of h5 with netcat")
    with example("portscan.py") as watch:
        knock = [*LAB, "exec", "h6", "--", "nc", "-z", "10.0.0.5", "8008-8092"]
        subprocess.run(knock, timeout=60, check=False)  # every port is closed: nc says 1
        show(until(watch, "}"))
        meaning("10.0.0.6 asked for 85 ports within a second; 10.0.0.1 is us, asking the agent.")


def demo() -> None:
    missing = [package for tool, package in NEEDED.items() if not shutil.which(tool)]
    if missing:
        raise Failed(f"missing programs; run: apt-get install {' '.join(missing)}")
    title(1, "nine hosts: h1 is the manager; h2 to h9 each run a monitor and an agent, h2 the root")
    show(run(*LAB, "up").splitlines())
    try:
        bandwidth()
        pings()
        scan()
    finally:
        title(5, "taking the lab down")
        show(run(*LAB, "down").splitlines())
    print("\nDone. 'netsonde lab up' and 'netsonde lab shell' let you play; see README.md.")


def main() -> int:
    try:
        demo()
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
