"""Debian's kernels, fetched by apt into a cache and unpacked there; never installed.

Each suite gets an apt state of its own below the cache, so the machine's lists, pins and installed
packages are neither read nor changed. Only the mirror's address is taken from the machine's own
sources. Versions rotate: what a kernel's meta package depends on today is what is fetched.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netsonde/kernels"
SUITES = {
    "5.10": "bullseye",
    "6.1": "bookworm",
    "6.12": "trixie",
    "newest": "trixie-backports",
}
"""What a kernel is called here, and the suite whose meta package leads to it."""
_META_PACKAGE = "linux-image-cloud-amd64"
# Since 6.18 the image package is a shell over a kernel (linux-binary) and its modules.
_PARTS = re.compile(r"linux-(base|image|binary|modules)-\d\S*-cloud-amd64")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_STRICTLY = [
    f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces")
]


class Unfetched(Exception):
    """A kernel cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Kernel:
    """A kernel on disk."""

    name: str
    """Its name in `SUITES`."""
    release: str
    """What `uname -r` says when it runs."""
    root: Path
    """Folder that its packages are unpacked in."""

    @property
    def modules(self) -> Path:
        """Folder of its modules."""
        return next(self.root.glob(f"**/lib/modules/{self.release}"))

    @property
    def image(self) -> Path:
        """The bootable file."""
        return next(path for path in self.root.glob("**/vmlinuz*") if path.is_file())


def fetch(name: str) -> Kernel:
    """Give a kernel, downloaded if the suite has a newer one than the cache; raises Unfetched."""
    if name not in SUITES:
        raise Unfetched(f"kernel is {name!r}; allowed: {', '.join(SUITES)}")
    state = CACHE / name
    with _alone(state):
        options = _apt_options(name, state)
        try:
            _run("apt-get", *options, "update", "-q")
            walk = _run("apt-cache", *options, "depends", "--recurse", *_STRICTLY, _META_PACKAGE)
            packages = sorted({line for line in walk.splitlines() if _PARTS.fullmatch(line)})
            return _unpacked(name, state, packages, options)
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip() or error.stdout.strip()).splitlines() or [
                "no reason given"
            ]
            raise Unfetched(
                f"kernel {name} cannot be fetched from suite {SUITES[name]}: {said[-1]}"
            ) from None


def _unpacked(name: str, state: Path, packages: list[str], options: list[str]) -> Kernel:
    if not packages:
        raise Unfetched(f"suite {SUITES[name]} offers no kernel behind {_META_PACKAGE}")
    root = state / "root"
    wanted, have = "\n".join(packages), state / "unpacked"
    if not have.exists() or have.read_text() != wanted:
        have.unlink(missing_ok=True)
        for old in (root, state / "debs"):
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir()
        _run("apt-get", *options, "download", "-q", *packages, cwd=state / "debs")
        for deb in (state / "debs").iterdir():
            _run("dpkg-deb", "-x", str(deb), str(root))
        shutil.rmtree(state / "debs")
        release = next(root.glob("**/lib/modules/*")).name
        # In the guest, under emulation, this would take a quarter of a minute.
        _run("depmod", "-b", str(next(root.glob("**/lib/modules")).parent.parent), release)
        have.write_text(wanted)
    return Kernel(name, next(root.glob("**/lib/modules/*")).name, root)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _apt_options(name: str, state: Path) -> list[str]:
    """Point apt at one suite and at a state of its own."""
    if not _KEYRING.exists():
        raise Unfetched(
            f"kernel {name} cannot be verified: {_KEYRING} is missing (debian-archive-keyring)"
        )
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    sources = state / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {SUITES[name]} main\n")
    settings = {
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
    }
    return [f"-o{key}={value}" for key, value in settings.items()]


def _mirror() -> str:
    """Address of the Debian mirror that this machine is configured with."""
    listed = _run(
        *("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"), "Created-By: Packages"
    )
    mirrors = [line.split()[1] for line in listed.splitlines() if line.startswith("Debian ")]
    if not mirrors:
        raise Unfetched("this machine's apt sources name no Debian mirror ('apt-get update' once)")
    return mirrors[0]


def _run(*argv: str, cwd: Path | None = None) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd).stdout
