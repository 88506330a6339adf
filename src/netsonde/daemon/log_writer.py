"""The end of a log: a bounded queue of lines, and a thread of its own that writes them.

The one idea: who logs never waits. A descriptor that is full, closed, hung or slow costs lines,
which are counted by cause. Until the thread is begun, and where none can be had, whoever logs
writes what the descriptor takes at once and leaves the rest in the queue.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_LINES = 1000
"""Lines that wait."""
MAX_BYTES = 1 << 20
"""Bytes of all lines that wait."""
MAX_LINE_BYTES = 16 << 10
"""Bytes of one line; the end of a longer one is cut off."""
LAST_S = 1.0
"""Seconds that a daemon which ends gives to lines that wait."""

CAUSES = ("rate", "full", "no_space", "closed", "late", "error")
"""Why a line is not written: its kind came too often; the queue is full; the disk is; nobody can
read it any more; the daemon ended before it was taken; anything else."""
_CAUSE_OF = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EFBIG: "no_space",
    errno.EPIPE: "closed",
    errno.EBADF: "closed",
    errno.ECONNRESET: "closed",
}
_TELL_EVERY_S = 1.0
_PIECE_BYTES = select.PIPE_BUF
"""What a pipe or a socket that is ready takes without waiting (pipe(7))."""
_CUT = " ... cut\n"


class LineWriter:
    """Writes lines to a descriptor.

    `tell` is called now and then while lines were left out and that was not told: it puts lines
    that say so, and gives whether there will be more to say later.

    Guarantees: no method raises, and none waits for the descriptor but `close`, for LAST_S at most.
    At any time `logged` is `written`, all of `dropped` and `waiting` together. Any thread may call
    any method, also from within one (a finaliser may log).
    """

    def __init__(self, fd: int, tell: Callable[[], bool] = lambda: False) -> None:
        self._fd = fd
        self._unwaiting_fd = _opened_unwaiting(fd)
        self._tell = tell
        self._owed = False
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._rest = b""
        """What is left of the line that is being written."""
        self._begun = False
        """Whether a part of that line is written."""
        self._torn = False
        """Whether the last line that was written is not whole."""
        self._busy = self._telling = False
        self.failing = False
        """Whether the last line could not be written."""
        self.logged = 0
        self.written = 0
        self.dropped = dict.fromkeys(CAUSES, 0)

    @property
    def waiting(self) -> int:
        """Lines that are neither written nor dropped."""
        return len(self._lines) + bool(self._rest)

    def put(self, text: str) -> None:
        """Take a line, to be written after those before it, or to be dropped."""
        try:
            line = _encoded(text)
        except MemoryError:
            line = None
        with self._changed:
            self.logged += 1
            if line is None:
                self.dropped["error"] += 1
            elif self._closed:
                self.dropped["late"] += 1
            elif len(self._lines) >= MAX_LINES or self._bytes + len(line) > MAX_BYTES:
                self.dropped["full"] += 1
                self._owed = True
            else:
                self._lines.append(line)
                self._bytes += len(line)
            self._changed.notify()
            if not self._thread:
                self._write_at_once()
                self._tell_owed()

    def leave_out(self) -> None:
        """Count a line that came too often; `tell` will be called."""
        with self._changed:
            self.logged += 1
            self.dropped["rate"] += 1
            if not self._owed:
                self._owed = True
                self._changed.notify()

    def begin(self) -> None:
        """Write by a thread from now on; where none is to be had all goes on as before.

        A thread keeps the rights it was born with, so a daemon gives its own up before.
        """
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with self._changed:
            if self._thread or self._closed:
                return
            self._thread = thread
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                self._thread = None
            else:
                self._close_unwaiting()

    def close(self) -> None:
        """Give what waits LAST_S; what is left then is dropped, and so is all that comes later."""
        until_s = time.monotonic() + LAST_S
        with self._changed:
            while self.waiting and (left_s := until_s - time.monotonic()) > 0:
                if self._thread:
                    self._changed.wait(left_s)
                else:
                    _is_ready(self._unwaiting_fd, left_s)
                    self._write_at_once()
            self._closed = True
            self.dropped["late"] += self.waiting
            self._lines.clear()
            self._bytes, self._rest = 0, b""
            self._changed.notify_all()
            self._close_unwaiting()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._next() and not self._closed:
                    self._changed.wait(_TELL_EVERY_S if self._owed else None)
                if self._closed:
                    return
                line = self._rest
            if line:
                self._write_some(self._fd, line)
            else:
                self._tell_owed()

    def _next(self) -> bytes:
        """Give what is to be written next, if anything is."""
        if not self._rest and self._lines:
            line = self._lines.popleft()
            self._bytes -= len(line)
            self._begun = False
            self._rest = b"\n" + line if self._torn else line
        return self._rest

    def _write_at_once(self) -> None:
        """Write what the descriptor takes without waiting."""
        if self._busy:
            return  # a finaliser logs in the midst of this
        self._busy = True
        try:
            while (line := self._next()) and _is_ready(self._unwaiting_fd, 0):
                if not self._write_some(self._unwaiting_fd, line[:_PIECE_BYTES]):
                    return
        finally:
            self._busy = False

    def _write_some(self, fd: int, line: bytes) -> bool:
        """Write some of a line and note what became of it; gives whether anything did."""
        try:
            taken = os.write(fd, line)
        except BlockingIOError:
            if self._thread:  # somebody else who has the same terminal made it so
                _is_ready(fd, _TELL_EVERY_S)
            return False
        except OSError as error:
            self._end_line(_CAUSE_OF.get(error.errno or 0, "error"))
            return True
        with self._changed:
            self._rest = self._rest[taken:]
            self._begun = True
            if not self._rest:
                self._end_line(None)
        return True

    def _end_line(self, cause: str | None) -> None:
        with self._changed:
            if self._closed:
                return  # it was counted as late
            self._rest = b""
            if cause:
                self.dropped[cause] += 1
                self._torn |= self._begun
            else:
                self.written += 1
                self._torn = False
            self._owed |= self.failing and not cause
            self.failing = bool(cause)
            self._changed.notify_all()

    def _close_unwaiting(self) -> None:
        if self._unwaiting_fd != self._fd:
            os.close(self._unwaiting_fd)
            self._unwaiting_fd = self._fd

    def _tell_owed(self) -> None:
        if self._owed and not self._telling and not self.waiting:
            self._owed, self._telling = False, True
            try:
                self._owed |= self._tell()
            finally:
                self._telling = False


def _encoded(text: str) -> bytes:
    line = text.encode("utf-8", "backslashreplace") + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    kept = line[: MAX_LINE_BYTES - len(_CUT)].decode("utf-8", "ignore")
    return (kept + _CUT).encode()


def _opened_unwaiting(fd: int) -> int:
    """Open a pipe or terminal once more, so that writing never waits, not even for others' writes.

    What is open already is shared with other processes, who may count on waiting. Others than pipes
    and terminals cannot be opened so, and files need not.
    """
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        pass
    return fd


def _is_ready(fd: int, patience_s: float) -> bool:
    """Whether a descriptor takes something, or fails, without waiting, or within that time."""
    try:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(patience_s * 1000))
    except (OSError, ValueError, MemoryError):
        return True
