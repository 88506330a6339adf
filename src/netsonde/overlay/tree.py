"""The place of one host in the tree: the path above it, its children and everyone they answer for.

The one idea: a child is told the whole path from the root, so a loop is seen by the first host
that would close it, with nothing known about the rest of the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from netsonde.model.address import canonical_host
from netsonde.model.coverage import MAX_DEPTH, MAX_MEMBERS
from netsonde.model.errors import BadField, Busy

MAX_CHILDREN = 64
"""Children of one agent; merging for more costs its host too much."""


class Tree:
    """What one host knows of the tree; survives connections, so a lost child is still a member."""

    def __init__(
        self,
        own: str,
        path: tuple[str, ...] = (),
        children: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        self.own = own
        self.path = path
        """Addresses from the root to the parent; empty without a parent."""
        self.children = dict(children)
        """Child -> everyone it has reported at and below itself, the child first."""

    @property
    def parent(self) -> str | None:
        """The parent's address, connected or not."""
        return self.path[-1] if self.path else None

    def members(self) -> tuple[str, ...]:
        """List everyone at and below this host, up or down, each once."""
        below = (member for subtree in self.children.values() for member in subtree)
        return tuple(dict.fromkeys((self.own, *below)))

    def adopted_by(self, path: Sequence[str], parent_connected: bool) -> None:
        """Take the last address of `path` as the parent.

        Raises BadField when that would close a loop or make the tree too deep, and Busy while
        another parent is connected. A parent whose path has come to hold this host is let go.
        """
        if not 1 <= len(path) < MAX_DEPTH:
            raise BadField("path", len(path), f"1 to {MAX_DEPTH - 1} agents above")
        for name in path:
            canonical_host("path", name)
        if self.own in path or not self.children.keys().isdisjoint(path):
            if self.parent == path[-1]:
                self.path = ()
            raise BadField("path", " > ".join(path), f"hosts that are not below {self.own}: a loop")
        if parent_connected and path[-1] != self.parent:
            raise Busy(f"{self.own} is a leaf agent of {self.parent} already")
        self.path = tuple(path)

    def path_for_children(self) -> tuple[str, ...]:
        """Give the path to send to a child."""
        return (*self.path, self.own)

    def add_child(self, child: str) -> None:
        """Make room for a child that has not answered yet; raises BadField."""
        if child == self.own or child in self.path:
            raise BadField("agent_addr", child, f"an agent that is not at or above {self.own}")
        if len(self.children) >= MAX_CHILDREN:
            raise BadField("agent_addr", child, f"at most {MAX_CHILDREN} leaf agents")
        self.children[child] = (child,)

    def learn(self, child: str, subtree: Sequence[str]) -> bool:
        """Take a child's report of its subtree; tells whether this host's own subtree changed.

        A member once known stays one: whom the child has forgotten is missing, not gone. Raises
        BadField, and learns nothing, when a name is no address, or when there would be more than
        MAX_MEMBERS below this host.
        """
        known = self.children.get(child)
        if known is None:
            return False
        news = tuple(dict.fromkeys(subtree).keys() - set(known))
        others = sum(len(below) for name, below in self.children.items() if name != child)
        if others + len(known) + len(news) >= MAX_MEMBERS:
            raise BadField("subtree", len(news), f"at most {MAX_MEMBERS} members with {self.own}")
        for name in news:
            canonical_host("subtree", name)
        before = self.members()
        self.children[child] = known + tuple(sorted(news))
        return self.members() != before

    def remove_child(self, child: str) -> None:
        """Forget a child that never became one."""
        self.children.pop(child, None)
