"""The place of one host in the tree: the path above it, its children and everyone they answer for.

The one idea: a child is told the whole path from the root, so a loop is seen by the first host
that would close it, with nothing known about the rest of the tree. Who may be the parent is for
this host to say: by its setting, and by whom it was told to leave.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from netsonde.model.address import canonical_host
from netsonde.model.coverage import MAX_DEPTH, MAX_MEMBERS
from netsonde.model.errors import BadField, Busy
from netsonde.wire.peer import MAX_REMOVED

MAX_CHILDREN = 64
"""Children of one agent; merging for more costs its host too much."""
MAX_LEFT = 16
"""Parents that were left and may not come back by themselves."""
NO_PARENT = "none"
"""Setting of an agent that takes no parent."""


class Tree:
    """What one host knows of the tree; survives connections, so a lost child is still a member."""

    def __init__(
        self,
        own: str,
        path: tuple[str, ...] = (),
        children: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        *,
        removed: tuple[str, ...] = (),
        left: tuple[str, ...] = (),
        only_parent: str = "",
    ) -> None:
        """`only_parent`: the one address that may become the parent, NO_PARENT, or any if empty;
        a former parent that may not be one is forgotten."""
        self.own = own
        self.only_parent = only_parent
        self.path = path if only_parent in ("", *path[-1:]) else ()
        """Addresses from the root to the parent; empty without a parent."""
        self.children = dict(children)
        """Child -> everyone it has reported at and below itself, the child first."""
        self.removed = removed
        """Who was removed from the subtree on purpose, latest last."""
        self.left = left
        """Former parents that this host was told to leave, latest last."""

    @property
    def parent(self) -> str | None:
        """The parent's address, connected or not."""
        return self.path[-1] if self.path else None

    def members(self) -> tuple[str, ...]:
        """List everyone at and below this host, up or down, each once."""
        below = (member for subtree in self.children.values() for member in subtree)
        return tuple(dict.fromkeys((self.own, *below)))

    def adopted_by(
        self, path: Sequence[str], parent_connected: bool, *, by_hand: bool = False
    ) -> None:
        """Take the last address of `path` as the parent.

        Raises BadField when the settings do not allow that parent, or when it would close a loop or
        make the tree too deep; Busy while another parent is connected, and for one that was left
        and does not come `by_hand`. A parent whose path has come to hold this host is let go.
        """
        if not 1 <= len(path) < MAX_DEPTH:
            raise BadField("path", len(path), f"1 to {MAX_DEPTH - 1} agents above")
        for name in path:
            canonical_host("path", name)
        self._check_allowed(path[-1])
        if self.own in path or not self.children.keys().isdisjoint(path):
            if self.parent == path[-1]:
                self.path = ()
            raise BadField("path", " > ".join(path), f"hosts that are not below {self.own}: a loop")
        if parent_connected and path[-1] != self.parent:
            raise Busy(f"{self.own} is a leaf agent of {self.parent} already")
        if path[-1] in self.left and not by_hand:
            raise Busy(f"{self.own} has left {path[-1]}; 'add leaf agent' there brings it back")
        self.left = tuple(name for name in self.left if name != path[-1])
        self.path = tuple(path)

    def leave(self) -> str:
        """Have no parent any more; gives the former one, and raises BadField without one."""
        if self.parent is None:
            raise BadField("type", "leave parent", f"an agent with a parent; {self.own} has none")
        parent = self.parent
        self.let_go()
        self.left = (*(name for name in self.left if name != parent), parent)[-MAX_LEFT:]
        return parent

    def let_go(self) -> None:
        """Have no parent any more, since that parent said so."""
        self.path = ()

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

    def learn(self, child: str, subtree: Sequence[str], removed: Collection[str] = ()) -> bool:
        """Take a child's report of its subtree; tells whether this host's own subtree changed.

        A member once known stays one: whom the child has forgotten is missing, not gone, unless
        the child says that it was removed. Raises BadField, and learns nothing, when a name is no
        address, or when there would be more than MAX_MEMBERS below this host.
        """
        known = self.children.get(child)
        if known is None:
            return False
        before = self.members()
        news = tuple(dict.fromkeys(subtree).keys() - set(known))
        others = sum(len(below) for name, below in self.children.items() if name != child)
        if others + len(known) + len(news) >= MAX_MEMBERS:
            raise BadField("subtree", len(news), f"at most {MAX_MEMBERS} members with {self.own}")
        for name in news:
            canonical_host("subtree", name)
        gone = set(removed).difference(subtree, (child,))
        kept = tuple(member for member in known if member not in gone)
        self.children[child] = kept + tuple(sorted(news))
        self._forget(before)
        return self.members() != before

    def remove_child(self, child: str) -> None:
        """Forget a child and everyone below it."""
        before = self.members()
        self.children.pop(child, None)
        self._forget(before)

    def _forget(self, before: Sequence[str]) -> None:
        """Remember who is not below this host any more, and who is again."""
        now = set(self.members())
        gone = [*self.removed, *(member for member in before if member not in now)]
        self.removed = tuple(dict.fromkeys(m for m in gone if m not in now))[-MAX_REMOVED:]

    def _check_allowed(self, parent: str) -> None:
        if self.only_parent == NO_PARENT:
            allowed = f"none: {self.own} is a root by its setting 'parent'"
            raise BadField("path", parent, allowed)
        if self.only_parent not in ("", parent):
            allowed = f"{self.only_parent} alone, by the setting 'parent' of {self.own}"
            raise BadField("path", parent, allowed)
