"""Names of network devices, as a filter and a monitor's settings write them."""

from __future__ import annotations

from netsonde.model.errors import BadField

MAX_DEVICES = 8
"""Devices that one monitor views."""
MAX_NAME_BYTES = 15
"""IFNAMSIZ - 1 (linux/if.h)."""
SIDES = ("INPUT", "OUTPUT", "both")
"""What a filter may name instead: sides of the host itself."""
_NEVER = ("", ".", "..")
_A_NAME = (
    f"a device's name such as eth0, {MAX_NAME_BYTES} bytes at most, without '/', ':' and blanks"
)


def device_name(field: str, text: str) -> str:
    """Check that a device may be called so (dev_valid_name() of the kernel); raises BadField.

    A device whose name is one of SIDES, in any case, cannot be viewed.
    """
    bad = any(letter in "/:\0" or letter.isspace() for letter in text)
    if (
        bad
        or text in _NEVER
        or len(text.encode(errors="replace")) > MAX_NAME_BYTES
        or text.lower() in {side.lower() for side in SIDES}
    ):
        raise BadField(field, text, _A_NAME)
    return text


def side_or_device(field: str, text: str) -> str:
    """Check that a text is one of SIDES, or may be a device's name; raises BadField."""
    try:
        return text if text in SIDES else device_name(field, text)
    except BadField:
        raise BadField(field, text, f"{', '.join(SIDES)}, or {_A_NAME}") from None
