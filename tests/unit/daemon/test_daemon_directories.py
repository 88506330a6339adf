"""Who gets a directory: its owner changes by descriptor, and never of what others could place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netsonde.agent import main as agent
from netsonde.agent.state import State, StateFile
from netsonde.daemon.directories import prepared
from netsonde.daemon.rights import Account, own
from netsonde.model.errors import Unavailable
from netsonde.monitor.keep import Kept, KeptFile, beside

NOBODY = Account(65534, 65534)
DAEMON = Account(65526, 65526)
OTHER = Account(65000, 65000)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")


def owner_of(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def give(path: Path, to: Account) -> None:
    os.chown(path, to.uid, to.gid, follow_symlinks=False)


def test_a_missing_one_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state"
    directory, taken = prepared(path, own(), ())
    with directory:
        assert not taken
        assert path.stat().st_mode & 0o777 == 0o700
        directory.replace("file", b"data")
    assert (path / "file").read_bytes() == b"data"
    prepared(path, own(), ())[0].close()


@as_root
def test_a_new_one_and_root_s_empty_one_are_given_to_a_user(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        prepared(tmp_path / name, DAEMON, ())[0].close()
        assert owner_of(tmp_path / name) == (DAEMON.uid, DAEMON.gid)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


@as_root
@pytest.mark.parametrize("holder", [Account(0, 0), OTHER])
def test_one_that_is_somebody_s_stays_so(tmp_path: Path, holder: Account) -> None:
    path = tmp_path / "state"
    path.mkdir()
    (path / "file").touch()
    give(path, holder)
    with pytest.raises(Unavailable, match=f"belongs to user {holder.uid}; chown -R 65526:65526"):
        prepared(path, DAEMON, ("file",))
    assert owner_of(path) == (holder.uid, holder.gid)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_one_that_others_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(Unavailable, match="other users may write"):
        prepared(path, own(), ())
    assert path.stat().st_mode & 0o777 == mode


@as_root
def test_nothing_is_given_away_where_others_could_have_placed_it(tmp_path: Path) -> None:
    for parent, mode, holder in (
        (tmp_path / "open", 0o777, Account(0, 0)),
        (tmp_path / "theirs", 0o755, OTHER),
        (tmp_path / "daemon's", 0o755, DAEMON),
    ):
        parent.mkdir()
        parent.chmod(mode)
        give(parent, holder)
        for path in (parent / "new", parent / "empty", parent / "nobody's"):
            if path.name != "new":
                path.mkdir()
            if path.name == "nobody's":
                give(path, NOBODY)
            with pytest.raises(Unavailable, match="others may write to"):
                prepared(path, DAEMON, ())
            assert owner_of(path)[0] in (0, NOBODY.uid)
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    prepared(sticky / "new", DAEMON, ())[0].close()
    assert owner_of(sticky / "new")[0] == DAEMON.uid


@as_root
def test_a_link_is_followed_only_to_what_is_the_owner_s_already(tmp_path: Path) -> None:
    for name, holder in (("its", DAEMON), ("empty", Account(0, 0)), ("nobody's", NOBODY)):
        (tmp_path / name).mkdir()
        give(tmp_path / name, holder)
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
    prepared(tmp_path / "to its", DAEMON, ())[0].close()  # as systemd's DynamicUser has it
    for name in ("empty", "nobody's"):
        with pytest.raises(Unavailable, match="belongs to user"):
            prepared(tmp_path / f"to {name}", DAEMON, ())
        assert owner_of(tmp_path / name)[0] != DAEMON.uid


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def _fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


@as_root
@pytest.mark.parametrize("made", [_link, _hard_link, _fifo])
@pytest.mark.parametrize("holder", [Account(0, 0), NOBODY])
def test_no_victim_is_given_away(
    tmp_path: Path, made: Callable[[Path, Path], None], holder: Account
) -> None:
    """The attack: `nobody` has its directory, and puts into it what a restart then gives it."""
    path, victim = tmp_path / "state", tmp_path / "victim"
    victim.write_bytes(b"root:*:")
    victim.chmod(0o600)
    give(victim, holder)
    path.mkdir()
    names = ("agent.json", "agent.x")
    for name in names:
        made(path / name, victim)
        if made is _fifo:
            give(path / name, NOBODY)
    give(path, NOBODY)
    directory, taken = prepared(path, DAEMON, names)
    directory.close()
    assert taken
    assert owner_of(victim) == (holder.uid, holder.gid)
    assert victim.stat().st_mode & 0o777 == 0o600
    for name in names:
        assert owner_of(path / name)[0] != DAEMON.uid


@as_root
@pytest.mark.parametrize(("former", "to"), [(NOBODY, DAEMON), (DAEMON, Account(990, 990))])
def test_what_was_a_former_user_s_is_taken_over_once(
    tmp_path: Path, former: Account, to: Account
) -> None:
    """From `nobody`, and from the id that a daemon had before the host had its account."""
    path = tmp_path / "state"
    path.mkdir(mode=0o755)
    for name in ("agent.json", "agent.bad", "else"):
        (path / name).write_bytes(b"kept")
        (path / name).chmod(0o644)
        give(path / name, former)
    give(path, former)
    for expected in (True, False):
        directory, taken = prepared(path, to, ("agent.json", "agent.bad", "agent.none"))
        directory.close()
        assert taken == expected
    for name in ("agent.json", "agent.bad"):
        assert owner_of(path / name) == (to.uid, to.gid)
        assert (path / name).stat().st_mode & 0o777 == 0o600
    assert owner_of(path / "else") == (former.uid, former.gid)
    assert owner_of(path) == (to.uid, to.gid)
    assert path.stat().st_mode & 0o777 == 0o700


def once_as_agent(path: Path, owner: Account) -> None:
    with agent.prepare(str(path), owner) as directory:
        as_user(owner)
        file = StateFile(directory)
        file.load()
        file.save(State())


def once_as_monitor(path: Path, owner: Account) -> None:
    directory = beside(path.with_suffix(".sock"), owner)
    assert directory is not None
    as_user(owner)
    file = KeptFile(directory)
    file.load()
    file.save(Kept(load_id=1, tasks=()))


def as_user(owner: Account) -> None:
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)


@as_root
@pytest.mark.parametrize("run", [once_as_agent, once_as_monitor])
def test_a_daemon_goes_on_as_whom_its_host_has_an_account_for(
    tmp_path: Path, run: Callable[[Path, Account], None]
) -> None:
    """Whatever the daemon before it left there, it can use, and write again."""
    path = tmp_path / "state.kept"
    for owner in (NOBODY, DAEMON, Account(990, 990), Account(990, 990)):
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                run(path, owner)
                status = 0
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert {owner_of(one)[0] for one in path.iterdir()} == {owner.uid}


@as_root
def test_nobody_s_directory_that_others_write_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o777)
    give(path, NOBODY)
    with pytest.raises(Unavailable, match="other users may write"):
        prepared(path, DAEMON, ())
    assert owner_of(path)[0] == NOBODY.uid
