"""The tree as seen by one host, as transcripts."""

import pytest

from netsonde.model.errors import BadField, Busy
from netsonde.overlay.tree import (
    MAX_CHILDREN,
    MAX_DEPTH,
    MAX_LEFT,
    MAX_MEMBERS,
    Tree,
)
from netsonde.wire.peer import MAX_REMOVED


def test_members_are_everyone_ever_reported_below() -> None:
    tree = Tree("10.0.0.2")
    tree.add_child("10.0.0.4")
    assert not tree.learn("10.0.0.4", ("10.0.0.4",))
    assert tree.learn("10.0.0.4", ("10.0.0.4", "10.0.0.5"))
    assert tree.members() == ("10.0.0.2", "10.0.0.4", "10.0.0.5")
    assert not tree.learn("10.0.0.4", ("10.0.0.4",))
    assert tree.members() == ("10.0.0.2", "10.0.0.4", "10.0.0.5")


def many(count: int, net: int = 10) -> list[str]:
    return [f"{net}.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1)]


def test_an_endless_report_is_refused_by_its_limit() -> None:
    """Also one that grows a little each time, and several that would together."""
    tree = Tree("10.0.0.0")
    for child in ("11.0.0.1", "12.0.0.1"):
        tree.add_child(child)
    assert not tree.learn("10.0.0.9", ("10.0.0.9",))
    half = MAX_MEMBERS // 2
    assert tree.learn("11.0.0.1", many(half, 11))
    for child, net in (("12.0.0.1", 12), ("11.0.0.1", 11)):
        before = tree.members()
        with pytest.raises(BadField, match=f"at most {MAX_MEMBERS}"):
            tree.learn(child, many(MAX_MEMBERS, net))
        assert tree.members() == before
    assert tree.learn("12.0.0.1", many(half - 1, 12))
    assert len(tree.members()) == MAX_MEMBERS
    with pytest.raises(BadField):
        tree.learn("12.0.0.1", many(half, 12))


@pytest.mark.parametrize(
    "name", ["x" * 45, "10.0.0.07", "2001:DB8::1", "fe80::1%eth0", "\x1b[2J", "", "224.0.0.1"]
)
def test_a_name_that_is_no_address_is_learned_from_nobody(name: str) -> None:
    tree = Tree("10.0.0.2")
    tree.add_child("10.0.0.4")
    with pytest.raises(BadField):
        tree.learn("10.0.0.4", ("10.0.0.4", "10.0.0.5", name))
    assert tree.members() == ("10.0.0.2", "10.0.0.4")
    with pytest.raises(BadField):
        tree.adopted_by((name, "10.0.0.1"), parent_connected=False)


def test_adoption_gives_the_path_from_the_root() -> None:
    tree = Tree("10.0.0.5")
    assert tree.parent is None
    tree.adopted_by(("10.0.0.2", "10.0.0.4"), parent_connected=False)
    assert tree.parent == "10.0.0.4"
    assert tree.path_for_children() == ("10.0.0.2", "10.0.0.4", "10.0.0.5")


def test_a_second_parent_waits_until_the_first_is_gone() -> None:
    tree = Tree("10.0.0.5")
    tree.adopted_by(("10.0.0.2",), parent_connected=False)
    with pytest.raises(Busy, match=r"leaf agent of 10\.0\.0\.2"):
        tree.adopted_by(("10.0.0.3",), parent_connected=True)
    tree.adopted_by(("10.0.0.2",), parent_connected=True)
    tree.adopted_by(("10.0.0.3",), parent_connected=False)
    assert tree.parent == "10.0.0.3"


def test_a_loop_is_refused_by_whoever_would_close_it() -> None:
    tree = Tree("10.0.0.2")
    with pytest.raises(BadField, match="loop"):
        tree.adopted_by(("10.0.0.2", "10.0.0.4"), parent_connected=False)
    tree.add_child("10.0.0.4")
    with pytest.raises(BadField, match="loop"):
        tree.adopted_by(("10.0.0.4",), parent_connected=False)
    assert tree.parent is None


def test_three_that_adopt_each_other_at_once_all_let_go() -> None:
    names = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    trees = {name: Tree(name) for name in names}
    below = dict(zip(names, names[1:] + names[:1], strict=True))
    for parent, child in below.items():
        trees[parent].add_child(child)
    sent = [(child, trees[parent].path_for_children()) for parent, child in below.items()]
    refused = 0
    while sent:
        child, path = sent.pop(0)
        try:
            trees[child].adopted_by(path, parent_connected=True)
        except (BadField, Busy):
            refused += 1
        else:
            sent.append((below[child], trees[child].path_for_children()))
    assert refused
    assert any(tree.parent is None for tree in trees.values())


def test_what_cannot_be_a_child_is_refused() -> None:
    tree = Tree("10.0.0.4", path=("10.0.0.2",))
    for name in ("10.0.0.4", "10.0.0.2"):
        with pytest.raises(BadField, match=name):
            tree.add_child(name)
    for number in range(MAX_CHILDREN):
        tree.add_child(f"10.1.0.{number}")
    with pytest.raises(BadField, match=str(MAX_CHILDREN)):
        tree.add_child("10.0.0.9")
    tree.remove_child("10.1.0.0")
    tree.add_child("10.0.0.9")


@pytest.mark.parametrize(
    "path", [(), ("not an address",), tuple(f"10.1.0.{n}" for n in range(MAX_DEPTH))]
)
def test_a_path_that_no_tree_has_is_refused(path: tuple[str, ...]) -> None:
    tree = Tree("10.0.0.4")
    with pytest.raises(BadField, match="path"):
        tree.adopted_by(path, parent_connected=False)
    assert tree.parent is None


def test_a_setting_says_who_may_be_the_parent() -> None:
    root = Tree("10.0.0.2", path=("10.9.9.9",), only_parent="none")
    assert root.parent is None
    with pytest.raises(BadField, match="root by its setting"):
        root.adopted_by(("10.0.0.1",), parent_connected=False)
    leaf = Tree("10.0.0.5", path=("10.0.0.4",), only_parent="10.0.0.4")
    assert leaf.parent == "10.0.0.4"
    with pytest.raises(BadField, match=r"10\.0\.0\.4 alone"):
        leaf.adopted_by(("10.0.0.1",), parent_connected=False)
    leaf.adopted_by(("10.0.0.2", "10.0.0.4"), parent_connected=False)
    assert leaf.parent == "10.0.0.4"


def test_a_parent_that_was_left_comes_back_by_hand_only() -> None:
    tree = Tree("10.0.0.5")
    with pytest.raises(BadField, match="has none"):
        tree.leave()
    tree.adopted_by(("10.0.0.4",), parent_connected=False)
    assert tree.leave() == "10.0.0.4"
    assert tree.parent is None
    with pytest.raises(Busy, match="has left"):
        tree.adopted_by(("10.0.0.4",), parent_connected=False)
    tree.adopted_by(("10.0.0.4",), parent_connected=False, by_hand=True)
    tree.let_go()
    tree.adopted_by(("10.0.0.4",), parent_connected=False)
    for number in range(MAX_LEFT + 1):
        tree.adopted_by((f"10.1.0.{number}",), parent_connected=False, by_hand=True)
        tree.leave()
    assert len(tree.left) == MAX_LEFT


def test_who_is_removed_on_purpose_is_forgotten_up_to_the_root() -> None:
    root, inner = Tree("10.0.0.2"), Tree("10.0.0.4")
    root.add_child("10.0.0.4")
    for name in ("10.0.0.5", "10.0.0.6"):
        inner.add_child(name)
    root.learn("10.0.0.4", inner.members(), inner.removed)
    inner.remove_child("10.0.0.5")
    assert inner.removed == ("10.0.0.5",)
    assert root.learn("10.0.0.4", inner.members(), inner.removed)
    assert root.members() == ("10.0.0.2", "10.0.0.4", "10.0.0.6")
    assert root.removed == ("10.0.0.5",)
    inner.add_child("10.0.0.5")
    inner.learn("10.0.0.5", ("10.0.0.5",))
    assert inner.removed == ()
    root.learn("10.0.0.4", inner.members(), inner.removed)
    assert "10.0.0.5" in root.members()
    assert root.removed == ()


def test_so_many_who_were_removed_are_remembered_the_latest() -> None:
    tree = Tree("10.0.0.0")
    for net in (11, 12):
        tree.add_child(f"{net}.0.0.1")
        assert tree.learn(f"{net}.0.0.1", many(MAX_REMOVED, net))
        tree.remove_child(f"{net}.0.0.1")
    assert len(tree.removed) == MAX_REMOVED
    assert {member.partition(".")[0] for member in tree.removed} == {"12"}
