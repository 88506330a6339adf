"""One command on another kernel: a virtual machine over this machine's files.

The guest sees the host's files read-only below a tmpfs: what it runs is what is built here, and
nothing it does lasts. No KVM is needed; it is used where the processor offers it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fetch import Kernel

_INIT = Path(__file__).with_name("init.sh")
_BUSYBOX = Path("/bin/busybox")
_VIRTIOFSD = [Path("/usr/lib/qemu/virtiofsd"), Path("/usr/libexec/virtiofsd")]
# The default sandbox wants namespaces that a container may not have.
_SHARING = ("-osource=/", "-ocache=always", "-osandbox=chroot")
# virtiofs, because Debian's cloud kernels have no 9p.
_MODULES = ("virtio_pci", "virtiofs", "overlay")
_SOCKET_DEADLINE_S = 20
# Whoever kills us leaves no machine behind.
_MORTAL = ("setpriv", "--pdeathsig", "KILL")


class NotBooted(Exception):
    """A guest cannot be started; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of the command."""

    status: int | None
    """Its exit status, None when the guest gave none before its deadline."""
    results: str
    """What it wrote to file descriptor 3."""
    console: str
    """What it and the kernel wrote to the console."""
    seconds: float
    """From power on to power off."""


def run(kernel: Kernel, command: str, *, cpus: int, memory_mib: int, deadline_s: float) -> Outcome:
    """Run a shell command as root on a kernel; raises NotBooted.

    The command writes what it wants to keep to file descriptor 3.
    """
    with tempfile.TemporaryDirectory(prefix="netsonde-guest-") as name:
        room = Path(name)
        _pack_initrd(kernel, command, room)
        share = room / "share"
        with subprocess.Popen(
            [*_MORTAL, _virtiofsd(), f"--socket-path={share}", *_SHARING],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as files:
            try:
                _await(share, files)
                machine = _machine(kernel, room, cpus=cpus, memory_mib=memory_mib)
                return _emulate(machine, room, deadline_s)
            finally:
                files.kill()


def _emulate(argv: list[str], room: Path, deadline_s: float) -> Outcome:
    begin = time.monotonic()
    with (room / "console").open("wb") as console:
        try:
            subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                timeout=deadline_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            console.write(f"\nstopped: no end after {deadline_s:.0f} s\n".encode())
    written = (room / "results").read_bytes() if (room / "results").exists() else b""
    results, _, verdict = written.decode(errors="replace").rpartition("\nrc=")
    status = int(verdict) if re.fullmatch(r"\d+\n", verdict) else None
    said = (room / "console").read_text(errors="replace")
    return Outcome(status, results, said, time.monotonic() - begin)


def _machine(kernel: Kernel, room: Path, *, cpus: int, memory_mib: int) -> list[str]:
    """Command line of the virtual machine.

    -cpu max, since numpy needs more than the default. The guest's kernel is told to leave
    cmpxchg16b alone (clearcpuid, bit 141): qemu 7.2 emulates it with wrong flags now and then, and
    the kernel's allocator then dies in a double fault.
    """
    return [
        *(*_MORTAL, "qemu-system-x86_64", "-M", "q35,memory-backend=memory", "-cpu", "max"),
        *(["-accel", "kvm"] if _has_kvm() else ["-accel", "tcg,thread=multi"]),
        *("-smp", str(cpus), "-m", str(memory_mib)),
        *("-object", f"memory-backend-memfd,id=memory,size={memory_mib}M,share=on"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", "stdio", "-serial", f"file:{room / 'results'}"),
        *("-chardev", f"socket,id=files,path={room / 'share'}"),
        *("-device", "vhost-user-fs-pci,chardev=files,tag=root"),
        *("-kernel", str(kernel.image), "-initrd", str(room / "initrd.cpio")),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 clearcpuid=141"),
    ]


def _has_kvm() -> bool:
    flags = re.search(r"^flags.*", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    hardware = flags is not None and {"vmx", "svm"} & set(flags[0].split())
    return bool(hardware) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def _pack_initrd(kernel: Kernel, command: str, room: Path) -> None:
    """Pack the first root: busybox, the modules that reach the host's files, the command."""
    tree = room / "initrd"
    for folder in ("bin", "modules", "proc", "sys", "dev", "host", "above", "new"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(_BUSYBOX, tree / "bin/busybox")
    shutil.copy(_INIT, tree / "init")
    (tree / "init").chmod(0o755)
    (tree / "guest.env").write_text(f"release={kernel.release}\nmodules={kernel.modules}\n")
    (tree / "command").write_text(command)
    for number, module in enumerate(_modules(kernel)):
        plain = tree / f"modules/{number:03}-{module.name.removesuffix('.xz')}"
        if module.suffix == ".xz":
            plain.write_bytes(_output("xz", "-dc", str(module)))
        else:
            shutil.copy(module, plain)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = _output("cpio", "-o", "-H", "newc", "--quiet", stdin=names, cwd=tree)
    (room / "initrd.cpio").write_bytes(packed)


def _modules(kernel: Kernel) -> list[Path]:
    """Files of `_MODULES` and all they depend on, in the order to load them."""
    base = str(kernel.modules.parent.parent.parent)
    found: dict[Path, None] = {}
    for name in _MODULES:
        wanted = _output(
            *("modprobe", "-d", base, "-S", kernel.release, "--show-depends", name)
        ).decode()
        for line in wanted.splitlines():
            if line.startswith("insmod "):
                found[Path(line.split()[1])] = None
    return list(found)


def _virtiofsd() -> Path:
    for path in _VIRTIOFSD:
        if path.exists():
            return path
    raise NotBooted("virtiofsd is missing; Debian ships it in qemu-system-common or virtiofsd")


def _await(share: Path, files: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SOCKET_DEADLINE_S
    while not share.exists():
        if files.poll() is not None or time.monotonic() > deadline:
            raise NotBooted("virtiofsd does not offer this machine's files")
        time.sleep(0.01)


def _output(*argv: str, stdin: str | None = None, cwd: Path | None = None) -> bytes:
    text = None if stdin is None else stdin.encode()
    return subprocess.run(argv, check=True, input=text, stdout=subprocess.PIPE, cwd=cwd).stdout
