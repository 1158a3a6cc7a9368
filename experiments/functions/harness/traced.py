"""What a function asks of the kernel, by strace: calls, counted up to ready and after it, and files."""

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field

from native_process import FunctionFailed
from native_session import run_natively

# "1234  openat(AT_FDCWD</>, "/etc/x", O_RDONLY) = 3</etc/x>"; the descriptors' paths are by -y.
CALL = re.compile(r"^(?:\d+\s+)?([a-z_][a-z0-9_]*)\(")
READ_OF = re.compile(r"^(?:\d+\s+)?(?:read|poll|ppoll)\(.*?<([^>]*)>")
OPENED = re.compile(r"^(?:\d+\s+)?(?:open|openat)\(.*\) = \d+<([^>]*)>")
ENDED = re.compile(r"\+\+\+ (?:exited|killed)")
STARTED = re.compile(r'^(?:\d+\s+)?execve\("([^"]*)".*\) = 0$')


@dataclass
class Trace:
    """A value."""

    up_to_ready: Counter = field(default_factory=Counter)
    afterwards: Counter = field(default_factory=Counter)
    files: set = field(default_factory=set)  # What was opened or executed, as the kernel names it.


def parse(lines, device):
    """The trace of a program whose device has that path. It is ready with its first read of it."""
    trace, ready = Trace(), False
    for line in lines:
        call = CALL.match(line)
        if call is None:
            continue  # A signal, an exit, or the second half of a call.
        read = READ_OF.match(line)
        ready = ready or (read is not None and read[1].startswith(device))
        (trace.afterwards if ready else trace.up_to_ready)[call[1]] += 1
        opened = OPENED.match(line) or STARTED.match(line)
        if opened is not None:
            trace.files.add(os.path.realpath(opened[1]))
    return trace


def _wait_for_end(output, deadline):
    """The lines of the trace, when strace has written the last one: it outlives the program a little."""
    while True:
        output.seek(0)
        lines = output.readlines()
        if lines and ENDED.search(lines[-1]):
            return lines
        if time.monotonic() > deadline:
            raise FunctionFailed("strace did not write the program's end")
        time.sleep(0.005)


def trace(argv, environment, lines, timeout_seconds):
    """Runs the program natively under strace: slow, so its times mean nothing. The trace, and the
    responses; None without strace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.NamedTemporaryFile(prefix="stasis-trace-", mode="r", errors="replace") as output:
        # -D: the program is our child, and strace a process beside it.
        command = [strace, "-D", "-f", "-y", "-q", "-s", "256", "-o", output.name, "--", *argv]
        run = run_natively(command, environment, lines, timeout_seconds)
        written = _wait_for_end(output, time.monotonic() + timeout_seconds)
        return parse(written, "/dev/pts/"), run.responses
