"""IP protocol names a filter understands, with their IANA numbers."""

from netsonde.model.errors import BadField

NUMBERS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "sctp": 132,
    "udplite": 136,
}


def number(field: str, value: str) -> int:
    """Read a protocol's name or number; raises BadField naming `field`."""
    known = NUMBERS.get(value.lower())
    if known is not None:
        return known
    if value.isascii() and value.isdigit() and int(value) <= 255:
        return int(value)
    raise BadField(field, value, f"a number from 0 to 255 or one of {', '.join(NUMBERS)}")


def name(number_: int) -> str:
    """Write a protocol as people do: its name, or its number where it has none here."""
    return next((name for name, known in NUMBERS.items() if known == number_), str(number_))
