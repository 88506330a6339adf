"""Classes of flows a filter may ask for, told from the TCP flags that a record keeps.

A scan opens many flows and uses none; a SYN flood opens and never confirms. What a record shows of
that is a hint, not a proof: a tick may end between a SYN and its ACK.
"""

from enum import Enum


class FlowClass(Enum):
    """Which flows of a tick pass."""

    ANY = "any"
    ATTEMPT = "attempt"
    """Looks like an attempt to open something. TCP with a SYN that is no reply; UDP and SCTP unless
    they go where replies go: from a service port (below 1024) to another, or from a port below
    32768 to one that clients are given."""
    HALF_OPEN = "half_open"
    """TCP with a SYN and without an ACK in the tick."""
    UNASKED = "unasked"
    """Looks like a reply: TCP with SYN and ACK and nothing else, or UDP that goes where replies
    go."""
    PROBE = "probe"
    """An attempt, or TCP with flags that no open connection sends alone: none, FIN, FIN+PSH+URG, or
    one bare ACK to a service port."""
