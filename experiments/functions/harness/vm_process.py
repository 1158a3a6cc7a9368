"""The program stasis, as this folder uses it: functions are started, saved, restored and asked by its
command line, and it answers in JSON."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

MEMORY_BYTES_MIN = 64 << 20
# Beside the program's own pages there are page tables, and pages that were brought in ahead of use.
MEMORY_FACTOR = 2


class VmFailed(Exception):
    """stasis, or the guest in it, did something other than to answer; with what it said."""


def memory_bytes(function):
    """RAM for the function: a power of two of at least twice what it has resident natively."""
    wanted = max(MEMORY_BYTES_MIN, MEMORY_FACTOR * (function.memory_mib << 20) + MEMORY_BYTES_MIN)
    return 1 << (wanted - 1).bit_length()


def launch_words(argv, environment, reads, ram_bytes):
    """The arguments of "stasis run" for a program: those before its requests, and those behind."""
    words = ["--memory", str(ram_bytes)]
    for path in reads:
        if os.path.exists(path):
            words += ["--allow-read", os.path.realpath(path)]
    for name, value in environment.items():
        words += ["--env", f"{name}={value}"]
    return words, ["--", *argv]


def response_bytes(exchange):
    """What stasis reports of one answer, as the bytes that the guest wrote."""
    if "response_hex" in exchange:
        return bytes.fromhex(exchange["response_hex"])
    return exchange["response"].encode()


class Stasis:
    """Starts the program of that path. Thread-compatible. Requests go through files in the scratch
    folder, which must exist: a command line has limits that requests need not keep."""

    def __init__(self, program, scratch, timeout_seconds=120.0):
        self.program = str(program)
        self.scratch = Path(scratch)
        self.timeout_seconds = timeout_seconds
        self._request_files = {}

    def call(self, *words):
        """The JSON of one run. VmFailed unless the exit code is 0."""
        command = [self.program, *map(str, words)]
        at = command.index("--") if "--" in command else len(command)
        waits = [] if words[0] == "verify" else ["--timeout", f"{int(self.timeout_seconds)}s"]
        command[at:at] = ["--json", *waits]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                                  timeout=10 * self.timeout_seconds)
        except OSError as error:
            raise VmFailed(f"{self.program}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise VmFailed(f"stasis {words[0]} did not end in time") from None
        return self._answer(words[0], done)

    @staticmethod
    def _answer(name, done):
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise VmFailed(f"stasis {name} exited with {done.returncode}: {said[-2000:]}") from None
        if "error" in answer or done.returncode != 0:
            error = answer.get("error", {})
            console = answer.get("console", "")[-2000:].strip()
            raise VmFailed(f"stasis {name} exited with {done.returncode}: {error.get('message', '')}"
                           + (f"; the guest said:\n{console}" if console else ""))
        return answer

    def doctor(self):
        """What this host can do, as stasis says it. VmFailed when there is no such program."""
        try:
            done = subprocess.run([self.program, "doctor", "--json", "--backend", "kvm"],
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
            return json.loads(done.stdout)
        except OSError as error:
            raise VmFailed(f"{self.program}: {error.strerror}; build it first") from None
        except ValueError:
            raise VmFailed(f"{self.program} doctor gave no JSON: {done.stderr[-300:]!r}") from None

    def verify(self, snapshot):
        """Every byte of the snapshot against its checksums; VmFailed when one is not as it was saved."""
        self.call("verify", snapshot)

    def request_words(self, lines):
        """The arguments that ask these lines (bytes with their line end). One file for each distinct
        line, which stays until remove_requests()."""
        words = []
        for line in lines:
            if line not in self._request_files:
                descriptor, path = tempfile.mkstemp(prefix="request-", dir=self.scratch)
                self._request_files[line] = path
                with open(descriptor, "wb") as file:
                    file.write(line)
            words += ["--request", f"@{self._request_files[line]}"]
        return words

    def remove_requests(self):
        for path in self._request_files.values():
            os.unlink(path)
        self._request_files = {}


def policies(doctor):
    """The names of the restore policies that can be used here."""
    return [each["name"] for each in doctor["policies"] if each["available"]]


def why_no_kvm(doctor):
    """Why guests cannot run here, or None."""
    for backend in doctor["backends"]:
        if backend["name"] == "kvm":
            return None if backend["available"] else backend["reason"]
    return "this stasis was built without KVM"
