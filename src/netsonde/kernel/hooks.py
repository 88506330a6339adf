"""Which hook counts: tried in order by attaching, never guessed from a version.

Each hook that could not be used leaves its reason; the first that works is the path.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from netsonde.kernel.devices import Device
from netsonde.kernel.netfilter import NetfilterPath
from netsonde.kernel.packet_path import PacketPath
from netsonde.kernel.path import CountingPath, Encapsulated
from netsonde.kernel.pins import Pins, remove_all
from netsonde.kernel.tc import ClsactPath, TcxPath, remove_filters
from netsonde.model.errors import BadField, Busy, NetsondeError, UnsupportedByKernel

AUTO = "auto"
GONE_S = 2.0
"""Seconds that a hook has to come free of a monitor that ended, or of pins that were removed: the
kernel lets go of them when it comes to it."""
_LOOK_S = 0.01


class Opener(Protocol):
    """How a hook's path is made."""

    def __call__(
        self,
        *,
        hash_key: Sequence[int],
        lg_buckets: int,
        encapsulated: Encapsulated = Encapsulated.OUTER,
        pins: Pins | None = None,
    ) -> CountingPath:
        """Load it, or take over what is pinned; raises UnsupportedByKernel."""


def _packet_path(
    *,
    hash_key: Sequence[int],
    lg_buckets: int,
    encapsulated: Encapsulated = Encapsulated.OUTER,
    pins: Pins | None = None,
) -> CountingPath:
    """A packet socket ends with its process: there is nothing to pin."""
    return PacketPath(hash_key=hash_key, lg_buckets=lg_buckets, encapsulated=encapsulated)


HOOKS: dict[str, Opener] = {
    "netfilter": NetfilterPath,
    "tcx": TcxPath,
    "clsact": ClsactPath,
    "afpacket": _packet_path,
}
"""Name -> how to load it, best first."""


DEVICE_HOOKS: dict[str, type[TcxPath | ClsactPath | PacketPath]] = {
    "tcx": TcxPath,
    "clsact": ClsactPath,
    "afpacket": PacketPath,
}
"""Those of HOOKS that can count all that passes one device, best first."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A path that counts, and why those tried before it do not."""

    path: CountingPath
    refused: dict[str, str]
    """Hook -> reason, in the order they were tried."""
    claim: socket.socket
    """Held as long as the path: one monitor counts in a network namespace."""
    stale_filters: int
    """clsact filters of a dead monitor that were found and removed."""
    unpinned: int = 0
    """Loads that were pinned for this network namespace, could not be used and were removed."""


def open_path(
    choice: str,
    *,
    hash_key: Sequence[int],
    lg_buckets: int,
    encapsulated: Encapsulated = Encapsulated.OUTER,
    pins: Pins | None = None,
) -> Opened:
    """Load and attach the chosen hook, or with `auto` the first that this host supports.

    What `pins` holds for this network namespace is tried first and taken over if it fits; if not,
    it is removed. Raises BadField for an unknown name, Busy when another monitor counts in this
    network namespace, and UnsupportedByKernel with every reason when nothing works.
    """
    if choice != AUTO and choice not in HOOKS:
        raise BadField("hook", choice, ", ".join([AUTO, *HOOKS]))
    claim = claim_namespace()
    kept = pins.hooks() if pins else []
    stale = 0 if ClsactPath.hook in kept else _remove_stale_filters()
    refused: dict[str, str] = {}
    for name in sorted(HOOKS, key=lambda name: name not in kept) if choice == AUTO else [choice]:
        try:
            path = HOOKS[name](
                hash_key=hash_key, lg_buckets=lg_buckets, encapsulated=encapsulated, pins=pins
            )
            try:
                _attach(path)
            except BaseException:
                path.close()
                raise
        except (NetsondeError, OSError) as error:
            refused[name] = str(error)
            continue
        if pins and path.notebook is None:
            pins.clear()
        if path.hook != ClsactPath.hook and ClsactPath.hook in kept:
            stale = _remove_stale_filters()
        return Opened(path, refused, claim, stale, pins.removed if pins else 0)
    claim.close()
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    raise UnsupportedByKernel(f"no hook can count here: {reasons}")


def _attach(path: CountingPath) -> None:
    """Attach, and wait for a hook that is not free yet; we hold the claim, so no living monitor has
    it. Raises as `CountingPath.attach`."""
    until_s = time.monotonic() + GONE_S
    while True:
        try:
            path.attach()
        except Busy:
            if time.monotonic() >= until_s:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def open_device(
    choice: str, device: Device, *, hash_key: Sequence[int], lg_buckets: int
) -> CountingPath:
    """Count all that passes a device, in and out, whosever it is, until the path is closed.

    `choice` is the host's own hook: one on devices is used, with any other the first that works.
    For a monitor that holds the claim of `open_path`: the filters of a dead one are gone by then.
    Packets in tunnels are counted as they pass the device, by their outermost header. Raises
    UnsupportedByKernel with every reason when nothing works.
    """
    refused: dict[str, str] = {}
    for name in [choice] if choice in DEVICE_HOOKS else DEVICE_HOOKS:
        try:
            path = DEVICE_HOOKS[name](hash_key=hash_key, lg_buckets=lg_buckets, device=device)
            try:
                path.attach()
            except BaseException:
                path.close()
                raise
        except (NetsondeError, OSError) as error:
            refused[name] = str(error)
            continue
        return path
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    raise UnsupportedByKernel(f"device {device.name} cannot be viewed here: {reasons}")


def unpin(directory: Path) -> int:
    """Remove all that ended monitors left counting; gives how many loads that were.

    That is every load in the directory, and clsact filters of this network namespace. Raises Busy
    when a monitor counts here, OSError when it may not be removed.
    """
    with claim_namespace():
        _remove_stale_filters()
        return remove_all(directory)


def namespace_is_claimed() -> bool:
    """Tell whether a monitor counts in this network namespace."""
    try:
        claim_namespace().close()
    except Busy:
        return True
    return False


def _remove_stale_filters() -> int:
    """Remove what a killed monitor left on devices; none is alive once we hold the claim."""
    try:
        return remove_filters(index for index, _ in socket.if_nameindex())
    except (OSError, UnsupportedByKernel):
        return 0  # without the right to remove filters there is none to put them either


def claim_namespace() -> socket.socket:
    """Bind a name that a network namespace holds once, and that dies with its process.

    Abstract unix sockets belong to a network namespace (unix(7)), so this needs no file and leaves
    nothing behind after `kill -9`. Raises Busy when a monitor counts here.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind("\0netsonde-monitor")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            raise Busy("another netsonde monitor counts in this network namespace") from None
        raise
    return claim
