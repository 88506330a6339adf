"""A process's log: what its lines look like, and that all it says goes the same bounded way."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

BEGIN = """
import gc, logging, sys, threading, warnings
import structlog
from netsonde.daemon import log
"""


def run(body: str, stderr: Any = subprocess.PIPE, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + body],
        stderr=stderr,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def said(body: str) -> list[str]:
    done = run(f"log.configure()\nlog.begin_writing()\nline = structlog.get_logger()\n{body}")
    assert done.returncode == 0, done.stderr
    return [re.sub(r"^timestamp=\S+Z ", "", text) for text in done.stderr.splitlines()]


def test_a_line_is_flat_and_its_truths_are_words() -> None:
    assert said(
        "line.info('it counts', drops={'bad_header': 0, 'not ip': 2}, pinned=True, taken=False,"
        "tasks=('a', 'b'), none=None, ratio=0.5)"
    ) == [
        'level=info event="it counts" drops_bad_header=0 drops_not_ip=2 pinned=true taken=false '
        "tasks=a,b none= ratio=0.5"
    ]


STRANGE = "a\x1b[31mb\nlevel=error\r\u202ec\u2028d\x9b"


def test_a_stranger_s_text_steers_no_terminal_and_begins_no_line() -> None:
    (text,) = said(f"line.info('told', name={STRANGE!r}, names=[{STRANGE!r}])")
    assert text.isprintable()
    (text,) = said(f"line.info({STRANGE!r})")
    assert text.isprintable()
    done = run(f"log.configure(json=True)\nstructlog.get_logger().info('x', name={STRANGE!r})")
    (text,) = done.stderr.splitlines()
    assert text.isprintable()
    assert json.loads(text)["name"] == STRANGE


def test_an_exception_is_one_line_with_its_places() -> None:
    (text,) = said(
        """
def inner():
    raise KeyError("no such\\nkey")
try:
    try:
        inner()
    except KeyError:
        raise ValueError("of that")
except ValueError as error:
    line.error("part failed", exc_info=error)
"""
    )
    assert text.startswith('level=error event="part failed" fault="ValueError: of that" at="')
    assert re.search(
        r'after="KeyError: .*no such.*key.* at <string>:\d+ inner, <string>:\d+ ', text
    )


def test_a_storm_of_one_kind_is_few_lines_that_say_how_many() -> None:
    lines = said(
        "for n in range(1000):\n    line.warning('again', n=n)\n    line.info(f'other {n % 2}')"
    )
    again = [text for text in lines if "again" in text]
    assert len(again) < 40
    more = [int(found[1]) for text in again if (found := re.search(r"more=(\d+)$", text))]
    assert len(again) + sum(more) == 1000 + sum(" n=" not in text for text in again)


def test_what_cannot_be_written_raises_nothing() -> None:
    lines = said(
        """
class Broken:
    def __str__(self): raise RuntimeError("no text")
line.info("before", what=Broken())
line.info("a key", **{"with blank": 1})
line.info("after")
"""
    )
    assert [text.partition("event=")[2].split()[0] for text in lines] == ['"a', '"a', "after"]


def test_all_that_a_process_says_goes_one_way() -> None:
    lines = said(
        """
warnings.warn("beware")
logging.getLogger("library").error("it is %s", "bad")
logging.getLogger("library").error("wrong %d format", "x")
logging.getLogger("library").info("not told")
print("a loose word\\nand another", file=sys.stderr)
class Dies:
    def __del__(self): raise OSError("in a finaliser")
Dies(); gc.collect()
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
log.say("a sentence\\x1b")
"""
    )
    assert "beware" in lines[0]
    assert "event=py.warnings" in lines[0]
    assert lines[1] == 'level=error event=library said="it is bad"'
    assert "wrong %d format" in lines[2]
    assert lines[3] == 'level=warning event=stderr said="a loose word\\nand another"'
    assert 'event="a finaliser failed" fault="OSError: in a finaliser"' in lines[4]
    assert 'event="a thread failed" fault="ZeroDivisionError' in lines[5]
    assert lines[6:] == ["a sentence\\x1b"]


ENDS = {
    "log.say('why not'); sys.exit(2)": 2,
    "log.configure(); log.begin_writing(); raise OSError('nobody foresaw it')": 1,
    """log.configure(); warnings.warn('x'); print('x', file=sys.stderr)
for n in range(5000): structlog.get_logger().info(f'{n}')""": 0,
}


@pytest.mark.parametrize("body", ENDS)
@pytest.mark.parametrize("stderr", ["full disk", "closed", "no reader", "hangs", "file"])
def test_a_process_ends_with_its_status_whatever_its_stderr_is(
    body: str, stderr: str, tmp_path: Any
) -> None:
    read, write = os.pipe()
    if stderr == "closed":
        command = f'exec {sys.executable} -c "$0" 2>&-'
        done = subprocess.run(["sh", "-c", command, BEGIN + body], timeout=60, check=False)
        assert done.returncode == ENDS[body]
    else:
        if stderr == "full disk":
            os.dup2(os.open("/dev/full", os.O_WRONLY), write)
        elif stderr == "file":
            os.dup2(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), write)
        elif stderr == "no reader":
            os.close(read)
        else:
            os.set_blocking(write, False)
            while True:
                try:
                    os.write(write, bytes(1 << 12))
                except BlockingIOError:
                    break
            os.set_blocking(write, True)
        assert run(body, write).returncode == ENDS[body]
    if stderr == "file" and "foresaw" in body:
        assert 'event="ended by a fault" fault="OSError: nobody' in (tmp_path / "log").read_text()
    os.close(write)


def test_nobody_else_gets_the_place_of_a_closed_stderr() -> None:
    body = "import os; log.configure(); print(os.open('/etc/passwd', 0), log.dropped())"
    command = f'exec {sys.executable} -c "$0" 2>&-'
    done = subprocess.run(
        ["sh", "-c", command, f"{BEGIN}\n{body}"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[0]) > 2


def test_lost_lines_are_told_when_it_can_be_written_again() -> None:
    read, write = os.pipe()
    body = """
log.configure(); log.begin_writing(); line = structlog.get_logger()
for n in range(5000):
    line.info(f"{n % 200} " + "x" * 80)
print("logged", flush=True)
sys.stdin.readline()
line.info("at last")
sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + body],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
    ) as process:
        os.close(write)
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "logged\n"
        process.stdin.write("\n")
        process.stdin.flush()
        with os.fdopen(read) as log:
            found = next(text for text in log if "log lines lost" in text)
            process.stdin.write("\n")
            process.stdin.flush()
            log.read()
    assert process.returncode == 0
    assert re.search(r'event="log lines lost" full=\d+$', found)
