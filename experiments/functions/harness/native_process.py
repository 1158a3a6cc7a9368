"""A function as a process of this host: started with its device, watched from outside, and ended."""

import os
import select
import signal
import struct
import tempfile
import time
from pathlib import Path

READ, POLL, PPOLL = 0, 7, 271  # System calls of x86-64.
PROBE_SECONDS = 0.0001
DIAGNOSTICS_BYTES_MAX = 4000


class FunctionFailed(Exception):
    """The function did something other than to answer and to exit with 0 in the end."""


class NativeProcess:
    """A resource: a process group of its own, killed by close() if it still runs. The streams are
    /dev/null and a temporary file, whose end is part of every error."""

    def __init__(self, argv, environment, device):
        self._device = device
        self._output = tempfile.TemporaryFile()
        self._status = None
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_DUP2, self._output.fileno(), 1),
                   (os.POSIX_SPAWN_DUP2, self._output.fileno(), 2)]
        self.begin_ns = time.monotonic_ns()
        try:
            self.pid = os.posix_spawn(argv[0], argv, dict(environment, STASIS_DEVICE=device.path),
                                      file_actions=actions, setpgroup=0)
        except OSError as error:
            self._output.close()
            raise FunctionFailed(f"{argv[0]}: {error.strerror}") from None
        self.exited = os.pidfd_open(self.pid)

    def close(self):
        if self._status is None:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._status = -signal.SIGKILL
        os.close(self.exited)
        self._output.close()

    def failure(self, what):
        """The error for the caller to raise: what happened, and what the program said last."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - DIAGNOSTICS_BYTES_MAX))
        said = self._output.read().decode(errors="replace").strip()
        return FunctionFailed(what + (f"; it said:\n{said}" if said else ""))

    def _is_device(self, descriptor):
        try:
            return os.readlink(f"/proc/{self.pid}/fd/{descriptor}") == self._device.path
        except OSError:
            return False

    def _polls_device(self, address, count):
        """Whether the pollfd array in the process names the device."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            data = memory.read(8 * min(count, 64))
        return any(self._is_device(descriptor) for descriptor, _ in struct.iter_unpack("<iI", data))

    def waits_for_request(self):
        """Whether the main thread is blocked reading or polling the device. See proc(5) on syscall."""
        try:
            words = Path(f"/proc/{self.pid}/syscall").read_text(encoding="ascii").split()
            if not words[0].isdigit():
                return False
            number, first, second = int(words[0]), int(words[1], 16), int(words[2], 16)
            if number == READ:
                return self._is_device(first)
            return number in (POLL, PPOLL) and self._polls_device(first, second)
        except PermissionError:
            raise self.failure("this user may not see what the program waits for (/proc/PID/syscall; "
                               "is kernel.yama.ptrace_scope above 1?)") from None
        except (OSError, IndexError):
            return False

    def wait_until_ready(self, deadline):
        """Returns when the first request is awaited. The time is known to about PROBE_SECONDS."""
        while not self.waits_for_request():
            if select.select([self.exited], [], [], 0)[0]:
                raise self.failure("the program ended before it was ready")
            if time.monotonic() > deadline:
                raise self.failure("the program was not ready in time (it did not read the device)")
            time.sleep(PROBE_SECONDS)

    def peak_memory_bytes(self):
        """The most memory that was resident at once (VmHWM of proc(5); ru_maxrss of the process would
        include that of its parent from before exec)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise self.failure("the program ended early")

    def finish(self, deadline):
        """Waits for the end, which must be exit code 0. Returns user and system seconds."""
        if not select.select([self.exited], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise self.failure("the program did not exit after its last request")
        _, self._status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(self._status)
        if code != 0:
            raise self.failure(f"the program exited with {code}")
        return usage.ru_utime, usage.ru_stime
