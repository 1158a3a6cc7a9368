"""A warm function in a VM: saved once, and invoked as a user does, one process of stasis a request."""

import json
import os
import subprocess
import time
from pathlib import Path

from native_process import FunctionFailed


def save_warm(stasis, function, inputs, programs, snapshot):
    """Starts the function in a VM and saves it, warm, in the folder `snapshot`."""
    argv, environment, reads = function.in_places(inputs, programs)
    command = [str(stasis), "run", "--quiet", "--save", str(snapshot)]
    for path in reads:
        if Path(path).exists():
            command += ["--allow-read", path]
    for name, value in environment.items():
        command += ["--env", f"{name}={value}"]
    done = subprocess.run([*command, "--", *argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FunctionFailed(f"cannot save {function.name}:\n{done.stderr}")


def _arguments(stasis, snapshot, line, *more):
    # "@@" would be needed for a request that begins with "@"; requests are JSON objects.
    return [str(stasis), "invoke", str(snapshot), "--quiet", "--request", line.decode(), *more]


def record_working_set(stasis, snapshot, line):
    """Invokes the snapshot once, and keeps beside it which memory that touched."""
    done = subprocess.run(_arguments(stasis, snapshot, line, "--record-working-set"),
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FunctionFailed(f"cannot record a working set:\n{done.stderr}")


def invoke(stasis, snapshot, line, expected, policy):
    """One invocation: nanoseconds from before the process is started until its answer could be read,
    and until the process had ended."""
    reader, writer = os.pipe()
    try:
        begin = time.monotonic_ns()
        pid = os.posix_spawn(str(stasis), _arguments(stasis, snapshot, line, "--policy", policy),
                             os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        os.close(writer)
        writer = -1
        answer = b""
        while b"\n" not in answer and (piece := os.read(reader, 65536)):
            answer += piece
        answered = time.monotonic_ns() - begin
        _, status = os.waitpid(pid, 0)
        ended = time.monotonic_ns() - begin
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if answer != expected or os.waitstatus_to_exitcode(status) != 0:
        raise FunctionFailed(f"invoke answered {answer!r} instead of {expected!r}")
    return answered, ended


def milestones(stasis, snapshot, line, policy):
    """The milestones of one invocation with --json, in nanoseconds since before the process was
    started, and its counters."""
    begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    arguments = _arguments(stasis, snapshot, line, "--policy", policy, "--json", "--spawned-at", str(begin))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FunctionFailed(f"cannot invoke:\n{done.stdout}{done.stderr}")
    trial = json.loads(done.stdout)["trials"][0]
    reached = trial["milestones_ns"]
    return ({name: at - reached["spawn"] for name, at in reached.items() if at is not None},
            trial["counters"])
