"""What is attached in other network namespaces is told as theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from features import needs

_COUNT = """
import secrets, sys
from netsonde.kernel.hooks import open_path
opened = open_path(sys.argv[1], hash_key=[secrets.randbits(64)] * 8, lg_buckets=4)
print(opened.path.hook, flush=True)
sys.stdin.read()
opened.path.close()
"""
_LIST = """
import json
from netsonde.kernel.attached import attachments
print(json.dumps([(one.where, one.here) for one in attachments() if one.ours]))
"""
HOOKS = ("LOCAL_IN", "LOCAL_OUT")
EVERYWHERE = {f"netfilter {hook} {family}" for hook in HOOKS for family in ("IPv4", "IPv6")}


@contextmanager
def counting(*command: str, hook: str) -> Iterator[int]:
    """Count in a process, begun with a command; gives its pid."""
    argv = [*command, sys.executable, "-c", _COUNT, hook]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == hook.encode()
        try:
            yield process.pid
        finally:
            process.communicate()


def listed(*command: str) -> Counter[tuple[str, bool | None]]:
    done = subprocess.run(
        [*command, sys.executable, "-c", _LIST], check=True, capture_output=True, text=True
    )
    return Counter(map(tuple, json.loads(done.stdout)))


@needs("netfilter_link", minimum=(6, 4))
def test_a_netfilter_link_is_told_to_be_here_or_in_another_namespace() -> None:
    with counting("unshare", "--net", hook="netfilter") as one:
        inside = ("nsenter", f"--net=/proc/{one}/ns/net")
        assert {(where, True) for where in EVERYWHERE} <= listed(*inside).keys()
        assert listed(*inside).total() >= 4
        elsewhere = listed("unshare", "--net")
        assert {(where, False) for where in EVERYWHERE} <= elsewhere.keys()
        assert not [where for where, here in elsewhere if here]
        with counting("unshare", "--net", hook="netfilter"):
            beside = listed(*inside)
            for where in EVERYWHERE:
                assert (beside[where, True], beside[where, False]) == (1, 1)
        # Whoever looks leaves nothing behind.
        assert listed(*inside)[next(iter(EVERYWHERE)), True] == 1


def test_a_device_of_another_namespace_is_not_listed() -> None:
    with counting("unshare", "--net", hook="clsact"):
        assert not [at for at, _ in listed("unshare", "--net") if at.startswith("clsact")]
